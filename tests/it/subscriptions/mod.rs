//! `PushSubscription` as clients and push services see it (RFC 8620 §7.2; P3, P4, P5, P6, P7, P9, P11).

mod absent;
mod delivery;
mod life;
mod limits;
mod logs;
mod owners;
mod ownership;
mod rotation;
mod rules;
mod sender;
mod service;
mod settings;
mod store;
mod tokens;
mod trouble;

use std::time::Duration;

use jmap_push_proxy::config::{Config, PushMode};
use serde_json::{Value, json};

use self::service::PushService;
use crate::support::certificate::Ca;
use crate::support::rig::Rig;
use crate::support::upstream::{SESSION, Upstream};
use crate::support::wait::{until, within};

/// RFC 9749 §3.
const VAPID: &str = "urn:ietf:params:jmap:webpush-vapid";

/// A proxy that owns the type, a push service it may send to, and another at another host.
struct Premises {
    rig: Rig,
    service: PushService,
    other: PushService,
    _ca: Ca,
}

impl Premises {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(tweak: impl FnOnce(&mut Config)) -> Self {
        Self::before(Upstream::start().await, tweak).await
    }

    async fn before(upstream: Upstream, tweak: impl FnOnce(&mut Config)) -> Self {
        let ca = Ca::new();
        let service = PushService::start(&ca, "127.0.0.2").await;
        let other = PushService::start(&ca, "127.0.0.3").await;
        let rig = Rig::before(upstream, |config| {
            let push = &mut config.push;
            push.mode = PushMode::Own;
            push.ports = vec![service.port(), other.port()];
            // 127.0.0.1 is upstream's and ours.
            push.allow_networks = vec!["127.0.0.2/31".parse().unwrap()];
            push.ca_file = Some(ca.file().to_owned());
            push.throttle = Duration::ZERO;
            push.attempt_interval = Duration::from_millis(50);
            push.retry_interval = Duration::from_millis(50);
            tweak(config);
        });
        Self { rig, service, other, _ca: ca }
    }

    /// What a user's client is told as the Session.
    async fn session(&self, user: &str) -> Value {
        let session = self.rig.ask("GET", SESSION, user).await;
        serde_json::from_slice(session.body()).unwrap()
    }

    /// The public key of VAPID that the Session advertises (RFC 9749 §3).
    async fn advertised(&self) -> Value {
        self.session("alice").await["capabilities"][VAPID]["applicationServerKey"].take()
    }

    /// One call of `PushSubscription/…`; the response's name and arguments.
    async fn call(&self, user: &str, name: &str, arguments: Value) -> (String, Value) {
        let calls = json!([[format!("PushSubscription/{name}"), arguments, "c"]]);
        let response = self.rig.call(user, &calls).await;
        let mut response: Value = serde_json::from_slice(response.body()).unwrap();
        let mut answer = response["methodResponses"][0].take();
        (answer[0].as_str().unwrap().to_owned(), answer[1].take())
    }

    async fn set(&self, user: &str, arguments: Value) -> Value {
        let (name, response) = self.call(user, "set", arguments).await;
        assert_eq!(name, "PushSubscription/set", "{response}");
        response
    }

    /// Makes a subscription that this path of the push service stands for; gives its id.
    async fn subscribe(&self, user: &str, path: &str, types: Value) -> String {
        id_of(&self.create(user, path, types).await)
    }

    async fn create(&self, user: &str, path: &str, types: Value) -> Value {
        self.create_at(&self.service, user, path, types).await
    }

    async fn create_at(
        &self,
        service: &PushService,
        user: &str,
        path: &str,
        types: Value,
    ) -> Value {
        let url = service.url(path);
        let new = json!({ "deviceClientId": path, "url": url, "types": types });
        self.set(user, json!({ "create": { "new": new } })).await
    }

    /// The same, and shows the code that comes.
    async fn verified(&self, user: &str, path: &str, types: Value) -> String {
        self.verified_at(&self.service, user, path, types).await
    }

    /// The same with this push service.
    async fn verified_at(
        &self,
        service: &PushService,
        user: &str,
        path: &str,
        types: Value,
    ) -> String {
        let created = self.create_at(service, user, path, types).await;
        let id = id_of(&created);
        let code = service.code(path).await;
        let update = json!({ "update": { id.clone(): { "verificationCode": code } } });
        let response = self.set(user, update).await;
        assert!(response["updated"].get(&id).is_some(), "{response}");
        id
    }

    /// What `/get` says of a user's subscriptions.
    async fn list(&self, user: &str) -> Vec<Value> {
        let (name, mut response) = self.call(user, "get", json!({ "ids": null })).await;
        assert_eq!(name, "PushSubscription/get", "{response}");
        serde_json::from_value(response["list"].take()).unwrap()
    }

    /// Waits until so many send no more.
    async fn disabled(&self, count: i64) {
        let gauge = || self.rig.metrics.subscriptions.get_or_create(&[("state", "disabled")]).get();
        until("disabled", || if gauge() == count { Ok(()) } else { Err(gauge()) }).await;
    }

    /// Waits until a user has so many.
    async fn has(&self, user: &str, count: usize) {
        let waiting = async {
            while self.list(user).await.len() != count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("that many subscriptions", waiting).await;
    }
}

/// The id of what was made.
fn id_of(created: &Value) -> String {
    created["created"]["new"]["id"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned()
}
