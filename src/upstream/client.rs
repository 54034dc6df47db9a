//! Sends requests upstream over pooled connections, with the time limits of `[upstream]`.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::addresses::{Affinity, Ring};
use super::connect::{Connector, TlsError, tls_config};
use super::failure::Failure;
use super::paths::Paths;
use crate::clock::Moment;
use crate::config;
use crate::http::Body;
use crate::http::body::BodyError;
use crate::telemetry::health::{Health, Part};

/// The JMAP server behind us: all its addresses, as one.
pub struct Upstream {
    nodes: Vec<Node>,
    ring: Ring,
    settings: config::Upstream,
    health: Arc<Health>,
    paths: Paths,
}

/// One address with its connection pools.
struct Node {
    client: Client<Connector, Outgoing>,
    /// For requests without a credential. On a connection that carried one, Cyrus 3.6 challenges the
    /// next by a bare `Basic` without its realm, which no browser answers.
    anonymous: Client<Connector, Outgoing>,
    scheme: Scheme,
    /// Key of the pool, and `:authority` on HTTP/2.
    authority: Authority,
    /// Whether requests go out by HTTP/2 only, where `Host` has no place.
    http2: bool,
    name: String,
}

impl Upstream {
    /// Sets the pools up; connects to nothing yet (architecture D12).
    ///
    /// # Errors
    /// When TLS towards an https address cannot be set up.
    pub fn new(settings: config::Upstream, health: Arc<Health>) -> Result<Self, TlsError> {
        let tls = settings.addresses.iter().any(|address| address.tls);
        let tls = tls
            .then(|| tls_config(settings.ca_file.as_ref(), settings.http).map(Arc::new))
            .transpose()?;
        let nodes = settings
            .addresses
            .iter()
            .map(|address| {
                let connector = Connector::new(address, tls.as_ref(), settings.connect_timeout)?;
                let http2 = settings.http == config::UpstreamHttp::Http2;
                let mut pool = Client::builder(TokioExecutor::new());
                pool.pool_timer(TokioTimer::new())
                    .timer(TokioTimer::new())
                    .pool_idle_timeout(settings.keep_alive)
                    .http2_only(http2)
                    .http2_adaptive_window(true);
                let anonymous = pool.build(connector.clone());
                let client = pool.build(connector);
                let scheme = if address.tls { Scheme::HTTPS } else { Scheme::HTTP };
                let name = address.authority.clone();
                let authority = Authority::try_from(name.as_str())
                    .unwrap_or_else(|_| Authority::from_static("upstream.invalid"));
                Ok(Node { client, anonymous, scheme, authority, http2, name })
            })
            .collect::<Result<_, TlsError>>()?;
        let ring = Ring::new(&settings.addresses);
        Ok(Self { nodes, ring, settings, health, paths: Paths::default() })
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
        self.nodes.first().map_or("", |node| &node.name)
    }

    /// Whether `authority` names one of upstream's addresses.
    pub(super) fn is_at(&self, authority: &str) -> bool {
        self.nodes.iter().any(|node| node.name.eq_ignore_ascii_case(authority))
    }

    /// Sends a request whose URI is a path, and waits for the response's head. The response's body
    /// streams, and ends in an error if upstream breaks off or falls silent.
    ///
    /// # Errors
    /// See [`Failure`]; health is told.
    pub async fn send(
        &self,
        request: Request<Body>,
        affinity: Affinity,
    ) -> Result<Response<Body>, Failure> {
        let silence = self.settings.body_timeout;
        let response = self.send_upgrade(request, affinity).await?;
        Ok(response.map(|incoming| Body::relay(incoming, silence)))
    }

    /// The same, with the response as hyper gave it, whose connection may be upgraded.
    pub(super) async fn send_upgrade(
        &self,
        request: Request<Body>,
        affinity: Affinity,
    ) -> Result<Response<Incoming>, Failure> {
        let result = self.send_to_first_reachable(request, affinity).await;
        match &result {
            Ok(_) => self.health.recover(Part::Upstream),
            Err(failure) if failure.is_upstreams() => self.note(failure),
            Err(_) => {}
        }
        result
    }

    fn note(&self, failure: &Failure) {
        let remedy = match failure {
            Failure::Connect(_) => "check that the JMAP server runs at upstream.url",
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
        affinity: Affinity,
    ) -> Result<Response<Incoming>, Failure> {
        if let [only] = self.nodes.as_slice() {
            return self.send_to(only, request).await;
        }
        let (parts, body) = request.into_parts();
        // The body outlives a failed connection attempt, which has read nothing of it.
        let body = Arc::new(Mutex::new(body));
        let mut last = Failure::Unusable("no upstream address is configured");
        for node in self.ring.order(affinity).filter_map(|index| self.nodes.get(index)) {
            let body = Body::boxed(Shared(Arc::clone(&body)));
            match self.send_to(node, Request::from_parts(parts.clone(), body)).await {
                Err(failure @ Failure::Connect(_)) => last = failure,
                result => return result,
            }
        }
        Err(last)
    }

    async fn send_to(
        &self,
        node: &Node,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        node.address(&mut request);
        let (outgoing, watch) = Outgoing::watched(request);
        let response = node.pool_for(outgoing.headers()).request(outgoing);
        let answered = tokio::select! {
            answered = response => answered,
            () = watch.silence_after_end(self.settings.response_timeout) => {
                return Err(Failure::Silent(self.settings.response_timeout));
            }
        };
        answered.map_err(|error| classify(error, &watch))
    }
}

impl Node {
    fn pool_for(&self, headers: &HeaderMap) -> &Client<Connector, Outgoing> {
        let carries_credential =
            [AUTHORIZATION, COOKIE].iter().any(|name| headers.contains_key(name));
        if carries_credential { &self.client } else { &self.anonymous }
    }

    /// Makes the URI absolute: the pool wants an authority, HTTP/1 goes on sending only the path.
    fn address<B>(&self, request: &mut Request<B>) {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = http::Version::HTTP_11;
        if self.http2 {
            request.headers_mut().remove(HOST);
            *request.version_mut() = http::Version::HTTP_2;
        }
    }
}

fn classify(error: ClientError, watch: &Watch) -> Failure {
    if let Some(body) = watch.take_error() {
        return Failure::Downstream(body);
    }
    if error.is_connect() { Failure::Connect(error) } else { Failure::Broken(error) }
}

/// A request body that several attempts may share; only one reads it.
struct Shared(Arc<Mutex<Body>>);

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// A request body that tells when it ended and keeps the client's error apart from upstream's.
struct Outgoing {
    body: Body,
    watch: Watch,
}

/// What is known of a request body on its way.
#[derive(Clone)]
struct Watch(Option<Arc<WatchState>>);

#[derive(Default)]
struct WatchState {
    /// [`Moment`] of the end, 0 before.
    ended: AtomicU64,
    /// What the client did wrong.
    error: Mutex<Option<BodyError>>,
}

impl Outgoing {
    fn watched(request: Request<Body>) -> (Request<Self>, Watch) {
        // A body at hand ends at once: nothing to watch, nothing to allocate.
        let at_hand = matches!(request.body(), Body::Empty | Body::Full(_));
        let watch = Watch((!at_hand).then(Arc::default));
        let held = watch.clone();
        (request.map(|body| Self { body, watch: held }), watch)
    }
}

impl Watch {
    fn end(&self) {
        if let Some(state) = &self.0 {
            state.ended.store(Moment::now().0.max(1), Ordering::Relaxed);
        }
    }

    fn take_error(&self) -> Option<BodyError> {
        self.0.as_ref()?.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends once `allowed` has passed since the request's last byte.
    async fn silence_after_end(&self, allowed: Duration) {
        let Some(state) = &self.0 else { return tokio::time::sleep(allowed).await };
        loop {
            let ended = state.ended.load(Ordering::Relaxed);
            let from = if ended == 0 { Moment::now() } else { Moment(ended) };
            let due = from.after(allowed);
            if due <= Moment::now() {
                return;
            }
            tokio::time::sleep_until(due.instant()).await;
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = io_error::Downstream;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => {
                if let Some(state) = &self.watch.0 {
                    *state.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                Poll::Ready(Some(Err(io_error::Downstream)))
            }
            None => {
                self.watch.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.body.is_end_stream();
        if ended {
            self.watch.end();
        }
        ended
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

mod io_error {
    //! The error hyper sees when the client broke off; the real one waits in the watch.

    /// See the module.
    #[derive(Debug, thiserror::Error)]
    #[error("the client broke off its request body")]
    pub(super) struct Downstream;
}
