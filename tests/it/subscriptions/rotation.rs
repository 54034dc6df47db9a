//! The VAPID key is changed by its file (RFC 9749 §5; protocol.md §1.6): who is told of the new one, who keeps
//! the old one, and until when.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jmap_push_proxy::jmap::date::UtcDate;
use rcgen::{KeyPair, PublicKeyData as _};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::Premises;
use super::service::Message;
use crate::support::process::command;
use crate::support::scratch::scratch;
use crate::support::upstream::account_of;
use crate::support::wait::within;

/// A private key in a file, and the public one as RFC 9749 §3 writes it.
struct Key {
    file: PathBuf,
    public: String,
}

impl Key {
    fn new(file: PathBuf) -> Self {
        let pair = KeyPair::generate().unwrap();
        std::fs::write(&file, pair.serialize_pem()).unwrap();
        Self { file, public: URL_SAFE_NO_PAD.encode(pair.der_bytes()) }
    }
}

/// The key that a message says it is signed by (RFC 8292 §3.2).
fn signed_by(message: &Message) -> &str {
    message.headers["authorization"].rsplit_once(", k=").unwrap().1
}

/// RFC 9749 §3, §5; S4.
#[tokio::test]
async fn the_new_key_is_advertised_and_each_subscription_keeps_the_one_it_was_made_under() {
    let folder = scratch();
    let [old, new] = ["old.pem", "new.pem"].map(|name| Key::new(folder.join(name)));
    let store = folder.join("push.sqlite");
    let mut premises = Premises::with(|config| {
        // The same before and after: else `state` would be another for that.
        config.downstream.public_url = Some("https://mail.example".parse().unwrap());
        config.push.store = Some(store.clone());
        config.push.vapid_key_file = Some(old.file.clone());
    })
    .await;
    let phone = premises.verified("alice", "phone", json!(["Email"])).await;
    let before = premises.session("alice").await;
    assert_eq!(premises.advertised().await, json!(old.public));

    premises.rig.config.push.vapid_key_file = Some(new.file.clone());
    premises.rig.restart().await;
    assert_eq!(premises.advertised().await, json!(new.public));
    let state = premises.session("alice").await["state"].take();
    assert_ne!(state, before["state"], "S4: else no client would look at the key");
    let response = premises.rig.call("alice", &json!([["Core/echo", {}, "0"]])).await;
    let response: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(response["sessionState"], state, "S4");

    let tablet = premises.verified("alice", "tablet", json!(["Email"])).await;
    let state = premises.rig.change("alice", "Email").await;
    for (path, key) in [("phone", &old), ("tablet", &new)] {
        premises.service.told(path, &account_of("alice"), "Email", &state).await;
        let messages = premises.service.messages(path);
        assert!(messages.iter().all(|message| signed_by(message) == key.public), "{path}");
    }

    let keys = || {
        let store = Connection::open(&store).unwrap();
        store.query_row("SELECT count(*) FROM vapid_key", [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!(keys(), 2);
    premises.set("alice", json!({ "destroy": [phone] })).await;
    assert_eq!(keys(), 1, "nobody needs the old one");
    premises.rig.restart().await;
    assert_eq!(premises.list("alice").await[0]["id"], json!(tablet));
    assert_eq!(premises.advertised().await, json!(new.public));
    premises.rig.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// protocol.md §1.6: those of an older key "MUST" come to an end.
#[tokio::test]
async fn one_of_an_older_key_is_renewed_for_a_week_after_the_change_unless_the_key_comes_back() {
    let folder = scratch();
    let [old, new] = ["old.pem", "new.pem"].map(|name| Key::new(folder.join(name)));
    let store = folder.join("push.sqlite");
    let mut premises = Premises::with(|config| {
        config.push.store = Some(store.clone());
        config.push.vapid_key_file = Some(old.file.clone());
    })
    .await;
    let id = premises.verified("alice", "phone", Value::Null).await;
    premises.rig.config.push.vapid_key_file = Some(new.file);
    premises.rig.restart().await;
    // As if that had been three days ago.
    let retired = "UPDATE vapid_key SET retired = retired - 259200 RETURNING retired";
    let retired: i64 =
        Connection::open(&store).unwrap().query_row(retired, [], |row| row.get(0)).unwrap();
    premises.rig.restart().await;
    // Not what it has.
    let sooner = UtcDate(retired + 5 * 86_400);
    premises.set("alice", json!({ "update": { &*id: { "expires": sooner } } })).await;
    let renewal = json!({ "update": { &*id: { "expires": null } } });
    let response = premises.set("alice", renewal.clone()).await;
    let end = UtcDate(retired + 7 * 86_400);
    assert_eq!(response["updated"][&id], json!({ "expires": end }), "{response}");

    premises.rig.config.push.vapid_key_file = Some(old.file);
    premises.rig.restart().await;
    let response = premises.set("alice", renewal).await;
    let expires = response["updated"][&id]["expires"].as_str().unwrap();
    assert!(Some(expires) > json!(end).as_str(), "its key is advertised again: {response}");
    premises.rig.end().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_file_that_holds_no_key_ends_the_start_and_is_named() {
    let folder = scratch();
    let file = folder.join("vapid.pem");
    let pem = |algorithm| KeyPair::generate_for(algorithm).unwrap().serialize_pem();
    for (text, why) in [
        ("no key at all".to_owned(), "read a private key in PEM"),
        (pem(&rcgen::PKCS_ECDSA_P384_SHA384), "it must be of the curve P-256"),
        (pem(&rcgen::PKCS_ED25519), "it must be of the curve P-256"),
    ] {
        std::fs::write(&file, text).unwrap();
        let free = "127.0.0.1:0";
        let mut start = command(&["--upstream", "http://127.0.0.1:1", "--listen", free]);
        start.args(["--admin", free, "--probes", free]);
        start.env("JMAP_PUSH_PROXY__PUSH__STORE", "memory");
        start.env("JMAP_PUSH_PROXY__PUSH__VAPID_KEY_FILE", &file);
        let output = within("end of the start", start.output()).await.unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        let named = format!("push.vapid_key_file {}", file.display());
        let errors: Vec<_> = said.lines().filter(|line| line.contains(&named)).collect();
        assert_eq!(errors.len(), 1, "{said}");
        assert!(errors[0].contains(why), "{said}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
