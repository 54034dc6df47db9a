//! A WebSocket client (RFC 8887), with the message layer of others: what it understands, others do.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message, Utf8Bytes};

use super::ledger::{Changed, Log};
use super::rig::Rig;
use super::sse::Carrier;
use super::wait::{until, within};

/// Our WebSocket.
pub(crate) const WEBSOCKET: &str = "/jmap/ws/";

/// An open WebSocket.
pub(crate) struct Ws {
    stream: WebSocketStream<Box<dyn Carrier>>,
    pub(crate) headers: HeaderMap,
    /// The last `pushState`.
    pub(crate) push_state: Option<String>,
    /// What the server pinged with.
    pub(crate) pings: usize,
    /// All it was told.
    pub(crate) log: Log,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By a close frame with this code.
    Closed(u16),
    /// Without one.
    Cut,
}

impl Ws {
    /// Opens one for a user; fails on a refusal.
    pub(crate) async fn open(rig: &Rig, user: &str) -> Self {
        let authorization = format!("Bearer {user}");
        Self::try_open(rig.address, &[("authorization", &authorization)]).await.unwrap()
    }

    /// Opens one, `jmap` offered, with these headers besides.
    pub(crate) async fn try_open(
        to: SocketAddr,
        headers: &[(&str, &str)],
    ) -> Result<Self, Response<Vec<u8>>> {
        let socket: Box<dyn Carrier> = Box::new(TcpStream::connect(to).await.unwrap());
        Self::try_open_over(socket, to, WEBSOCKET, headers).await
    }

    /// The same over what is connected already, at this path.
    pub(crate) async fn try_open_over(
        socket: Box<dyn Carrier>,
        to: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Response<Vec<u8>>> {
        let mut request = format!("ws://{to}{path}").into_client_request().unwrap();
        let jmap = HeaderValue::from_static("jmap");
        request.headers_mut().insert(http::header::SEC_WEBSOCKET_PROTOCOL, jmap);
        for (name, value) in headers {
            let (name, value): (HeaderName, HeaderValue) =
                (name.parse().unwrap(), value.parse().unwrap());
            request.headers_mut().insert(name, value);
        }
        let opened = within("handshake", tokio_tungstenite::client_async(request, socket)).await;
        match opened {
            Ok((stream, response)) => Ok(Self {
                stream,
                headers: response.into_parts().0.headers,
                push_state: None,
                pings: 0,
                log: of_headers(headers),
            }),
            Err(Error::Http(response)) => Err(response.map(Option::unwrap_or_default)),
            Err(other) => panic!("{other}"),
        }
    }

    /// A WebSocket that is open already, as HTTP/2 opens it (RFC 8441).
    pub(crate) async fn over(stream: Box<dyn Carrier>) -> Self {
        let stream = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let (headers, log) = (HeaderMap::new(), of_headers(&[]));
        Self { stream, headers, push_state: None, pings: 0, log }
    }

    /// What carries it, for what no library would do.
    pub(crate) fn carrier(&mut self) -> &mut Box<dyn Carrier> {
        self.stream.get_mut()
    }

    /// Sends a text message.
    pub(crate) async fn send(&mut self, text: impl Into<Utf8Bytes>) {
        self.send_message(Message::Text(text.into())).await;
    }

    /// Sends any message.
    pub(crate) async fn send_message(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// Sends an API request.
    pub(crate) async fn request(&mut self, id: &str, calls: &Value) {
        let using = ["urn:ietf:params:jmap:core"];
        let request = json!({ "@type": "Request", "id": id, "using": using, "methodCalls": calls });
        self.send(request.to_string()).await;
    }

    /// Asks for push, and has the proxy's answer to something else show that it knows.
    pub(crate) async fn enable(&mut self, wish: Value) {
        let mut message = json!({ "@type": "WebSocketPushEnable" });
        message.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
        let types = wish["dataTypes"].as_array();
        let types: Option<Vec<&str>> =
            types.map(|types| types.iter().filter_map(Value::as_str).collect());
        self.log.asked(types.as_deref());
        self.send(message.to_string()).await;
        self.synchronize().await;
        self.log.wished(types.as_deref(), wish["pushState"].is_string());
    }

    /// Asks for no push any more.
    pub(crate) async fn disable(&mut self) {
        self.send(r#"{"@type":"WebSocketPushDisable"}"#).await;
        self.synchronize().await;
        self.log.wished(Some(&[]), false);
    }

    /// Waits until all that was sent has been read: messages are read in order.
    pub(crate) async fn synchronize(&mut self) {
        self.send_message(Message::Ping(vec![7].into())).await;
        within("pong", async {
            loop {
                match self.stream.next().await.unwrap().unwrap() {
                    Message::Pong(_) => return,
                    Message::Ping(_) => self.pings += 1,
                    Message::Text(text) => self.note(&serde_json::from_str(&text).unwrap()),
                    other => panic!("{other:?}"),
                }
            }
        })
        .await;
    }

    /// Reads until the server pings once more.
    pub(crate) async fn wait_for_ping(&mut self) {
        within("ping", async {
            let before = self.pings;
            while self.pings == before {
                match self.stream.next().await.unwrap().unwrap() {
                    Message::Ping(_) => self.pings += 1,
                    other => panic!("{other:?}"),
                }
            }
        })
        .await;
    }

    /// The next message, or how it ended.
    pub(crate) async fn next(&mut self) -> Result<Value, End> {
        within("message", async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let value: Value = serde_json::from_str(&text).unwrap();
                        self.note(&value);
                        return Ok(value);
                    }
                    Some(Ok(Message::Ping(_))) => self.pings += 1,
                    Some(Ok(Message::Close(Some(frame)))) => {
                        // The answer to it, and the server's end, must come too.
                        while self.stream.next().await.is_some() {}
                        return Err(End::Closed(frame.code.into()));
                    }
                    Some(Ok(Message::Pong(_))) => {}
                    Some(Ok(other)) => panic!("{other:?}"),
                    Some(Err(_)) | None => return Err(End::Cut),
                }
            }
        })
        .await
    }

    /// The next message of this `@type`; others are noted on the way.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await.unwrap();
            if message["@type"] == kind {
                return message;
            }
        }
    }

    /// How it ends; what comes before is read.
    pub(crate) async fn end(&mut self) -> End {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }

    /// The next `StateChange`.
    pub(crate) async fn state(&mut self) -> Changed {
        let mut change = self.next_of("StateChange").await;
        serde_json::from_value(change["changed"].take()).unwrap()
    }

    /// Reads on until this has been told.
    pub(crate) async fn told(&mut self, account: &str, data_type: &str, state: &str) {
        while !self.log.has(account, data_type, state) {
            self.state().await;
        }
    }

    /// Whether nothing comes but what answers a ping of ours.
    pub(crate) async fn is_silent(&mut self) -> bool {
        let before = self.log.states().count();
        self.synchronize().await;
        self.log.states().count() == before
    }

    fn note(&mut self, message: &Value) {
        if message["@type"] != "StateChange" {
            return;
        }
        self.push_state = Some(message["pushState"].as_str().unwrap().to_owned());
        self.log.told(serde_json::from_value(message["changed"].clone()).unwrap());
    }
}

/// The log of a client that sends these headers, and wants nothing yet.
fn of_headers(headers: &[(&str, &str)]) -> Log {
    let authorization = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let mut log = Log::of_request(authorization.map(|(_, value)| *value), "");
    log.wished(Some(&[]), false);
    log.opened(false);
    log
}

/// Waits until the proxy holds so many WebSockets.
pub(crate) async fn held(rig: &Rig, count: i64) {
    until("WebSockets", || match rig.metrics.websockets.get() {
        held if held == count => Ok(()),
        held => Err(held),
    })
    .await;
}
