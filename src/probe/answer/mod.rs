//! What upstream's reply to a probe says (RFC 8620 §3.4, §3.6).
//!
//! Pure: a reply goes in, an [`Answer`] comes out. What follows from it is decided in
//! [`super::round`], [`super::quarantine`] and [`super::schedule`].

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::plan::{EMAIL_DELIVERY, Request, method};
use crate::jmap::capability::CORE;
use crate::jmap::id::{DataType, MAX_STATE_BYTES, State};
use crate::state::fact::ProbeAnswer;

/// Bytes of a reply that are read; more counts as broken. A reply to `ids: []` has some hundred bytes
/// a type, so this is met only by a server that takes an empty list for "all".
pub const MAX_REPLY_BYTES: usize = 1 << 20;

/// A reply as it came over HTTP.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// `Retry-After`, when it is a number of seconds.
    pub retry_after: Option<Duration>,
    /// The body, decoded and whole, up to [`MAX_REPLY_BYTES`].
    pub body: Bytes,
    /// Whether upstream took who asked for the user: else its `sessionState` is that of another
    /// Session, and left out.
    pub is_as_user: bool,
}

/// Why there is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No connection could be made, so that nothing can be blamed on what was asked.
    #[error("upstream cannot be reached")]
    Unreachable,
    /// The connection ended before the reply did: how a crash looks from outside.
    #[error("upstream closed the connection without a whole reply")]
    Closed,
    /// No whole reply within `probe.timeout`.
    #[error("upstream did not reply in time")]
    TimedOut,
    /// The reply exceeds [`MAX_REPLY_BYTES`].
    #[error("upstream's reply is too large")]
    TooLarge,
}

/// A method-level error that is about the account rather than the call (§3.6.2). The Session may have
/// changed: the principal's accounts are to be fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountError {
    /// `accountNotFound`
    NotFound,
    /// `forbidden`, or status 403 for the whole request.
    Forbidden,
    /// `accountNotSupportedByMethod`
    NotSupported,
}

/// What one request brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A Response object (§3.4).
    Answered(Answered),
    /// Upstream refused the request as a whole.
    Refused(Refusal),
    /// Upstream failed in a way that one of the asked types may have caused.
    Broken,
    /// Upstream was not reached.
    Unreachable,
}

/// See [`Answer::Answered`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answered {
    /// One entry for each type asked with `/get`.
    pub types: Vec<(DataType, ProbeAnswer)>,
    /// Whether mail was created since [`Request::since`], or this cannot be excluded
    /// (`hasMoreChanges`, `cannotCalculateChanges`); `None` when not asked or not told.
    pub delivery: Option<bool>,
    /// Asked types that upstream has no method for, `EmailDelivery` included.
    pub unknown: Vec<DataType>,
    /// Types that upstream has, yet not for this account.
    pub account_errors: Vec<(DataType, AccountError)>,
    /// `sessionState` (§3.4).
    pub session_state: Option<String>,
}

/// See [`Answer::Refused`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 401: the credential is no longer good. Not tried again.
    Unauthorized,
    /// 403.
    Forbidden,
    /// Too many requests: 429, 503 with `Retry-After`, or §3.6.1 `limit`.
    Limited(Option<Duration>),
    /// §3.6.1 `unknownCapability`, and which one, if the text names one that was in `using`.
    UnknownCapability(Option<String>),
    /// Any other status that is neither 2xx nor 5xx.
    Status(StatusCode),
}

/// Reads what came back for `request`.
#[must_use]
pub fn read(request: &Request, reply: Result<Reply, Lost>) -> Answer {
    let reply = match reply {
        Ok(reply) => reply,
        Err(Lost::Unreachable) => return Answer::Unreachable,
        Err(Lost::Closed | Lost::TimedOut | Lost::TooLarge) => return Answer::Broken,
    };
    match reply.status {
        status if status.is_success() => match read_response(request, &reply.body) {
            Answer::Answered(answered) if !reply.is_as_user => {
                Answer::Answered(Answered { session_state: None, ..answered })
            }
            answer => answer,
        },
        StatusCode::UNAUTHORIZED => Answer::Refused(Refusal::Unauthorized),
        StatusCode::FORBIDDEN => Answer::Refused(Refusal::Forbidden),
        StatusCode::TOO_MANY_REQUESTS => Answer::Refused(Refusal::Limited(reply.retry_after)),
        StatusCode::SERVICE_UNAVAILABLE if reply.retry_after.is_some() => {
            Answer::Refused(Refusal::Limited(reply.retry_after))
        }
        status if status.is_server_error() => Answer::Broken,
        status => Answer::Refused(read_problem(request, status, &reply)),
    }
}

/// §3.6.1: request-level errors are problem details (RFC 7807).
#[derive(Deserialize)]
struct ProblemType {
    #[serde(rename = "type")]
    kind: String,
}

fn read_problem(request: &Request, status: StatusCode, reply: &Reply) -> Refusal {
    let kind = match serde_json::from_slice::<ProblemType>(&reply.body) {
        Ok(problem) if reply.body.len() <= MAX_REPLY_BYTES => problem.kind,
        _ => return Refusal::Status(status),
    };
    match kind.as_str() {
        "urn:ietf:params:jmap:error:limit" => Refusal::Limited(reply.retry_after),
        "urn:ietf:params:jmap:error:unknownCapability" => {
            let text = String::from_utf8_lossy(&reply.body);
            let named = request.using.iter().filter(|name| *name != CORE && text.contains(*name));
            // One URN may be the beginning of another.
            Refusal::UnknownCapability(named.max_by_key(|name| name.len()).cloned())
        }
        _ => Refusal::Status(status),
    }
}

/// §3.4 Response object. Other members, lists of objects above all, are skipped without being built.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    #[serde(borrow)]
    method_responses: Vec<Invocation<'a>>,
    #[serde(default)]
    session_state: Option<String>,
}

/// §3.2: name, arguments, method call id.
#[derive(Deserialize)]
struct Invocation<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] &'a RawValue,
    #[serde(borrow)] Cow<'a, str>,
);

/// The members of all responses that matter here; each has some of them.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Arguments<'a> {
    #[serde(borrow)]
    account_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    state: Option<Cow<'a, str>>,
    created: Option<Vec<serde::de::IgnoredAny>>,
    has_more_changes: bool,
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

fn read_response(request: &Request, body: &[u8]) -> Answer {
    if body.len() > MAX_REPLY_BYTES {
        return Answer::Broken;
    }
    let Ok(response) = serde_json::from_slice::<Response<'_>>(body) else { return Answer::Broken };
    let session_state = response.session_state.filter(|state| state.len() <= MAX_STATE_BYTES);
    let mut answered = Answered { session_state, ..Answered::default() };
    for data_type in &request.types {
        let said = find(request, &response.method_responses, data_type);
        answered.note(data_type, said);
    }
    Answer::Answered(answered)
}

/// What was said about one call.
enum Said {
    State(State),
    Delivery(bool),
    UnknownMethod,
    Account(AccountError),
    Nothing,
}

/// The response to the call for `data_type`. §3.4 lets a call have several; the one that answers it
/// bears its name.
fn find(request: &Request, responses: &[Invocation<'_>], data_type: &DataType) -> Said {
    let expected = method(data_type.as_str());
    let mut found = responses
        .iter()
        .filter(|Invocation(_, _, call_id)| call_id == data_type.as_str())
        .filter(|Invocation(name, _, _)| *name == expected || name == "error");
    let Some(Invocation(name, raw, _)) = found.next() else { return Said::Nothing };
    let Ok(arguments) = serde_json::from_str::<Arguments<'_>>(raw.get()) else {
        return Said::Nothing;
    };
    if name == "error" {
        let kind = arguments.kind.as_deref().unwrap_or_default();
        return match kind {
            // §5.2: upstream no longer knows what happened since.
            "cannotCalculateChanges" if data_type.as_str() == EMAIL_DELIVERY => {
                Said::Delivery(true)
            }
            _ => read_error(kind),
        };
    }
    if arguments.account_id.as_deref() != Some(request.account.as_str()) {
        return Said::Nothing;
    }
    if data_type.as_str() == EMAIL_DELIVERY {
        let has_more = arguments.has_more_changes;
        let created = arguments.created.map(|ids| has_more || !ids.is_empty());
        return created.map_or(Said::Nothing, Said::Delivery);
    }
    arguments.state.as_deref().and_then(State::parse).map_or(Said::Nothing, Said::State)
}

/// §3.6.2 method-level errors.
fn read_error(kind: &str) -> Said {
    match kind {
        "unknownMethod" => Said::UnknownMethod,
        "accountNotFound" => Said::Account(AccountError::NotFound),
        "forbidden" => Said::Account(AccountError::Forbidden),
        "accountNotSupportedByMethod" => Said::Account(AccountError::NotSupported),
        _ => Said::Nothing,
    }
}

impl Answered {
    /// Whether upstream gave at least one thing that was asked for.
    #[must_use]
    pub fn is_useful(&self) -> bool {
        let is_state =
            |(_, answer): &(DataType, ProbeAnswer)| matches!(answer, ProbeAnswer::State(_));
        self.delivery.is_some() || self.types.iter().any(is_state)
    }

    fn note(&mut self, data_type: &DataType, said: Said) {
        let answer = match said {
            Said::State(state) => ProbeAnswer::State(state),
            Said::Delivery(delivered) => {
                self.delivery = Some(delivered);
                return;
            }
            Said::UnknownMethod => {
                self.unknown.push(data_type.clone());
                ProbeAnswer::UnknownMethod
            }
            Said::Account(error) => {
                self.account_errors.push((data_type.clone(), error));
                ProbeAnswer::Failed
            }
            Said::Nothing => ProbeAnswer::Failed,
        };
        if data_type.as_str() != EMAIL_DELIVERY {
            self.types.push((data_type.clone(), answer));
        }
    }
}

#[cfg(test)]
mod tests;
