//! What can go wrong between us and upstream, and what the client is told.

use std::time::Duration;

use http::Response;

use crate::http::body::BodyError;
use crate::http::{Body, reply};
use crate::jmap::problem::Problem;

/// Why upstream gave no usable response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection: refused, unreachable, name unknown, or TLS failed.
    #[error("connect to upstream")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// No connection in time.
    #[error("connect to upstream")]
    ConnectTimeout(#[source] hyper_util::client::legacy::Error),
    /// There is no descriptor for one more connection.
    #[error("connect to upstream")]
    Full(#[source] hyper_util::client::legacy::Error),
    /// The connection broke, or what came was not HTTP.
    #[error("get a response from upstream")]
    Broken(#[source] hyper_util::client::legacy::Error),
    /// Connected and sent, but no response head in time.
    #[error("get a response from upstream within {0:?}")]
    Silent(Duration),
    /// Connected, but upstream took nothing of the request's body for so long.
    #[error("send the request body to upstream: nothing of it was taken for {0:?}")]
    Stalled(Duration),
    /// The client broke off its request body, or was too slow with it.
    #[error("read the client's request body")]
    Downstream(#[source] BodyError),
    /// The response body broke off or is too large to be read whole.
    #[error("read the response body of upstream")]
    Body(#[source] BodyError),
    /// Upstream answered what we cannot use.
    #[error("use the answer of upstream: {0}")]
    Unusable(&'static str),
    /// Upstream redirects us to another host.
    #[error("follow the redirect of upstream to {0}")]
    ForeignRedirect(String),
}

impl Failure {
    /// Whether upstream itself is in trouble, as opposed to the client or us.
    #[must_use]
    pub fn is_upstreams(&self) -> bool {
        !matches!(self, Self::Downstream(_) | Self::Full(_))
    }

    /// Whether no byte of the request has left, so that another address may be asked.
    pub(super) fn is_before_sending(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::ConnectTimeout(_))
    }

    /// What the client is told: the kind of failure, no internals.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Connect(_) => Problem::new(502, "the mail server cannot be reached; try again"),
            Self::Full(_) => {
                Problem::new(503, "the proxy holds as many connections as it may; try again")
            }
            Self::Broken(_) | Self::Body(_) => {
                Problem::new(502, "the mail server broke off its response; try again")
            }
            Self::ConnectTimeout(_) => {
                Problem::new(504, "the mail server cannot be reached in time; try again")
            }
            Self::Silent(_) => Problem::new(504, "the mail server did not answer in time"),
            Self::Stalled(_) => Problem::new(504, "the mail server stopped reading the request"),
            Self::Downstream(BodyError::TooLarge(_)) => {
                Problem::new(413, "the request body is too large")
            }
            Self::Downstream(BodyError::Silent(_) | BodyError::Slow(_)) => {
                Problem::new(408, "the request body did not come in time")
            }
            Self::Downstream(BodyError::Peer(_)) => {
                Problem::new(400, "the request body ended early")
            }
            Self::Unusable(_) => Problem::new(502, "the mail server's answer cannot be used"),
            Self::ForeignRedirect(to) => Problem::new(
                502,
                format!("the mail server redirects to another host ({to}), which is not followed"),
            ),
        }
    }

    /// [`Self::problem`] as a response; a trouble that may pass says when to try again.
    #[must_use]
    pub fn response(&self) -> Response<Body> {
        match self {
            Self::Connect(_) | Self::ConnectTimeout(_) | Self::Full(_) => {
                reply::problem_retry(&self.problem(), 5)
            }
            _ => reply::problem(&self.problem()),
        }
    }
}
