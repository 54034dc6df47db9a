//! Reads one notification: the JSON a mail server publishes when something changed (docs/notify.md).
//!
//! Pure, and strict where a lax reading would hide a publisher's mistake: I-JSON (RFC 7493: UTF-8,
//! no member twice), known members of their type, sizes bounded. Members it does not know are
//! ignored, so that publishers may say more than we read. Whether a claimed state is believed is
//! `state/`'s work (architecture D7).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::jmap::id::{AccountId, DataType, MAX_ID_BYTES, State};

/// Most bytes of one notification.
pub const MAX_BYTES: usize = 64 << 10;

/// Most accounts one notification may name.
pub const MAX_ACCOUNTS: usize = 1_000;

/// Most data types one notification may name, `changed` and `types` each.
pub const MAX_TYPES: usize = 64;

/// The pseudo type that says "a mail was delivered" (RFC 8621 §1.5). It has no state of its own to
/// ask for, so naming it means [`Notice::delivery`].
const EMAIL_DELIVERY: &str = "EmailDelivery";

/// One notification, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whose data changed.
    pub who: Who,
    /// Types with the state the publisher says they now have: a claim without order (D7).
    pub changed: Vec<(DataType, State)>,
    /// Types of which only a change is known; `None` when the publisher named no type at all, which
    /// means any of them.
    pub types: Option<Vec<DataType>>,
    /// Whether a mail was delivered (RFC 8621 §1.5 `EmailDelivery`).
    pub delivery: bool,
}

/// Whom a notification is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// These accounts; at least one.
    Accounts(Vec<AccountId>),
    /// All accounts of the user with this Session `username` (RFC 8620 §2).
    User(String),
}

/// Why a notification was not understood: what is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The entry of the stream has no such field.
    #[error("the stream entry has no field `change`")]
    NoChangeField,
    /// Over [`MAX_BYTES`].
    #[error("{0} bytes, more than {MAX_BYTES}")]
    TooLong(usize),
    /// RFC 7493 §2.1.
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// Not JSON, no object, or a member twice. Not serde's own words, which quote the message.
    #[error("not an I-JSON object: {} in line {line}, column {column}", what(*category))]
    NotJson {
        /// What is wrong.
        category: serde_json::error::Category,
        /// Where it was noticed, from 1.
        line: usize,
        /// In that line, in bytes from 1.
        column: usize,
    },
    /// A list, which serde would take for an object without names.
    #[error("a list where an object must be")]
    List,
    /// Nobody is named.
    #[error("one of `accountId`, `accountIds`, `user` is missing")]
    NobodyNamed,
    /// More than one way of naming is used.
    #[error("only one of `accountId`, `accountIds`, `user` may be given")]
    NamedTwice,
    /// A member that is not what it must be.
    #[error("`{member}` is not {expected}")]
    Member {
        /// Its name.
        member: &'static str,
        /// What it must be, with its article.
        expected: &'static str,
    },
    /// An element of a list, or a member of `changed`, that is not what it must be.
    #[error("item {index} of `{member}` is not {expected}")]
    Item {
        /// The name of the list or object.
        member: &'static str,
        /// Which, counted from 0.
        index: usize,
        /// What it must be, with its article.
        expected: &'static str,
    },
    /// The same name twice in `changed`, which RFC 7493 §2.3 forbids.
    #[error("item {index} of `changed` has a name that came before")]
    Repeated {
        /// Which, counted from 0.
        index: usize,
    },
    /// A list or object with more in it than is allowed.
    #[error("`{member}` has more than {most} items")]
    TooMany {
        /// Its name.
        member: &'static str,
        /// The most allowed.
        most: usize,
    },
}

fn what(category: serde_json::error::Category) -> &'static str {
    match category {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "something else than an object, or a member twice",
        _ => "a mistake in JSON",
    }
}

const ACCOUNT_ID: &str = "an account id: a string of 1 to 255 bytes without control characters";
const USER: &str = "a user name: a string of 1 to 255 bytes without control characters";
const DATA_TYPE: &str = "the name of a data type: a letter, then letters and digits";

impl Notice {
    /// Reads the JSON of one notification.
    ///
    /// # Errors
    /// When it is not of the form docs/notify.md gives. Nothing of it is used then.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLong(bytes.len()));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| Error::NotUtf8(error.valid_up_to()))?;
        if text.trim_start().starts_with('[') {
            return Err(Error::List);
        }
        let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| Error::NotJson {
            category: error.classify(),
            line: error.line(),
            column: error.column(),
        })?;
        let who = raw.who()?;
        let delivery = match raw.delivery {
            None => false,
            Some(value) => read(value, "delivery", "true or false")?,
        };
        let mut notice = Self { who, changed: Vec::new(), types: None, delivery };
        if let Some(value) = raw.changed {
            notice.add_changed(read(value, "changed", "an object of data types and states")?)?;
        }
        if let Some(value) = raw.types {
            notice.add_types(read(value, "types", "a list of data types")?)?;
        }
        Ok(notice)
    }

    fn add_changed(&mut self, changed: Pairs<'_>) -> Result<(), Error> {
        if changed.0.len() > MAX_TYPES {
            return Err(Error::TooMany { member: "changed", most: MAX_TYPES });
        }
        let mut seen = HashSet::new();
        let types = self.types.get_or_insert_default();
        for (index, (name, state)) in changed.0.into_iter().enumerate() {
            let name = DataType::parse(&name).ok_or(Error::Item {
                member: "changed",
                index,
                expected: DATA_TYPE,
            })?;
            let state: Option<Cow<'_, str>> = serde_json::from_str::<Option<Text<'_>>>(state.get())
                .map_err(|_| Error::Item {
                    member: "changed",
                    index,
                    expected: "a state string or null",
                })?
                .map(|text| text.0);
            if !seen.insert(name.clone()) {
                return Err(Error::Repeated { index });
            }
            // A state too long to keep is a state unknown (`jmap::id::MAX_STATE_BYTES`).
            match state.and_then(|state| State::parse(&state)) {
                _ if name.as_str() == EMAIL_DELIVERY => self.delivery = true,
                Some(state) => self.changed.push((name, state)),
                None => types.push(name),
            }
        }
        Ok(())
    }

    fn add_types(&mut self, names: Bounded<'_, MAX_TYPES>) -> Result<(), Error> {
        if names.more {
            return Err(Error::TooMany { member: "types", most: MAX_TYPES });
        }
        let types = self.types.get_or_insert_default();
        for (index, name) in names.items.into_iter().enumerate() {
            let name = text(name).and_then(|name| DataType::parse(&name)).ok_or(Error::Item {
                member: "types",
                index,
                expected: DATA_TYPE,
            })?;
            let exact = self.changed.iter().any(|(known, _)| *known == name);
            if name.as_str() == EMAIL_DELIVERY {
                self.delivery = true;
            } else if !exact && !types.contains(&name) {
                types.push(name);
            }
        }
        Ok(())
    }
}

/// The members we know, unread. `null` is the same as absent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct Raw<'a> {
    #[serde(borrow)]
    account_id: Option<&'a RawValue>,
    #[serde(borrow)]
    account_ids: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    #[serde(borrow)]
    changed: Option<&'a RawValue>,
    #[serde(borrow)]
    types: Option<&'a RawValue>,
    #[serde(borrow)]
    delivery: Option<&'a RawValue>,
}

impl Raw<'_> {
    fn who(&self) -> Result<Who, Error> {
        match (self.account_id, self.account_ids, self.user) {
            (None, None, None) => Err(Error::NobodyNamed),
            (Some(one), None, None) => {
                let id = text(one)
                    .and_then(|id| AccountId::parse(&id))
                    .ok_or(Error::Member { member: "accountId", expected: ACCOUNT_ID })?;
                Ok(Who::Accounts(vec![id]))
            }
            (None, Some(list), None) => account_ids(list),
            (None, None, Some(name)) => {
                let name = text(name).ok_or(Error::Member { member: "user", expected: USER })?;
                user(&name).map(Who::User)
            }
            _ => Err(Error::NamedTwice),
        }
    }
}

/// A user's name.
///
/// # Errors
/// When it cannot be one.
pub(super) fn user(name: &str) -> Result<String, Error> {
    let is_name =
        !name.is_empty() && name.len() <= MAX_ID_BYTES && !name.chars().any(char::is_control);
    is_name.then(|| name.to_owned()).ok_or(Error::Member { member: "user", expected: USER })
}

fn account_ids(list: &RawValue) -> Result<Who, Error> {
    let member = "accountIds";
    let expected = "a list of account ids, at least one";
    let list: Bounded<'_, MAX_ACCOUNTS> = read(list, member, expected)?;
    if list.more {
        return Err(Error::TooMany { member, most: MAX_ACCOUNTS });
    }
    if list.items.is_empty() {
        return Err(Error::Member { member, expected });
    }
    let id = |(index, item)| {
        text(item).and_then(|id| AccountId::parse(&id)).ok_or(Error::Item {
            member,
            index,
            expected: ACCOUNT_ID,
        })
    };
    Ok(Who::Accounts(list.items.into_iter().enumerate().map(id).collect::<Result<_, _>>()?))
}

fn read<'a, T: Deserialize<'a>>(
    value: &'a RawValue,
    member: &'static str,
    expected: &'static str,
) -> Result<T, Error> {
    serde_json::from_str(value.get()).map_err(|_| Error::Member { member, expected })
}

fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

/// A JSON string, borrowed when it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A JSON object as its members in order, repeated ones included. Reads one more than is allowed,
/// so that the caller sees there were too many.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if pairs.len() <= MAX_TYPES {
                        pairs.push((name.0, value));
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Members)
    }
}

/// The first `MOST` items of a JSON list, unread, and whether there were more.
struct Bounded<'a, const MOST: usize> {
    items: Vec<&'a RawValue>,
    more: bool,
}

impl<'de: 'a, 'a, const MOST: usize> Deserialize<'de> for Bounded<'a, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Items<const MOST: usize>;
        impl<'de, const MOST: usize> Visitor<'de> for Items<MOST> {
            type Value = Bounded<'de, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() < MOST {
                    match list.next_element::<&'de RawValue>()? {
                        Some(item) => items.push(item),
                        None => return Ok(Bounded { items, more: false }),
                    }
                }
                let mut more = false;
                while list.next_element::<de::IgnoredAny>()?.is_some() {
                    more = true;
                }
                Ok(Bounded { items, more })
            }
        }
        from.deserialize_seq(Items::<MOST>)
    }
}

#[cfg(test)]
mod tests;
