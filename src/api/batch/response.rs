//! The Response object (RFC 8620 §3.4) in the making: responses of upstream, their arguments to the byte,
//! and ours, in the order of the calls. Pure.
//!
//! Members of upstream's Response that §3.4 does not know are left out: whose they would be, nobody
//! could say.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::request::{self, CreatedIds};
use crate::api::text::Text;
use crate::jmap::object::{json_string, string};

/// A Response of upstream, read in one pass.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    pub(super) method_responses: Vec<Invocation<'a>>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) created_ids: CreatedIds,
    #[serde(borrow, default)]
    session_state: Option<&'a RawValue>,
}

/// One response to a method call: name, arguments, method call id.
#[derive(Debug, Deserialize)]
pub(super) struct Invocation<'a>(#[serde(borrow)] Text<'a>, &'a RawValue, Text<'a>);

impl<'a> Response<'a> {
    /// `None` when it is none, or has a member twice.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        // What is derived would also take an array.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        is_object.then(|| serde_json::from_slice(body).ok())?
    }

    /// The value of `sessionState`.
    pub(super) fn session_state(&self) -> Option<&'a str> {
        self.session_state.map(RawValue::get).filter(|state| string(state).is_some())
    }
}

impl Invocation<'_> {
    pub(super) fn call_id(&self) -> &str {
        &self.2.0
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// All responses so far.
#[derive(Debug)]
pub(super) struct Merged {
    /// A Response object up to the last of them.
    text: String,
    /// The first with each call id, which references mean (§3.7): its name, and where its arguments
    /// stand in the text.
    first: HashMap<Box<str>, (Box<str>, Range<usize>)>,
}

impl Default for Merged {
    fn default() -> Self {
        Self { text: BEGIN.to_owned(), first: HashMap::new() }
    }
}

const BEGIN: &str = "{\"methodResponses\":[";

impl Merged {
    /// The name and arguments of the first response with this call id.
    pub(super) fn first(&self, call_id: &str) -> Option<(&str, &str)> {
        let (name, arguments) = self.first.get(call_id)?;
        Some((name, self.text.get(arguments.clone())?))
    }

    /// Adds a response; its arguments are JSON.
    pub(super) fn add(&mut self, name: &str, arguments: &str, call_id: &str) {
        if self.text.len() > BEGIN.len() {
            self.text.push(',');
        }
        self.text.extend(["[", &json_string(name), ","]);
        let start = self.text.len();
        self.text.push_str(arguments);
        if !self.first.contains_key(call_id) {
            self.first.insert(call_id.into(), (name.into(), start..self.text.len()));
        }
        self.text.extend([",", &json_string(call_id), "]"]);
    }

    /// Adds a response of upstream's.
    pub(super) fn copy(&mut self, Invocation(name, arguments, call_id): &Invocation<'_>) {
        self.add(&name.0, arguments.get(), &call_id.0);
    }

    /// The whole Response; `session_state` is JSON.
    pub(super) fn finish(self, created: Option<&CreatedIds>, session_state: &str) -> Vec<u8> {
        let mut text = self.text;
        text.push(']');
        if let Some(created) = created {
            text.extend([",\"createdIds\":", &request::write(created)]);
        }
        text.extend([",\"sessionState\":", session_state, "}"]);
        text.into_bytes()
    }
}
