//! What can go wrong with a method call (RFC 8620 §3.6.2) or one record of it (§5.3).

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::store::account::Refused;
use crate::jmap::reference;

/// Fails a whole method call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MethodError {
    #[error("this server, or the capabilities in `using`, have no such method")]
    UnknownMethod,
    #[error("the arguments cannot be read: {0}")]
    Arguments(#[source] serde_json::Error),
    #[error("`{argument}`: {expected}")]
    InvalidArgument { argument: Cow<'static, str>, expected: &'static str },
    #[error(transparent)]
    Reference(#[from] reference::Error),
    #[error("no such account")]
    AccountNotFound,
    #[error("no such account to copy from")]
    FromAccountNotFound,
    #[error("this account is shared with you for reading only")]
    AccountReadOnly,
    #[error("the state is not the one in `ifInState`")]
    StateMismatch,
    #[error("ask for everything anew")]
    CannotCalculateChanges,
    #[error("the anchor is not among the results")]
    AnchorNotFound,
    #[error("the filter has a condition this server does not know")]
    UnsupportedFilter,
    #[error("the sort has a property this server does not know")]
    UnsupportedSort,
    #[error("more objects than the Session allows")]
    RequestTooLarge,
    #[error("the answer could not be written")]
    Answer(#[source] serde_json::Error),
}

impl MethodError {
    /// The arguments of the `error` response.
    pub(crate) fn to_value(&self) -> Value {
        let kind = match self {
            Self::UnknownMethod => "unknownMethod",
            Self::Arguments(_) | Self::InvalidArgument { .. } => "invalidArguments",
            Self::Reference(error) => error.kind(),
            Self::AccountNotFound => "accountNotFound",
            Self::FromAccountNotFound => "fromAccountNotFound",
            Self::AccountReadOnly => "accountReadOnly",
            Self::StateMismatch => "stateMismatch",
            Self::CannotCalculateChanges => "cannotCalculateChanges",
            Self::AnchorNotFound => "anchorNotFound",
            Self::UnsupportedFilter => "unsupportedFilter",
            Self::UnsupportedSort => "unsupportedSort",
            Self::RequestTooLarge => "requestTooLarge",
            Self::Answer(_) => "serverFail",
        };
        json!({ "type": kind, "description": self.to_string() })
    }
}

/// The types of [`SetError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SetErrorKind {
    OverQuota,
    NotFound,
    InvalidPatch,
    InvalidProperties,
    Singleton,
    MailboxHasChild,
    MailboxHasEmail,
    BlobNotFound,
    NoRecipients,
    CannotUnsend,
}

/// Fails one record of a `/set`, `/copy` or `/import`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SetError {
    #[serde(rename = "type")]
    pub(crate) kind: SetErrorKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'static, str>>,
}

impl SetError {
    /// The property that is wrong, and what it must be.
    pub(crate) fn property(name: &'static str, description: &'static str) -> Self {
        Self {
            properties: Some([name]),
            description: Some(Cow::Borrowed(description)),
            ..Self::from(SetErrorKind::InvalidProperties)
        }
    }

    /// The record is not of its type's shape; serde says where.
    pub(crate) fn shape(error: &serde_json::Error) -> Self {
        Self {
            description: Some(Cow::Owned(error.to_string())),
            ..Self::from(SetErrorKind::InvalidProperties)
        }
    }
}

impl From<SetErrorKind> for SetError {
    fn from(kind: SetErrorKind) -> Self {
        Self { kind, properties: None, description: None }
    }
}

impl From<Refused> for SetError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoMailbox => Self::property("mailboxIds", "at least one Mailbox"),
            Refused::UnknownMailbox => Self::property("mailboxIds", "a Mailbox is not there"),
            Refused::OverQuota => Self::from(SetErrorKind::OverQuota),
        }
    }
}
