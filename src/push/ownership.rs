//! Whose `PushSubscription` it is (`push.mode`; protocol.md §5.1.7, §5.4.6): two owners of its ids are past
//! all help, so an upstream that has it keeps it.

use std::sync::Mutex;
use std::sync::PoisonError;
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

/// See the module.
#[derive(Debug)]
pub(super) struct Ownership {
    mode: PushMode,
    /// What is known: whether it is ours, if that is known, and until when.
    known: Mutex<(Option<bool>, Moment)>,
    /// One asks, the others wait for the answer.
    asking: tokio::sync::Mutex<()>,
}

impl Ownership {
    pub(super) fn new(mode: PushMode) -> Self {
        Self { mode, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Whether it is known to be ours.
    pub(super) fn is_known_ours(&self) -> bool {
        match self.mode {
            PushMode::Own => true,
            PushMode::Upstream | PushMode::Off => false,
            PushMode::Auto => self.known().0 == Some(true),
        }
    }

    /// Whether it is ours; asks upstream, as whoever calls, where that is not known. What cannot be found
    /// out is not ours.
    pub(super) async fn is_ours(
        &self,
        upstream: &Upstream,
        (api_path, credentials): (&str, &Credentials),
    ) -> bool {
        if self.mode != PushMode::Auto || self.is_settled() {
            return self.is_known_ours();
        }
        let _asking = self.asking.lock().await;
        if !self.is_settled() {
            let authenticate = |headers: &mut _| credentials.write(headers);
            let asked = upstream.ask(api_path, QUESTION.into(), LIMIT, authenticate).await;
            let has = asked.ok().filter(|asked| asked.status == StatusCode::OK);
            let is_ours = has.and_then(|asked| is_unknown(&asked.body));
            self.learn(is_ours);
        }
        self.is_known_ours()
    }

    /// Takes note of what upstream's own Session says, as it came from there.
    pub(super) fn read(&self, session: &Session) {
        if self.mode == PushMode::Auto && session.capabilities.contains_key(VAPID) {
            self.learn(Some(false));
        }
    }

    fn is_settled(&self) -> bool {
        Moment::now() < self.known().1
    }

    fn known(&self) -> (Option<bool>, Moment) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, is_ours: Option<bool>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.0;
        let holds = if is_ours.is_some() { HOLDS } else { PAUSE };
        *known = (is_ours.or(before), Moment::now().after(holds));
        if known.0 != before {
            match is_ours {
                Some(true) => tracing::info!("PushSubscription is ours: upstream has none"),
                Some(false) => tracing::info!("PushSubscription is upstream's: it has one itself"),
                None => {}
            }
        }
    }
}

/// Whether the method was answered to be unknown; `None` when nobody can say.
fn is_unknown(body: &[u8]) -> Option<bool> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Response {
        method_responses: Vec<(String, serde_json::Value, String)>,
    }
    let response: Response = serde_json::from_slice(body).ok()?;
    let (name, arguments, _) = response.method_responses.first()?;
    match (&**name, arguments.get("type").and_then(serde_json::Value::as_str)) {
        ("PushSubscription/get", _) => Some(false),
        ("error", Some("unknownMethod")) => Some(true),
        // It fails or refuses, as only a method does that is there; or the server is in trouble.
        ("error", Some("forbidden" | "invalidArguments" | "requestTooLarge")) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &str, arguments: &str) -> Option<bool> {
        is_unknown(format!(r#"{{"methodResponses":[["{name}",{arguments},"0"]]}}"#).as_bytes())
    }

    #[test]
    fn an_upstream_that_knows_the_method_has_it() {
        assert_eq!(answer("PushSubscription/get", r#"{"list":[],"notFound":[]}"#), Some(false));
        assert_eq!(answer("error", r#"{"type":"forbidden"}"#), Some(false));
        assert_eq!(answer("error", r#"{"type":"unknownMethod"}"#), Some(true));
    }

    #[test]
    fn trouble_says_nothing_about_it() {
        assert_eq!(answer("error", r#"{"type":"serverFail"}"#), None);
        for body in ["", "{}", r#"{"methodResponses":[]}"#, "<html>"] {
            assert_eq!(is_unknown(body.as_bytes()), None, "{body}");
        }
    }
}
