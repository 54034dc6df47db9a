//! The fake upstream's own push: an event source (RFC 8620 §7.3) and a WebSocket (RFC 8887) that tell
//! what changes, or what a test has them tell.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;

use super::frames::Frames;
use super::{Inner, Seen, Upstream};
use crate::support::wait::until;

/// Where the event source is.
pub(crate) const EVENTS: &str = "/push/events";

/// Its URL, as the RFC has it.
pub(crate) const TEMPLATE: &str = "/push/events?types={types}&closeafter={closeafter}&ping={ping}";

/// Where the WebSocket is.
pub(crate) const SOCKET: &str = "/push/ws";

/// Events that wait for a client to read them.
const MOST_WAITING: usize = 1000;

/// One client of the event source, or of the WebSocket.
#[derive(Debug)]
struct Live {
    user: String,
    is_socket: bool,
    out: mpsc::Sender<Bytes>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Push {
    /// `eventSourceUrl`; `None` where there is none.
    pub(crate) template: Option<String>,
    /// Whether changes are told of at all.
    pub(crate) is_mute: bool,
    /// Who is answered 401 though they may do anything else: those with this cookie.
    pub(crate) refuses: Option<&'static str>,
    /// The URL of the WebSocket; `None` where there is none.
    pub(crate) socket: Option<String>,
    /// Its VAPID capability (RFC 9749 §3); `None` where there is none.
    pub(crate) vapid: Option<Value>,
    /// What was asked for over WebSockets.
    pub(crate) wishes: Vec<Value>,
    live: Vec<Live>,
}

impl Push {
    /// Answers a request to [`EVENTS`].
    pub(super) fn open(&mut self, user: &str, seen: &Seen) -> Response<Frames> {
        let cookie = seen.headers.get(header::COOKIE);
        if cookie.is_some_and(|cookie| self.refuses.is_some_and(|it| cookie == it)) {
            return Response::builder()
                .status(StatusCode::UNAUTHORIZED)
                .body(Frames::of(""))
                .unwrap();
        }
        let receiver = self.listen(user, false);
        let stream = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
        stream.body(Frames::live(Arc::new(Mutex::new(receiver)))).unwrap()
    }

    fn listen(&mut self, user: &str, is_socket: bool) -> mpsc::Receiver<Bytes> {
        let (out, receiver) = mpsc::channel(MOST_WAITING);
        self.live.push(Live { user: user.into(), is_socket, out });
        receiver
    }

    /// A state changed that `user` knows under this id.
    pub(super) fn changed(&mut self, user: &str, id: &str, data_type: &str, state: &str) {
        if !self.is_mute {
            let change = json!({ "@type": "StateChange", "changed": { id: { data_type: state } } });
            self.tell(user, false, &format!("event: state\ndata: {change}\n\n"));
            self.tell(user, true, &change.to_string());
        }
    }

    fn tell(&mut self, user: &str, by_socket: bool, text: &str) {
        self.live.retain(|live| !live.out.is_closed());
        let told = |live: &&Live| live.user == user && live.is_socket == by_socket;
        for live in self.live.iter().filter(told) {
            // A client that does not read misses it.
            let _ = live.out.try_send(Bytes::copy_from_slice(text.as_bytes()));
        }
    }
}

/// Whether this asks for the WebSocket.
pub(super) fn is_handshake(request: &Request<Incoming>) -> bool {
    request.uri().path() == SOCKET && request.headers().contains_key(header::UPGRADE)
}

/// Answers a handshake (RFC 6455 §4.2, RFC 8887 §4.2).
pub(super) fn upgrade(
    inner: &Arc<Mutex<Inner>>,
    mut request: Request<Incoming>,
) -> Response<Frames> {
    let upgraded = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let authorization = parts.headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let mut locked = inner.lock().unwrap();
    let user = locked.mail.user(authorization);
    locked.seen.push(Seen {
        method: Method::GET,
        path: SOCKET.into(),
        version: parts.version,
        authority: None,
        headers: parts.headers.clone(),
        body: Vec::new(),
        length: 0,
        trailers: HeaderMap::new(),
        user: user.clone(),
    });
    let is_there = locked.mail.push.socket.is_some();
    drop(locked);
    let response = Response::builder();
    let Some(user) = user.filter(|_| is_there) else {
        return response.status(StatusCode::NOT_FOUND).body(Frames::of("")).unwrap();
    };
    let inner = Arc::clone(inner);
    #[expect(clippy::disallowed_methods, reason = "ends with its connection")]
    tokio::spawn(async move {
        let Ok(carrier) = upgraded.await else { return };
        talk(&inner, &user, TokioIo::new(carrier)).await;
    });
    response
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_PROTOCOL, "jmap")
        .header(
            header::SEC_WEBSOCKET_ACCEPT,
            derive_accept_key(parts.headers[header::SEC_WEBSOCKET_KEY].as_bytes()),
        )
        .body(Frames::of(""))
        .unwrap()
}

/// Reads wishes, and tells what changes once there was one.
async fn talk(inner: &Mutex<Inner>, user: &str, carrier: TokioIo<hyper::upgrade::Upgraded>) {
    let mut socket = WebSocketStream::from_raw_socket(carrier, Role::Server, None).await;
    let mut changes = None;
    loop {
        let change = async {
            match &mut changes {
                None => std::future::pending().await,
                Some(changes) => mpsc::Receiver::recv(changes).await,
            }
        };
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let push = &mut inner.lock().unwrap().mail.push;
                    push.wishes.push(serde_json::from_str(&text).unwrap());
                    changes = Some(push.listen(user, true));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            change = change => {
                let Some(change) = change else { return };
                let text = String::from_utf8(change.to_vec()).unwrap();
                if socket.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Upstream {
    /// The Session names the event source from now on.
    pub(crate) fn with_events(self, template: &str) -> Self {
        self.mail(|mail| mail.push.template = Some(template.into()));
        self
    }

    /// The Session names the WebSocket from now on.
    pub(crate) fn with_socket(self) -> Self {
        let url = format!("ws://{}{SOCKET}", self.address);
        self.mail(|mail| mail.push.socket = Some(url));
        self
    }

    /// Tells a user's streams this, as it is.
    pub(crate) fn say(&self, user: &str, text: &str) {
        self.mail(|mail| mail.push.tell(user, false, text));
    }

    /// Tells a user's WebSockets this message.
    pub(crate) fn say_by_socket(&self, user: &str, text: &str) {
        self.mail(|mail| mail.push.tell(user, true, text));
    }

    /// Ends a user's streams.
    pub(crate) fn end_streams(&self, user: &str) {
        self.mail(|mail| mail.push.live.retain(|live| live.user != user));
    }

    /// How many streams a user has open.
    pub(crate) fn streams(&self, user: &str) -> usize {
        self.mail(|mail| {
            let live = mail.push.live.iter().filter(|live| !live.out.is_closed());
            live.filter(|live| live.user == user).count()
        })
    }

    /// Waits until a user has so many streams.
    pub(crate) async fn has_streams(&self, user: &str, count: usize) {
        until("streams", || match self.streams(user) {
            now if now == count => Ok(()),
            now => Err(now),
        })
        .await;
    }

    /// Requests for the event source so far.
    pub(crate) fn subscriptions(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path.starts_with(EVENTS)).collect()
    }
}
