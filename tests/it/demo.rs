//! `demo` as a process, its page's part played by the test: Web Push from the Session's key to a decrypted
//! StateChange (RFC 8620 §7.2, RFC 8291, RFC 8292), without internet.

use std::net::SocketAddr;
use std::process::Stdio;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use jmap_push_proxy::clock;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use self::receiver::UserAgent;
use crate::support::http::exchange;
use crate::support::process::command;
use crate::support::wait::within;

#[path = "../../src/push/encrypt/tests/receiver.rs"]
mod receiver;

const VAPID: &str = "urn:ietf:params:jmap:webpush-vapid";

/// A running demo, killed when dropped.
struct Demo {
    _child: Child,
    address: SocketAddr,
}

impl Demo {
    async fn start() -> Self {
        let mut command = command(&["demo", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = within("guide", lines.next_line()).await.unwrap().expect("where to look");
            if let Some((_, url)) = line.split_once("Look at it:     http://") {
                return Self { _child: child, address: url.trim_end_matches('/').parse().unwrap() };
            }
        }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let credential = STANDARD.encode("alice:demo");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Basic {credential}"))
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let answer = exchange(self.address, request.body(Full::new(body)).unwrap()).await.unwrap();
        (answer.status(), serde_json::from_slice(answer.body()).unwrap_or_default())
    }

    async fn set(&self, arguments: Value) -> Value {
        let calls = json!([["PushSubscription/set", arguments, "0"]]);
        let request = json!({ "using": ["urn:ietf:params:jmap:core"], "methodCalls": calls });
        let (status, mut answer) = self.ask("POST", "/jmap/api", Some(request)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["methodResponses"][0][1].take()
    }

    /// The first message after the one of number `after`.
    async fn message(&self, token: &str, after: u64) -> Value {
        let path = format!("/demo/push/{token}?after={after}");
        let (status, mut messages) = self.ask("GET", &path, None).await;
        assert_eq!(status, StatusCode::OK, "{messages}");
        messages[0].take()
    }
}

fn octets(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().expect("text")).unwrap()
}

/// What a message says to `agent`.
fn opened(agent: &UserAgent, message: &Value) -> Value {
    assert_eq!(message["headers"]["content-encoding"], "aes128gcm", "{message}");
    serde_json::from_slice(&agent.open(&octets(&message["body"])).expect("for this agent")).unwrap()
}

/// The claims of its token, signed by `key`.
fn claims(message: &Value, key: &str) -> Value {
    let authorization = message["headers"]["authorization"].as_str().expect("a token");
    let (token, k) = authorization.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
    assert_eq!(k, key, "signed by the key that the Session names (RFC 9749 §3)");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, octets(&json!(key)));
    public.verify(signed.as_bytes(), &octets(&json!(signature))).unwrap();
    serde_json::from_slice(&octets(&json!(signed.split_once('.').unwrap().1))).unwrap()
}

#[tokio::test]
async fn a_push_is_verified_encrypted_signed_and_decrypted_without_internet() {
    let demo = Demo::start().await;
    let (_, session) = demo.ask("GET", "/.well-known/jmap", None).await;
    let key = session["capabilities"][VAPID]["applicationServerKey"].as_str();
    let key = key.unwrap_or_else(|| panic!("no key in {session}"));
    let (status, resource) = demo.ask("POST", "/demo/push", None).await;
    assert_eq!(status, StatusCode::CREATED, "{resource}");
    let (url, token) = (resource["url"].as_str().unwrap(), resource["token"].as_str().unwrap());
    let agent = UserAgent::with(&[7; 32], rand::random()).unwrap();
    let [p256dh, auth] = [&agent.public[..], &agent.auth].map(|key| URL_SAFE_NO_PAD.encode(key));
    let keys = json!({ "p256dh": p256dh, "auth": auth });
    let new = json!({ "deviceClientId": "test", "url": url, "keys": keys });
    let set = demo.set(json!({ "create": { "new": new } })).await;
    let id = set["created"]["new"]["id"].as_str().unwrap_or_else(|| panic!("{set}"));

    let message = demo.message(token, 0).await;
    let verification = opened(&agent, &message);
    assert_eq!(verification["@type"], "PushVerification");
    assert_eq!(verification["pushSubscriptionId"], id);
    let claims = claims(&message, key);
    assert_eq!(claims["aud"], url.strip_suffix(&format!("/{token}")).unwrap());
    // RFC 8292 §2: at most a day; §2.1: who runs the demo is nobody to write to.
    let left = claims["exp"].as_u64().unwrap().checked_sub(clock::wall().as_secs());
    assert!(left.is_some_and(|left| (1..=24 * 3600).contains(&left)), "{claims}");
    assert_eq!(claims.get("sub"), None, "{claims}");
    let code = &verification["verificationCode"];
    let set = demo.set(json!({ "update": { id: { "verificationCode": code } } })).await;
    assert!(set["updated"].get(id).is_some(), "{set}");

    let (_, delivered) = demo.ask("POST", "/demo/deliver", None).await;
    assert_eq!(delivered["accountId"], "alice");
    let after = message["number"].as_u64().unwrap();
    let message = demo.message(token, after).await;
    let change = opened(&agent, &message);
    assert_eq!(change["@type"], "StateChange");
    assert!(change["changed"]["alice"]["Email"].is_string(), "{change}");
    assert_eq!(message["headers"]["urgency"], "high", "{message}");
}

/// §8.6: the demo opens its push service's address and nothing else of the machine.
#[tokio::test]
async fn no_other_address_of_the_machine_is_pushed_to() {
    let demo = Demo::start().await;
    let (_, resource) = demo.ask("POST", "/demo/push", None).await;
    let url = resource["url"].as_str().unwrap();
    let (_, port) = url.rsplit_once(':').unwrap();
    for host in ["127.0.0.1", "127.80.30.2", "[::1]", "10.0.0.1", "169.254.169.254"] {
        let new = json!({ "deviceClientId": "test", "url": format!("https://{host}:{port}") });
        let set = demo.set(json!({ "create": { "new": new } })).await;
        assert_eq!(set["notCreated"]["new"]["type"], "invalidProperties", "{host}: {set}");
    }
}
