//! How much is sent, and how often: messages that a push service finds too long (§5.7 of protocol.md; 413), and
//! verifications that somebody has sent where he likes (P16, hostile.md X10).

use std::time::Duration;

use serde_json::{Value, json};

use super::Premises;
use super::service::Message;
use crate::support::upstream::{Mail, Upstream};
use crate::support::wait::until;

/// A message that tells of many accounts, one of which has changed: it waits for the others.
async fn long_message(premises: &Premises, answer: &str) -> (Vec<String>, Message) {
    let accounts: Vec<String> = (0..40).map(|n| format!("shared-{n}")).collect();
    premises.rig.upstream.mail(|mail| accounts.iter().for_each(|id| mail.share("alice", id)));
    premises.verified("alice", "phone", json!(["Email", "Mailbox"])).await;
    premises.service.answer("phone", "503 Service Unavailable", "");
    premises.service.answer("phone", answer, "");
    for account in &accounts {
        premises.rig.set("alice", account, "Email").await;
    }
    (accounts, premises.service.message("phone", 2).await)
}

/// Pauses in which all accounts change.
async fn patient() -> Premises {
    Premises::with(|config| config.push.attempt_interval = Duration::from_secs(3)).await
}

#[tokio::test]
async fn what_is_too_long_for_a_push_service_comes_in_messages_half_as_long() {
    let premises = patient().await;
    let (accounts, refused) = long_message(&premises, "413 Content Too Large").await;
    assert!(refused.body.len() > 600, "{refused:?}");
    for account in &accounts {
        let state = premises.rig.upstream.mail(|mail| mail.state(account, "Email"));
        premises.service.told("phone", account, "Email", &state).await;
    }
    let later = premises.service.messages("phone").split_off(3);
    let most = (refused.body.len() / 2).max(512);
    assert!(later.iter().all(|message| message.body.len() <= most), "{most}: {later:?}");
}

/// RFC 8030 §7.2 has every push service take 4096 octets: one that takes no hundred takes nothing.
#[tokio::test]
async fn what_is_short_is_not_sent_again_to_a_push_service_that_finds_it_too_long() {
    let premises = Premises::new().await;
    premises.verified("alice", "phone", json!(["Email"])).await;
    premises.service.answer("phone", "413 Content Too Large", "");
    premises.rig.change("alice", "Email").await;
    let disabled = || {
        let gauge = &premises.rig.metrics.subscriptions;
        gauge.get_or_create(&[("state", "disabled")]).get()
    };
    until("disabled", || if disabled() == 1 { Ok(()) } else { Err(disabled()) }).await;
    assert_eq!(premises.service.messages("phone").len(), 2);
}

/// X10.
#[tokio::test]
async fn of_many_that_one_user_makes_one_is_verified_and_the_others_are_counted() {
    let premises = Premises::new().await;
    let url = |n: u32| premises.service.url(&format!("device{n}"));
    let new = |n: u32| json!({ "deviceClientId": format!("{n}"), "url": url(n) });
    let create: Value = (0..20).map(|n| (format!("k{n}"), new(n))).collect();
    let response = premises.set("alice", json!({ "create": create })).await;
    let refused = response["notCreated"].as_object().unwrap();
    assert!(refused.values().all(|error| error["type"] == "rateLimit"), "{response}");
    assert_eq!((refused.len(), premises.list("alice").await.len()), (19, 1));
    assert_eq!(premises.rig.metrics.subscriptions_rate_limited.get(), 19);
}

/// X10: whoever they are, and whatever its paths.
#[tokio::test]
async fn many_users_together_have_one_host_sent_thirty_verifications_a_minute() {
    let users: Vec<String> = (0..40).map(|n| format!("user{n}")).collect();
    let upstream = Upstream::start().await;
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    upstream.mail(|mail| *mail = Mail::of(&names, false));
    let premises = Premises::before(upstream, |_| {}).await;
    let began = tokio::time::Instant::now();
    let mut made = Vec::new();
    for user in &users {
        let response = premises.create(user, user, Value::Null).await;
        if response["created"]["new"]["id"].is_string() {
            made.push(user);
        } else {
            assert_eq!(response["notCreated"]["new"]["type"], "rateLimit", "{response}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(60), "all within the minute");
    assert_eq!(made.len(), 30);
    assert_eq!(premises.rig.metrics.subscriptions_rate_limited.get(), 10);
    for user in &users {
        if made.contains(&user) {
            premises.service.code(user).await;
        } else {
            assert!(premises.service.messages(user).is_empty(), "{user}");
        }
    }
    let all: usize = users.iter().map(|user| premises.service.messages(user).len()).sum();
    assert_eq!(all, 30);
}
