//! A JMAP server over real sockets that does as it is told: it holds no mail, tells states, fails on
//! demand, and keeps every request it was sent.

mod door;
mod frames;
mod mail;
mod push;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use jmap_push_proxy::config::UpstreamAddress;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub(crate) use door::Door;
pub(crate) use frames::Frames;
use frames::Sending;
pub(crate) use mail::{Mail, account_of, calls};
pub(crate) use push::{EVENTS, SOCKET, TEMPLATE};

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
    pub(crate) version: Version,
    /// `:authority` of HTTP/2.
    pub(crate) authority: Option<String>,
    pub(crate) headers: HeaderMap,
    /// The first bytes of the body.
    pub(crate) body: Vec<u8>,
    /// Bytes of the whole body.
    pub(crate) length: usize,
    pub(crate) trailers: HeaderMap,
    /// Whose credentials it bore, if they are good.
    pub(crate) user: Option<String>,
}

/// What a proxy broke off, by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A request body without its end.
    Upload(String),
    /// A response body that was not wanted to its end.
    Download(String),
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, and no JMAP in the body.
    Status(u16),
    /// Nothing of the body is read, and nothing is answered. On a path only.
    Deaf,
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

/// A fault of requests to a path, of one user's to a path (`alice /path`), or that call a method, or
/// name an account.
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
    /// Answer when the request's head is there, and leave its body unread.
    pub(crate) early: bool,
}

#[derive(Debug, Default)]
struct Inner {
    mail: Mail,
    faults: Vec<Planned>,
    canned: BTreeMap<String, Canned>,
    seen: Vec<Seen>,
    /// Paths of requests, from when their heads were there.
    begun: Vec<String>,
    broken: Vec<Broken>,
}

/// See the module. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Of TCP.
    pub(crate) address: SocketAddr,
    /// How `upstream.url` would give it.
    pub(crate) configured: UpstreamAddress,
    inner: Arc<Mutex<Inner>>,
    accepting: JoinHandle<()>,
}

impl Upstream {
    /// Starts with two users, `alice` and `bob`, each with an account of their own.
    pub(crate) async fn start() -> Self {
        Self::behind(Door::Plain).await
    }

    /// The same, to be reached in another way than plain HTTP/1.1.
    pub(crate) async fn behind(door: Door) -> Self {
        let inner = Arc::<Mutex<Inner>>::default();
        let (address, configured, accepting) = door.open(Arc::clone(&inner)).await;
        Self { address, configured, inner, accepting }
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

    /// The next `times` requests to a path (`/path`, or `alice /path` for one user's), or that call a
    /// method, go wrong.
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

    /// Waits until the head of a request to this path has come.
    pub(crate) async fn begun(&self, path: &str) {
        until("request", || {
            let begun = &self.lock().begun;
            if begun.iter().any(|begun| begun == path) { Ok(()) } else { Err(begun.clone()) }
        })
        .await;
    }

    /// Waits until the other side has broken this off.
    pub(crate) async fn broken_off(&self, what: &Broken) {
        until("broken exchange", || {
            let broken = &self.lock().broken;
            if broken.contains(what) { Ok(()) } else { Err(broken.clone()) }
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

async fn answer(
    inner: &Arc<Mutex<Inner>>,
    request: Request<Incoming>,
) -> Result<Response<Sending>, Ended> {
    if push::is_handshake(&request) {
        return Ok(
            push::upgrade(inner, request).map(|frames| sending(inner, frames, SOCKET.into()))
        );
    }
    let seen = read(inner, request).await?;
    let (mut response, fault) = {
        let mut inner = inner.lock().unwrap();
        inner.seen.push(seen.clone());
        inner.respond(&seen)
    };
    if let Some(fault) = fault {
        response = spoil(response, fault).await?;
    }
    Ok(response.map(|frames| sending(inner, frames, seen.path)))
}

fn sending(inner: &Arc<Mutex<Inner>>, frames: Frames, path: String) -> Sending {
    Sending { frames, path, inner: Arc::clone(inner) }
}

async fn read(inner: &Mutex<Inner>, request: Request<Incoming>) -> Result<Seen, Ended> {
    let (parts, mut incoming) = request.into_parts();
    if inner.lock().unwrap().is_deaf(parts.uri.path()) {
        std::future::pending::<()>().await;
    }
    let path = parts.uri.path_and_query().unwrap().to_string();
    let (mut body, mut length, mut trailers) = (Vec::new(), 0, HeaderMap::new());
    inner.lock().unwrap().begun.push(path.clone());
    let early = inner.lock().unwrap().canned.get(&path).is_some_and(|canned| canned.early);
    while let Some(frame) = if early { None } else { incoming.frame().await } {
        let Ok(frame) = frame else {
            inner.lock().unwrap().broken.push(Broken::Upload(path));
            return Err(Ended);
        };
        match frame.into_data() {
            Ok(data) => {
                length += data.len();
                body.extend_from_slice(&data[..data.len().min(KEPT - body.len())]);
            }
            Err(frame) => trailers.extend(frame.into_trailers().unwrap()),
        }
    }
    let authorization = parts.headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let user = inner.lock().unwrap().mail.user(authorization);
    let authority = parts.uri.authority().map(ToString::to_string);
    let (method, version, headers) = (parts.method, parts.version, parts.headers);
    Ok(Seen { method, path, version, authority, headers, body, length, trailers, user })
}

impl Inner {
    fn is_deaf(&self, path: &str) -> bool {
        let deaf = |planned: &Planned| matches!(planned.fault, Fault::Deaf) && planned.on == path;
        self.faults.iter().any(deaf)
    }

    fn respond(&mut self, seen: &Seen) -> (Response<Frames>, Option<Fault>) {
        if let Some(Canned { status, headers, body, .. }) = self.canned.get(&seen.path).cloned() {
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
        if seen.method == Method::GET && seen.path.starts_with(EVENTS) {
            return (self.mail.push.open(user, seen), None);
        }
        let mut called = vec![seen.path.clone(), format!("{user} {}", seen.path)];
        let answer = match (&seen.method, seen.path.as_str()) {
            (&Method::GET, SESSION) => self.mail.session(user),
            (&Method::POST, API) => {
                let Some(calls) = calls(&seen.body) else {
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
        Fault::PartialFail | Fault::Deaf => {}
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
