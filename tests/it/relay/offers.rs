//! What servers say of their push, and what of that is true.

use std::time::Duration;

use jmap_push_proxy::config::UpstreamPush;
use jmap_push_proxy::telemetry::health::Part;

use super::{A_WHILE, ASKED, MAIL, relayed, rig, watch};
use crate::support::ledger::settle;
use crate::support::rig::Rig;
use crate::support::upstream::{Canned, EVENTS, Frames, TEMPLATE, Upstream};
use crate::support::wait::until;

/// An upstream whose event source answers this.
async fn answering(push: UpstreamPush, canned: Canned) -> Rig {
    let rig = rig(|config| config.upstream.push = push).await;
    rig.upstream.answer(ASKED, canned);
    rig
}

fn status(status: u16) -> Canned {
    Canned { status, ..Canned::default() }
}

/// Alice's clients come and go, and bob's; how often the event source was asked for.
async fn asked(rig: &Rig) -> usize {
    let _hers = rig.events("alice", MAIL).await;
    until("attempt", || match rig.upstream.subscriptions().len() {
        0 => Err("none"),
        _ => Ok(()),
    })
    .await;
    for user in ["alice", "bob"] {
        let mut stream = rig.events(user, MAIL).await;
        let state = rig.change(user, "Mailbox").await;
        stream.told(&format!("a-{user}"), "Mailbox", &state).await;
    }
    tokio::time::sleep(A_WHILE).await;
    rig.upstream.subscriptions().len()
}

#[tokio::test]
async fn what_is_not_served_is_asked_for_once_and_by_one() {
    let headers = vec![("content-type", "text/html")];
    let page = Canned { status: 200, headers, body: Frames::of("hello"), ..Canned::default() };
    for canned in [status(204), status(404), status(405), page] {
        let rig = answering(UpstreamPush::Auto, canned).await;
        assert_eq!(asked(&rig).await, 1);
        let ends = rig.metrics.relay_ends.get_or_create(&[("why", "not_served")]).get();
        assert_eq!(ends, 1);
        assert!(rig.troubles().is_empty(), "nobody demands it");
        rig.end().await;
    }
}

#[tokio::test]
async fn what_is_not_served_is_a_trouble_where_it_is_demanded() {
    let rig = answering(UpstreamPush::Relay, status(204)).await;
    assert_eq!(asked(&rig).await, 1);
    let trouble = rig.troubles().remove(&Part::Relay).unwrap();
    assert_eq!(trouble.reason, "upstream's push answers 204");
    until("recovery once nobody is there", || match rig.troubles().remove(&Part::Relay) {
        None => Ok(()),
        trouble => Err(trouble),
    })
    .await;
    rig.end().await;
}

#[tokio::test]
async fn a_session_without_push_is_a_trouble_where_it_is_demanded() {
    let rig = Rig::start(|config| config.upstream.push = UpstreamPush::Relay).await;
    let _stream = rig.events("alice", MAIL).await;
    let trouble = until("trouble", || rig.troubles().remove(&Part::Relay).ok_or("none")).await;
    assert!(trouble.reason.contains("names no eventSourceUrl"), "{trouble:?}");
    rig.end().await;
}

#[tokio::test]
async fn an_upstream_that_is_not_to_be_heard_is_not_asked() {
    for push in [UpstreamPush::Ignore, UpstreamPush::Passthrough] {
        let rig = rig(|config| config.upstream.push = push).await;
        if push == UpstreamPush::Ignore {
            let mut stream = rig.events("alice", MAIL).await;
            let state = rig.change("alice", "Mailbox").await;
            stream.told("a-alice", "Mailbox", &state).await;
        }
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(rig.upstream.times_asked(ASKED), 0);
        rig.end().await;
    }
}

#[tokio::test]
async fn another_host_is_not_followed() {
    let elsewhere = format!("https://push.example{TEMPLATE}");
    let upstream = Upstream::start().await.with_events(&elsewhere);
    let rig = Rig::before(upstream, |config| config.upstream.push = UpstreamPush::Relay);
    let _stream = rig.events("alice", MAIL).await;
    let trouble = until("trouble", || rig.troubles().remove(&Part::Relay).ok_or("none")).await;
    assert_eq!(trouble.reason, "upstream's push is on another host (push.example)");
    assert_eq!(rig.upstream.subscriptions().len(), 0);
    rig.end().await;
}

#[tokio::test]
async fn upstreams_own_names_are_followed_by_their_path() {
    let upstream = Upstream::start().await;
    let named = format!("http://{}{TEMPLATE}", upstream.address);
    let rig = Rig::before(upstream.with_events(&named), |_| {});
    let mut stream = watch(&rig, "alice").await;
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn a_template_is_used_as_it_is_given() {
    let james = "/push/events?types={types}&closeAfter={closeAfter}&ping={ping}";
    let encoded = "/push/events?types=%7Btypes%7D&closeafter=%7Bcloseafter%7D&ping=%7Bping%7D";
    for (template, asked) in [
        (james, "/push/events?types=*&closeAfter=no&ping=30"),
        (encoded, ASKED),
        ("../push/events", "/.well-known/../push/events"),
        ("/push/events", EVENTS),
    ] {
        let rig = Rig::before(Upstream::start().await.with_events(template), |_| {});
        let _stream = rig.events("alice", MAIL).await;
        rig.upstream.asked(asked, 1).await;
        rig.end().await;
    }
}

#[tokio::test]
async fn the_request_is_what_servers_want_of_an_event_source() {
    let rig = rig(|config| {
        let james = "application/json; jmapVersion=rfc-8621".parse().unwrap();
        config.upstream.headers = vec![(http::header::ACCEPT, james)];
    })
    .await;
    let _stream = watch(&rig, "alice").await;
    let asked = &rig.upstream.subscriptions()[0];
    let header = |name: &str| asked.headers[name].to_str().unwrap();
    assert_eq!(header("accept"), "text/event-stream, application/json; jmapVersion=rfc-8621");
    assert_eq!(header("accept-encoding"), "identity");
    assert_eq!(header("authorization"), "Bearer alice");
    assert!(!asked.headers.contains_key("last-event-id"));
    rig.end().await;
}

#[tokio::test]
async fn stalwarts_pings_end_nothing() {
    let rig = rig(|_| {}).await;
    let mut stream = watch(&rig, "alice").await;
    rig.upstream.say("alice", "event: ping\ndata: {\"interval\": 30000}\n\n");
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut stream]).await;
    assert_eq!(rig.metrics.relay_events_bad.get(), 0);
    assert_eq!(rig.upstream.subscriptions().len(), 1);
    rig.end().await;
}

#[tokio::test]
async fn an_upstream_in_trouble_is_asked_again() {
    let rig = answering(UpstreamPush::Auto, status(503)).await;
    let mut stream = rig.events("alice", MAIL).await;
    rig.upstream.asked(ASKED, 2).await;
    rig.upstream.forget_answer(ASKED);
    relayed(&rig, "alice").await;
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn an_upstream_that_says_nothing_keeps_requests_and_probes_their_connections() {
    let rig = rig(|config| config.upstream.response_timeout = Duration::from_secs(3600)).await;
    rig.upstream.fail(ASKED, crate::support::upstream::Fault::Deaf, 1000);
    let mut stream = rig.events("alice", MAIL).await;
    rig.upstream.begun(ASKED).await;
    rig.change("alice", "Mailbox").await;
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}
