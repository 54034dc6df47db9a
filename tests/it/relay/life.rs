//! How a subscription begins, ends, and begins again.

use jmap_push_proxy::config::UpstreamPush;
use jmap_push_proxy::telemetry::health::Part;
use serde_json::json;

use super::{A_WHILE, ASKED, MAIL, relayed, rig, watch};
use crate::support::ledger::settle;
use crate::support::rig::{EVENT_SOURCE, Rig};
use crate::support::sse::EventStream;
use crate::support::upstream::{Canned, EVENTS};
use crate::support::wait::until;
use crate::support::ws::Ws;

/// Opens a stream of alice's, authenticated by this cookie besides.
async fn with_cookie(rig: &Rig, cookie: &str) -> EventStream {
    let headers = [("Authorization", "Bearer alice"), ("Cookie", cookie)];
    EventStream::open(rig.address, &format!("{EVENT_SOURCE}?{MAIL}"), &headers).await
}

/// The cookies by which the event source was asked for.
fn asked_by(rig: &Rig) -> Vec<String> {
    let seen = rig.upstream.subscriptions();
    seen.iter().map(|seen| seen.headers["cookie"].to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_changed_while_the_connection_was_down_is_found_once_it_is_back() {
    let rig = rig(|_| {}).await;
    let mut stream = watch(&rig, "alice").await;
    rig.upstream.say("alice", "id: 7\nretry: 1\n\n");
    rig.upstream.mail(|mail| mail.push.is_mute = true);
    rig.upstream.end_streams("alice");
    rig.upstream.deliver("alice");
    rig.upstream.has_streams("alice", 1).await;
    settle(&rig.upstream, [&mut stream]).await;
    let again = &rig.upstream.subscriptions()[1];
    assert_eq!(again.headers["last-event-id"], "7");
    rig.end().await;
}

#[tokio::test]
async fn what_changes_before_upstream_has_registered_the_subscription_is_found() {
    let rig = rig(|_| {}).await;
    let mut stream = watch(&rig, "alice").await;
    rig.upstream.mail(|mail| mail.push.is_mute = true);
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn the_last_client_to_go_ends_the_subscription() {
    let rig = rig(|_| {}).await;
    let (first, second) = (watch(&rig, "alice").await, rig.events("alice", MAIL).await);
    drop(first);
    until("stream that is gone", || match rig.metrics.streams.get() {
        1 => Ok(()),
        streams => Err(streams),
    })
    .await;
    assert_eq!(rig.upstream.streams("alice"), 1);
    drop(second);
    rig.upstream.has_streams("alice", 0).await;
    let mut stream = watch(&rig, "alice").await;
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut stream]).await;
    assert_eq!(rig.upstream.subscriptions().len(), 2);
    rig.end().await;
}

#[tokio::test]
async fn a_websocket_without_push_needs_no_subscription() {
    let rig = rig(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    ws.synchronize().await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(rig.upstream.subscriptions().len(), 0);
    ws.enable(json!({ "dataTypes": null })).await;
    relayed(&rig, "alice").await;
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut ws]).await;
    ws.disable().await;
    rig.upstream.has_streams("alice", 0).await;
    rig.end().await;
}

#[tokio::test]
async fn another_credential_takes_over_when_the_one_in_use_goes() {
    let rig = rig(|_| {}).await;
    let first = with_cookie(&rig, "session=1").await;
    relayed(&rig, "alice").await;
    let mut second = with_cookie(&rig, "session=2").await;
    drop(first);
    until("other credential", || match asked_by(&rig) {
        asked if asked == ["session=1", "session=2"] => Ok(()),
        asked => Err(asked),
    })
    .await;
    relayed(&rig, "alice").await;
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut second]).await;
    rig.end().await;
}

#[tokio::test]
async fn another_credential_takes_over_when_the_one_in_use_is_refused() {
    let rig = rig(|_| {}).await;
    rig.upstream.mail(|mail| mail.push.refuses = Some("session=1"));
    let mut first = with_cookie(&rig, "session=1").await;
    until("refusal", || match rig.upstream.subscriptions().len() {
        0 => Err("not asked"),
        _ => Ok(()),
    })
    .await;
    let mut second = with_cookie(&rig, "session=2").await;
    relayed(&rig, "alice").await;
    assert_eq!(asked_by(&rig), ["session=1", "session=2"]);
    rig.upstream.deliver("alice");
    // Refused by the event source, it is good for anything else: its streams live.
    settle(&rig.upstream, [&mut first, &mut second]).await;
    rig.end().await;
}

#[tokio::test]
async fn the_end_of_the_process_ends_the_subscription() {
    let mut rig = rig(|_| {}).await;
    let stream = watch(&rig, "alice").await;
    rig.restart().await;
    rig.upstream.has_streams("alice", 0).await;
    drop(stream);
    rig.end().await;
}

#[tokio::test]
async fn an_orderly_end_waits_for_no_subscription() {
    let rig = rig(|_| {}).await;
    let mut stream = watch(&rig, "alice").await;
    let ended = async { while stream.next().await.is_some() {} };
    tokio::join!(rig.drain(), ended);
}

#[tokio::test]
async fn a_connection_that_does_not_open_again_is_a_trouble_where_it_is_demanded_until_it_does() {
    let rig = rig(|config| config.upstream.push = UpstreamPush::Relay).await;
    let _stream = watch(&rig, "alice").await;
    assert!(rig.troubles().is_empty());
    rig.upstream.answer(ASKED, Canned { status: 503, ..Canned::default() });
    rig.upstream.end_streams("alice");
    let trouble = until("trouble", || rig.troubles().remove(&Part::Relay).ok_or("none")).await;
    assert_eq!(trouble.reason, "upstream's push answers 503", "that it ended is none");
    rig.upstream.forget_answer(ASKED);
    rig.upstream.has_streams("alice", 1).await;
    until("recovery", || match rig.troubles().remove(&Part::Relay) {
        None => Ok(()),
        trouble => Err(trouble),
    })
    .await;
    rig.end().await;
}

#[tokio::test]
async fn a_user_whom_upstream_refuses_altogether_is_listened_for_no_more() {
    let rig = rig(|_| {}).await;
    let mut stream = watch(&rig, "alice").await;
    rig.upstream.mail(|mail| {
        mail.refuse("alice");
        mail.push.refuses = None;
    });
    rig.upstream.end_streams("alice");
    // Asked again it is refused, which has the Session asked for, which ends the streams.
    while stream.next().await.is_some() {}
    rig.upstream.has_streams("alice", 0).await;
    let asked = rig.upstream.times_asked(EVENTS);
    assert!(asked <= 3, "{asked}");
    rig.end().await;
}
