//! An upstream with push of its own is listened to, once for each user, and what it tells reaches all
//! of our clients (architecture D14, D7; protocol.md §4). Every scenario ends with the ledger.

use std::time::Duration;

use jmap_push_proxy::config::{Config, UpstreamPush};
use serde_json::json;

use crate::support::ledger::settle;
use crate::support::rig::{EVENT_SOURCE, Rig};
use crate::support::sse::EventStream;
use crate::support::upstream::{TEMPLATE, Upstream};
use crate::support::wait::until;
use crate::support::ws::Ws;

mod chain;
mod life;
mod limits;
mod offers;
mod socket;

/// Types of mail.
const MAIL: &str = "types=Email,Mailbox,Thread&closeafter=no&ping=0";

/// What is asked for by [`TEMPLATE`].
const ASKED: &str = "/push/events?types=*&closeafter=no&ping=30";

/// A proxy before an upstream with an event source, that asks only when it has a reason to.
async fn rig(tweak: impl FnOnce(&mut Config)) -> Rig {
    Rig::before(Upstream::start().await.with_events(TEMPLATE), tweak)
}

/// A stream of a user whose upstream is listened to by now, and all of whose accounts are known.
async fn watch(rig: &Rig, user: &str) -> EventStream {
    let stream = rig.events(user, MAIL).await;
    relayed(rig, user).await;
    stream
}

/// Waits until a user is listened for, and what was missed before has been asked about.
async fn relayed(rig: &Rig, user: &str) {
    rig.upstream.has_streams(user, 1).await;
    let at = |(at, _): &(usize, bool)| *at;
    until("probe after the subscription", || {
        let seen = rig.upstream.seen();
        let theirs = seen.iter().filter(|seen| seen.user.as_deref() == Some(user));
        let kinds = theirs.map(|seen| seen.path.contains("/events")).enumerate();
        let (subscribed, others): (Vec<_>, Vec<_>) = kinds.partition(|(_, is_it)| *is_it);
        let subscribed = subscribed.iter().map(at).next_back();
        let probed = others.iter().map(at).next_back();
        if probed > subscribed { Ok(()) } else { Err((subscribed, probed)) }
    })
    .await;
}

#[tokio::test]
async fn a_hundred_clients_of_one_user_make_one_subscription_and_hear_of_a_change() {
    let rig = rig(|config| config.limits.streams_per_user = 0).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(rig.events("alice", MAIL).await);
    }
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let mut ws = Ws::open(&rig, "alice").await;
        ws.enable(json!({ "dataTypes": ["Email", "Mailbox"] })).await;
        sockets.push(ws);
    }
    relayed(&rig, "alice").await;
    assert_eq!(rig.upstream.subscriptions().len(), 1);
    rig.upstream.deliver("alice");
    settle(&rig.upstream, &mut streams).await;
    settle(&rig.upstream, &mut sockets).await;
    assert_eq!((rig.upstream.subscriptions().len(), rig.metrics.relays.get()), (1, 1));
    rig.end().await;
}

#[tokio::test]
async fn a_delivery_is_told_as_one() {
    let rig = rig(|_| {}).await;
    let types = "types=Email,EmailDelivery&closeafter=no&ping=0";
    let mut stream = rig.events("alice", types).await;
    relayed(&rig, "alice").await;
    rig.upstream.deliver("alice");
    let email = rig.upstream.mail(|mail| mail.state("a-alice", "Email"));
    stream.told("a-alice", "EmailDelivery", &email).await;
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn a_user_is_told_of_their_own_accounts_only() {
    let rig = rig(|_| {}).await;
    rig.upstream.mail(|mail| mail.share("bob", "a-alice"));
    let (mut hers, mut his) = (watch(&rig, "alice").await, watch(&rig, "bob").await);
    rig.upstream.deliver("alice");
    rig.upstream.deliver("bob");
    // A server that tells one user what is another's.
    let leak =
        r#"{"@type":"StateChange","changed":{"a-bob":{"Email":"x"},"a-nobody":{"Email":"y"}}}"#;
    rig.upstream.say("alice", &format!("event: state\ndata: {leak}\n\n"));
    settle(&rig.upstream, [&mut hers, &mut his]).await;
    rig.end().await;
}

#[tokio::test]
async fn a_foreign_account_causes_not_even_a_question() {
    let rig = rig(|_| {}).await;
    let (mut hers, _his) = (watch(&rig, "alice").await, watch(&rig, "bob").await);
    let before = rig.upstream.times_asked("a-bob");
    let leak = r#"{"@type":"StateChange","changed":{"a-bob":{"Email":"x"}}}"#;
    rig.upstream.say("alice", &format!("event: state\ndata: {leak}\n\n"));
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut hers]).await;
    assert_eq!(rig.upstream.times_asked("a-bob"), before);
    rig.end().await;
}

#[tokio::test]
async fn ids_that_each_user_has_for_themselves_are_kept_apart() {
    let rig = rig(|config| {
        config.upstream.account_scope = jmap_push_proxy::config::AccountScope::PerUser;
    })
    .await;
    for user in ["alice", "bob"] {
        rig.upstream.mail(|mail| mail.rename(user, "me"));
    }
    let (mut hers, mut his) = (watch(&rig, "alice").await, watch(&rig, "bob").await);
    let asked = |user: &str| {
        rig.upstream.seen().iter().filter(|seen| seen.user.as_deref() == Some(user)).count()
    };
    let before = asked("bob");
    rig.upstream.deliver("alice");
    settle(&rig.upstream, [&mut hers, &mut his]).await;
    assert_eq!(asked("bob"), before, "what changed is none of his");
    rig.end().await;
}

#[tokio::test]
async fn a_state_that_is_known_already_causes_no_question() {
    let rig = rig(|_| {}).await;
    let mut stream = watch(&rig, "alice").await;
    rig.upstream.mail(|mail| mail.push.is_mute = true);
    let state = rig.change("alice", "Mailbox").await;
    stream.told("a-alice", "Mailbox", &state).await;
    let probes = rig.metrics.probes.get();
    let change = json!({ "@type": "StateChange", "changed": { "a-alice": { "Mailbox": state } } });
    rig.upstream.say("alice", &format!("event: state\ndata: {change}\n\n"));
    until("event", || match rig.metrics.relay_events.get() {
        0 => Err(0),
        events => Ok(events),
    })
    .await;
    settle(&rig.upstream, [&mut stream]).await;
    // Changing a Mailbox has its Email asked about, once.
    assert!(rig.metrics.probes.get() <= probes + 1);
    rig.end().await;
}

#[tokio::test]
async fn garbage_is_counted_and_what_it_hid_is_found() {
    let rig = rig(|_| {}).await;
    let mut stream = watch(&rig, "alice").await;
    rig.upstream.mail(|mail| mail.push.is_mute = true);
    rig.upstream.deliver("alice");
    for noise in [
        "event: calendarAlert\ndata: {}\n\n",
        "event: state\ndata: {\"@type\":\"EmailPush\"}\n\n",
        "data: hello\n\n: hello\nhello\n\n",
        "event: state\ndata: {\"@type\":\"StateChange\",\"changed\":{\"a-alice\":{\"Foo\":\"1\"}}}\n\n",
    ] {
        rig.upstream.say("alice", noise);
    }
    let probes = rig.metrics.probes.get();
    rig.upstream.say("alice", "event: state\r\ndata: {\"changed\"\r\n\r\n");
    settle(&rig.upstream, [&mut stream]).await;
    assert_eq!(rig.metrics.relay_events_bad.get(), 1);
    assert_eq!(rig.metrics.probes.get(), probes + 1, "for the one that cannot be read");
    rig.end().await;
}

#[tokio::test]
async fn an_event_in_many_pieces_is_one() {
    let rig = rig(|_| {}).await;
    let mut stream = watch(&rig, "alice").await;
    rig.upstream.mail(|mail| mail.push.is_mute = true);
    rig.upstream.deliver("alice");
    let state = rig.upstream.mail(|mail| mail.state("a-alice", "Email"));
    let change = json!({ "@type": "StateChange", "changed": { "a-alice": { "Email": state } } });
    for piece in format!("event: state\r\nid: 1\r\ndata: {change}\r\n\r\n").as_bytes().chunks(3) {
        rig.upstream.say("alice", std::str::from_utf8(piece).unwrap());
    }
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn our_own_push_stands_in_the_session() {
    let rig = rig(|config| config.upstream.push = UpstreamPush::Relay).await;
    let response = rig.ask("GET", crate::support::upstream::SESSION, "alice").await;
    let session: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    let ours = format!("http://{}{EVENT_SOURCE}?types=", rig.address);
    assert!(session["eventSourceUrl"].as_str().unwrap().starts_with(&ours), "{session}");
    rig.end().await;
}

/// Long enough for what must not happen to have happened, were it to.
const A_WHILE: Duration = Duration::from_millis(300);
