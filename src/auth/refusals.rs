//! Upstream's refusals, for the moment they are remembered (architecture D9; hostile.md X2).
//!
//! Anybody can make one up by a wrong credential. So there is little room for them, apart from what
//! is known of good credentials, and of each only what tells a client how to authenticate.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::credentials::CredentialKey;
use crate::clock::Moment;
use crate::http::{Body, reply};
use crate::jmap::problem::Problem;
use crate::upstream::Fetched;

/// Refusals remembered at most. When full: expired ones go, then a new one is not remembered.
const MOST: usize = 1000;

/// Bytes of a refusal's body. A larger one is a page for people, and left out: half of it helps
/// nobody.
const LARGEST_BODY: usize = 4096;

/// Why a credential opens nothing.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// Upstream refused it: its status, the headers that matter, and a short body, to be passed on.
    Upstream(StatusCode, Box<HeaderMap>, Bytes),
    /// Upstream could not be asked, or answered no Session.
    Unavailable(Problem),
    /// Upstream was not asked: too many have failed where this client is. One may try again after this
    /// time.
    Later(Duration),
}

impl Refusal {
    /// Whether upstream itself said no, as opposed to nothing.
    #[must_use]
    pub fn is_upstreams(&self) -> bool {
        matches!(self, Self::Upstream(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, ..))
    }

    /// The response for the client: upstream's own where there is one (`WWW-Authenticate` included).
    #[must_use]
    pub fn response(self) -> Response<Body> {
        match self {
            Self::Upstream(status, headers, body) => {
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = status;
                *response.headers_mut() = *headers;
                response
            }
            Self::Unavailable(problem) => reply::problem_retry(&problem, 5),
            Self::Later(wait) => {
                let detail = "too many sign-ins have failed at your address; wait, then try again";
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                reply::problem_retry(&Problem::new(429, detail), seconds)
            }
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Refusals(HashMap<CredentialKey, (Refusal, Moment)>);

impl Refusals {
    /// The refusal of this credential, if it was not inserted longer than `lifetime` ago.
    pub(super) fn of(
        &self,
        key: CredentialKey,
        now: Moment,
        lifetime: Duration,
    ) -> Option<&Refusal> {
        let (refusal, since) = self.0.get(&key)?;
        (now.since(*since) < lifetime).then_some(refusal)
    }

    /// Remembers one, and drops those that are older than `lifetime`.
    pub(super) fn insert(
        &mut self,
        key: CredentialKey,
        refusal: Refusal,
        now: Moment,
        lifetime: Duration,
    ) {
        self.0.retain(|other, (_, since)| *other != key && now.since(*since) < lifetime);
        if self.0.len() < MOST {
            self.0.insert(key, (refusal, now));
        }
    }

    /// Forgets what is remembered of this credential.
    pub(super) fn remove(&mut self, key: CredentialKey) {
        self.0.remove(&key);
    }
}

/// What of upstream's answer all who show a credential are told: nothing that is meant for one client
/// only. Copied, for what was read shares its memory with all that came with it.
pub(super) fn refusal(fetched: &Fetched) -> Refusal {
    let is_short = fetched.body.len() <= LARGEST_BODY;
    let body = if is_short { Bytes::copy_from_slice(&fetched.body) } else { Bytes::new() };
    let mut headers = HeaderMap::new();
    for name in [WWW_AUTHENTICATE, CONTENT_TYPE, RETRY_AFTER] {
        if name == CONTENT_TYPE && body.is_empty() {
            continue;
        }
        for value in fetched.headers.get_all(&name) {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(&name, value);
            }
        }
    }
    Refusal::Upstream(fetched.status, Box::new(headers), body)
}

/// The process ends before upstream has answered.
pub(super) fn interrupted() -> Refusal {
    Refusal::Unavailable(Problem::new(503, "the proxy is stopping; try again"))
}

/// A stranger's turn to be asked about does not come.
pub(super) fn crowded() -> Refusal {
    Refusal::Unavailable(Problem::new(503, "too many clients sign in at once; try again"))
}

/// What upstream has at the Session's path is none.
pub(super) fn no_session() -> Refusal {
    Refusal::Unavailable(Problem::new(502, "the mail server answered no JMAP Session"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jmap::problem::Problem;

    const MINUTE: Duration = Duration::from_secs(60);

    fn filled(at: Moment) -> Refusals {
        let mut refusals = Refusals::default();
        for key in 0..=MOST {
            let refusal = Refusal::Unavailable(Problem::new(503, "no"));
            refusals.insert(CredentialKey(key as u128), refusal, at, MINUTE);
        }
        refusals
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let refusals = filled(Moment(0));
        assert_eq!(refusals.0.len(), MOST);
        assert!(refusals.of(CredentialKey(0), Moment(0), MINUTE).is_some());
        assert!(refusals.of(CredentialKey(MOST as u128), Moment(0), MINUTE).is_none());
    }

    #[test]
    fn those_whose_time_is_over_make_room() {
        let mut refusals = filled(Moment(0));
        let later = Moment(0).after(MINUTE);
        assert!(refusals.of(CredentialKey(0), later, MINUTE).is_none());
        let refusal = Refusal::Unavailable(Problem::new(503, "no"));
        refusals.insert(CredentialKey(0), refusal, later, MINUTE);
        assert_eq!(refusals.0.len(), 1);
    }
}
