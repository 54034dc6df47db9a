//! How changes reach push services, and what their answers mean (§7.1, §7.2, P4; protocol.md §5.7; hostile.md X11).

use std::time::Duration;

use serde_json::{Value, json};

use super::Premises;
use crate::support::ledger::Changed;
use crate::support::upstream::account_of;
use crate::support::ws::Ws;

/// Of the `StateChange`s sent to a path.
fn told(premises: &Premises, path: &str) -> Vec<Changed> {
    let messages = premises.service.messages(path).into_iter();
    let changes = messages.filter(|message| message.json()["@type"] == "StateChange");
    changes.map(|message| message.changed()).collect()
}

#[tokio::test]
async fn a_state_change_is_the_same_on_all_three_ways() {
    let premises = Premises::new().await;
    premises.verified("alice", "phone", json!(["Email", "Mailbox"])).await;
    let mut stream = premises.rig.events("alice", "types=Email,Mailbox&closeafter=no&ping=0").await;
    let mut socket = Ws::open(&premises.rig, "alice").await;
    socket.enable(json!({ "dataTypes": ["Email", "Mailbox"] })).await;
    premises.rig.change("alice", "Mailbox").await;
    let by_stream: Value = serde_json::from_str(&stream.state().await.data).unwrap();
    let mut by_socket = socket.next_of("StateChange").await;
    by_socket.as_object_mut().unwrap().remove("pushState").unwrap();
    let by_push = premises.service.message("phone", 1).await.json();
    assert_eq!(by_push, by_stream);
    assert_eq!(by_push, by_socket);
}

#[tokio::test]
async fn new_mail_is_urgent_and_nothing_else_is() {
    let premises = Premises::new().await;
    premises.verified("alice", "phone", Value::Null).await;
    premises.rig.change("alice", "Mailbox").await;
    assert_eq!(premises.service.message("phone", 1).await.headers["urgency"], "normal");
    premises.rig.upstream.deliver("alice");
    premises
        .rig
        .notify(&json!({ "accountId": account_of("alice"), "types": ["Email", "EmailDelivery"] }));
    let delivered = premises.service.message("phone", 2).await;
    assert!(delivered.changed()[&account_of("alice")].contains_key("EmailDelivery"));
    assert_eq!(delivered.headers["urgency"], "high");
}

/// P13.
#[tokio::test]
async fn only_the_types_asked_for_are_told() {
    let premises = Premises::new().await;
    premises.verified("alice", "phone", json!(["Mailbox"])).await;
    premises.rig.change("alice", "Identity").await;
    let state = premises.rig.change("alice", "Mailbox").await;
    premises.service.told("phone", &account_of("alice"), "Mailbox", &state).await;
    let types =
        told(&premises, "phone").into_iter().flat_map(std::collections::BTreeMap::into_values);
    assert!(types.flat_map(|types| types.into_keys()).all(|name| name == "Mailbox"));
}

/// P2, X11, "latest wins": what a push service did not take is merged with what comes.
#[tokio::test]
async fn what_could_not_be_sent_is_sent_later_in_one_message_with_what_came_since() {
    let premises = Premises::new().await;
    premises.verified("alice", "phone", json!(["Email", "Mailbox"])).await;
    let mut stream = premises.rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let refused = premises.service.hold("phone", "503 Service Unavailable");
    premises.rig.change("alice", "Mailbox").await;
    premises.service.message("phone", 1).await;
    let account = account_of("alice");
    let mailbox = premises.rig.change("alice", "Mailbox").await;
    stream.told(&account, "Mailbox", &mailbox).await;
    let email = premises.rig.change("alice", "Email").await;
    stream.told(&account, "Email", &email).await;
    refused.send(()).unwrap();
    let told = premises.service.message("phone", 2).await.json();
    assert_eq!(told["changed"], json!({ account: { "Email": email, "Mailbox": mailbox } }));
}

/// RFC 8030 §8.4, RFC 8620 §7.2: a 429 slows us down.
#[tokio::test]
async fn a_push_service_that_says_when_is_not_asked_before() {
    let premises = Premises::new().await;
    premises.verified("alice", "phone", json!(["Email"])).await;
    premises.service.answer("phone", "429 Too Many Requests", "retry-after: 1\r\n");
    premises.rig.change("alice", "Email").await;
    let state = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
    let messages = premises.service.messages("phone");
    let refused = &messages[1];
    let next = &messages[2];
    assert!(next.at - refused.at >= Duration::from_millis(950), "{messages:?}");
}

/// RFC 8030 §7.3.
#[tokio::test]
async fn one_that_its_push_service_knows_no_longer_is_destroyed() {
    for status in ["404 Not Found", "410 Gone"] {
        let premises = Premises::new().await;
        premises.verified("alice", "phone", json!(["Email"])).await;
        premises.service.answer("phone", status, "");
        premises.rig.change("alice", "Email").await;
        premises.has("alice", 0).await;
    }
}

/// §7.2 `types`: what waits is not told to a client that wants it no longer.
#[tokio::test]
async fn what_waits_to_be_sent_is_dropped_when_it_is_no_longer_wanted() {
    let premises =
        Premises::with(|config| config.push.attempt_interval = Duration::from_secs(1)).await;
    let id = premises.verified("alice", "phone", Value::Null).await;
    premises.service.answer("phone", "503 Service Unavailable", "");
    premises.rig.change("alice", "Mailbox").await;
    premises.service.message("phone", 1).await;
    premises.set("alice", json!({ "update": { id: { "types": ["Identity"] } } })).await;
    let state = premises.rig.change("alice", "Identity").await;
    premises.service.told("phone", &account_of("alice"), "Identity", &state).await;
    let later = premises.service.messages("phone").split_off(2);
    let told = later.iter().flat_map(|message| message.changed().into_values());
    assert!(told.flat_map(|types| types.into_keys()).all(|name| name == "Identity"), "{later:?}");
}

/// hostile.md X8: nothing is asked of where a redirect leads.
#[tokio::test]
async fn a_redirect_is_a_failure() {
    let premises = Premises::new().await;
    premises.verified("alice", "phone", json!(["Email"])).await;
    let elsewhere = format!("location: {}\r\n", premises.service.url("elsewhere"));
    premises.service.answer("phone", "307 Temporary Redirect", &elsewhere);
    let state = premises.rig.change("alice", "Email").await;
    premises.service.message("phone", 2).await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
    assert!(premises.service.messages("elsewhere").is_empty());
}

#[tokio::test]
async fn changes_within_the_throttle_are_one_message() {
    let premises = Premises::with(|config| config.push.throttle = Duration::from_secs(1)).await;
    premises.verified("alice", "phone", json!(["Email"])).await;
    premises.rig.change("alice", "Email").await;
    premises.service.message("phone", 1).await;
    let mut last = String::new();
    for _ in 0..5 {
        last = premises.rig.change("alice", "Email").await;
    }
    premises.service.told("phone", &account_of("alice"), "Email", &last).await;
    assert_eq!(premises.service.messages("phone").len(), 3);
}

/// RFC 8291: with keys, and only then.
#[tokio::test]
async fn one_that_gave_keys_is_sent_nothing_in_clear() {
    let premises = Premises::new().await;
    // Those of RFC 8291 §5.
    let keys = json!({
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    });
    let url = premises.service.url("phone");
    let new = json!({ "deviceClientId": "d", "url": url, "keys": keys });
    premises.set("alice", json!({ "create": { "new": new } })).await;
    let verification = premises.service.message("phone", 0).await;
    assert_eq!(verification.headers["content-encoding"], "aes128gcm");
    assert!(!verification.body.contains("PushVerification"));
    assert!(verification.headers["content-length"].parse::<usize>().unwrap() > 86);
}
