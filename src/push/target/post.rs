//! One push: a POST (RFC 8030 §5; P4, protocol.md §1.7) that follows no redirect, reads next to nothing of
//! the response, and ends in time (hostile.md X8). Does not try again.

use std::collections::HashMap;
use std::error::Error as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Policy;
use super::connect::{Connector, Resolver};
use super::outcome::{Outcome, Unreachable};
use super::url::Target;
use crate::clock;
use crate::http::tls;

/// Octets of a response's body that are read, so that its connection can be used again.
const MOST_BODY: usize = 4096;

/// How long they may take: what came of the push is known by then.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// How long a connection waits for another push.
const IDLE: Duration = Duration::from_secs(30);

/// Octets of a response's head, and its headers. hyper takes no fewer octets.
const MOST_HEAD: usize = 8192;
const MOST_HEADERS: usize = 64;

/// Octets that a push service may send on an HTTP/2 connection before we have read them (RFC 9113
/// §6.9.2): no fewer on a connection.
const WINDOW: u32 = 65_535;

const TTL: HeaderName = HeaderName::from_static("ttl");
const URGENCY: HeaderName = HeaderName::from_static("urgency");
const TOPIC: HeaderName = HeaderName::from_static("topic");

/// How soon a message is to reach the device (RFC 8030 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is its name's")]
pub enum Urgency {
    VeryLow,
    Low,
    Normal,
    High,
}

impl Urgency {
    /// As it stands in the header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VeryLow => "very-low",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// Names what a message replaces while it waits at the push service (RFC 8030 §5.4): these octets make
/// the 32 letters that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic(pub [u8; 24]);

/// What is sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// For how many seconds the push service keeps it (RFC 8030 §5.2).
    pub ttl: u32,
    /// See [`Urgency`].
    pub urgency: Urgency,
    /// See [`Topic`].
    pub topic: Option<Topic>,
    /// `Content-Type` of the plaintext (RFC 8620 §7.2).
    pub content_type: HeaderValue,
    /// Whether the body is one of [`crate::push::encrypt`].
    pub is_encrypted: bool,
    /// [`crate::push::vapid::VapidKey::authorization`].
    pub authorization: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

impl Message {
    /// With all its headers; `None` for a URL that is none, which a [`Target`] never is.
    fn request(self, target: &Target) -> Option<Request<Full<Bytes>>> {
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri()?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(env!("CARGO_PKG_NAME")));
        headers.insert(TTL, self.ttl.into());
        headers.insert(URGENCY, HeaderValue::from_static(self.urgency.as_str()));
        headers.insert(CONTENT_TYPE, self.content_type);
        if let Some(Topic(octets)) = self.topic {
            headers.insert(TOPIC, HeaderValue::try_from(URL_SAFE_NO_PAD.encode(octets)).ok()?);
        }
        if self.is_encrypted {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
        }
        if let Some(mut authorization) = self.authorization {
            authorization.set_sensitive(true);
            headers.insert(AUTHORIZATION, authorization);
        }
        Some(request)
    }
}

/// How much is sent at once, and how long that may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the first octet of DNS to the response's head, the wait for a place not counted.
    pub timeout: Duration,
    /// Pushes at once. As many connections more may be open, idle.
    pub connections: usize,
    /// Pushes at once to one host.
    pub connections_per_host: usize,
}

/// Sends pushes.
///
/// When full: a push waits until one before it has ended, first one to its host, then any. None takes
/// longer than [`Limits::timeout`] and a second.
pub struct Sender {
    connector: Connector,
    /// Keeps connections for the next push to their host.
    client: Client<Connector, Full<Bytes>>,
    /// Keeps none, for when as many are kept as may be.
    once: Client<Connector, Full<Bytes>>,
    limits: Limits,
    places: Arc<Semaphore>,
    hosts: Arc<Hosts>,
}

impl Sender {
    /// Sets the pool up; connects to nothing yet. Believed are the system's CA certificates and those of
    /// `ca_file`, that of `push.ca_file`.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        policy: Policy,
        resolver: Resolver,
        ca_file: Option<&Path>,
        limits: Limits,
    ) -> Result<Self, tls::Error> {
        let roots = tls::roots(ca_file, "push.ca_file")?;
        let connector = Connector::new(policy, resolver, roots, limits.connections)?;
        let mut pool = Client::builder(TokioExecutor::new());
        pool.pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(MOST_HEAD)
            .http1_max_headers(MOST_HEADERS)
            .http2_max_header_list_size(u32::try_from(MOST_HEAD).unwrap_or(u32::MAX))
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(WINDOW);
        let client =
            pool.pool_max_idle_per_host(limits.connections_per_host).build(connector.clone());
        let once = pool.pool_max_idle_per_host(0).build(connector.clone());
        let places = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
        let hosts = Arc::new(Hosts::new(limits.connections_per_host));
        Ok(Self { connector, client, once, limits, places, hosts })
    }

    /// Sends one message, once there is a place for it.
    pub async fn post(&self, target: &Target, message: Message) -> Outcome {
        let Some(request) = message.request(target) else {
            return Outcome::Unreachable(Unreachable::Broken);
        };
        let _of_host = self.hosts.place(target.host_key()).await;
        // Never closed.
        let _place = self.places.acquire().await;
        let outcome = self.send(request).await;
        tracing::debug!(push_service = ?target, ?outcome, "pushed");
        outcome
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Outcome {
        let end = Instant::now() + self.limits.timeout;
        let connection = capture_connection(&mut request);
        let client = if self.connector.has_room() { &self.client } else { &self.once };
        match tokio::time::timeout_at(end, client.request(request)).await {
            Err(_) => {
                // Others on a connection of HTTP/2 that is dead would wait for nothing, too.
                if let Some(connection) = connection.connection_metadata().as_ref() {
                    connection.poison();
                }
                Outcome::Unreachable(Unreachable::Timeout)
            }
            Ok(Err(error)) => Outcome::Unreachable(why(&error)),
            Ok(Ok(response)) => {
                let outcome = Outcome::of(response.status(), response.headers(), clock::wall());
                drain(response.into_body()).await;
                outcome
            }
        }
    }
}

/// Reads what little there should be; the connection of anything longer or slower is closed.
async fn drain(mut body: impl Body<Data = Bytes> + Unpin) {
    let mut left = MOST_BODY;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let octets = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(octets) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // What came of the push is known either way.
    let _ = tokio::time::timeout(BODY_PATIENCE, reading).await;
}

fn why(error: &ClientError) -> Unreachable {
    let ours = error.source().and_then(|cause| cause.downcast_ref::<Unreachable>());
    ours.copied().unwrap_or(Unreachable::Broken)
}

/// Places by host, of those hosts that a push is sent to or waits for.
struct Hosts {
    each: usize,
    known: Mutex<HashMap<Box<str>, Host>>,
}

struct Host {
    places: Arc<Semaphore>,
    /// Pushes that have a place or wait for one.
    pushes: usize,
}

/// A place; its host is forgotten with the last.
struct OfHost<'a> {
    hosts: &'a Hosts,
    host: &'a str,
    permit: Option<OwnedSemaphorePermit>,
}

impl Hosts {
    fn new(each: usize) -> Self {
        Self { each: each.clamp(1, Semaphore::MAX_PERMITS), known: Mutex::default() }
    }

    async fn place<'a>(&'a self, host: &'a str) -> OfHost<'a> {
        let places = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Host { places: Arc::new(Semaphore::new(self.each)), pushes: 0 };
            let host = known.entry(host.into()).or_insert_with(new);
            host.pushes += 1;
            Arc::clone(&host.places)
        };
        // Made before it waits: whoever gives up waiting leaves nothing behind either.
        let mut place = OfHost { hosts: self, host, permit: None };
        // Never closed.
        place.permit = places.acquire_owned().await.ok();
        place
    }
}

impl Drop for OfHost<'_> {
    fn drop(&mut self) {
        self.permit = None;
        let mut known = self.hosts.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = known.get_mut(self.host) {
            host.pushes -= 1;
            if host.pushes == 0 {
                known.remove(self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    /// X8: it is not the time alone that ends it, which a paused clock does not let pass.
    #[tokio::test(start_paused = true)]
    async fn of_a_body_without_end_four_kilobytes_and_a_frame_are_read() {
        for length in [1, 1000, 4096, 100_000] {
            let read = Cell::new(0);
            let frames = stream::iter(std::iter::repeat_with(|| {
                read.set(read.get() + length);
                Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; length])))
            }));
            // As good as without end.
            let frames = frames.take(100_000);
            let started = Instant::now();
            drain(StreamBody::new(frames)).await;
            assert!((MOST_BODY..=MOST_BODY + length).contains(&read.get()), "{length}: {read:?}");
            assert_eq!(started.elapsed(), Duration::ZERO, "{length}");
        }
    }

    /// X8: a connection that the next push can use.
    #[tokio::test(start_paused = true)]
    async fn a_short_body_is_read_to_its_end() {
        let chunks =
            [2048, 2048].map(|length| Ok::<_, Infallible>(Frame::data(vec![0; length].into())));
        let is_read = Cell::new(false);
        let end = stream::once(async { is_read.set(true) }).filter_map(|()| async { None });
        let frames = Box::pin(stream::iter(chunks).chain(end));
        drain(StreamBody::new(frames)).await;
        assert!(is_read.get());
    }

    #[tokio::test]
    async fn a_host_is_forgotten_when_nothing_is_sent_to_it_any_more() {
        let hosts = Hosts::new(1);
        let known = || hosts.known.lock().unwrap().len();
        let first = hosts.place("a.example").await;
        let other = hosts.place("b.example").await;
        let mut second = Box::pin(hosts.place("a.example"));
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(known(), 2);
        drop(first);
        let second = second.await;
        assert_eq!(known(), 2);
        let third = hosts.place("a.example").now_or_never();
        assert!(third.is_none());
        drop((second, other));
        assert_eq!(known(), 0);
    }
}
