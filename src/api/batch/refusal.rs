//! Why one call of a batch is not answered as it would be (RFC 8620 §3.6.2, A6). Pure.

use serde_json::json;

use crate::jmap::reference;

/// Fails one call, and no other.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Reference(#[from] reference::Error),
    /// Following references is work, which grows with the results and not with the request.
    #[error("the references of this request lead to more than {0} bytes of results")]
    ManyReferences(usize),
    #[error("the arguments are larger than {0} bytes")]
    LargeArguments(usize),
    #[error("the arguments cannot be read: {0}")]
    Arguments(#[source] serde_json::Error),
    /// §3.3: "If the client does not include a capability, the server MUST behave as if it did not
    /// support it"; §1.8.
    #[error("`using` lacks urn:ietf:params:jmap:core, which brings PushSubscription")]
    NoCore,
    /// A10.
    #[error(
        "a request that uses urn:ietf:params:jmap:refplus cannot be answered partly here: call \
         PushSubscription in a request of its own"
    )]
    EnhancedReferences,
    #[error(transparent)]
    Failed(#[from] Failed),
    /// As [`Failed::Broken`] and [`Failed::Unreadable`], of a call that only reads.
    #[error("{0}; nothing was changed")]
    FailedReading(#[source] Failed),
}

/// Why there is no response to a sub-request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It did not reach upstream, and the further ones are not tried.
    #[error("the mail server cannot be reached; try this call again")]
    Unreachable,
    /// Upstream has no time for it now (429, 503).
    #[error("the mail server is busy; try this call again later")]
    Busy,
    /// Upstream refused it whole, by this status, so that it had no effect.
    #[error("the mail server refused this part of the request with status {0}")]
    Refused(u16),
    /// The connection broke, or took too long, when upstream may have acted. The further ones are not
    /// tried.
    #[error("the mail server broke off its response: what this call changed is unknown")]
    Broken,
    /// What came is no Response, or an error that does not say that nothing was done.
    #[error("the mail server's response cannot be read: what this call changed is unknown")]
    Unreadable,
}

impl Failed {
    /// Whether there is no use in sending more.
    pub(super) const fn is_transport(self) -> bool {
        matches!(self, Self::Unreachable | Self::Broken)
    }

    /// What it means for one call. `serverFail` says that nothing was changed (§3.6.2), so a call that
    /// may have changed something is a `serverPartialFail`: the client looks what there is now.
    pub(super) const fn of(self, may_change: bool) -> Refusal {
        match self {
            Self::Broken | Self::Unreadable if !may_change => Refusal::FailedReading(self),
            _ => Refusal::Failed(self),
        }
    }
}

impl Refusal {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Reference(error) => error.kind(),
            Self::ManyReferences(_) | Self::LargeArguments(_) => "requestTooLarge",
            Self::Arguments(_) => "invalidArguments",
            Self::NoCore => "unknownMethod",
            Self::Failed(Failed::Unreachable | Failed::Busy) => "serverUnavailable",
            Self::Failed(Failed::Broken | Failed::Unreadable) => "serverPartialFail",
            Self::EnhancedReferences
            | Self::Failed(Failed::Refused(_))
            | Self::FailedReading(_) => "serverFail",
        }
    }

    /// The arguments of the `error` response.
    pub(super) fn to_json(&self) -> String {
        json!({ "type": self.kind(), "description": self.to_string() }).to_string()
    }
}
