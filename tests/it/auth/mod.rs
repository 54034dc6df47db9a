//! How long upstream's word on a credential is believed, and who waits for it (architecture D9;
//! hostile.md X2, L4).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jmap_push_proxy::auth::{Authority, CredentialKey, Credentials, Principal, Refusal};
use jmap_push_proxy::config::{self, Config};
use jmap_push_proxy::drain::Drain;
use tokio::sync::Semaphore;

use crate::support::http::{asking, exchange_by};
use crate::support::rig::{EVENT_SOURCE, Rig, address_of};
use crate::support::upstream::{Fault, SESSION, Upstream};

const ALL: &str = "types=*&closeafter=no&ping=0";

const SECOND: Duration = Duration::from_secs(1);

/// An authority on its own, before a fake upstream.
struct Asked {
    upstream: Upstream,
    authority: Arc<Authority>,
}

impl Asked {
    async fn start(tweak: impl FnOnce(&mut config::Auth)) -> Self {
        let upstream = Upstream::start().await;
        let mut config = Config::default();
        config.upstream.addresses = vec![address_of(upstream.address)];
        tweak(&mut config.auth);
        let behind =
            jmap_push_proxy::upstream::Upstream::new(config.upstream, Arc::default()).unwrap();
        let size = config.limits.session_size;
        let authority = Authority::new(Arc::new(behind), config.auth, size, Drain::default());
        Self { upstream, authority: Arc::new(authority) }
    }

    /// A client comes.
    async fn authenticate(&self, user: &str) -> Result<(CredentialKey, Arc<Principal>), Refusal> {
        self.authority.authenticate(&bearer(user)).await
    }

    /// Upstream is asked, whatever is remembered.
    async fn ask(&self, user: &str) -> Result<Arc<Principal>, Refusal> {
        let headers = bearer(user);
        let key = self.authority.key(&headers).unwrap();
        self.authority.ask(key, Arc::new(Credentials::from_headers(&headers))).await
    }
}

fn bearer(user: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {user}").parse().unwrap())])
}

#[tokio::test]
async fn a_trouble_of_upstreams_does_not_replace_its_word() {
    let troubles = [429, 500, 503].map(Fault::Status).into_iter();
    for trouble in troubles.chain([Fault::Close, Fault::Truncate]) {
        let asked = Asked::start(|_| {}).await;
        let (key, _) = asked.authenticate("alice").await.unwrap();
        asked.upstream.fail(SESSION, trouble.clone(), 1);
        assert!(!asked.ask("alice").await.unwrap_err().is_upstreams(), "{trouble:?}");
        asked.authenticate("alice").await.unwrap();
        assert!(asked.authority.known(key).is_some(), "{trouble:?}");
        assert_eq!(asked.upstream.sessions_of("alice"), 2, "{trouble:?}: the word still holds");
    }
}

#[tokio::test]
async fn a_trouble_of_upstreams_does_not_make_its_word_last_longer() {
    let asked = Asked::start(|auth| auth.cache = Duration::ZERO).await;
    let (key, _) = asked.authenticate("alice").await.unwrap();
    asked.upstream.fail(SESSION, Fault::Status(503), 1);
    asked.ask("alice").await.unwrap_err();
    let refusal = asked.authenticate("alice").await.unwrap_err();
    assert!(matches!(refusal, Refusal::Upstream(status, ..) if status == 503), "{refusal:?}");
    assert_eq!(asked.upstream.sessions_of("alice"), 2, "the trouble is remembered for a moment");
    assert!(asked.authority.known(key).is_some(), "whose responses pass is known all the same");
}

#[tokio::test]
async fn a_refusal_replaces_the_word_at_once() {
    let asked = Asked::start(|_| {}).await;
    let (key, _) = asked.authenticate("alice").await.unwrap();
    asked.upstream.mail(|mail| mail.refuse("alice"));
    assert!(asked.ask("alice").await.unwrap_err().is_upstreams());
    assert!(asked.authenticate("alice").await.unwrap_err().is_upstreams());
    assert!(asked.authority.known(key).is_none());
}

#[tokio::test]
async fn an_answer_older_than_a_refusal_is_not_remembered() {
    let asked = Asked::start(|_| {}).await;
    let gate = Arc::new(Semaphore::new(0));
    asked.upstream.fail(SESSION, Fault::Hold(Arc::clone(&gate)), 1);
    let (answer, ()) = tokio::join!(asked.ask("alice"), async {
        asked.upstream.asked(SESSION, 1).await;
        // Upstream has said yes, and then no to somebody else who asked.
        asked.upstream.mail(|mail| mail.refuse("alice"));
        asked.authority.refused(asked.authority.key(&bearer("alice")).unwrap());
        gate.add_permits(1);
    });
    assert!(answer.is_ok(), "{answer:?}");
    assert!(asked.authenticate("alice").await.unwrap_err().is_upstreams());
}

#[tokio::test]
async fn a_credential_that_a_probe_finds_revoked_opens_nothing_more() {
    let rig = Rig::start(|config| config.probe.interval = SECOND).await;
    let mut stream = rig.events("alice", ALL).await;
    rig.upstream.mail(|mail| mail.refuse("alice"));
    assert!(stream.next().await.is_none(), "a whole response");
    let response = rig.ask("GET", &format!("{EVENT_SOURCE}?{ALL}"), "alice").await;
    assert_eq!(response.status(), 401);
    rig.end().await;
}

#[tokio::test]
async fn a_credential_whose_session_is_refused_opens_nothing_more() {
    let rig = Rig::start(|_| {}).await;
    let open = async || {
        let response = rig.ask("HEAD", SESSION, "alice").await;
        let event_source = format!("{EVENT_SOURCE}?types=Email&closeafter=state&ping=0");
        let request = asking("GET", &event_source, "alice");
        let events = exchange_by(rig.address, request, async |head| Ok(head.status())).await;
        (response.status().as_u16(), events.unwrap().as_u16())
    };
    assert_eq!(open().await, (200, 200));
    rig.upstream.mail(|mail| mail.refuse("alice"));
    assert_eq!(open().await, (401, 401));
    rig.end().await;
}

#[tokio::test]
async fn one_slow_answer_does_not_hold_the_question_about_others() {
    let rig = Rig::start(|config| config.auth.revalidate = SECOND).await;
    let (_hers, mut his) = (rig.events("alice", ALL).await, rig.events("bob", ALL).await);
    let gate = Arc::new(Semaphore::new(0));
    let slow = format!("alice {SESSION}");
    rig.upstream.fail(&slow, Fault::Hold(Arc::clone(&gate)), 1);
    rig.upstream.revalidated("bob").await;
    rig.upstream.mail(|mail| mail.refuse("bob"));
    assert!(his.next().await.is_none(), "a whole response");
    gate.add_permits(1);
    rig.end().await;
}

#[tokio::test]
async fn streams_do_not_outlive_the_grace() {
    let rig = Rig::start(|config| {
        (config.auth.revalidate, config.auth.grace) = (SECOND, Duration::ZERO);
    })
    .await;
    let mut stream = rig.events("alice", ALL).await;
    rig.upstream.fail(SESSION, Fault::Status(503), 1);
    assert!(stream.next().await.is_none(), "a whole response");
    rig.end().await;
}

#[tokio::test]
async fn a_session_that_changes_while_it_is_asked_for_is_asked_for_again() {
    let rig = Rig::start(|_| {}).await;
    let _stream = rig.events("bob", ALL).await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail(SESSION, Fault::Hold(Arc::clone(&gate)), 1);
    for account in ["first", "second"] {
        rig.upstream.mail(|mail| mail.share("bob", account));
        // The `sessionState` of its answer tells.
        rig.change("bob", "Email").await;
        rig.upstream.asked(SESSION, 2).await;
    }
    gate.add_permits(1);
    rig.upstream.asked(SESSION, 3).await;
    rig.end().await;
}
