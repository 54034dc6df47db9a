//! Push over a WebSocket (RFC 8887 §4.3.5).

use std::time::Duration;

use serde_json::json;

use crate::support::ledger::settle;
use crate::support::rig::Rig;
use crate::support::upstream::account_of;
use crate::support::ws::Ws;

async fn rig() -> Rig {
    Rig::start(|config| config.websocket.throttle = Duration::ZERO).await
}

/// A user's WebSocket with push, told what it starts from.
async fn pushed(rig: &Rig, user: &str, wish: serde_json::Value) -> Ws {
    let mut ws = Ws::open(rig, user).await;
    ws.enable(wish).await;
    ws
}

#[tokio::test]
async fn nothing_is_pushed_before_it_is_asked_for() {
    let rig = rig().await;
    let mut ws = Ws::open(&rig, "alice").await;
    let mut stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let new = rig.change("alice", "Email").await;
    stream.told(&account_of("alice"), "Email", &new).await;
    assert!(ws.is_silent().await);
    rig.end().await;
}

/// W9.
#[tokio::test]
async fn types_that_are_absent_or_null_mean_all() {
    let rig = rig().await;
    for wish in [json!({}), json!({ "dataTypes": null })] {
        let mut ws = pushed(&rig, "alice", wish).await;
        for data_type in ["Email", "Mailbox", "Identity"] {
            let new = rig.change("alice", data_type).await;
            ws.told(&account_of("alice"), data_type, &new).await;
        }
    }
    rig.end().await;
}

#[tokio::test]
async fn only_the_types_asked_for_are_pushed() {
    let rig = rig().await;
    let mut ws = pushed(&rig, "alice", json!({ "dataTypes": ["Mailbox"] })).await;
    rig.change("alice", "Email").await;
    let new = rig.change("alice", "Mailbox").await;
    ws.told(&account_of("alice"), "Mailbox", &new).await;
    settle(&rig.upstream, [&mut ws]).await;
    rig.end().await;
}

#[tokio::test]
async fn an_empty_list_of_types_means_none() {
    let rig = rig().await;
    let mut ws = pushed(&rig, "alice", json!({ "dataTypes": [] })).await;
    let mut stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let new = rig.change("alice", "Email").await;
    stream.told(&account_of("alice"), "Email", &new).await;
    assert!(ws.is_silent().await);
    rig.end().await;
}

#[tokio::test]
async fn asking_again_replaces_what_was_asked_for() {
    let rig = rig().await;
    let mut ws = pushed(&rig, "alice", json!({ "dataTypes": ["Mailbox"] })).await;
    ws.enable(json!({ "dataTypes": ["Email"] })).await;
    rig.change("alice", "Mailbox").await;
    let new = rig.change("alice", "Email").await;
    ws.told(&account_of("alice"), "Email", &new).await;
    settle(&rig.upstream, [&mut ws]).await;
    rig.end().await;
}

/// W10.
#[tokio::test]
async fn push_that_was_disabled_can_be_enabled_again() {
    let rig = rig().await;
    let mut ws = pushed(&rig, "alice", json!({})).await;
    let account = account_of("alice");
    let new = rig.change("alice", "Email").await;
    ws.told(&account, "Email", &new).await;
    ws.disable().await;
    let mut stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let unseen = rig.change("alice", "Email").await;
    stream.told(&account, "Email", &unseen).await;
    assert!(ws.is_silent().await);
    ws.enable(json!({})).await;
    let new = rig.change("alice", "Email").await;
    ws.told(&account, "Email", &new).await;
    rig.end().await;
}

/// W11.
#[tokio::test]
async fn who_comes_back_is_told_at_once_what_was_missed_and_nothing_else() {
    let rig = rig().await;
    let account = account_of("alice");
    let mut ws = pushed(&rig, "alice", json!({})).await;
    let new = rig.change("alice", "Email").await;
    ws.told(&account, "Email", &new).await;
    let push_state = ws.push_state.take().unwrap();
    drop(ws);
    let missed = rig.change("alice", "Mailbox").await;
    let mut ws = pushed(&rig, "alice", json!({ "pushState": push_state })).await;
    ws.told(&account, "Mailbox", &missed).await;
    assert!(ws.log.states().all(|(_, data_type, _)| data_type != "Email"), "{:?}", ws.log);
    rig.end().await;
}

/// The same token as an event's id (architecture D10).
#[tokio::test]
async fn a_client_may_change_from_one_transport_to_the_other() {
    let rig = rig().await;
    let account = account_of("alice");
    let mut stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let new = rig.change("alice", "Email").await;
    stream.told(&account, "Email", &new).await;
    let id = stream.last_id.take().unwrap();
    drop(stream);
    let missed = rig.change("alice", "Mailbox").await;
    let mut ws = pushed(&rig, "alice", json!({ "pushState": id })).await;
    ws.told(&account, "Mailbox", &missed).await;
    let push_state = ws.push_state.take().unwrap();
    drop(ws);
    let missed = rig.change("alice", "Email").await;
    let mut stream = rig.events_after("alice", "types=*&closeafter=no&ping=0", &push_state).await;
    stream.told(&account, "Email", &missed).await;
    rig.end().await;
}

/// A token that is not ours means that nothing is known of what the client has.
#[tokio::test]
async fn who_has_a_strange_push_state_is_told_everything() {
    let rig = rig().await;
    let account = account_of("alice");
    let mut ws = pushed(&rig, "alice", json!({ "pushState": "forged" })).await;
    for data_type in ["Email", "Mailbox"] {
        let state = rig.upstream.mail(|mail| mail.state(&account, data_type));
        ws.told(&account, data_type, &state).await;
    }
    rig.end().await;
}

/// Nothing tells a client when its wish was heard, so a change right behind it must not be taken for
/// what it starts from.
#[tokio::test]
async fn a_change_right_behind_the_wish_is_not_lost() {
    let rig = rig().await;
    // As many as an account may have baselines one right after the other.
    for user in ["alice", "bob"].into_iter().cycle().take(10) {
        let account = account_of(user);
        let mut ws = Ws::open(&rig, user).await;
        ws.send(r#"{"@type":"WebSocketPushEnable"}"#).await;
        rig.upstream.deliver(user);
        let state = rig.upstream.mail(|mail| mail.state(&account, "Email"));
        ws.told(&account, "Email", &state).await;
    }
    rig.end().await;
}

#[tokio::test]
async fn accounts_that_are_shared_are_pushed_and_ones_that_are_withdrawn_are_not() {
    let rig = Rig::start(|config| {
        config.websocket.throttle = Duration::ZERO;
        config.auth.revalidate = Duration::from_secs(1);
    })
    .await;
    rig.upstream.mail(|mail| mail.share("alice", "shared"));
    rig.upstream.mail(|mail| mail.share("bob", "shared"));
    let mut ws = pushed(&rig, "alice", json!({})).await;
    let new = rig.set("bob", "shared", "Email").await;
    ws.told("shared", "Email", &new).await;
    rig.upstream.mail(|mail| mail.withdraw("alice", "shared"));
    rig.upstream.revalidated("alice").await;
    ws.log.withdrawn("shared");
    rig.set("bob", "shared", "Email").await;
    rig.change("alice", "Email").await;
    settle(&rig.upstream, [&mut ws]).await;
    rig.end().await;
}

#[tokio::test]
async fn the_states_of_all_types_come_in_one_message() {
    let rig = Rig::start(|config| config.websocket.throttle = Duration::from_millis(500)).await;
    let account = account_of("alice");
    let mut ws = pushed(&rig, "alice", json!({})).await;
    let first = rig.change("alice", "Identity").await;
    ws.told(&account, "Identity", &first).await;
    rig.change("alice", "Email").await;
    let last = rig.change("alice", "Mailbox").await;
    let changed = loop {
        let changed = ws.state().await;
        if changed[&account].get("Mailbox") == Some(&last) {
            break changed;
        }
    };
    assert!(changed[&account].contains_key("Email"), "{changed:?}");
    rig.end().await;
}
