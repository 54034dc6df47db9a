//! What of a client's wishes is refused (§7.2, §8.6; P3, P7, P16; hostile.md X9, X10), by whatever way it
//! comes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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
        assert_eq!(refused(&premises, new).await, json!(["url"]), "{url}");
    }
}

/// The properties for which nothing is made of this.
async fn refused(premises: &Premises, new: Value) -> Value {
    let mut response = premises.set("alice", json!({ "create": { "new": new } })).await;
    let error = &mut response["notCreated"]["new"];
    assert_eq!(error["type"], "invalidProperties", "{new}: {error}");
    error["properties"].take()
}

/// X9, P16: by whatever name, and through whatever balancer, it would be to ourselves.
#[tokio::test]
async fn a_url_at_our_own_name_is_refused() {
    let premises = Premises::with(|config| {
        config.downstream.public_url = Some("https://Mail.Example.org".parse().unwrap());
    })
    .await;
    let port = premises.service.port();
    for name in ["mail.example.org", "MAIL.example.ORG"] {
        let new = json!({ "deviceClientId": "d", "url": format!("https://{name}:{port}/x") });
        assert_eq!(refused(&premises, new).await, json!(["url"]), "{name}");
    }
}

/// P3, X12: RFC 8291 §7 has the point looked at, lest what is sent can be read by others.
#[tokio::test]
async fn keys_that_nothing_can_be_encrypted_to_are_refused() {
    // Those of RFC 8291 §5.
    let point = URL_SAFE_NO_PAD
        .decode("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4")
        .unwrap();
    let auth = URL_SAFE_NO_PAD.decode("BTBZMqHH6r4Tts7J_aSIgg").unwrap();
    let with = |at: usize, octet: u8| {
        let mut other = point.clone();
        other[at] = octet;
        other
    };
    let premises = Premises::new().await;
    let keys = |point: &[u8], auth: &[u8]| {
        let [p256dh, auth] = [point, auth].map(|octets| URL_SAFE_NO_PAD.encode(octets));
        json!({ "p256dh": p256dh, "auth": auth })
    };
    let of = |keys: Value| json!({ "deviceClientId": "d", "url": premises.service.url("phone"), "keys": keys });
    for (what, keys) in [
        ("off the curve", keys(&with(64, point[64] ^ 1), &auth)),
        ("hybrid (its y is even)", keys(&with(0, 6), &auth)),
        ("compressed", keys(&[&[2], &point[1..33]].concat(), &auth)),
        ("no secret of 16 octets", keys(&point, &auth[1..])),
        ("one of 17", keys(&point, &[&auth[..], &[0]].concat())),
    ] {
        assert_eq!(refused(&premises, of(keys)).await, json!(["keys"]), "{what}");
    }
    let response =
        premises.set("alice", json!({ "create": { "k": of(keys(&point, &auth)) } })).await;
    assert!(response["created"]["k"]["id"].is_string(), "{response}");
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
