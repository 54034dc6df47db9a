//! A Request object (RFC 8620 §3.3) taken apart, and sub-requests made of its parts. Pure.
//!
//! What is not replaced stays to the byte: members nobody knows (A1), calls, white space around them.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::request::{MAX_CALLS, without_capabilities};
use crate::api::text::Text;
use crate::jmap::capability::{CORE, ENHANCED_REFERENCES};
use crate::jmap::object::{each_element, each_member, json_string, offset, splice, string};
use crate::jmap::problem::Problem;

/// `limit` of §3.6.1.
pub(super) const MAX_CALLS_IN_REQUEST: &str = "maxCallsInRequest";

/// Bytes of `createdIds` that are taken: some thousand ids.
const MOST_CREATED: usize = 1 << 20;

/// Creation ids and the ids they became (§3.3, §5.3).
pub(super) type CreatedIds = BTreeMap<String, String>;

/// A Request object without the capabilities that are ours alone (A5).
#[derive(Debug)]
pub(super) struct Request {
    text: String,
    /// The value of `methodCalls` in the text.
    method_calls: Range<usize>,
    /// The value of `createdIds` in the text.
    created_ids: Option<Range<usize>>,
    pub(super) calls: Vec<Call>,
    pub(super) using: Using,
    /// What the client gave.
    pub(super) created: Option<CreatedIds>,
}

/// One method call (§3.2).
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: Box<str>,
    pub(super) call_id: Box<str>,
    /// Where it stands in the text.
    place: Range<usize>,
    arguments: Range<usize>,
}

/// What `using` says.
#[derive(Debug)]
pub(super) struct Using {
    pub(super) has_core: bool,
    /// A10.
    pub(super) has_enhanced_references: bool,
    /// A5.
    has_own: bool,
    /// Each is known.
    pub(super) is_known: bool,
}

/// A call to be sent on: its index, and its arguments where they are not as the client gave them.
pub(super) type Sent = (usize, Option<String>);

impl Request {
    /// Takes a body apart.
    ///
    /// # Errors
    /// `notJSON`, `notRequest` or `limit` (§3.6.1).
    pub(super) fn read(
        body: &[u8],
        own: &[&str],
        is_known: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Problem> {
        let text = str::from_utf8(body);
        let text = text.map_err(|_| Problem::not_json("the request is not UTF-8"))?;
        let request = Self::take_apart(text, own, is_known)?;
        let rest = request.using.has_own.then(|| without_capabilities(body, own)).flatten();
        rest.map_or(Ok(request), |rest| Self::take_apart(&rest, own, is_known))
    }

    fn take_apart(
        text: &str,
        own: &[&str],
        is_known: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Problem> {
        let (mut using, mut method_calls, mut created_ids) = (None, None, None);
        let mut is_twice = false;
        each_member(text, |member| {
            let slot = match &*member.name {
                "using" => &mut using,
                "methodCalls" => &mut method_calls,
                "createdIds" => &mut created_ids,
                _ => return,
            };
            is_twice |= slot.replace(member.value).is_some();
        })
        .map_err(|error| {
            if error.is_data() {
                Problem::not_request("the request is not an object")
            } else {
                Problem::not_json(format!("the request is not JSON: {error}"))
            }
        })?;
        let (Some(using), Some(method_calls), false) = (using, method_calls, is_twice) else {
            return Err(Problem::not_request("a request has `using` and `methodCalls` once each"));
        };
        let using = Using::read(using, own, is_known)?;
        let calls = calls(text, method_calls)?;
        let created_ids = created_ids.filter(|value| value.get() != "null");
        let created = created_ids.map(created).transpose()?;
        let place = |value: &RawValue| offset(text, value.get());
        let (method_calls, created_ids) = (place(method_calls), created_ids.map(place));
        Ok(Self { method_calls, created_ids, calls, using, created, text: text.to_owned() })
    }

    /// The arguments of a call, as the client gave them.
    pub(super) fn arguments(&self, call: &Call) -> &str {
        self.text.get(call.arguments.clone()).unwrap_or_default()
    }

    /// The request with these calls in the place of all; with these `createdIds`, or those of the
    /// client.
    pub(super) fn with(&self, sent: &[Sent], created: Option<&CreatedIds>) -> String {
        let mut calls = String::with_capacity(self.text.len());
        calls.push('[');
        for (index, arguments) in sent {
            let Some(call) = self.calls.get(*index) else { continue };
            if calls.len() > 1 {
                calls.push(',');
            }
            let part = |range| self.text.get(range).unwrap_or_default();
            match arguments {
                None => calls.push_str(part(call.place.clone())),
                Some(arguments) => calls.extend([
                    part(call.place.start..call.arguments.start),
                    arguments,
                    part(call.arguments.end..call.place.end),
                ]),
            }
        }
        calls.push(']');
        self.with_calls(calls, created)
    }

    /// The same with one call that has no effect, `Core/echo` (§4).
    pub(super) fn with_echo(&self) -> String {
        self.with_calls(r#"[["Core/echo",{},"0"]]"#.to_owned(), None)
    }

    fn with_calls(&self, mut calls: String, created: Option<&CreatedIds>) -> String {
        let mut splices = Vec::with_capacity(2);
        if let Some(created) = created {
            let written = write(created);
            match &self.created_ids {
                Some(range) => splices.push((range.clone(), written)),
                None => calls.extend([",\"createdIds\":", &written]),
            }
        }
        splices.push((self.method_calls.clone(), calls));
        splices.sort_by_key(|(range, _)| range.start);
        splice(&self.text, splices)
    }
}

impl Call {
    /// Whether it is ours to answer.
    pub(super) fn is_own(&self) -> bool {
        crate::api::request::is_own(&self.name)
    }

    /// Whether it may change something.
    pub(super) fn may_change(&self) -> bool {
        crate::api::request::may_change(&self.name)
    }
}

impl Using {
    fn read(
        using: &RawValue,
        own: &[&str],
        is_known: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Problem> {
        let mut read = Self {
            has_core: false,
            has_enhanced_references: false,
            has_own: false,
            is_known: true,
        };
        let listed = each_element(using.get(), |Text(name)| {
            read.has_core |= name == CORE;
            read.has_enhanced_references |= name == ENHANCED_REFERENCES;
            read.has_own |= own.contains(&&*name);
            read.is_known &= is_known(&name);
        });
        match listed {
            Ok(()) => Ok(read),
            Err(_) => Err(Problem::not_request("`using` is not a list of strings")),
        }
    }
}

fn calls(text: &str, method_calls: &RawValue) -> Result<Vec<Call>, Problem> {
    let (mut calls, mut count) = (Vec::new(), 0);
    let mut is_wrong = false;
    let listed = each_element(method_calls.get(), |parts: CallParts<'_>| {
        match parts.call(text) {
            Some(call) if calls.len() < MAX_CALLS => calls.push(call),
            Some(_) => {}
            None => is_wrong = true,
        }
        count += usize::from(!is_wrong);
    });
    if !method_calls.get().starts_with('[') {
        return Err(Problem::not_request("`methodCalls` is not a list"));
    }
    if listed.is_err() || is_wrong {
        let detail = format!("method call {count} is not a list of name, arguments and call id");
        return Err(Problem::not_request(detail));
    }
    if count > MAX_CALLS {
        let detail = format!("more than {MAX_CALLS} method calls in one request");
        return Err(Problem::limit(400, MAX_CALLS_IN_REQUEST, detail));
    }
    Ok(calls)
}

/// Name, arguments and method call id.
#[derive(Deserialize)]
struct CallParts<'a>(#[serde(borrow)] &'a RawValue, &'a RawValue, &'a RawValue);

impl CallParts<'_> {
    fn call(&self, text: &str) -> Option<Call> {
        let Self(name, arguments, call_id) = self;
        let place = |value: &RawValue| offset(text, value.get());
        arguments.get().starts_with('{').then_some(())?;
        // The brackets, beyond white space.
        let start = text.get(..place(name).start)?.rfind('[')?;
        let end = place(call_id).end;
        let end = end + text.get(end..)?.find(']')? + 1;
        Some(Call {
            name: string(name.get())?.into(),
            call_id: string(call_id.get())?.into(),
            place: start..end,
            arguments: place(arguments),
        })
    }
}

fn created(value: &RawValue) -> Result<CreatedIds, Problem> {
    if value.get().len() > MOST_CREATED {
        let detail = format!("`createdIds` is larger than {MOST_CREATED} bytes");
        return Err(Problem::not_request(detail));
    }
    serde_json::from_str(value.get())
        .map_err(|_| Problem::not_request("`createdIds` is not a map of ids to ids"))
}

/// As a JSON object.
pub(super) fn write(created: &CreatedIds) -> String {
    let mut text = "{".to_owned();
    for (creation_id, id) in created {
        if text.len() > 1 {
            text.push(',');
        }
        text.extend([&json_string(creation_id), ":", &json_string(id)]);
    }
    text + "}"
}
