//! Problem details for errors of our own (RFC 7807; RFC 8620 §3.6.1 for request-level errors).

use serde::Serialize;
use std::borrow::Cow;

/// The body of an error response: `application/problem+json`.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Problem {
    /// `urn:ietf:params:jmap:error:…` where the RFC has a word for it, else `about:blank`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The HTTP status, repeated as RFC 7807 §3.1 advises.
    pub status: u16,
    /// What is wrong and what to do, for a person. Never internals, never a secret.
    pub detail: Cow<'static, str>,
    /// The Session capability property that was exceeded (§3.6.1 `limit`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'static str>,
}

impl Problem {
    /// A problem that has no JMAP error type of its own.
    #[must_use]
    pub fn new(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: Cow::Borrowed("about:blank"), status, detail: detail.into(), limit: None }
    }

    /// §3.6.1 `notJSON`: not I-JSON (RFC 7493).
    #[must_use]
    pub fn not_json(detail: impl Into<Cow<'static, str>>) -> Self {
        let kind = Cow::Borrowed("urn:ietf:params:jmap:error:notJSON");
        Self { kind, ..Self::new(400, detail) }
    }

    /// §3.6.1 `notRequest`: JSON, but no Request object.
    #[must_use]
    pub fn not_request(detail: impl Into<Cow<'static, str>>) -> Self {
        let kind = Cow::Borrowed("urn:ietf:params:jmap:error:notRequest");
        Self { kind, ..Self::new(400, detail) }
    }

    /// §3.6.1 `limit`: a request exceeds the named limit of the Session's core capability.
    #[must_use]
    pub fn limit(status: u16, limit: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: Cow::Borrowed("urn:ietf:params:jmap:error:limit"),
            limit: Some(limit),
            ..Self::new(status, detail)
        }
    }

    /// The body as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}
