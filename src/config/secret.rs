//! Strings and keys that no log, error or dump may show.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// With or without padding.
const BASE64: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// A secret setting. `Debug` shows nothing of it; memory is wiped when it goes.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the secret in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself, for the one place that uses it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key of 32 bytes, as secret.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Reads base64 of either alphabet; `None` when it is none of 32 bytes.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let decode = |alphabet| GeneralPurpose::new(alphabet, BASE64).decode(text);
        let bytes = Zeroizing::new(decode(&STANDARD).or_else(|_| decode(&URL_SAFE)).ok()?);
        <[u8; 32]>::try_from(bytes.as_slice()).ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// A new one, known to this process only.
    #[must_use]
    pub fn random() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// The key itself, for the one place that uses it.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}
