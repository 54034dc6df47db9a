//! The Response object (RFC 8620 §3.4) in the making: responses of upstream to the byte, and ours, in
//! the order of the calls. Pure.
//!
//! Members of upstream's Response that §3.4 does not know are left out: whose they would be, nobody
//! could say.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::value::RawValue;

use super::request::{self, CreatedIds};
use crate::api::text::Text;
use crate::jmap::object::{each_element, each_member, json_string, offset, string};

/// A Response of upstream.
#[derive(Debug)]
pub(super) struct Response<'a> {
    /// The value of `methodResponses`, which is well formed.
    responses: &'a str,
    pub(super) created: CreatedIds,
    /// The value of `sessionState`.
    pub(super) session_state: Option<&'a str>,
}

impl<'a> Response<'a> {
    /// `None` when it is none, or has a member twice.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let (mut responses, mut created, mut session_state) = (None, None, None);
        let mut is_twice = false;
        each_member(str::from_utf8(body).ok()?, |member| {
            let slot = match &*member.name {
                "methodResponses" => &mut responses,
                "createdIds" => &mut created,
                "sessionState" => &mut session_state,
                _ => return,
            };
            is_twice |= slot.replace(member.value).is_some();
        })
        .ok()?;
        let responses = responses.filter(|_| !is_twice)?.get();
        let mut is_read = true;
        each_element(responses, |response| is_read &= invocation(response).is_some()).ok()?;
        let created = match created.filter(|created| created.get() != "null") {
            Some(created) => serde_json::from_str(created.get()).ok()?,
            None => CreatedIds::new(),
        };
        let session_state =
            session_state.map(RawValue::get).filter(|state| string(state).is_some());
        is_read.then_some(Self { responses, created, session_state })
    }

    /// Visits each response with its call id.
    pub(super) fn each(&self, mut visit: impl FnMut(Invocation<'a>)) {
        // It was read before.
        let _ = each_element(self.responses, |response| {
            if let Some(invocation) = invocation(response) {
                visit(invocation);
            }
        });
    }
}

/// One response to a method call.
pub(super) struct Invocation<'a> {
    pub(super) text: &'a str,
    pub(super) name: Text<'a>,
    pub(super) arguments: &'a str,
    pub(super) call_id: Text<'a>,
}

fn invocation(response: &RawValue) -> Option<Invocation<'_>> {
    let text = response.get();
    let (name, arguments, call_id): (Text<'_>, &RawValue, Text<'_>) =
        serde_json::from_str(text).ok()?;
    Some(Invocation { text, name, arguments: arguments.get(), call_id })
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

    /// Adds a response of ours.
    pub(super) fn add(&mut self, name: &str, arguments: &str, call_id: &str) {
        self.separate();
        self.text.extend(["[", &json_string(name), ","]);
        let start = self.text.len();
        self.text.push_str(arguments);
        self.note(name, start..self.text.len(), call_id);
        self.text.extend([",", &json_string(call_id), "]"]);
    }

    /// Adds a response of upstream's.
    pub(super) fn copy(&mut self, invocation: &Invocation<'_>) {
        self.separate();
        let Invocation { text, name: Text(name), arguments, call_id: Text(call_id) } = invocation;
        let Range { start, end } = offset(text, arguments);
        let at = self.text.len();
        self.text.push_str(text);
        self.note(name, at + start..at + end, call_id);
    }

    fn separate(&mut self) {
        if self.text.len() > BEGIN.len() {
            self.text.push(',');
        }
    }

    fn note(&mut self, name: &str, arguments: Range<usize>, call_id: &str) {
        if !self.first.contains_key(call_id) {
            self.first.insert(call_id.into(), (name.into(), arguments));
        }
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
