//! From its verification to its end (§7.2.2, P6, P9, P10, P11; RFC 9749 §5, protocol.md §1.6).

use std::time::Duration;

use serde_json::{Value, json};

use super::Premises;
use crate::support::scratch::scratch;
use crate::support::upstream::account_of;

#[tokio::test]
async fn a_verification_is_sent_at_once_and_nothing_else_before_the_code_is_shown() {
    let premises = Premises::new().await;
    let id = premises.subscribe("alice", "phone", Value::Null).await;
    let verification = premises.service.message("phone", 0).await;
    assert_eq!(verification.json()["pushSubscriptionId"], id.as_str());
    let headers = &verification.headers;
    assert_eq!(headers["ttl"], "86400");
    assert_eq!(headers["urgency"], "high");
    assert_eq!(headers["content-type"], "application/json");
    assert!(!headers.contains_key("content-encoding"), "it gave no keys");
    let key = premises.advertised().await;
    let authorization = &headers["authorization"];
    assert!(authorization.starts_with("vapid t="), "{authorization}");
    assert!(authorization.ends_with(&format!(", k={}", key.as_str().unwrap())), "{authorization}");

    // The push service took it, which proves nothing about the client.
    premises.rig.change("alice", "Email").await;
    let mut stream = premises.rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let state = premises.rig.change("alice", "Mailbox").await;
    stream.told(&account_of("alice"), "Mailbox", &state).await;
    assert_eq!(premises.service.messages("phone").len(), 1);

    let code = premises.service.code("phone").await;
    premises.set("alice", json!({ "update": { id: { "verificationCode": code } } })).await;
    let state = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
}

#[tokio::test]
async fn a_wrong_code_verifies_nothing_and_five_of_them_end_it() {
    let premises = Premises::new().await;
    let id = premises.subscribe("alice", "phone", Value::Null).await;
    let guess = json!({ "update": { id.clone(): { "verificationCode": "guess" } } });
    for _ in 0..5 {
        let response = premises.set("alice", guess.clone()).await;
        let error = &response["notUpdated"][&id];
        assert_eq!(error["type"], "invalidProperties", "{response}");
        assert_eq!(error["properties"], json!(["verificationCode"]));
    }
    premises.has("alice", 0).await;
}

#[tokio::test]
async fn one_that_is_not_verified_in_time_is_destroyed() {
    let premises =
        Premises::with(|config| config.push.verify_timeout = Duration::from_secs(1)).await;
    premises.subscribe("alice", "phone", Value::Null).await;
    premises.has("alice", 1).await;
    premises.has("alice", 0).await;
}

/// RFC 9749 §5: "MUST NOT retry".
#[tokio::test]
async fn a_verification_that_is_refused_is_not_sent_again() {
    let premises = Premises::new().await;
    premises.service.answer("phone", "403 Forbidden", "");
    premises.subscribe("alice", "phone", Value::Null).await;
    premises.has("alice", 0).await;
    assert_eq!(premises.service.messages("phone").len(), 1);
}

#[tokio::test]
async fn a_verification_reaches_a_push_service_that_comes_back() {
    let premises = Premises::new().await;
    premises.service.answer("phone", "503 Service Unavailable", "");
    premises.subscribe("alice", "phone", Value::Null).await;
    let second = premises.service.message("phone", 1).await;
    assert_eq!(second.json()["@type"], "PushVerification");
}

/// P9, §7.2.2: the client "may receive" it before anybody knows that it was sent.
#[tokio::test]
async fn a_code_that_is_shown_before_the_push_service_has_answered_verifies() {
    let premises = Premises::new().await;
    let _held = premises.service.hold("phone", "201 Created");
    let id = premises.subscribe("alice", "phone", Value::Null).await;
    let code = premises.service.code("phone").await;
    premises.set("alice", json!({ "update": { id: { "verificationCode": code } } })).await;
    let state = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
}

/// P9: the same where the answer says that the message is to be sent again.
#[tokio::test]
async fn a_code_that_is_shown_before_the_push_service_has_answered_well_verifies() {
    let premises = Premises::with(|config| {
        config.push.attempt_interval = Duration::from_secs(60);
    })
    .await;
    premises.service.answer("phone", "503 Service Unavailable", "");
    let id = premises.subscribe("alice", "phone", Value::Null).await;
    let code = premises.service.code("phone").await;
    premises.set("alice", json!({ "update": { id: { "verificationCode": code } } })).await;
    let state = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
}

/// P10, P6.
#[tokio::test]
async fn it_is_renewed_without_another_verification() {
    let premises = Premises::new().await;
    let id = premises.verified("alice", "phone", Value::Null).await;
    let renewal = json!({ "update": { id.clone(): { "expires": "2099-01-01T00:00:00Z" } } });
    let response = premises.set("alice", renewal).await;
    let granted = &response["updated"][&id]["expires"];
    assert!(granted.is_string() && granted != "2099-01-01T00:00:00Z", "{response}");
    assert_eq!(&premises.list("alice").await[0]["expires"], granted);
    let state = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
    let verifications = premises.service.messages("phone").into_iter();
    let verifications = verifications.filter(|it| it.json()["@type"] == "PushVerification");
    assert_eq!(verifications.count(), 1);
}

#[tokio::test]
async fn one_that_expires_is_gone() {
    let premises = Premises::new().await;
    let id = premises.verified("alice", "phone", Value::Null).await;
    let soon = jmap_push_proxy::clock::wall() + Duration::from_secs(2);
    let soon = jmap_push_proxy::jmap::date::UtcDate::at(soon).to_rfc3339();
    premises.set("alice", json!({ "update": { id: { "expires": soon } } })).await;
    premises.has("alice", 1).await;
    premises.has("alice", 0).await;
}

/// D11: a restart loses nothing, and asks no device to verify itself again.
#[tokio::test]
async fn it_outlives_a_restart_with_what_was_missed_meanwhile() {
    let folder = scratch();
    let store = folder.join("push.sqlite");
    let mut premises = Premises::with(|config| config.push.store = Some(store)).await;
    let id = premises.verified("alice", "phone", Value::Null).await;
    let state = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
    let key = premises.advertised().await;

    premises.rig.restart().await;
    let missed = premises.rig.upstream.mail(|mail| mail.change(&account_of("alice"), "Email"));
    // Its owner comes back, and with them a credential to ask with.
    assert_eq!(premises.list("alice").await[0]["id"], id.as_str());
    premises.service.told("phone", &account_of("alice"), "Email", &missed).await;
    assert_eq!(premises.advertised().await, key);
    let verifications = premises.service.messages("phone").into_iter();
    let verifications = verifications.filter(|it| it.json()["@type"] == "PushVerification");
    assert_eq!(verifications.count(), 1);
    premises.rig.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// "No client is ever left stale": nobody can say what an absent owner's device has missed.
#[tokio::test]
async fn after_a_restart_a_device_whose_owner_is_away_is_told_that_something_may_have_changed() {
    let folder = scratch();
    let store = folder.join("push.sqlite");
    let mut premises = Premises::with(|config| config.push.store = Some(store)).await;
    premises.verified("alice", "phone", json!(["Email"])).await;
    let state = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
    premises.rig.restart().await;
    let told = premises.service.message("phone", 2).await.changed();
    let state = &told[&account_of("alice")]["Email"];
    assert!(state.starts_with("presumed-"), "{told:?}");
    premises.rig.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}
