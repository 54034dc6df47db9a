//! A JSON object as its members in order: for edits that leave every other byte as it was.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// One member of an object.
#[derive(Debug)]
pub struct Member<'a> {
    /// Decoded.
    pub name: Cow<'a, str>,
    /// As it stands there.
    pub value: &'a RawValue,
}

/// The members of a JSON object in order, duplicates included.
///
/// # Errors
/// When it is none, or not well formed.
pub fn members(text: &str) -> Result<Vec<Member<'_>>, serde_json::Error> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<Member<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut members = Vec::new();
            while let Some(Name(name)) = map.next_key()? {
                members.push(Member { name, value: map.next_value()? });
            }
            Ok(members)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Members)?;
    deserializer.end()?;
    Ok(members)
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Where `part`, a slice of `whole`, stands in it.
#[must_use]
pub fn offset(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// Replaces ranges, given in ascending order, of `text`.
#[must_use]
pub fn splice(text: &str, splices: Vec<(Range<usize>, String)>) -> String {
    let mut edited = String::with_capacity(text.len() + 256);
    let mut done = 0;
    for (range, replacement) in splices {
        edited.push_str(text.get(done..range.start).unwrap_or_default());
        edited.push_str(&replacement);
        done = range.end;
    }
    edited.push_str(text.get(done..).unwrap_or_default());
    edited
}

/// `text` as a JSON string, quotes included.
#[must_use]
pub fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
