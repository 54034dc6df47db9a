//! A client of the event source (RFC 8620 §7.3) that reads its socket itself and so sees what a
//! library would hide: chunks, line ends, how it all ended.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::ledger::{Changed, Log};
use super::wait::within;

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) id: Option<String>,
    /// The chunk it came in.
    pub(crate) raw: Bytes,
}

impl Event {
    /// What a `state` event tells; fails on any other.
    pub(crate) fn changed(&self) -> Changed {
        assert_eq!(self.name, "state", "{self:?}");
        let mut change: Value = serde_json::from_str(&self.data).unwrap();
        assert_eq!(change["@type"], "StateChange");
        serde_json::from_value(change["changed"].take()).unwrap()
    }

    /// The types told, over all accounts.
    pub(crate) fn types(&self) -> Vec<String> {
        let mut types: Vec<String> =
            self.changed().into_values().flat_map(BTreeMap::into_keys).collect();
        types.sort();
        types.dedup();
        types
    }
}

/// The connection ended before the response did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut;

/// What carries a stream: a socket, or TLS over one.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Debug + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Debug + Unpin + Send> Carrier for T {}

/// An open stream.
#[derive(Debug)]
pub(crate) struct EventStream {
    socket: Box<dyn Carrier>,
    unread: BytesMut,
    pub(crate) headers: HeaderMap,
    /// Chunks that held no event.
    pub(crate) comments: Vec<Bytes>,
    pub(crate) last_id: Option<String>,
    /// All it was told.
    pub(crate) log: Log,
}

impl EventStream {
    /// Opens a stream; fails on a refusal.
    pub(crate) async fn open(to: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        Self::open_on(TcpSocket::new_v4().unwrap(), to, target, headers).await
    }

    /// The same on a socket that is set up already.
    pub(crate) async fn open_on(
        socket: TcpSocket,
        to: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let socket = socket.connect(to).await.unwrap();
        Self::open_over(Box::new(socket), to, target, headers).await
    }

    /// The same over what is connected already.
    pub(crate) async fn open_over(
        mut socket: Box<dyn Carrier>,
        to: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let mut request = format!("GET {target} HTTP/1.1\r\nHost: {to}\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let value_of = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| *value)
        };
        let mut stream = Self {
            socket,
            unread: BytesMut::new(),
            headers: HeaderMap::new(),
            comments: Vec::new(),
            last_id: None,
            log: Log::of_request(value_of("authorization"), target),
        };
        stream.read_head().await;
        stream.log.opened(value_of("last-event-id").is_some());
        stream
    }

    async fn read_head(&mut self) {
        let status = self.line().await.unwrap();
        let mut lines = vec![status];
        while let Some(line) = Some(self.line().await.unwrap()).filter(|line| !line.is_empty()) {
            lines.push(line);
        }
        assert_eq!(lines[0], "HTTP/1.1 200 OK", "{lines:?}");
        for line in &lines[1..] {
            let (name, value) = line.split_once(": ").unwrap();
            let name: HeaderName = name.parse().unwrap();
            self.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(self.headers["transfer-encoding"], "chunked");
    }

    async fn line(&mut self) -> Result<String, Cut> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = self.unread.split_to(end);
                self.unread.advance(2);
                return Ok(String::from_utf8(line.to_vec()).unwrap());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Cut> {
        let read = within("bytes", self.socket.read_buf(&mut self.unread)).await;
        if matches!(read, Ok(1..)) { Ok(()) } else { Err(Cut) }
    }

    /// The payload of the next chunk; `None` is the last.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Cut> {
        let size = usize::from_str_radix(&self.line().await?, 16).unwrap();
        while self.unread.len() < size + 2 {
            self.more().await?;
        }
        let payload = self.unread.split_to(size).freeze();
        assert_eq!(self.unread.split_to(2), "\r\n");
        Ok((size > 0).then_some(payload))
    }

    /// The next event; `None` when the response ended as a response ends.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let chunk = self.chunk().await.expect("a stream that is not cut off")?;
            if !chunk.starts_with(b"event:") {
                self.comments.push(chunk);
                continue;
            }
            let event = parse(&chunk);
            if let Some(id) = &event.id {
                self.last_id = Some(id.clone());
            }
            if event.name == "state" {
                self.log.told(event.changed());
            }
            return Some(event);
        }
    }

    /// The next `state` event, pings passed over.
    pub(crate) async fn state(&mut self) -> Event {
        loop {
            let event = self.next().await.expect("an open stream");
            if event.name != "ping" {
                return event;
            }
        }
    }

    /// Reads on until this state of a type is told.
    pub(crate) async fn told(&mut self, account: &str, data_type: &str, state: &str) {
        while !self.log.has(account, data_type, state) {
            self.state().await;
        }
    }
}

/// Reads an event strictly: the fields in their order, each once, LF, one blank line at the end.
pub(crate) fn parse(raw: &Bytes) -> Event {
    let text = std::str::from_utf8(raw).unwrap();
    assert!(!text.contains('\r'), "{text:?}");
    let text = text.strip_suffix("\n\n").expect("one blank line at the end");
    let mut lines = text.split('\n');
    let mut field = |name: &str| {
        lines.next().map(|line| {
            let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
            value.unwrap_or_else(|| panic!("{name} in {text:?}")).to_owned()
        })
    };
    let (name, data, id) = (field("event").unwrap(), field("data").unwrap(), field("id"));
    assert_eq!(lines.next(), None, "{text:?}");
    Event { name, data, id, raw: raw.clone() }
}
