//! Account ids, data type names and state strings (RFC 8620 §1.2, §1.6.2, §5.1).
//!
//! All three are opaque: compared for equality, never ordered, parsed or made up.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest account id or data type name accepted, in bytes (§1.2: "at least 1 and no more than 255").
pub const MAX_ID_BYTES: usize = 255;

/// Longest state string kept, in bytes; longer ones are treated as unknown. The RFC sets no limit,
/// servers use a few dozen.
pub const MAX_STATE_BYTES: usize = 1024;

macro_rules! opaque_string {
    ($(#[$doc:meta])* $name:ident, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a string from the wire; `None` when it is not of the form the type documents.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let valid: fn(&str) -> bool = $valid;
                valid(text).then(|| Self(Arc::from(text)))
            }

            /// The string as it stood on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

opaque_string! {
    /// An account id (§1.6.2). Any non-empty string up to 255 bytes without control characters: the
    /// RFC's alphabet is narrower, but servers with e-mail addresses as ids exist.
    AccountId, |text| {
        !text.is_empty() && text.len() <= MAX_ID_BYTES && !text.chars().any(char::is_control)
    }
}

opaque_string! {
    /// The name of a data type such as `Email` (§1.6.1): an open set, `[A-Za-z][A-Za-z0-9]*`.
    DataType, |text| {
        text.len() <= MAX_ID_BYTES
            && text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }
}

opaque_string! {
    /// A state string (§5.1), up to [`MAX_STATE_BYTES`]. Equality is all it means.
    State, |text| text.len() <= MAX_STATE_BYTES
}

/// What states of our own making begin with.
const INVENTED: &str = "presumed-";

impl State {
    /// A state of our own making, for what changed to a state that nobody can know.
    #[must_use]
    pub fn invent(number: u128) -> Self {
        Self(format!("{INVENTED}{number:032x}").into())
    }

    /// Whether it is one of our own making: upstream would not know it.
    #[must_use]
    pub fn is_invented(&self) -> bool {
        self.0.starts_with(INVENTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_type_names_are_an_open_set_of_words() {
        assert!(DataType::parse("MaskedEmail").is_some());
        assert!(DataType::parse("x2").is_some());
        for bad in ["", "2x", "Email/get", "E\nmail", "Ēmail", "a b"] {
            assert!(DataType::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn account_ids_carry_no_control_characters() {
        assert!(AccountId::parse("alice@example.org").is_some());
        assert!(AccountId::parse("a\r\nb").is_none());
        assert!(AccountId::parse(&"x".repeat(256)).is_none());
    }
}
