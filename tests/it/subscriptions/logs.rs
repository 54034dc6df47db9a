//! A subscription's secrets in a log that says all it can, and in what the operator may ask for (hostile.md
//! X17).

use serde_json::{Value, json};

use super::service::PushService;
use crate::support::certificate::Ca;
use crate::support::http::exchange;
use crate::support::process::Process;
use crate::support::rig;
use crate::support::scratch::scratch;
use crate::support::upstream::{Upstream, account_of};
use crate::support::wait::{until, within};
use crate::support::ws::Ws;

/// The client's keys of RFC 8291 §5.
const P256DH: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

/// What is asked of the proxy, by the method's arguments; the response's.
async fn ask(proxy: &Process, user: &str, verb: &str, arguments: Value) -> Value {
    let calls = json!([[format!("PushSubscription/{verb}"), arguments, "0"]]);
    let response = exchange(proxy.address, rig::call(user, &calls)).await.unwrap();
    let mut response: Value = serde_json::from_slice(response.body()).unwrap();
    response["methodResponses"][0][1].take()
}

async fn change(proxy: &Process, user: &str) {
    let calls = rig::setting(&account_of(user), "Email");
    exchange(proxy.address, rig::call(user, &calls)).await.unwrap();
}

/// A subscription whose URL has this path; its id.
async fn subscribe(proxy: &Process, service: &PushService, user: &str, path: &str) -> String {
    let new = json!({ "deviceClientId": "d", "url": service.url(path), "types": ["Email"] });
    let response = ask(proxy, user, "set", json!({ "create": { "new": new } })).await;
    let id = response["created"]["new"]["id"].as_str();
    id.unwrap_or_else(|| panic!("{response}")).to_owned()
}

async fn verify(proxy: &Process, user: &str, id: &str, code: &str) -> Value {
    let update = json!({ "update": { id: { "verificationCode": code } } });
    ask(proxy, user, "set", update).await
}

/// X17.
#[tokio::test]
async fn no_secret_of_a_subscription_comes_into_the_log_or_the_metrics() {
    let (ca, folder) = (Ca::new(), scratch());
    let (upstream, service) = (Upstream::start().await, PushService::start(&ca, "127.0.0.2").await);
    upstream.mail(|mail| {
        mail.share("carol", &account_of("carol"));
        mail.share("dave", &account_of("dave"));
    });
    let store = folder.join("push.sqlite");
    let settings = [
        ("PUSH__MODE", "own"),
        ("PUSH__STORE", store.to_str().unwrap()),
        ("PUSH__PORTS", &service.port().to_string()),
        ("PUSH__ALLOW_NETWORKS", "127.0.0.2/32"),
        ("PUSH__CA_FILE", ca.file().to_str().unwrap()),
        ("PUSH__THROTTLE", "0"),
        ("PUSH__ATTEMPT_INTERVAL", "1s"),
        // Of all crates.
        ("LOG__LEVEL", "trace,jmap_push_proxy=trace"),
    ];
    let proxy = Process::start(upstream.address, &settings).await;
    let mut secrets: Vec<String> =
        ["canary", P256DH, AUTH, "Bearer alice"].map(str::to_owned).into();

    // From a wrong code to a push service that refuses, mended and gone at last.
    let id = subscribe(&proxy, &service, "alice", "canary-1").await;
    let code = service.code("canary-1").await;
    let refused = verify(&proxy, "alice", &id, "canary-of-a-guess").await;
    assert!(refused["notUpdated"].get(&id).is_some(), "{refused}");
    let verified = verify(&proxy, "alice", &id, &code).await;
    assert!(verified["updated"].get(&id).is_some(), "{verified}");
    let location = format!("location: {}\r\n", service.url("canary-elsewhere"));
    service.answer("canary-1", "307 Temporary Redirect", &location);
    service.answer("canary-1", "403 Forbidden", "x: canary\r\n");
    change(&proxy, "alice").await;
    service.message("canary-1", 2).await;
    let logged = |what: &str| {
        let log = proxy.log.lock().unwrap();
        if log.iter().any(|line| line.contains(what)) { Ok(()) } else { Err(log.len()) }
    };
    until("refusal", || logged("nothing more is sent to a PushSubscription")).await;
    service.answer("canary-1", "410 Gone", "");
    ask(&proxy, "alice", "set", json!({ "update": { id: { "types": null } } })).await;
    until("end", || logged("its push service says that it is gone")).await;

    // One with keys, by a WebSocket; what it is sent nobody else can read.
    let mut socket = Ws::try_open(proxy.address, &[("authorization", "Bearer bob")]).await.unwrap();
    let keys = json!({ "p256dh": P256DH, "auth": AUTH });
    let new = json!({ "deviceClientId": "d", "url": service.url("canary-2"), "keys": keys });
    let create = json!([["PushSubscription/set", { "create": { "new": new } }, "0"]]);
    socket.request("r", &create).await;
    let response = within("response", socket.next_of("Response")).await;
    assert!(response["methodResponses"][0][1]["created"].get("new").is_some(), "{response}");
    service.message("canary-2", 0).await;

    // One whose verification is refused, one that nothing is sent to, and one that is destroyed.
    service.answer("canary-3", "400 Bad Request", "");
    subscribe(&proxy, &service, "carol", "canary-3").await;
    until("refusal", || logged("the verification of a PushSubscription was refused")).await;
    let new = json!({ "deviceClientId": "d", "url": "https://127.0.0.1:1/canary-4" });
    let response = ask(&proxy, "dave", "set", json!({ "create": { "new": new } })).await;
    assert!(response["notCreated"].get("new").is_some(), "{response}");
    let id = subscribe(&proxy, &service, "dave", "canary-5").await;
    let unverified = service.code("canary-5").await;
    let asked = json!({ "ids": null, "properties": ["id", "url"] });
    assert_eq!(ask(&proxy, "dave", "get", asked).await["type"], "forbidden");
    ask(&proxy, "dave", "set", json!({ "destroy": [id] })).await;

    secrets.extend([code, unverified]);
    for path in ["canary-1", "canary-2", "canary-3", "canary-5"] {
        secrets.extend(service.messages(path).iter().map(|message| {
            let authorization = &message.headers["authorization"];
            authorization.strip_prefix("vapid t=").unwrap().split(',').next().unwrap().to_owned()
        }));
    }
    let metrics = proxy.ask(proxy.admin, "/metrics").await;
    let metrics = String::from_utf8(metrics.body().to_vec()).unwrap();
    assert!(metrics.contains("jmap_push_subscriptions_ended_total"), "{metrics}");
    let log = proxy.log.lock().unwrap().join("\n");
    assert!(log.contains("\"TRACE\""), "{log}");
    for line in log.lines() {
        assert_eq!(line.matches("\"target\":").count(), 1, "who reads it keeps one: {line}");
    }
    for secret in secrets {
        for line in log.lines().chain(metrics.lines()) {
            assert!(!line.contains(&secret), "{secret} in {line}");
        }
    }
    drop(proxy);
    std::fs::remove_dir_all(folder).unwrap();
}
