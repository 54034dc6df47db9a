//! What of a client's wishes is refused (§7.2, §8.6; P3, P7, P16; hostile.md X9, X10), by whatever way it
//! comes.

use serde_json::{Value, json};

use super::Premises;
use crate::support::ws::Ws;

#[tokio::test]
async fn url_and_keys_are_told_to_nobody() {
    let premises = Premises::new().await;
    premises.verified("alice", "phone", Value::Null).await;
    let list = premises.list("alice").await;
    let object = list[0].as_object().unwrap();
    assert!(!object.contains_key("url") && !object.contains_key("keys"), "{object:?}");
    for secret in ["url", "keys"] {
        let asked = json!({ "ids": null, "properties": ["id", secret] });
        let (name, response) = premises.call("alice", "get", asked).await;
        assert_eq!((&*name, &response["type"]), ("error", &json!("forbidden")));
    }
}

#[tokio::test]
async fn urls_that_lead_nowhere_good_are_refused() {
    let premises = Premises::new().await;
    let port = premises.service.port();
    for url in [
        format!("http://127.0.0.2:{port}/x"),
        format!("https://127.0.0.1:{port}/x"),
        format!("https://10.0.0.1:{port}/x"),
        format!("https://169.254.169.254:{port}/x"),
        format!("https://user@127.0.0.2:{port}/x"),
        "https://127.0.0.2:22/x".to_owned(),
        "https://".to_owned(),
        String::new(),
    ] {
        let new = json!({ "deviceClientId": "d", "url": url });
        let response = premises.set("alice", json!({ "create": { "new": new } })).await;
        let error = &response["notCreated"]["new"];
        assert_eq!(error["type"], "invalidProperties", "{url}: {response}");
        assert_eq!(error["properties"], json!(["url"]), "{url}");
    }
}

#[tokio::test]
async fn a_user_has_only_so_many_and_makes_them_only_so_fast() {
    let premises = Premises::with(|config| config.push.subscriptions_per_user = 1).await;
    premises.verified("alice", "phone", Value::Null).await;
    let response = premises.create("alice", "tablet", Value::Null).await;
    assert_eq!(response["notCreated"]["new"]["type"], "overQuota", "{response}");

    let premises = Premises::new().await;
    premises.subscribe("alice", "phone", Value::Null).await;
    let response = premises.create("alice", "tablet", Value::Null).await;
    assert_eq!(response["notCreated"]["new"]["type"], "rateLimit", "X10: {response}");
    premises.subscribe("bob", "other", Value::Null).await;
}

#[tokio::test]
async fn one_that_wants_no_type_is_told_of_nothing() {
    let premises = Premises::new().await;
    premises.verified("alice", "phone", json!([])).await;
    premises.verified("bob", "other", json!(["Email"])).await;
    premises.rig.change("alice", "Email").await;
    let state = premises.rig.change("bob", "Email").await;
    let account = crate::support::upstream::account_of("bob");
    premises.service.told("other", &account, "Email", &state).await;
    assert_eq!(premises.service.messages("phone").len(), 1, "its verification");
}

#[tokio::test]
async fn it_is_made_and_destroyed_over_a_web_socket_as_well() {
    let premises = Premises::new().await;
    let mut socket = Ws::open(&premises.rig, "alice").await;
    let new = json!({ "deviceClientId": "d", "url": premises.service.url("phone") });
    let calls = json!([
        ["PushSubscription/set", { "create": { "k": new } }, "a"],
        ["PushSubscription/get", { "#ids": { "resultOf": "a", "name": "PushSubscription/set", "path": "/created/k/id" } }, "b"],
        ["PushSubscription/set", { "destroy": ["#k"] }, "c"],
        ["Core/echo", { "x": 1 }, "d"],
    ]);
    socket.request("r", &calls).await;
    let response = socket.next_of("Response").await;
    assert_eq!(response["requestId"], "r");
    let answers = response["methodResponses"].as_array().unwrap();
    let id = answers[0][1]["created"]["k"]["id"].as_str().unwrap_or_else(|| panic!("{response}"));
    assert_eq!(answers[2][1]["destroyed"], json!([id]));
    assert_eq!(answers[3], json!(["Core/echo", { "x": 1 }, "d"]));
    assert!(premises.list("alice").await.is_empty());
}
