//! How long upstream's word on a credential is believed, and who waits for it (architecture D9;
//! hostile.md X2, L4).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, RETRY_AFTER};
use jmap_push_proxy::auth::{Authority, CredentialKey, Credentials, Principal, Refusal};
use jmap_push_proxy::config::{self, Config};
use jmap_push_proxy::drain::Drain;
use jmap_push_proxy::upstream::{self, Room};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::http::{asking, exchange_by};
use crate::support::rig::{EVENT_SOURCE, Rig, address_of};
use crate::support::upstream::{Canned, Fault, Frames, SESSION, Upstream};
use crate::support::wait::within;

const ALL: &str = "types=*&closeafter=no&ping=0";

const SECOND: Duration = Duration::from_secs(1);

/// An authority on its own, before a fake upstream.
struct Asked {
    upstream: Upstream,
    authority: Arc<Authority>,
    drain: Drain,
}

impl Asked {
    async fn start(tweak: impl FnOnce(&mut config::Auth)) -> Self {
        Self::before(|config| tweak(&mut config.auth)).await
    }

    async fn before(tweak: impl FnOnce(&mut Config)) -> Self {
        let upstream = Upstream::start().await;
        let mut config = Config::default();
        config.upstream.addresses = vec![address_of(upstream.address)];
        tweak(&mut config);
        let behind = upstream::Upstream::new(config.upstream, Arc::default(), &Room::default());
        let (size, drain) = (config.limits.session_size, Drain::default());
        let authority = Authority::new(Arc::new(behind.unwrap()), config.auth, size, drain.clone());
        Self { upstream, authority: Arc::new(authority), drain }
    }

    /// Many come with different credentials, all of whom upstream would take for `user`.
    fn strangers(&self, user: &str, count: usize) -> JoinSet<bool> {
        let mut strangers = JoinSet::new();
        for number in 0..count {
            let mut headers = bearer(user);
            headers.insert(COOKIE, format!("visit={number}").parse().unwrap());
            let authority = Arc::clone(&self.authority);
            strangers.spawn(async move { authority.authenticate(&headers, None).await.is_ok() });
        }
        strangers
    }

    /// A client comes.
    async fn authenticate(&self, user: &str) -> Result<(CredentialKey, Arc<Principal>), Refusal> {
        self.authority.authenticate(&bearer(user), None).await
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

#[tokio::test]
async fn refusals_of_upstream_fill_a_small_room_only() {
    let asked = Asked::start(|auth| auth.negative_cache = Duration::from_secs(3600)).await;
    for number in 0..1000 {
        asked.authenticate(&format!("nobody{number}")).await.unwrap_err();
    }
    for (user, times) in [("nobody999", 1), ("one-too-many", 2)] {
        for _ in 0..2 {
            assert!(asked.authenticate(user).await.unwrap_err().is_upstreams());
        }
        assert_eq!(asked.upstream.sessions_of(user), times, "{user}");
    }
    asked.authenticate("alice").await.unwrap();
    asked.authenticate("alice").await.unwrap();
    assert_eq!(asked.upstream.sessions_of("alice"), 1, "who is let in is remembered all the same");
}

#[tokio::test]
async fn of_a_refusal_only_what_tells_how_to_authenticate_is_passed_on() {
    let asked = Asked::start(|_| {}).await;
    for (size, expected) in [(4096, 4096), (4097, 0)] {
        let headers = vec![("www-authenticate", "Basic realm=\"mail\""), ("x-page", "login")];
        let body = Frames::of(vec![b'a'; size]);
        let page = Canned { status: 401, headers, body, early: false };
        asked.upstream.answer(SESSION, page);
        let refusal = asked.authenticate(&format!("nobody{size}")).await.unwrap_err();
        let Refusal::Upstream(status, headers, body) = refusal else { panic!("{refusal:?}") };
        assert_eq!((status.as_u16(), body.len()), (401, expected));
        let names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["www-authenticate"]);
    }
}

#[tokio::test]
async fn many_strangers_do_not_hold_up_the_question_about_a_live_stream() {
    let asked = Asked::start(|_| {}).await;
    asked.authenticate("alice").await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    asked.upstream.fail(&format!("bob {SESSION}"), Fault::Hold(Arc::clone(&gate)), 1000);
    let strangers = asked.strangers("bob", 100);
    asked.upstream.asked(SESSION, 1 + 64).await;
    asked.ask("alice").await.unwrap();
    assert_eq!(asked.upstream.sessions_of("bob"), 64, "the others wait for their turn");
    gate.add_permits(1000);
    assert_eq!(strangers.join_all().await, [true; 100]);
}

#[tokio::test]
async fn a_stranger_whose_turn_does_not_come_is_told_when_to_try_again() {
    let asked = Asked::before(|config| {
        config.upstream.connect_timeout = Duration::from_millis(100);
    })
    .await;
    let gate = Arc::new(Semaphore::new(0));
    asked.upstream.fail(SESSION, Fault::Hold(Arc::clone(&gate)), 1000);
    let strangers = asked.strangers("bob", 64);
    asked.upstream.asked(SESSION, 64).await;
    let response = asked.authenticate("alice").await.unwrap_err().response();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key(RETRY_AFTER));
    gate.add_permits(1000);
    assert_eq!(strangers.join_all().await, [true; 64]);
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_ends() {
    let asked = Asked::start(|_| {}).await;
    asked.upstream.fail(SESSION, Fault::Hold(Arc::new(Semaphore::new(0))), 1);
    tokio::select! {
        answer = asked.authenticate("alice") => panic!("{answer:?}"),
        () = asked.upstream.asked(SESSION, 1) => {}
    }
    within("end", asked.drain.idle()).await;
}

#[tokio::test]
async fn a_refusal_told_by_others_has_live_streams_looked_at_again() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", ALL).await;
    rig.upstream.mail(|mail| mail.refuse("alice"));
    assert_eq!(rig.ask("HEAD", SESSION, "alice").await.status(), 401);
    assert!(stream.next().await.is_none(), "a whole response");
    rig.end().await;
}

/// hostile.md X5: who guesses is held up by upstream's first answers, and nobody else is.
#[tokio::test]
async fn who_guesses_is_stopped_and_others_are_not() {
    let rig = Rig::start(|config| {
        config.auth.failures = 3;
        config.downstream.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let try_as = async |user: &str, client: &str, path: &str| {
        let mut request = asking("GET", &format!("{path}?{ALL}"), user);
        request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
        let read = async |response: http::Response<hyper::body::Incoming>| {
            Ok((response.status().as_u16(), response.headers().contains_key(RETRY_AFTER)))
        };
        exchange_by(rig.address, request, read).await.unwrap()
    };
    assert_eq!(try_as("alice", "203.0.113.7", EVENT_SOURCE).await.0, 200);
    for guess in ["a", "b", "c"] {
        assert_eq!(try_as(guess, "203.0.113.7", EVENT_SOURCE).await.0, 401);
    }
    let asked = rig.upstream.times_asked(SESSION);
    for guess in 0..100 {
        let guess = format!("guess-{guess}");
        assert_eq!(try_as(&guess, "203.0.113.7", EVENT_SOURCE).await, (429, true));
    }
    assert_eq!(rig.upstream.times_asked(SESSION), asked, "nobody asks upstream for them");
    assert_eq!(try_as("bob", "203.0.113.7", EVENT_SOURCE).await.0, 429, "a stranger there");
    assert_eq!(try_as("alice", "203.0.113.7", EVENT_SOURCE).await.0, 200, "known there");
    assert_eq!(try_as("bob", "203.0.113.8", EVENT_SOURCE).await.0, 200, "elsewhere");
    rig.end().await;
}
