//! Sends requests upstream over pooled connections, with the time limits of `[upstream]`.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HOST, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::addresses::Ring;
use super::affinity::Affinity;
use super::connect::{Connector, TlsError, tls_config};
use super::failure::Failure;
use super::names::Names;
use super::outgoing::{Outgoing, Shared, Watch};
use super::paths::Paths;
use super::room::{Full, Probe, Room, Subscription};
use crate::clock::Moment;
use crate::config::{self, UpstreamAddress, UpstreamHttp};
use crate::http::Body;
use crate::telemetry::health::{Health, Part};

/// How long an address that could not be connected to is passed over. Then one request tries it.
const PASSED_OVER: Duration = Duration::from_secs(10);

/// The JMAP server behind us: all its addresses, as one.
pub struct Upstream {
    nodes: Vec<Node>,
    ring: Ring,
    settings: config::Upstream,
    health: Arc<Health>,
    paths: Paths,
    names: Names,
}

/// One address with its connection pools.
struct Node {
    client: Client<Connector, Outgoing>,
    /// For requests without a credential. On a connection that carried one, Cyrus 3.6 challenges the
    /// next by a bare `Basic` without its realm, which no browser answers.
    anonymous: Client<Connector, Outgoing>,
    /// For requests that are to make a tunnel of their connection, which HTTP/2 has not (RFC 9113
    /// §8.6).
    upgrades: Client<Connector, Outgoing>,
    /// For probes: their connections have places of their own.
    probes: Client<Connector, Outgoing>,
    /// For subscriptions, which would use up a connection of HTTP/2 for all others: as many as are
    /// needed for each to have few.
    subscriptions: Box<[Client<Connector, Outgoing>]>,
    /// The same, for subscriptions over a WebSocket.
    sockets: Client<Connector, Outgoing>,
    scheme: Scheme,
    authority: Authority,
    protocol: Protocol,
    name: String,
    /// [`Moment`] until which it is passed over for another, 0 if it can be connected to.
    down_until: AtomicU64,
}

/// What is known of an address' HTTP version before it is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    /// `:authority` stands for `Host`.
    Http2,
    /// ALPN decides: `Host` and `:authority` say the same.
    Either,
}

impl Upstream {
    /// Sets the pools up; connects to nothing yet (architecture D12).
    ///
    /// # Errors
    /// When TLS towards an https address cannot be set up.
    pub fn new(
        mut settings: config::Upstream,
        health: Arc<Health>,
        room: &Room,
    ) -> Result<Self, TlsError> {
        settings.relay_connections = settings.relay_connections.min(room.most_subscriptions());
        let tls = |http| {
            let is_needed = settings.addresses.iter().any(|address| address.tls);
            is_needed.then(|| tls_config(settings.ca_file.as_ref(), http).map(Arc::new)).transpose()
        };
        let tls = [tls(settings.http)?, tls(UpstreamHttp::Http1)?];
        let [tls, tls_http1] = tls.each_ref().map(Option::as_ref);
        let addresses = settings.addresses.iter();
        let nodes = addresses.map(|address| Node::new(address, &settings, [tls, tls_http1], room));
        let nodes = nodes.collect::<Result<_, TlsError>>()?;
        let ring = Ring::new(&settings.addresses);
        let names = Names::new(settings.keep_alive);
        Ok(Self { nodes, ring, settings, health, paths: Paths::default(), names })
    }

    /// `[upstream]`.
    #[must_use]
    pub fn settings(&self) -> &config::Upstream {
        &self.settings
    }

    /// Where upstream has its resources, as far as that is known.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Host and port of the first address, for requests of our own that no client's `Host` goes with.
    #[must_use]
    pub fn default_authority(&self) -> &str {
        self.authorities().next().unwrap_or("")
    }

    /// Host and port of every address.
    pub fn authorities(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| &*node.name)
    }

    /// Whether `authority` names one of upstream's addresses.
    pub(super) fn is_called(&self, authority: &str) -> bool {
        self.authorities().any(|name| name.eq_ignore_ascii_case(authority))
    }

    /// Sends a request whose URI is a path, and waits for the response's head. With several addresses
    /// the request's own credential says which. The response's body streams, and ends in an error if
    /// upstream breaks off or falls silent.
    ///
    /// # Errors
    /// See [`Failure`]; health is told.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let silence = self.settings.body_timeout;
        let response = self.send_upgrade(request).await?;
        Ok(response.map(|incoming| Body::relay(incoming, silence)))
    }

    /// The same, with the response as hyper gave it, whose connection may be upgraded.
    pub(super) async fn send_upgrade(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let is_subscription = request.extensions().get::<Subscription>().is_some();
        let result = self.send_to_first_reachable(request).await;
        match &result {
            Ok(_) => self.health.recover(Part::Upstream),
            // Some servers answer only once there is something to tell.
            Err(Failure::Silent(_)) if is_subscription => {}
            Err(failure) if failure.is_upstreams() => self.note(failure),
            Err(_) => {}
        }
        result
    }

    fn note(&self, failure: &Failure) {
        let remedy = match failure {
            Failure::Connect(_) => "check that the JMAP server runs at upstream.url",
            Failure::ConnectTimeout(_) => {
                "check upstream.url, and that no firewall drops what is sent there"
            }
            Failure::Silent(_) => {
                "the JMAP server is overloaded, or raise upstream.response_timeout"
            }
            _ => "see the JMAP server's log: it ends connections without a response",
        };
        let mut reason = failure.to_string();
        let mut cause = std::error::Error::source(failure);
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        self.health.degrade(Part::Upstream, reason, remedy);
    }

    async fn send_to_first_reachable(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        if let [only] = self.nodes.as_slice() {
            return self.send_to(only, request).await;
        }
        let affinity = Affinity::of(request.headers());
        let (parts, body) = request.into_parts();
        // The body outlives a failed connection attempt, which has read nothing of it.
        let body = Arc::new(Mutex::new(body));
        let mut last = Failure::Unusable("no upstream address is configured");
        for node in self.preferred(affinity) {
            let body = Body::boxed(Shared(Arc::clone(&body)));
            match self.send_to(node, Request::from_parts(parts.clone(), body)).await {
                Err(failure) if failure.is_before_sending() => {
                    node.is_down(&failure);
                    last = failure;
                }
                // Nobody was asked.
                Err(full @ Failure::Full(_)) => return Err(full),
                result => {
                    node.is_up();
                    return result;
                }
            }
        }
        Err(last)
    }

    /// All addresses, those last that are to be passed over.
    fn preferred(&self, affinity: Affinity) -> impl Iterator<Item = &Node> {
        let now = Moment::now();
        let order = self.ring.order(affinity).filter_map(|index| self.nodes.get(index));
        let (up, down): (Vec<_>, Vec<_>) = order.partition(|node| node.may_be_tried(now));
        up.into_iter().chain(down)
    }

    async fn send_to(
        &self,
        node: &Node,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let (client, protocol) = node.pool_for(&request);
        node.address(&mut request, protocol, &self.names);
        let (outgoing, watch) = Outgoing::watched(request);
        let response = client.request(outgoing);
        let (taking, answering) = (self.settings.body_timeout, self.settings.response_timeout);
        let answered = tokio::select! {
            answered = response => answered,
            failure = watch.run_out(taking, answering) => return Err(failure),
        };
        answered.map_err(|error| classify(error, &watch))
    }
}

impl Node {
    fn new(
        address: &UpstreamAddress,
        settings: &config::Upstream,
        [tls, tls_http1]: [Option<&Arc<rustls::ClientConfig>>; 2],
        room: &Room,
    ) -> Result<Self, TlsError> {
        let protocol = match (settings.http, address.tls) {
            (UpstreamHttp::Http2, _) => Protocol::Http2,
            (UpstreamHttp::Auto, true) => Protocol::Either,
            (UpstreamHttp::Auto, false) | (UpstreamHttp::Http1, _) => Protocol::Http1,
        };
        let mut pool = Client::builder(TokioExecutor::new());
        pool.pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(settings.keep_alive)
            .pool_max_idle_per_host(room.most_idle())
            .http2_adaptive_window(true);
        let patience = settings.connect_timeout;
        let connector = |tls, places| Connector::new(address, tls, patience, places);
        let upgrades = pool.build(connector(tls_http1, room.for_requests())?);
        let sockets = pool.build(connector(tls_http1, room.for_subscriptions())?);
        pool.http2_only(protocol == Protocol::Http2);
        let anonymous = pool.build(connector(tls, room.for_requests())?);
        let client = pool.build(connector(tls, room.for_requests())?);
        let probes = pool.build(connector(tls, room.for_probes())?);
        let pools = match protocol {
            Protocol::Http1 => 1,
            _ => settings.relay_connections.div_ceil(Subscription::TOGETHER),
        };
        let subscription = connector(tls, room.for_subscriptions())?;
        let subscriptions = (0..pools).map(|_| pool.build(subscription.clone())).collect();
        let scheme = if address.tls { Scheme::HTTPS } else { Scheme::HTTP };
        let name = address.authority.clone();
        let authority = Authority::try_from(name.as_str())
            .unwrap_or_else(|_| Authority::from_static("upstream.invalid"));
        let down_until = AtomicU64::new(0);
        Ok(Self {
            client,
            anonymous,
            upgrades,
            probes,
            subscriptions,
            sockets,
            scheme,
            authority,
            protocol,
            name,
            down_until,
        })
    }

    /// Whether to try it before those that are passed over. Once its time is over this says so to one
    /// request: should it fail, the others have not waited for it.
    fn may_be_tried(&self, now: Moment) -> bool {
        let until = self.down_until.load(Ordering::Relaxed);
        let next = now.after(PASSED_OVER).0;
        until == 0
            || until <= now.0
                && self
                    .down_until
                    .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
    }

    fn is_down(&self, why: &Failure) {
        let until = Moment::now().after(PASSED_OVER).0;
        if self.down_until.swap(until, Ordering::Relaxed) == 0 {
            tracing::warn!(
                address = self.name,
                error = why as &dyn std::error::Error,
                "an address of upstream.url is passed over: its users go to another"
            );
        }
    }

    fn is_up(&self) {
        if self.down_until.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(address = self.name, "an address of upstream.url is back");
        }
    }

    /// The connections that a request may use, and what they speak.
    fn pool_for(&self, request: &Request<Body>) -> (&Client<Connector, Outgoing>, Protocol) {
        let (headers, extensions) = (request.headers(), request.extensions());
        if let Some(Subscription(place)) = extensions.get() {
            if headers.contains_key(UPGRADE) {
                return (&self.sockets, Protocol::Http1);
            }
            let pools = self.subscriptions.len().max(1);
            let pool = self.subscriptions.get(place / Subscription::TOGETHER % pools);
            return (pool.unwrap_or(&self.client), self.protocol);
        }
        let carries_credential =
            [AUTHORIZATION, COOKIE].iter().any(|name| headers.contains_key(name));
        match carries_credential {
            _ if extensions.get::<Probe>().is_some() => (&self.probes, self.protocol),
            _ if headers.contains_key(UPGRADE) => (&self.upgrades, Protocol::Http1),
            true => (&self.client, self.protocol),
            false => (&self.anonymous, self.protocol),
        }
    }

    /// Makes the URI absolute: the pool wants an authority, HTTP/1 goes on sending only the path.
    /// `Host` and `:authority` never differ (RFC 9113 §8.3.1).
    fn address<B>(&self, request: &mut Request<B>, protocol: Protocol, names: &Names) {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        let host = request.headers().get(HOST).filter(|_| protocol != Protocol::Http1);
        let named = host.and_then(|host| names.admit(host.as_bytes(), Moment::now()));
        *request.version_mut() = http::Version::HTTP_11;
        match protocol {
            Protocol::Http1 => {}
            Protocol::Http2 => {
                request.headers_mut().remove(HOST);
                *request.version_mut() = http::Version::HTTP_2;
            }
            Protocol::Either => {
                let name = named.as_ref().unwrap_or(&self.authority);
                if let Ok(host) = HeaderValue::from_str(name.as_str()) {
                    request.headers_mut().insert(HOST, host);
                }
            }
        }
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(named.unwrap_or_else(|| self.authority.clone()));
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
}

fn classify(error: ClientError, watch: &Watch) -> Failure {
    if let Some(body) = watch.take_error() {
        return Failure::Downstream(body);
    }
    match error.is_connect() {
        true if is_io(&error, |io| io.get_ref().is_some_and(|why| why.is::<Full>())) => {
            Failure::Full(error)
        }
        // Whether time ran out: ours, or the kernel's.
        true if is_io(&error, |io| io.kind() == io::ErrorKind::TimedOut) => {
            Failure::ConnectTimeout(error)
        }
        true => Failure::Connect(error),
        false => Failure::Broken(error),
    }
}

/// Whether an error of a connection like this is behind it.
fn is_io(error: &ClientError, like: impl Fn(&io::Error) -> bool) -> bool {
    let mut causes =
        std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.any(|cause| cause.downcast_ref::<io::Error>().is_some_and(&like))
}
