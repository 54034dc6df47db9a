//! A proxy before a fake upstream, both in this process, over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use jmap_push_proxy::app::{self, Running};
use jmap_push_proxy::cli::summary::Listeners;
use jmap_push_proxy::config::{
    Config, Listen, PushMode, QueryMode, UpstreamAddress, UpstreamTarget,
};
use jmap_push_proxy::notify::Source;
use jmap_push_proxy::notify::message::Notice;
use jmap_push_proxy::telemetry::health::{Part, Trouble};
use jmap_push_proxy::telemetry::metrics::Metrics;
use serde_json::{Value, json};

use super::http::{asking, exchange};
use super::sse::EventStream;
use super::upstream::{API, Upstream, account_of};

/// Our event source.
pub(crate) const EVENT_SOURCE: &str = "/jmap/eventsource/";

/// See the module.
pub(crate) struct Rig {
    pub(crate) upstream: Upstream,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Metrics,
    /// Boxed: futures hold rigs by value.
    pub(crate) config: Box<Config>,
    /// Boxed, too.
    running: Box<Running>,
}

impl Rig {
    /// A proxy that is strict, sends at once, and asks upstream only when it has a reason to.
    pub(crate) async fn start(tweak: impl FnOnce(&mut Config)) -> Self {
        Self::before(Upstream::start().await, tweak)
    }

    /// The same before an upstream that is there already.
    pub(crate) fn before(upstream: Upstream, tweak: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.downstream.listen = vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))];
        config.upstream.addresses = vec![upstream.configured.clone()];
        // What has to do with PushSubscription turns it on.
        (config.push.mode, config.push.store) = (PushMode::Off, None);
        (config.admin.listen, config.admin.probes) = (None, None);
        config.event_source.query = QueryMode::Strict;
        config.event_source.throttle = Duration::ZERO;
        config.event_source.ping_min = Duration::from_secs(1);
        config.probe.interval = Duration::from_secs(3600);
        config.drain.pre_stop = Duration::ZERO;
        config.drain.window = Duration::from_secs(1);
        tweak(&mut config);
        let (running, address) = start(&config);
        Self {
            upstream,
            address,
            metrics: running.metrics.clone(),
            config: Box::new(config),
            running: Box::new(running),
        }
    }

    /// Another process with the same settings takes the place of this one.
    pub(crate) async fn restart(&mut self) {
        let (running, address) = start(&self.config);
        let old = std::mem::replace(&mut *self.running, running);
        (self.address, self.metrics) = (address, self.running.metrics.clone());
        stop(old, std::future::ready(())).await;
    }

    /// What the proxy says is wrong.
    pub(crate) fn troubles(&self) -> BTreeMap<Part, Trouble> {
        self.running.health.troubles()
    }

    /// What its listeners are bound to.
    pub(crate) fn listeners(&self) -> &Listeners {
        &self.running.addresses
    }

    /// A source of notifications says this (docs/notify.md).
    pub(crate) fn notify(&self, notice: &Value) {
        let notice = Notice::parse(notice.to_string().as_bytes()).unwrap();
        self.running.notify().notice(notice, Source::Demo);
    }

    /// A source of notifications says that it may have missed some.
    pub(crate) fn gap(&self) {
        self.running.notify().gap();
    }

    /// Ends the proxy at once; nothing of it may be left.
    pub(crate) async fn end(self) {
        stop(*self.running, std::future::ready(())).await;
    }

    /// Ends the proxy in order.
    pub(crate) async fn drain(self) {
        stop(*self.running, std::future::pending()).await;
    }

    /// Opens a stream of a user.
    pub(crate) async fn events(&self, user: &str, query: &str) -> EventStream {
        self.events_with(user, query, &[]).await
    }

    /// A user comes back to the stream that ended with this id.
    pub(crate) async fn events_after(&self, user: &str, query: &str, id: &str) -> EventStream {
        self.events_with(user, query, &[("Last-Event-ID", id)]).await
    }

    async fn events_with(&self, user: &str, query: &str, more: &[(&str, &str)]) -> EventStream {
        let authorization = format!("Bearer {user}");
        let mut headers = vec![("Authorization", authorization.as_str())];
        headers.extend(more);
        EventStream::open(self.address, &format!("{EVENT_SOURCE}?{query}"), &headers).await
    }

    /// A request of a user without a body.
    pub(crate) async fn ask(&self, method: &str, path: &str, user: &str) -> Response<Bytes> {
        exchange(self.address, asking(method, path, user)).await.unwrap()
    }

    /// An API request of a user (§3.3).
    pub(crate) async fn call(&self, user: &str, calls: &Value) -> Response<Bytes> {
        exchange(self.address, call(user, calls)).await.unwrap()
    }

    /// A user changes something in an account; gives its new state.
    pub(crate) async fn set(&self, user: &str, account: &str, data_type: &str) -> String {
        let response = self.call(user, &setting(account, data_type)).await;
        let response: Value = serde_json::from_slice(response.body()).unwrap();
        response["methodResponses"][0][1]["newState"].as_str().unwrap().to_owned()
    }

    /// A user changes something in the account that is their own; gives its new state.
    pub(crate) async fn change(&self, user: &str, data_type: &str) -> String {
        self.set(user, &account_of(user), data_type).await
    }
}

/// A `Foo/set` call.
pub(crate) fn setting(account: &str, data_type: &str) -> Value {
    let update = json!({ "x": { "keywords/$seen": true } });
    json!([[format!("{data_type}/set"), { "accountId": account, "update": update }, "0"]])
}

/// An API request.
pub(crate) fn call(user: &str, calls: &Value) -> Request<Full<Bytes>> {
    let body = json!({ "using": ["urn:ietf:params:jmap:core"], "methodCalls": calls }).to_string();
    let mut request = asking("POST", API, user);
    let json = http::HeaderValue::from_static("application/json");
    request.headers_mut().insert(http::header::CONTENT_TYPE, json);
    *request.body_mut() = Full::from(body);
    request
}

/// A TCP address as `upstream.url` would give it.
pub(crate) fn address_of(address: SocketAddr) -> UpstreamAddress {
    UpstreamAddress {
        tls: false,
        target: UpstreamTarget::Tcp(address.ip().to_string(), address.port()),
        authority: address.to_string(),
    }
}

fn start(config: &Config) -> (Running, SocketAddr) {
    let running = app::start(config.clone()).unwrap();
    let Some(Listen::Tcp(address)) = running.addresses.downstream.first() else {
        panic!("no TCP listener")
    };
    let address = *address;
    (running, address)
}

async fn stop(running: Running, hurry: impl Future<Output = ()>) {
    let left = running.stop(hurry).await;
    assert_eq!(left, 0, "tasks, connections or streams are left");
}
