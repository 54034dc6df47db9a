//! A push service (RFC 8030) for the demo: what `PushSubscription`s lead to where there is no internet.
//!
//! TLS on a loopback address of its own, with a certificate made at the start whose key never leaves
//! memory and which vouches for nothing but that address. It keeps the last messages as they came, for the
//! page to read: it could read none of them itself. No receipts, no topics replaced, nothing kept for `TTL`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::drain::{Drain, Phase};

/// Where it listens: the proxy may be told to push to this address, and to no other of this machine.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 80, 30, 1);

/// Octets of a message that any push service takes (RFC 8030 §7.2).
const MOST_OCTETS: usize = 4096;

/// Messages kept. When full: the oldest goes.
const MOST_MESSAGES: usize = 64;

/// Push resources there are. When full: the oldest goes, and who pushes to it is answered 404.
const MOST_RESOURCES: usize = 64;

/// How long a look waits for the next message.
const LOOK: Duration = Duration::from_secs(20);

/// Why there is no push service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not every system has more loopback addresses than one.
    #[error("listen on {ADDRESS}")]
    Listen(#[from] std::io::Error),
    /// No certificate could be made.
    #[error("make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// rustls refuses it.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
}

/// A running push service; it stops when its [`Drain`] is draining.
#[derive(Debug, Clone)]
pub struct PushService {
    /// Where it listens.
    pub address: SocketAddr,
    /// What makes a client believe that it is it (PEM).
    pub certificate: Arc<str>,
    inbox: Arc<Inbox>,
}

impl PushService {
    /// Starts one on a free port of [`ADDRESS`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(drain: &Drain) -> Result<Self, Error> {
        let listener = TcpListener::bind((ADDRESS, 0)).await?;
        let address = listener.local_addr()?;
        let made = rcgen::generate_simple_self_signed([ADDRESS.to_string()])?;
        let certificate = made.cert.der().clone();
        let pem = pem(&certificate);
        let tls = acceptor(certificate, made.signing_key.serialize_der().into())?;
        let inbox = Arc::<Inbox>::default();
        drain.spawn(accept(listener, tls, Arc::clone(&inbox), drain.clone()));
        Ok(Self { address, certificate: pem.into(), inbox })
    }

    /// Makes a push resource (RFC 8030 §4) and gives its token; its URL is [`Self::url`].
    #[must_use]
    pub fn subscribe(&self) -> String {
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let mut kept = self.inbox.kept();
        push_bounded(&mut kept.resources, token.clone(), MOST_RESOURCES);
        token
    }

    /// The URL that messages for this token are sent to.
    #[must_use]
    pub fn url(&self, token: &str) -> String {
        format!("https://{}/{token}", self.address)
    }

    /// The messages that came for this token after the one of number `after`, oldest first; waits a while
    /// for one. `None` when there is no such push resource.
    ///
    /// Cancel safety: nothing is lost when the future is dropped.
    pub async fn messages(&self, token: &str, after: u64) -> Option<Vec<Value>> {
        let mut arrivals = self.inbox.arrivals.subscribe();
        let news = async {
            loop {
                arrivals.mark_unchanged();
                let found = self.inbox.kept().after(token, after);
                if found.as_ref().is_none_or(|found| !found.is_empty()) {
                    return found;
                }
                // The sender lives in `self`, so this cannot fail.
                let _ = arrivals.changed().await;
            }
        };
        tokio::time::timeout(LOOK, news).await.unwrap_or(Some(Vec::new()))
    }
}

/// What has come.
#[derive(Debug, Default)]
struct Inbox {
    // Held for one look or note.
    kept: Mutex<Kept>,
    /// The number of the last message.
    arrivals: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    resources: VecDeque<String>,
    messages: VecDeque<Message>,
    last: u64,
}

#[derive(Debug)]
struct Message {
    number: u64,
    token: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Inbox {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// RFC 8030 §5: takes a message, or says why not.
    async fn take<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let token = head.uri.path().trim_start_matches('/');
        let ttl = head.headers.get("ttl").and_then(|ttl| ttl.to_str().ok());
        let refusal = match () {
            () if !self.kept().has(token) => Some(StatusCode::NOT_FOUND),
            () if head.method != Method::POST => Some(StatusCode::METHOD_NOT_ALLOWED),
            // §5.2: "A push service MUST return a 400 (Bad Request)" without it.
            () if ttl.and_then(|ttl| ttl.parse::<u32>().ok()).is_none() => {
                Some(StatusCode::BAD_REQUEST)
            }
            () => None,
        };
        if let Some(status) = refusal {
            return answer(status);
        }
        let Ok(body) = Limited::new(body, MOST_OCTETS).collect().await else {
            return answer(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let number = self.keep(token, head.headers, body.to_bytes());
        let mut created = answer(StatusCode::CREATED);
        let location = HeaderValue::try_from(format!("/message/{number}"));
        created.headers_mut().extend(location.ok().map(|location| (LOCATION, location)));
        created
    }

    fn keep(&self, token: &str, headers: HeaderMap, body: Bytes) -> u64 {
        let mut kept = self.kept();
        kept.last += 1;
        let number = kept.last;
        let message = Message { number, token: token.to_owned(), headers, body };
        push_bounded(&mut kept.messages, message, MOST_MESSAGES);
        drop(kept);
        self.arrivals.send_replace(number);
        number
    }
}

impl Kept {
    fn has(&self, token: &str) -> bool {
        self.resources.iter().any(|known| known == token)
    }

    fn after(&self, token: &str, after: u64) -> Option<Vec<Value>> {
        let news = |message: &&Message| message.token == token && message.number > after;
        self.has(token).then(|| self.messages.iter().filter(news).map(Message::to_value).collect())
    }
}

impl Message {
    /// As the page reads it; the body is base64url.
    fn to_value(&self) -> Value {
        let text = |value: &HeaderValue| json!(String::from_utf8_lossy(value.as_bytes()));
        let headers = self.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        json!({
            "number": self.number,
            "headers": headers.collect::<Map<_, _>>(),
            "body": URL_SAFE_NO_PAD.encode(&self.body),
        })
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    while queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn answer(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, inbox: Arc<Inbox>, drain: Drain) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.reached(Phase::Draining) => return,
        };
        match accepted {
            Ok((tcp, _)) => {
                let (tls, inbox) = (tls.clone(), Arc::clone(&inbox));
                let end = drain.clone();
                drain.spawn(async move {
                    tokio::select! {
                        () = serve(tcp, tls, inbox) => {}
                        // Nobody waits for an answer any more.
                        () = end.reached(Phase::Draining) => {}
                    }
                });
            }
            // Out of descriptors, or the peer is gone already: others may fare better.
            Err(error) => {
                tracing::warn!(%error, "the demo's push service could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(tcp: TcpStream, tls: TlsAcceptor, inbox: Arc<Inbox>) {
    let stream = match tls.accept(tcp).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "no TLS with the demo's push service");
            return;
        }
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let inbox = Arc::clone(&inbox);
        async move { Ok::<_, Infallible>(inbox.take(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "the demo's push service lost a connection");
    }
}

fn acceptor(
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// RFC 7468, in one line: who reads it, reads that too.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests;
