//! Whose `PushSubscription` it is (`push.mode`; protocol.md §5.1.7, §5.4.6): two owners of its ids are past
//! all help, so an upstream that has it keeps it. While nobody can say, its calls are nobody's: forwarded,
//! they would be answered `unknownMethod`, which a client takes for good.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

use crate::auth::Credentials;
use crate::clock::Moment;
use crate::config::PushMode;
use crate::jmap::capability::VAPID;
use crate::jmap::session::Session;
use crate::upstream::Upstream;

/// Does nothing, and tells whether the method is there (§5.1: an empty list of ids).
const QUESTION: &str = r#"{"using":["urn:ietf:params:jmap:core"],"methodCalls":[["PushSubscription/get",{"ids":[]},"0"]]}"#;

/// The most that is read of an answer.
const LIMIT: usize = 64 << 10;

/// How long an answer holds: a mail server may be upgraded.
const HOLDS: Duration = Duration::from_secs(3600);

/// How long until one that could not answer is asked again.
const PAUSE: Duration = Duration::from_secs(10);

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Ours,
    Upstream,
    Unknown,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ownership {
    mode: PushMode,
    known: Mutex<Known>,
    /// One asks, the others wait for the answer.
    asking: tokio::sync::Mutex<()>,
}

/// What was found out.
#[derive(Debug, Clone, Copy)]
struct Known {
    owner: Owner,
    /// Until when nobody is asked again.
    until: Moment,
    is_doubt_told: bool,
}

impl Ownership {
    pub(super) fn new(mode: PushMode) -> Self {
        let known = Known { owner: Owner::Unknown, until: Moment::default(), is_doubt_told: false };
        Self { mode, known: Mutex::new(known), asking: tokio::sync::Mutex::default() }
    }

    /// What is known of it.
    pub(super) fn known_owner(&self) -> Owner {
        match self.mode {
            PushMode::Own => Owner::Ours,
            PushMode::Upstream | PushMode::Off => Owner::Upstream,
            PushMode::Auto => self.known().owner,
        }
    }

    /// Whose it is; asks upstream, as whoever calls, where that is not known.
    pub(super) async fn owner(
        &self,
        upstream: &Upstream,
        (api_path, credentials): (&str, &Credentials),
    ) -> Owner {
        if self.mode != PushMode::Auto || self.is_settled() {
            return self.known_owner();
        }
        let _asking = self.asking.lock().await;
        if !self.is_settled() {
            let authenticate = |headers: &mut _| credentials.write(headers);
            let asked = upstream.ask(api_path, QUESTION.into(), LIMIT, authenticate).await;
            let answer = asked.ok().filter(|asked| asked.status == StatusCode::OK);
            self.learn(answer.map_or(Owner::Unknown, |answer| owner_by(&answer.body)));
        }
        self.known_owner()
    }

    /// Takes note of what upstream's own Session says, as it came from there.
    pub(super) fn read(&self, session: &Session) {
        if self.mode == PushMode::Auto && session.capabilities.contains_key(VAPID) {
            self.learn(Owner::Upstream);
        }
    }

    fn is_settled(&self) -> bool {
        Moment::now() < self.known().until
    }

    fn known(&self) -> Known {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, owner: Owner) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if owner == Owner::Unknown {
            known.until = Moment::now().after(PAUSE);
            if known.owner == Owner::Unknown && !mem::replace(&mut known.is_doubt_told, true) {
                tracing::warn!(
                    "upstream does not answer whether it has PushSubscription: until it does, nobody can \
                     subscribe; set push.mode to \"own\" if it has none, to \"upstream\" if it has"
                );
            }
            return;
        }
        if known.owner != owner {
            let told = match owner {
                Owner::Ours => "PushSubscription is ours: upstream has none",
                Owner::Upstream => "PushSubscription is upstream's: it has one itself",
                Owner::Unknown => return,
            };
            tracing::info!("{told}");
        }
        *known = Known { owner, until: Moment::now().after(HOLDS), is_doubt_told: false };
    }
}

/// Whose it is by the answer to [`QUESTION`].
fn owner_by(body: &[u8]) -> Owner {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Response {
        method_responses: Vec<(String, serde_json::Value, String)>,
    }
    let response = serde_json::from_slice(body).ok();
    let answer = response.and_then(|it: Response| it.method_responses.into_iter().next());
    let Some((name, arguments, _)) = answer else { return Owner::Unknown };
    match (&*name, arguments.get("type").and_then(serde_json::Value::as_str)) {
        ("PushSubscription/get", _) => Owner::Upstream,
        ("error", Some("unknownMethod")) => Owner::Ours,
        // It fails or refuses, as only a method does that is there; or the server is in trouble.
        ("error", Some("forbidden" | "invalidArguments" | "requestTooLarge")) => Owner::Upstream,
        _ => Owner::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &str, arguments: &str) -> Owner {
        owner_by(format!(r#"{{"methodResponses":[["{name}",{arguments},"0"]]}}"#).as_bytes())
    }

    #[test]
    fn an_upstream_that_knows_the_method_has_it() {
        assert_eq!(answer("PushSubscription/get", r#"{"list":[],"notFound":[]}"#), Owner::Upstream);
        assert_eq!(answer("error", r#"{"type":"forbidden"}"#), Owner::Upstream);
        assert_eq!(answer("error", r#"{"type":"unknownMethod"}"#), Owner::Ours);
    }

    #[test]
    fn trouble_says_nothing_about_it() {
        assert_eq!(answer("error", r#"{"type":"serverFail"}"#), Owner::Unknown);
        for body in ["", "{}", r#"{"methodResponses":[]}"#, "<html>"] {
            assert_eq!(owner_by(body.as_bytes()), Owner::Unknown, "{body}");
        }
    }
}
