//! What can go wrong with a method call (RFC 8620 §3.6.2), or with one subscription of it (§5.3).

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

/// Fails a whole method call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// An argument is unknown or not of its type (§3.6.2).
    #[error("`{argument}`: {expected}")]
    InvalidArguments {
        /// Its name.
        argument: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// More objects than the Session allows (§5.1, §5.3).
    #[error("more objects than the Session allows")]
    RequestTooLarge,
    /// §7.2.1: "the server MUST reject the request with a forbidden error".
    #[error("url and keys are never returned")]
    Forbidden,
    /// There is no such method of this type.
    #[error("PushSubscription has /get and /set")]
    UnknownMethod,
    /// It will go some other time (§3.6.2).
    #[error("{0}; try again")]
    ServerUnavailable(&'static str),
    /// It is our fault: nothing was changed.
    #[error("{0}")]
    ServerFail(&'static str),
}

impl MethodError {
    pub(super) fn argument(argument: impl Into<String>, expected: &'static str) -> Self {
        Self::InvalidArguments { argument: argument.into(), expected }
    }

    /// The arguments of the `error` response.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let kind = match self {
            Self::InvalidArguments { .. } => "invalidArguments",
            Self::RequestTooLarge => "requestTooLarge",
            Self::Forbidden => "forbidden",
            Self::UnknownMethod => "unknownMethod",
            Self::ServerUnavailable(_) => "serverUnavailable",
            Self::ServerFail(_) => "serverFail",
        };
        json!({ "type": kind, "description": self.to_string() })
    }
}

/// The types of [`SetError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum SetErrorKind {
    OverQuota,
    RateLimit,
    NotFound,
    InvalidPatch,
    WillDestroy,
    InvalidProperties,
    /// Of §3.6.2, for what cannot be the client's fault.
    ServerFail,
}

/// Fails one subscription of a `/set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct SetError {
    #[serde(rename = "type")]
    kind: SetErrorKind,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl SetError {
    pub(super) fn new(kind: SetErrorKind, description: impl Into<String>) -> Self {
        Self { kind, properties: Vec::new(), description: Some(description.into()) }
    }

    pub(super) fn not_found() -> Self {
        Self { kind: SetErrorKind::NotFound, properties: Vec::new(), description: None }
    }

    pub(super) fn rate_limit(wait: Duration) -> Self {
        let seconds = wait.as_secs().max(1);
        Self::new(SetErrorKind::RateLimit, format!("try again in {seconds} s"))
    }
}

/// The properties of one object that are wrong, and why.
#[derive(Debug, Default)]
pub(super) struct Invalid(Vec<(String, Cow<'static, str>)>);

impl Invalid {
    pub(super) fn add(&mut self, property: &str, reason: impl Into<Cow<'static, str>>) {
        if !self.0.iter().any(|(known, _)| known == property) {
            self.0.push((property.to_owned(), reason.into()));
        }
    }

    /// Notes what is wrong with this property, if it is.
    pub(super) fn check<T>(
        &mut self,
        property: &str,
        read: Result<T, impl Into<Cow<'static, str>>>,
    ) -> Option<T> {
        read.map_err(|reason| self.add(property, reason)).ok()
    }

    pub(super) fn into_error(self) -> Option<SetError> {
        let reasons: Vec<String> =
            self.0.iter().map(|(property, reason)| format!("`{property}`: {reason}")).collect();
        (!reasons.is_empty()).then(|| SetError {
            kind: SetErrorKind::InvalidProperties,
            properties: self.0.into_iter().map(|(property, _)| property).collect(),
            description: Some(reasons.join("; ")),
        })
    }
}
