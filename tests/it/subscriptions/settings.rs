//! What settings of `[push]` do to the messages that are sent (RFC 8292 §2.1, RFC 8030 §5.2, RFC 8620 §7.2),
//! and what they are where nobody sets them (docs/push.md).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jmap_push_proxy::config::{Config, PushContentType};
use serde_json::{Value, json};

use super::Premises;
use crate::support::process::Process;
use crate::support::scratch::scratch;
use crate::support::upstream::{Upstream, account_of};
use crate::support::wait::until;

const PAGE: &str = include_str!("../../../docs/push.md");

/// What the token of the verification of a new subscription claims.
async fn claims(tweak: impl FnOnce(&mut Config)) -> Value {
    let premises = Premises::with(tweak).await;
    premises.subscribe("alice", "phone", Value::Null).await;
    let authorization = &premises.service.message("phone", 0).await.headers["authorization"];
    let token = authorization.strip_prefix("vapid t=").unwrap().split(',').next().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    premises.rig.end().await;
    serde_json::from_slice(&claims).unwrap()
}

/// RFC 8292 §2.1: `sub` is an https or a mailto URI, or is not there.
#[tokio::test]
async fn push_services_are_told_whom_to_write_to() {
    const SUBJECT: &str = "mailto:postmaster@example.org";
    let public = |url: &str| Some(url.parse().unwrap());
    let told = claims(|config| {
        config.push.vapid_subject = Some(SUBJECT.to_owned());
        config.downstream.public_url = public("https://mail.example");
    });
    assert_eq!(told.await["sub"], SUBJECT);
    let told = claims(|config| config.downstream.public_url = public("https://mail.example"));
    assert_eq!(told.await["sub"], "https://mail.example/");
    let told = claims(|config| config.downstream.public_url = public("http://mail.example"));
    assert!(told.await.get("sub").is_none());
    assert!(claims(|_| {}).await.get("sub").is_none());
}

/// RFC 8030 §5.2.
#[tokio::test]
async fn every_message_lives_as_long_as_the_settings_say() {
    let premises = Premises::with(|config| config.push.ttl = Duration::from_secs(90)).await;
    premises.verified("alice", "phone", json!(["Email"])).await;
    let state = premises.rig.change("alice", "Email").await;
    premises.service.told("phone", &account_of("alice"), "Email", &state).await;
    let messages = premises.service.messages("phone");
    assert!(messages.len() >= 2 && messages.iter().all(|it| it.headers["ttl"] == "90"));
    premises.rig.end().await;
}

/// §7.2: "a content type of `application/json`"; what is not encrypted is nothing else.
#[tokio::test]
async fn encrypted_messages_are_labelled_as_the_settings_say_and_others_as_json() {
    for (setting, encrypted) in [
        (PushContentType::Json, "application/json"),
        (PushContentType::OctetStream, "application/octet-stream"),
    ] {
        let premises = Premises::with(|config| config.push.content_type = setting).await;
        // Those of RFC 8291 §5.
        let keys = json!({
            "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "auth": "BTBZMqHH6r4Tts7J_aSIgg",
        });
        let url = premises.service.url("sealed");
        let new = json!({ "deviceClientId": "d", "url": url, "keys": keys });
        premises.set("alice", json!({ "create": { "new": new } })).await;
        premises.subscribe("bob", "open", Value::Null).await;
        for (path, label) in [("sealed", encrypted), ("open", "application/json")] {
            let message = premises.service.message(path, 0).await;
            assert_eq!(message.headers["content-type"], label, "{path}, {setting:?}");
        }
        premises.rig.end().await;
    }
}

/// D11: nobody loses subscriptions unawares.
#[tokio::test]
async fn a_store_in_memory_is_told_at_the_start() {
    const TOLD: &str = "a restart loses all PushSubscriptions";
    let folder = scratch();
    let file = folder.join("push.sqlite");
    let upstream = Upstream::start().await;
    for (store, is_told) in [("memory", true), (file.to_str().unwrap(), false)] {
        let settings = [("PUSH__MODE", "own"), ("PUSH__STORE", store)];
        let proxy = Process::start(upstream.address, &settings).await;
        let says = || proxy.log.lock().unwrap().iter().any(|line| line.contains(TOLD));
        if is_told {
            until("the word", || if says() { Ok(()) } else { Err(()) }).await;
        }
        proxy.signal(rustix::process::Signal::TERM);
        let log = std::sync::Arc::clone(&proxy.log);
        assert!(proxy.ended().await.success());
        let times = log.lock().unwrap().iter().filter(|line| line.contains(TOLD)).count();
        assert_eq!(times, usize::from(is_told), "{store}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// The issue names them: Stalwart's, by the keys that they have here.
#[test]
fn the_defaults_are_stalwarts_as_the_documentation_says() {
    let push = Config::default().push;
    let seconds = |time: Duration| format!("{} s", time.as_secs_f64());
    let defaults = [
        ("subscriptions_per_user", "100", push.subscriptions_per_user.to_string()),
        ("attempts", "3", push.attempts.to_string()),
        ("attempt_interval", "60 s", seconds(push.attempt_interval)),
        ("retry_interval", "1 s", seconds(push.retry_interval)),
        ("timeout", "10 s", seconds(push.timeout)),
        ("verify_timeout", "60 s", seconds(push.verify_timeout)),
        ("throttle", "1 s", seconds(push.throttle)),
    ];
    let table = PAGE.split("### Stalwart's settings").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `push-")?.split('|').skip(1).map(str::trim);
        Some((cells.next()?.trim_matches('`'), cells.next()?))
    });
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows, defaults.each_ref().map(|(key, stalwarts, _)| (*key, *stalwarts)));
    for (key, stalwarts, ours) in defaults {
        assert_eq!(ours, stalwarts, "{key}");
    }
}
