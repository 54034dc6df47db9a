//! Why upstream's push is not, or no longer, heard: what is done about it, and what the operator is told.

use std::time::Duration;

use crate::upstream::Failure;

/// How a subscription, or the attempt at one, ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The Session names nothing to listen to.
    #[error("the Session names no eventSourceUrl, and no WebSocket that pushes")]
    NotOffered,
    /// It is on a host that is not upstream's.
    #[error("upstream's push is on another host ({0})")]
    Elsewhere(String),
    /// Upstream does not serve what it names: 204, which Cyrus answers where push is off, or an error
    /// that will be the same the next time.
    #[error("upstream's push answers {0}")]
    NotServed(u16),
    /// An answer that is no event stream, or no WebSocket of JMAP.
    #[error("upstream's push answers something else than events")]
    NoStream,
    /// This credential does not open it.
    #[error("upstream's push refuses the user ({0})")]
    Refused(u16),
    /// Upstream is in trouble, or wants to be asked less.
    #[error("upstream's push answers {0}")]
    Trouble(u16),
    /// No answer.
    #[error("upstream's push does not answer")]
    Unreachable,
    /// There is no descriptor for one more connection.
    #[error("there is no room for a connection to upstream's push")]
    NoRoom,
    /// Upstream ended the stream.
    #[error("upstream's push has ended")]
    Closed,
    /// The connection broke.
    #[error("the connection to upstream's push broke")]
    Broken,
    /// Nothing came for longer than pings should take.
    #[error("upstream's push fell silent")]
    Silent,
    /// As many as `upstream.relay_connections` allows are listened for.
    #[error(
        "more users have live streams than upstream.relay_connections ({0}) allows to listen for"
    )]
    Full(usize),
}

/// What an end means for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This user has no such thing.
    NotOffered,
    /// Upstream has no such thing: nobody need ask for a while.
    NotServed,
    /// Another credential may open it.
    Refused,
    /// It is tried again.
    Lost,
}

impl Ended {
    /// The label of `relay_ends`, and what the log tells one kind from another by.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotOffered => "not_offered",
            Self::Elsewhere(_) | Self::NotServed(_) | Self::NoStream => "not_served",
            Self::Refused(_) => "refused",
            Self::Trouble(_) => "trouble",
            Self::Unreachable => "unreachable",
            Self::NoRoom => "no_room",
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Full(_) => "full",
        }
    }

    /// See [`Verdict`].
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::NotOffered => Verdict::NotOffered,
            Self::Elsewhere(_) | Self::NotServed(_) | Self::NoStream => Verdict::NotServed,
            Self::Refused(_) => Verdict::Refused,
            _ => Verdict::Lost,
        }
    }

    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotOffered => {
                "set upstream.push = \"auto\": this server has no push to listen to"
            }
            Self::Elsewhere(_) => "if it is the same server, name that host in upstream.url",
            Self::NotServed(_) | Self::NoStream => {
                "switch push on at the JMAP server, or set upstream.push = \"auto\""
            }
            Self::Refused(_) => {
                "see whether the JMAP server's push takes other credentials than its API"
            }
            Self::Trouble(_) | Self::Unreachable | Self::Closed | Self::Broken | Self::Silent => {
                "see the JMAP server's log, and what stands between it and the proxy"
            }
            Self::NoRoom => "raise the descriptor limit, or limits.connections",
            Self::Full(_) => {
                "raise upstream.relay_connections; those users are served by the probe"
            }
        }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full(_) => Self::NoRoom,
            Failure::Broken(_) => Self::Broken,
            _ => Self::Unreachable,
        }
    }
}

/// An end, and what upstream said of the next time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// Why.
    pub ended: Ended,
    /// How long upstream wants to be left alone.
    pub wait: Option<Duration>,
    /// The id of the last event (`Last-Event-ID`); `None` leaves what was known.
    pub last_id: Option<Box<str>>,
}

impl From<Ended> for Farewell {
    fn from(ended: Ended) -> Self {
        Self { ended, wait: None, last_id: None }
    }
}
