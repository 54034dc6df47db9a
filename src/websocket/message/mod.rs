//! The messages of JMAP over WebSocket (RFC 8887 §4.3): what a client says, and what it is answered.
//! Pure.
//!
//! A Request is read only so far as to tell it from the others; what it asks for goes upstream as it
//! came, without the members that are the WebSocket's.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::jmap::id::DataType;
use crate::jmap::object::{Member, json_string, members};
use crate::jmap::problem::Problem;
use crate::state::types::TypeFilter;

/// Longest `id` of a Request, in octets: it is kept while the request is under way.
const MOST_ID_BYTES: usize = 1024;

/// Most types of one `WebSocketPushEnable`: more than there are.
const MOST_TYPES: usize = 256;

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// §4.3.2.
    Request(Request),
    /// §4.3.5.2.
    PushEnable(PushEnable),
    /// §4.3.5.3.
    PushDisable,
}

/// An API request (RFC 8620 §3.3).
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// What the client calls it, to be echoed (W7).
    pub id: Option<String>,
    /// The Request object as it goes upstream.
    pub body: String,
}

/// A wish for push.
#[derive(Debug, PartialEq, Eq)]
pub struct PushEnable {
    /// The types; none and `null` mean all, an empty list none at all (W9).
    pub filter: TypeFilter,
    /// What the client has been given already (W11).
    pub push_state: Option<String>,
}

/// A message that is not understood, to be answered by a `RequestError` (W8).
#[derive(Debug, PartialEq, Eq)]
pub struct NotUnderstood {
    /// The request's `id`, where that could be read.
    pub id: Option<String>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Reads one message.
///
/// # Errors
/// [`NotUnderstood`].
pub fn read(text: &str) -> Result<Message, NotUnderstood> {
    let Ok(members) = members(text) else { return Err(no_object(text)) };
    let id = match once(&members, "id").map(|id| id.map(string)) {
        Ok(None) => None,
        Ok(Some(Some(id))) if id.len() <= MOST_ID_BYTES => Some(id.into_owned()),
        Ok(Some(Some(_))) => return Err(not_request(None, "its id is longer than 1024 octets")),
        Ok(Some(None)) => return Err(not_request(None, "its id is no string")),
        Err(twice) => return Err(not_request(None, twice)),
    };
    let fail = |detail| not_request(id.clone(), detail);
    let kind = once(&members, "@type").map_err(fail)?.and_then(string);
    match kind.as_deref() {
        Some("Request") => Ok(Message::Request(Request { body: without_ours(text, &members), id })),
        Some("WebSocketPushEnable") => push_enable(&members).map_err(fail).map(Message::PushEnable),
        Some("WebSocketPushDisable") => Ok(Message::PushDisable),
        Some(_) => {
            Err(fail("its @type is none of Request, WebSocketPushEnable and WebSocketPushDisable"))
        }
        None => Err(fail("it has no @type (RFC 8887 §4.3)")),
    }
}

fn push_enable(members: &[Member<'_>]) -> Result<PushEnable, &'static str> {
    let types = once(members, "dataTypes")?.map(|types| serde_json::from_str(types.get()));
    let filter = match types {
        None | Some(Ok(None)) => TypeFilter::All,
        Some(Ok(Some(Names(names)))) if names.len() <= MOST_TYPES => {
            // A type that cannot exist never changes.
            TypeFilter::only(names.iter().filter_map(|name| DataType::parse(name)))
        }
        Some(_) => return Err("its dataTypes are neither null nor a list of type names"),
    };
    let push_state = match once(members, "pushState")? {
        None => None,
        Some(state) if state.get() == "null" => None,
        Some(state) => Some(string(state).ok_or("its pushState is no string")?.into_owned()),
    };
    Ok(PushEnable { filter, push_state })
}

#[derive(Deserialize)]
struct Names<'a>(#[serde(borrow)] Vec<Cow<'a, str>>);

/// The one member of that name. I-JSON forbids two (S2), and which one upstream takes is unknown.
fn once<'a>(members: &[Member<'a>], name: &str) -> Result<Option<&'a RawValue>, &'static str> {
    let mut named = members.iter().filter(|member| member.name == name).map(|member| member.value);
    let first = named.next();
    if named.next().is_some() { Err("a member is there twice") } else { Ok(first) }
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

/// The object without `@type` and `id`, all else to the byte.
fn without_ours(text: &str, members: &[Member<'_>]) -> String {
    let mut body = String::with_capacity(text.len());
    body.push('{');
    for Member { name, value } in members {
        if name == "@type" || name == "id" {
            continue;
        }
        if body.len() > 1 {
            body.push(',');
        }
        match &**name {
            plain @ ("using" | "methodCalls" | "createdIds") => {
                body.extend(["\"", plain, "\":"]);
            }
            other => body.extend([&*json_string(other), ":"]),
        }
        body.push_str(value.get());
    }
    body.push('}');
    body
}

fn no_object(text: &str) -> NotUnderstood {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return not_request(None, "it is no JSON object");
    }
    NotUnderstood { id: None, problem: Problem::not_json("the message is not JSON") }
}

fn not_request(id: Option<String>, detail: &'static str) -> NotUnderstood {
    let detail = format!("the message is not understood: {detail}");
    NotUnderstood { id, problem: Problem::not_request(detail) }
}

/// A `Response` (§4.3.3): the upstream's response object with the WebSocket's members before its own.
/// `None` if `body` is no object, or not UTF-8: the client would have to end the connection (RFC 6455
/// §8.1).
#[must_use]
pub fn response(id: Option<&str>, body: &[u8]) -> Option<Vec<u8>> {
    std::str::from_utf8(body).ok()?;
    let begin = body.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let inside = body.get(begin..)?.strip_prefix(b"{")?;
    let mut message = Vec::with_capacity(body.len() + 48 + id.map_or(0, str::len));
    message.extend_from_slice(b"{\"@type\":\"Response\"");
    if let Some(id) = id {
        message.extend_from_slice(b",\"requestId\":");
        // Writing to a Vec cannot fail.
        let _ = serde_json::to_writer(&mut message, id);
    }
    let next = inside.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if *next != b'}' {
        message.push(b',');
    }
    message.extend_from_slice(inside);
    Some(message)
}

/// A `RequestError` (§4.3.4): problem details of ours.
#[must_use]
pub fn request_error(id: Option<&str>, problem: &Problem) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct RequestError<'a> {
        #[serde(rename = "@type")]
        kind: &'static str,
        request_id: Option<&'a str>,
        #[serde(flatten)]
        problem: &'a Problem,
    }
    let error = RequestError { kind: "RequestError", request_id: id, problem };
    serde_json::to_vec(&error).unwrap_or_default()
}

/// The same of what upstream said, if those are problem details; `None` otherwise.
#[must_use]
pub fn upstream_error(id: Option<&str>, body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let members = members(text).ok()?;
    members.iter().find(|member| member.name == "type")?;
    let mut message = b"{\"@type\":\"RequestError\",\"requestId\":".to_vec();
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(&mut message, &id);
    for Member { name, value } in &members {
        if name != "@type" && name != "requestId" {
            message.push(b',');
            let _ = serde_json::to_writer(&mut message, name);
            message.push(b':');
            message.extend_from_slice(value.get().as_bytes());
        }
    }
    message.push(b'}');
    Some(message)
}

/// The response to a request that calls nothing but `Core/echo` (RFC 8620 §4.1), which needs nobody to
/// be asked; `None` for any other.
#[must_use]
pub fn echo(body: &str, session_state: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Echo<'a> {
        #[serde(borrow)]
        using: Vec<Cow<'a, str>>,
        #[serde(borrow, rename = "methodCalls")]
        calls: Vec<(Cow<'a, str>, &'a RawValue, Cow<'a, str>)>,
    }
    let Echo { using, calls } = serde_json::from_str(body).ok()?;
    let plain = |(name, arguments, _): &(Cow<'_, str>, &RawValue, Cow<'_, str>)| {
        // A result reference (RFC 8620 §3.7) is upstream's to resolve.
        let has_reference =
            |members: Vec<Member<'_>>| members.iter().any(|member| member.name.starts_with('#'));
        name == "Core/echo" && members(arguments.get()).is_ok_and(|m| !has_reference(m))
    };
    let is_core = |urn: &Cow<'_, str>| urn == crate::jmap::capability::CORE;
    if using.is_empty()
        || !using.iter().all(is_core)
        || calls.is_empty()
        || !calls.iter().all(plain)
    {
        return None;
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Echoed<'a> {
        method_responses: &'a [(Cow<'a, str>, &'a RawValue, Cow<'a, str>)],
        session_state: &'a str,
    }
    serde_json::to_string(&Echoed { method_responses: &calls, session_state }).ok()
}

#[cfg(test)]
mod tests;
