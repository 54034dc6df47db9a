//! Coming back with `Last-Event-ID` (§7.3, P12; architecture D10; T-SSE-8, T-SSE-9).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;

use super::{ALL, WITH_PING};
use crate::support::rig::Rig;
use crate::support::upstream::{Fault, account_of};

/// An id for all that is current: what one that is not ours is answered by.
async fn current(rig: &Rig) -> String {
    let mut stream = rig.events_after("alice", ALL, "forged").await;
    let event = stream.state().await;
    let types = event.types();
    for name in ["Email", "EmailSubmission", "Identity", "Mailbox", "Thread", "VacationResponse"] {
        assert!(types.iter().any(|told| told == name), "{name} is not among {types:?}");
    }
    event.id.unwrap()
}

#[tokio::test]
async fn who_has_missed_nothing_is_told_nothing() {
    let rig = Rig::start(|_| {}).await;
    let id = current(&rig).await;
    let mut stream = rig.events_after("alice", WITH_PING, &id).await;
    assert_eq!(stream.next().await.unwrap().name, "ping");
    rig.end().await;
}

#[tokio::test]
async fn what_was_missed_is_told_at_once_and_nothing_else() {
    let rig = Rig::start(|_| {}).await;
    let id = current(&rig).await;
    rig.change("alice", "Mailbox").await;
    let new = rig.change("alice", "Mailbox").await;
    let mut stream = rig.events_after("alice", ALL, &id).await;
    let event = stream.state().await;
    assert_eq!(event.types(), ["Mailbox"]);
    assert_eq!(event.changed()[&account_of("alice")]["Mailbox"], new);
    rig.end().await;
}

#[tokio::test]
async fn what_was_missed_behind_our_back_is_found_out() {
    let rig = Rig::start(|_| {}).await;
    let id = current(&rig).await;
    let new = rig.upstream.mail(|mail| mail.change(&account_of("alice"), "Identity"));
    let mut stream = rig.events_after("alice", ALL, &id).await;
    assert_eq!(stream.state().await.changed()[&account_of("alice")]["Identity"], new);
    rig.end().await;
}

#[tokio::test]
async fn an_id_outlives_the_process_that_gave_it() {
    let mut rig = Rig::start(|_| {}).await;
    let id = current(&rig).await;
    rig.restart().await;
    let mut stream = rig.events_after("alice", WITH_PING, &id).await;
    assert_eq!(stream.next().await.unwrap().name, "ping");
    let new = rig.upstream.mail(|mail| mail.change(&account_of("alice"), "Thread"));
    drop(stream);
    rig.restart().await;
    let mut stream = rig.events_after("alice", ALL, &id).await;
    let event = stream.state().await;
    assert_eq!(event.types(), ["Thread"]);
    assert_eq!(event.changed()[&account_of("alice")]["Thread"], new);
    rig.end().await;
}

#[tokio::test]
async fn a_forged_id_gets_all_that_is_current_and_no_more() {
    let rig = Rig::start(|_| {}).await;
    for id in ["forged", "1sAAAA", "1e!", &"9".repeat(5000)] {
        let mut stream = rig.events_after("alice", ALL, id).await;
        let changed = stream.state().await.changed();
        let accounts: Vec<_> = changed.keys().collect();
        assert_eq!(accounts, [&account_of("alice")]);
        let email = rig.upstream.mail(|mail| mail.state(&account_of("alice"), "Email"));
        assert_eq!(changed[&account_of("alice")]["Email"], email);
    }
    rig.end().await;
}

#[tokio::test]
async fn close_after_state_does_not_end_in_a_loop() {
    let rig = Rig::start(|_| {}).await;
    let query = "types=Email,Mailbox&closeafter=state&ping=1";
    let mut stream = rig.events_after("alice", query, "forged").await;
    let id = stream.state().await.id.unwrap();
    assert!(stream.next().await.is_none());
    let mut stream = rig.events_after("alice", query, &id).await;
    assert_eq!(stream.next().await.unwrap().name, "ping");
    rig.change("alice", "Email").await;
    let id = stream.state().await.id.unwrap();
    assert!(stream.next().await.is_none());
    let mut stream = rig.events_after("alice", query, &id).await;
    assert_eq!(stream.next().await.unwrap().name, "ping");
    rig.end().await;
}

/// Whether mail came with the change is not known yet when the stream ends, so that it may be told
/// once more than needed; not more often.
#[tokio::test]
async fn close_after_state_tells_of_deliveries_once_more_at_most() {
    let rig = Rig::start(|_| {}).await;
    let query = "types=Email,EmailDelivery&closeafter=state&ping=1";
    let mut id = current(&rig).await;
    rig.change("alice", "Email").await;
    let mut told = 0;
    loop {
        let mut stream = rig.events_after("alice", query, &id).await;
        let event = stream.next().await.unwrap();
        if event.name == "ping" {
            break;
        }
        told += 1;
        assert!(told <= 2, "{event:?}");
        id = event.id.unwrap();
        assert!(stream.next().await.is_none());
    }
    rig.end().await;
}

/// An id for all that is current in both accounts of alice.
async fn current_of_both(rig: &Rig) -> String {
    let mut stream = rig.events_after("alice", ALL, "forged").await;
    let mut told = BTreeSet::new();
    loop {
        let event = stream.state().await;
        told.extend(event.changed().into_keys());
        if told.contains("a-team") && told.contains(&account_of("alice")) {
            return event.id.unwrap();
        }
    }
}

/// Upstream cannot answer for one account, for a reason of its own: nothing of the other is kept
/// back meanwhile, and what was missed there is told when it can.
#[tokio::test]
async fn an_account_that_cannot_be_asked_about_holds_back_no_other() {
    let mut rig = Rig::start(|_| {}).await;
    rig.upstream.mail(|mail| mail.share("alice", "a-team"));
    let id = current_of_both(&rig).await;
    let answers = Arc::new(Semaphore::new(0));
    rig.upstream.fail("a-team", Fault::Hold(Arc::clone(&answers)), 1);
    rig.restart().await;
    let own = rig.upstream.mail(|mail| mail.change(&account_of("alice"), "Identity"));
    let team = rig.upstream.mail(|mail| mail.change("a-team", "Mailbox"));
    let mut stream = rig.events_after("alice", ALL, &id).await;
    let event = stream.state().await;
    assert_eq!(event.changed().len(), 1, "{event:?}");
    assert_eq!(event.changed()[&account_of("alice")]["Identity"], own);
    answers.add_permits(1);
    let event = stream.state().await;
    assert_eq!(event.changed().len(), 1, "{event:?}");
    assert_eq!(event.changed()["a-team"]["Mailbox"], team);
    rig.end().await;
}

/// An id must not mark as given what only a response passing through has told us of an account that
/// has not been compared yet.
#[tokio::test]
async fn an_event_sent_before_all_is_compared_has_what_its_id_says() {
    let mut rig = Rig::start(|_| {}).await;
    rig.upstream.mail(|mail| mail.share("alice", "a-team"));
    let id = current_of_both(&rig).await;
    rig.restart().await;
    let answers = Arc::new(Semaphore::new(0));
    let missed = rig.upstream.mail(|mail| mail.change("a-team", "Mailbox"));
    rig.upstream.fail("a-team", Fault::Hold(Arc::clone(&answers)), 1);
    let asked = rig.upstream.times_asked("a-team");
    let mut stream = rig.events_after("alice", ALL, &id).await;
    rig.upstream.asked("a-team", asked + 1).await;
    let read = json!([["Mailbox/get", { "accountId": "a-team", "ids": [] }, "0"]]);
    assert_eq!(rig.call("alice", &read).await.status(), 200);
    rig.change("alice", "Identity").await;
    let mut told = BTreeMap::new();
    let mut id = None;
    while !told.contains_key(&account_of("alice")) {
        let event = stream.state().await;
        told.extend(event.changed());
        id = event.id;
    }
    drop(stream);
    answers.add_permits(1);
    if !told.contains_key("a-team") {
        let mut stream = rig.events_after("alice", ALL, &id.unwrap()).await;
        told.extend(stream.state().await.changed());
    }
    assert_eq!(told["a-team"]["Mailbox"], missed);
    rig.end().await;
}
