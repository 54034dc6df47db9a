//! An upstream that pushes over a WebSocket (RFC 8887 §4.3.5) and has no event source that works.

use serde_json::json;

use super::{MAIL, watch};
use crate::support::ledger::settle;
use crate::support::rig::Rig;
use crate::support::sse::EventStream;
use crate::support::upstream::{Canned, SOCKET, TEMPLATE, Upstream};
use crate::support::wait::until;

async fn rig() -> Rig {
    Rig::before(Upstream::start().await.with_socket(), |_| {})
}

async fn subscribed(rig: &Rig, count: usize) {
    rig.upstream.has_streams("alice", 1).await;
    until("relay", || match (rig.metrics.relays.get(), rig.upstream.times_asked(SOCKET)) {
        (1, asked) if asked == count => Ok(()),
        seen => Err(seen),
    })
    .await;
}

/// A stream whose upstream is listened to by now.
async fn listened(rig: &Rig) -> EventStream {
    let stream = rig.events("alice", MAIL).await;
    subscribed(rig, 1).await;
    stream
}

#[tokio::test]
async fn a_change_is_heard_over_the_websocket() {
    let rig = rig().await;
    let mut stream = listened(&rig).await;
    let mut second = rig.events("alice", MAIL).await;
    for _ in 0..3 {
        rig.upstream.deliver("alice");
        settle(&rig.upstream, [&mut stream, &mut second]).await;
    }
    let asked = rig.upstream.last(SOCKET);
    assert_eq!(asked.headers["sec-websocket-protocol"], "jmap");
    assert_eq!(asked.headers["authorization"], "Bearer alice");
    let wish = json!({ "@type": "WebSocketPushEnable", "dataTypes": null });
    assert_eq!(rig.upstream.mail(|mail| mail.push.wishes.clone()), [wish]);
    drop((stream, second));
    rig.upstream.has_streams("alice", 0).await;
    rig.end().await;
}

#[tokio::test]
async fn what_is_no_change_is_passed_over() {
    let rig = rig().await;
    let mut stream = listened(&rig).await;
    let other = r#"{"@type":"Response","methodResponses":[],"sessionState":"1"}"#;
    rig.upstream.say_by_socket("alice", other);
    rig.upstream.say_by_socket("alice", r#"{"@type":"EmailPush"}"#);
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut stream]).await;
    assert_eq!(rig.metrics.relay_events_bad.get(), 0);
    rig.end().await;
}

#[tokio::test]
async fn a_connection_that_is_lost_is_opened_again_where_it_ended() {
    let rig = rig().await;
    let mut stream = listened(&rig).await;
    let change = json!({ "@type": "StateChange", "changed": {}, "pushState": "p7" });
    rig.upstream.say_by_socket("alice", &change.to_string());
    until("message", || match rig.metrics.relay_events.get() {
        0 => Err(0),
        events => Ok(events),
    })
    .await;
    rig.upstream.mail(|mail| mail.push.is_mute = true);
    rig.upstream.end_streams("alice");
    rig.upstream.deliver("alice");
    subscribed(&rig, 2).await;
    settle(&rig.upstream, [&mut stream]).await;
    let wishes = rig.upstream.mail(|mail| mail.push.wishes.clone());
    assert_eq!(wishes[1]["pushState"], "p7");
    rig.end().await;
}

#[tokio::test]
async fn it_takes_the_place_of_an_event_source_that_is_not_served() {
    let upstream = Upstream::start().await.with_events(TEMPLATE).with_socket();
    let none = Canned { status: 204, ..Canned::default() };
    upstream.answer("/push/events?types=*&closeafter=no&ping=30", none);
    let rig = Rig::before(upstream, |_| {});
    let mut stream = listened(&rig).await;
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn an_event_source_that_works_comes_first() {
    let rig = Rig::before(Upstream::start().await.with_events(TEMPLATE).with_socket(), |_| {});
    let mut stream = watch(&rig, "alice").await;
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut stream]).await;
    assert_eq!(rig.upstream.times_asked(SOCKET), 0);
    rig.end().await;
}
