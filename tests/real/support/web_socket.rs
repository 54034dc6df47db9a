//! A WebSocket client (RFC 8887) with the message layer of others, over a plain socket.
//!
//! It does not reconnect: in these tests the end of a connection is a finding. It hears, and answers
//! pings, only while it is asked for messages.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::RecvTimeoutError;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::{HeaderValue, header};
use tungstenite::{Bytes, Error, Message};

use super::event_source::Event;
use super::jmap::Caller;
use super::{Instant, PATIENCE};

/// An open WebSocket. Dropping it closes the connection.
pub(crate) struct WebSocket {
    connection: tungstenite::WebSocket<TcpStream>,
    /// Messages that came before they were asked for.
    events: VecDeque<Event>,
}

impl WebSocket {
    /// Opens the one that the Session names (RFC 8887 §3), in this user's name.
    ///
    /// # Errors
    ///
    /// What the handshake came to, otherwise.
    pub(crate) fn open(caller: &Caller) -> Result<Self, String> {
        let url = url(caller);
        let mut request = url.as_str().into_client_request().expect("an URL");
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("jmap"));
        let authorization = caller.authorization.parse().expect("a header's value");
        headers.insert(header::AUTHORIZATION, authorization);
        let socket = TcpStream::connect(&caller.address).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout on a socket");
        let opened = tungstenite::client(request, socket);
        let (connection, _) = opened.map_err(|error| format!("{url}: {error}"))?;
        Ok(Self { connection, events: VecDeque::new() })
    }

    /// Asks for changes of these types, of all if `null` (§4.3.5.2); after `push_state`, if any. Returns
    /// when that was heard: from then on nothing may be missed.
    pub(crate) fn enable_push(&mut self, data_types: &Value, push_state: Option<&str>) {
        let mut enable = json!({ "@type": "WebSocketPushEnable", "dataTypes": data_types });
        if let Some(push_state) = push_state {
            enable["pushState"] = push_state.into();
        }
        self.say(&enable);
        // Messages are read in order.
        self.connection.send(Message::Ping(Bytes::new())).expect("a ping");
        self.read_until("pong", |message| matches!(message, Message::Pong(_)));
    }

    /// Sends a message.
    pub(crate) fn say(&mut self, message: &Value) {
        let sent = self.connection.send(Message::text(message.to_string()));
        sent.unwrap_or_else(|error| panic!("{message}: {error}"));
    }

    /// The next message: a StateChange as the event that tells the same, its `pushState` for the id;
    /// any other under the name of its `@type`.
    ///
    /// # Errors
    ///
    /// `Timeout` when none comes before the deadline, `Disconnected` when the connection has ended.
    pub(crate) fn next(&mut self, deadline: Instant) -> Result<Event, RecvTimeoutError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        loop {
            match self.read(deadline)? {
                Message::Text(text) => return Ok(event(&text)),
                Message::Ping(_) => {}
                Message::Close(_) => return Err(RecvTimeoutError::Disconnected),
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }

    /// Waits for so many pings.
    pub(crate) fn wait_for_pings(&mut self, count: u32) {
        for _ in 0..count {
            self.read_until("ping", |message| matches!(message, Message::Ping(_)));
        }
    }

    /// Closes the connection, without a word.
    pub(crate) fn close(&self) {
        // It may have ended already.
        let _ = self.connection.get_ref().shutdown(Shutdown::Both);
    }

    /// Reads on until such a message; what is said before it is kept.
    fn read_until(&mut self, what: &str, is_it: fn(&Message) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.read(deadline) {
                Ok(message) if is_it(&message) => return,
                Ok(Message::Text(text)) => self.events.push_back(event(&text)),
                Ok(Message::Ping(_)) => {}
                other => panic!("{other:?} instead of a {what}"),
            }
        }
    }

    fn read(&mut self, deadline: Instant) -> Result<Message, RecvTimeoutError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(RecvTimeoutError::Timeout);
        }
        let socket = self.connection.get_ref();
        socket.set_read_timeout(Some(left)).expect("a timeout on a socket");
        self.connection.read().map_err(|error| match error {
            // What has come of a message is kept for the next time.
            Error::Io(error) if error.kind() == ErrorKind::WouldBlock => RecvTimeoutError::Timeout,
            _ => RecvTimeoutError::Disconnected,
        })
    }
}

fn event(text: &str) -> Event {
    let message: Value = serde_json::from_str(text).expect("a message in JSON");
    let string = |name: &str| message[name].as_str().map(str::to_owned);
    let kind = string("@type").expect("a @type");
    if kind == "StateChange" {
        let id = string("pushState").expect("a StateChange has a pushState");
        return Event { name: "state".to_owned(), data: text.to_owned(), id };
    }
    Event { name: kind, data: text.to_owned(), id: String::new() }
}

/// The WebSocket's URL.
fn url(caller: &Caller) -> String {
    let session = caller.session();
    let capability = &session["capabilities"]["urn:ietf:params:jmap:websocket"];
    assert_eq!(capability["supportsPush"], true, "{capability}");
    let url = capability["url"].as_str().expect("an URL").to_owned();
    assert!(url.starts_with(&format!("ws://{}/", caller.address)), "{url}");
    url
}
