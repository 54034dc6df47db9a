//! A JMAP server over real sockets that does as it is told: it holds no mail, tells states, fails on
//! demand, and keeps every request it was sent.

mod mail;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use mail::{Mail, account_of};

use super::wait::until;

/// Where the Session is.
pub(crate) const SESSION: &str = "/.well-known/jmap";

/// Where the API is.
pub(crate) const API: &str = "/jmap/";

/// Bytes of a request's body that are kept.
const KEPT: usize = 1 << 20;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The first bytes of the body.
    pub(crate) body: Vec<u8>,
    /// Bytes of the whole body.
    pub(crate) length: usize,
    /// Whose credentials it bore, if they are good.
    pub(crate) user: Option<String>,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, and no JMAP in the body.
    Status(u16),
    /// The connection ends without an answer. What was asked is done all the same.
    Close,
    /// The answer ends in the middle, and with it the connection.
    Truncate,
    /// The answer waits for a permit; what was asked is done before.
    Hold(Arc<Semaphore>),
    /// The answer bears this `Content-Encoding`; only `gzip` is true.
    Encoding(&'static str),
    /// `serverPartialFail` (§3.6.2) in the place of the method's response, which did its work.
    PartialFail,
}

/// A fault of requests to a path, or that call a method, or name an account.
#[derive(Debug)]
struct Planned {
    on: String,
    fault: Fault,
    /// How many requests it befalls.
    times: u32,
}

/// An answer told in advance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Canned {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Frames,
}

/// A response body, frame by frame; of no length unless a header gives one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    frames: VecDeque<Bytes>,
    /// Polls until the connection breaks, if it does.
    breaks_in: Option<u8>,
}

impl Frames {
    /// A whole body.
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        Self::repeating(&bytes.into(), 1)
    }

    /// The same frame again and again.
    pub(crate) fn repeating(frame: &Bytes, times: usize) -> Self {
        let frames = std::iter::repeat_n(frame.clone(), times).filter(|frame| !frame.is_empty());
        Self { frames: frames.collect(), breaks_in: None }
    }

    /// A body that lacks its end: the connection breaks once what is there was sent.
    pub(crate) fn broken(bytes: impl Into<Bytes>) -> Self {
        Self { breaks_in: Some(1), ..Self::of(bytes) }
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        match self.breaks_in {
            None => Poll::Ready(None),
            // hyper sends what it has when it has to wait.
            Some(1..) => {
                self.breaks_in = Some(0);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(0) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.breaks_in.is_none()
    }
}

#[derive(Debug, Default)]
struct Inner {
    mail: Mail,
    faults: Vec<Planned>,
    canned: BTreeMap<String, Canned>,
    seen: Vec<Seen>,
}

/// See the module. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    accepting: JoinHandle<()>,
}

impl Upstream {
    /// Starts with two users, `alice` and `bob`, each with an account of their own.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::<Mutex<Inner>>::default();
        let shared = Arc::clone(&inner);
        #[expect(clippy::disallowed_methods, reason = "ends with the server")]
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        Self { address, inner, accepting }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Looks at, or changes, what it holds.
    pub(crate) fn mail<T>(&self, look: impl FnOnce(&mut Mail) -> T) -> T {
        look(&mut self.lock().mail)
    }

    /// A mail arrives for a user.
    pub(crate) fn deliver(&self, user: &str) {
        self.mail(|mail| mail.deliver(&account_of(user)));
    }

    /// The next `times` requests to a path, or that call a method, go wrong.
    pub(crate) fn fail(&self, on: &str, fault: Fault, times: u32) {
        self.lock().faults.push(Planned { on: on.into(), fault, times });
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Requests to `path` are answered by this.
    pub(crate) fn answer(&self, path: &str, canned: Canned) {
        self.lock().canned.insert(path.into(), canned);
    }

    /// Requests to `path` are answered as if nothing had been told.
    pub(crate) fn forget_answer(&self, path: &str) {
        self.lock().canned.remove(path);
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// The last request to a path.
    pub(crate) fn last(&self, path: &str) -> Seen {
        self.seen().into_iter().rfind(|seen| seen.path == path).unwrap()
    }

    /// How many requests came to a path, or call this method, or name this account.
    pub(crate) fn times_asked(&self, on: &str) -> usize {
        let called = format!("\"{on}\"");
        let is_it = |seen: &&Seen| seen.path == on || contains(&seen.body, called.as_bytes());
        self.seen().iter().filter(is_it).count()
    }

    /// Waits until [`Self::times_asked`] is `times`.
    pub(crate) async fn asked(&self, on: &str, times: usize) {
        until(on, || match self.times_asked(on) {
            count if count >= times => Ok(()),
            count => Err(count),
        })
        .await;
    }

    /// How often a user's Session was fetched.
    pub(crate) fn sessions_of(&self, user: &str) -> usize {
        let credentials = format!("Bearer {user}");
        let is_theirs = |seen: &&Seen| {
            seen.path == SESSION && seen.headers[header::AUTHORIZATION] == *credentials
        };
        self.seen().iter().filter(is_theirs).count()
    }

    /// Waits for two more fetches of a user's Session. The proxy looks at them one after the other:
    /// it has acted on the first when it asks for the second.
    pub(crate) async fn revalidated(&self, user: &str) {
        let before = self.sessions_of(user);
        until("second look at the Session", || match self.sessions_of(user) - before {
            2.. => Ok(()),
            fetched => Err(fetched),
        })
        .await;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("ended as told")]
struct Ended;

async fn serve(socket: TcpStream, inner: Arc<Mutex<Inner>>) {
    let service = service_fn(|request| answer(&inner, request));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    // A client that goes away is none of our business.
    let _ = connection.await;
}

async fn answer(
    inner: &Mutex<Inner>,
    request: Request<Incoming>,
) -> Result<Response<Frames>, Ended> {
    let seen = read(inner, request).await?;
    let (response, fault) = {
        let mut inner = inner.lock().unwrap();
        inner.seen.push(seen.clone());
        inner.respond(&seen)
    };
    let Some(fault) = fault else { return Ok(response) };
    spoil(response, fault).await
}

async fn read(inner: &Mutex<Inner>, request: Request<Incoming>) -> Result<Seen, Ended> {
    let (parts, mut incoming) = request.into_parts();
    let (mut body, mut length) = (Vec::new(), 0);
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|_| Ended)?.into_data() else { continue };
        length += data.len();
        body.extend_from_slice(&data[..data.len().min(KEPT - body.len())]);
    }
    let authorization = parts.headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let user = inner.lock().unwrap().mail.user(authorization);
    let path = parts.uri.path_and_query().unwrap().to_string();
    Ok(Seen { method: parts.method, path, headers: parts.headers, body, length, user })
}

impl Inner {
    fn respond(&mut self, seen: &Seen) -> (Response<Frames>, Option<Fault>) {
        if let Some(Canned { status, headers, body }) = self.canned.get(&seen.path).cloned() {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            return (response.body(body).unwrap(), None);
        }
        let Some(user) = &seen.user else {
            let challenge = Response::builder()
                .status(StatusCode::UNAUTHORIZED)
                .header(header::WWW_AUTHENTICATE, "Bearer realm=\"mail\"")
                .header(header::CONTENT_TYPE, "text/plain");
            return (challenge.body(Frames::of("who are you?")).unwrap(), None);
        };
        let mut called = vec![seen.path.clone()];
        let answer = match (&seen.method, seen.path.as_str()) {
            (&Method::GET, SESSION) => self.mail.session(user),
            (&Method::POST, API) => {
                let Some(calls) = mail::calls(&seen.body) else {
                    let kind =
                        "{\"type\":\"urn:ietf:params:jmap:error:notRequest\",\"status\":400}";
                    return (status(400, kind), None);
                };
                called.extend(calls.iter().map(|call| call.0.clone()));
                let accounts = calls.iter().filter_map(|call| call.1["accountId"].as_str());
                called.extend(accounts.map(str::to_owned));
                self.mail.respond(user, &calls)
            }
            _ => return (status(404, "nothing here"), None),
        };
        let planned = self
            .faults
            .iter_mut()
            .find(|planned| planned.times > 0 && called.contains(&planned.on));
        let fault = planned.map(|planned| {
            planned.times -= 1;
            planned.fault.clone()
        });
        let mut answer = answer;
        if matches!(fault, Some(Fault::PartialFail)) {
            answer["methodResponses"][0] =
                serde_json::json!(["error", { "type": "serverPartialFail" }, "0"]);
        }
        let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
        (response.body(Frames::of(answer.to_string())).unwrap(), fault)
    }
}

fn status(status: u16, body: &'static str) -> Response<Frames> {
    Response::builder().status(status).body(Frames::of(body)).unwrap()
}

async fn spoil(mut response: Response<Frames>, fault: Fault) -> Result<Response<Frames>, Ended> {
    match fault {
        Fault::Status(code) => return Ok(status(code, "out of order")),
        Fault::Close => return Err(Ended),
        Fault::Truncate => {
            let whole = response.body_mut().frames.pop_front().unwrap();
            *response.body_mut() = Frames::broken(whole.slice(..whole.len() / 2));
        }
        Fault::Hold(gate) => gate.acquire().await.unwrap().forget(),
        Fault::Encoding(encoding) => {
            let whole = response.body_mut().frames.pop_front().unwrap();
            let encoded = if encoding == "gzip" { gzip(&whole) } else { whole.to_vec() };
            *response.body_mut() = Frames::of(encoded);
            response.headers_mut().insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
        }
        Fault::PartialFail => {}
    }
    Ok(response)
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
