//! A JSON object as its members in order: for edits that leave every other byte as it was.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
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
    let mut members = Vec::new();
    each_member(text, |member| members.push(member))?;
    Ok(members)
}

/// Visits the members of a JSON object in order, duplicates included.
///
/// # Errors
/// When it is none, or not well formed; members before the fault have been visited.
pub fn each_member<'a>(
    text: &'a str,
    visit: impl FnMut(Member<'a>),
) -> Result<(), serde_json::Error> {
    struct Members<F>(F);

    impl<'de, F: FnMut(Member<'de>)> Visitor<'de> for Members<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<(), M::Error> {
            while let Some(Name(name)) = map.next_key()? {
                self.0(Member { name, value: map.next_value()? });
            }
            Ok(())
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(Members(visit))?;
    deserializer.end()
}

/// Visits the elements of a JSON array in order.
///
/// # Errors
/// When it is none, or not well formed, or an element is no `T`; those before the fault have been visited.
pub fn each_element<'a, T: Deserialize<'a>>(
    text: &'a str,
    visit: impl FnMut(T),
) -> Result<(), serde_json::Error> {
    struct Elements<F, T>(F, PhantomData<T>);

    impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for Elements<F, T> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON array")
        }

        fn visit_seq<S: SeqAccess<'de>>(mut self, mut seq: S) -> Result<(), S::Error> {
            while let Some(element) = seq.next_element()? {
                self.0(element);
            }
            Ok(())
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_seq(Elements(visit, PhantomData))?;
    deserializer.end()
}

/// A JSON string, decoded. `None` when it is none, or holds half a surrogate pair.
#[must_use]
pub fn string(text: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(text).ok().map(|Name(name)| name)
}

#[derive(Deserialize)]
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
