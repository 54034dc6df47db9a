//! Push services that take nothing, or not from us (§7.2; hostile.md X11): what is still sent, and what the
//! operator sees.

use std::time::Duration;

use serde_json::json;

use super::Premises;
use super::service::Message;
use crate::support::ledger::Changed;
use crate::support::log::Log;
use crate::support::upstream::account_of;
use crate::support::wait::until;

/// Has a user change Email thrice, and waits until their device at the other push service was told of it
/// each time: by then any other of theirs would have been told, too.
async fn change_and_tell_elsewhere(premises: &Premises, user: &str) -> String {
    let mut state = String::new();
    for _ in 0..3 {
        state = premises.rig.change(user, "Email").await;
        premises.other.told(user, &account_of(user), "Email", &state).await;
    }
    state
}

/// X11: whatever it is that we do wrong (RFC 8292 §4.2, RFC 9749 §4), doing it again helps nobody.
#[tokio::test]
async fn one_whose_messages_are_refused_waits_for_its_client_to_mend_it() {
    let log = Log::new();
    let premises = Premises::new().await;
    premises.rig.upstream.mail(|mail| mail.share("carol", &account_of("carol")));
    let refused = [
        ("alice", "phone", "400 Bad Request"),
        ("bob", "tablet", "401 Unauthorized"),
        ("carol", "laptop", "403 Forbidden"),
    ];
    let mut ids = Vec::new();
    for (user, device, status) in refused {
        ids.push(premises.verified(user, device, json!(["Email"])).await);
        premises.verified_at(&premises.other, user, user, json!(["Email"])).await;
        premises.service.answer(device, status, "");
        premises.rig.change(user, "Email").await;
    }
    premises.disabled(3).await;
    for ((user, device, status), id) in refused.into_iter().zip(ids) {
        let reason = format!("reason=the push service refuses our messages with {status}");
        assert!(log.text().contains(&reason), "{reason}: {}", log.text());
        let state = change_and_tell_elsewhere(&premises, user).await;
        assert_eq!(premises.service.messages(device).len(), 2, "{status}");
        premises.set(user, json!({ "update": { id: { "types": ["Email"] } } })).await;
        premises.service.told(device, &account_of(user), "Email", &state).await;
    }
}

/// X11: one host that is down is not met by all of its subscriptions.
#[tokio::test]
async fn a_host_that_fails_again_and_again_is_left_alone_and_no_other_is() {
    let premises = Premises::with(|config| {
        config.push.attempts = 20;
        config.push.attempt_interval = Duration::from_millis(1);
    })
    .await;
    premises.verified("alice", "phone", json!(["Email"])).await;
    premises.verified("bob", "tablet", json!(["Email"])).await;
    premises.verified_at(&premises.other, "bob", "bob", json!(["Email"])).await;
    for _ in 0..10 {
        premises.service.answer("phone", "503 Service Unavailable", "");
    }
    premises.rig.change("alice", "Email").await;
    let resting = || premises.rig.metrics.hosts_resting.get();
    until("a host that rests", || if resting() == 1 { Ok(()) } else { Err(resting()) }).await;
    change_and_tell_elsewhere(&premises, "bob").await;
    assert_eq!(premises.service.messages("tablet").len(), 1, "its verification");
    assert_eq!(premises.service.messages("phone").len(), 1 + 10);
    assert_eq!(resting(), 1);
}

/// X11, RFC 8030 §7.2: less at a time, and nothing is left out.
#[tokio::test]
async fn a_push_service_that_takes_only_short_messages_is_sent_short_ones() {
    let premises = Premises::new().await;
    let accounts: Vec<String> = (0..60).map(|n| format!("a-mailbox-of-{n:02}")).collect();
    let upstream = &premises.rig.upstream;
    upstream.mail(|mail| accounts.iter().for_each(|account| mail.share("alice", account)));
    premises.verified("alice", "phone", json!(["Email"])).await;
    let mut stream = premises.rig.events("alice", "types=*&closeafter=no&ping=0").await;

    // All that her accounts come to while a message is not answered goes into the next.
    let held = premises.service.hold("phone", "201 Created");
    premises.service.answer("phone", "413 Content Too Large", "");
    premises.rig.change("alice", "Email").await;
    premises.service.message("phone", 1).await;
    let mut expected = Changed::new();
    for account in &accounts {
        let state = premises.rig.set("alice", account, "Email").await;
        stream.told(account, "Email", &state).await;
        expected.entry(account.clone()).or_default().insert("Email".to_owned(), state);
    }
    held.send(()).unwrap();
    let refused = premises.service.message("phone", 2).await;
    assert_eq!(refused.changed(), expected);

    let later = until("all states", || {
        let later = premises.service.messages("phone").split_off(3);
        let told: Changed = later.iter().flat_map(Message::changed).collect();
        if told == expected { Ok(later) } else { Err(told) }
    })
    .await;
    let lengths: Vec<_> = later.iter().map(|message| message.body.len()).collect();
    assert!(lengths.iter().all(|length| *length <= refused.body.len() / 2), "{lengths:?}");
}

/// X11: there is nothing shorter to be sent, so the operator is told.
#[tokio::test]
async fn a_push_service_that_takes_no_message_however_short_is_sent_no_more() {
    let log = Log::new();
    let premises = Premises::new().await;
    premises.verified("alice", "phone", json!(["Email"])).await;
    premises.verified_at(&premises.other, "alice", "alice", json!(["Email"])).await;
    for _ in 0..10 {
        premises.service.answer("phone", "413 Content Too Large", "");
    }
    premises.rig.change("alice", "Email").await;
    premises.disabled(1).await;
    assert!(log.text().contains("reason=its push service takes no message"), "{}", log.text());
    change_and_tell_elsewhere(&premises, "alice").await;
    assert_eq!(premises.service.messages("phone").len(), 2, "its verification, and one try");
}
