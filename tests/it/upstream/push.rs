//! An upstream that has push of its own (architecture D14): replaced by ours under `auto` and
//! `ignore`, led through us under `passthrough`, and never left pointing round us.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use jmap_push_proxy::config::UpstreamPush;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::certificate::Ca;
use crate::support::http::{asking, exchange};
use crate::support::rig::{EVENT_SOURCE, Rig, address_of};
use crate::support::upstream::{Canned, Door, Frames, SESSION, Upstream};
use crate::support::wait::within;

const WEBSOCKET: &str = "urn:ietf:params:jmap:websocket";

/// A server that agrees to every handshake and then gives back what it is sent.
struct Echo {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "ends with the server")]
        let accepting = tokio::spawn(async move {
            let mut sockets = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                sockets.spawn(echo(socket));
            }
        });
        Self { address, accepting }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn echo(mut socket: TcpStream) {
    let asked = head(&mut socket).await;
    assert!(asked.contains("\r\nupgrade: websocket\r\n"), "{asked}");
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello";
    socket.write_all(answer.as_bytes()).await.unwrap();
    let (mut read, mut write) = socket.split();
    // The other side may end it however it likes.
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

/// Reads to the end of a message's head and no further.
async fn head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("end of the head", socket.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Sends a handshake (RFC 6455 §4.1); gives the answer's head.
async fn handshake(to: SocketAddr, path: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer alice\r\n\
         Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut socket).await;
    (socket, head)
}

/// Reads what is expected to come.
async fn expect(socket: &mut TcpStream, text: &str) {
    let mut read = vec![0; text.len()];
    within("bytes", socket.read_exact(&mut read)).await.unwrap();
    assert_eq!(read, text.as_bytes());
}

/// A proxy that leads to `echo`, with room for so many connections.
async fn through(echo: &Echo, connections: usize) -> Rig {
    Rig::start(|config| {
        config.upstream.addresses = vec![address_of(echo.address)];
        config.upstream.push = UpstreamPush::Passthrough;
        config.limits.connections = connections;
    })
    .await
}

#[tokio::test]
async fn a_websocket_is_led_through() {
    let echo = Echo::start().await;
    let rig = through(&echo, 0).await;
    let (mut socket, head) = handshake(rig.address, "/ws?x=1").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let head = head.to_ascii_lowercase();
    for line in ["upgrade: websocket", "connection: upgrade", "sec-websocket-accept: s3pp"] {
        assert!(head.contains(&format!("\r\n{line}")), "{head}");
    }
    // What upstream sent with its head, and what each says then.
    expect(&mut socket, "hello").await;
    for text in ["\u{1}\0GET / HTTP/1.1\r\n\r\n", &"x".repeat(100_000)] {
        socket.write_all(text.as_bytes()).await.unwrap();
        expect(&mut socket, text).await;
    }
    drop(socket);
    rig.end().await;
}

#[tokio::test]
async fn a_websocket_ends_with_the_process() {
    let echo = Echo::start().await;
    let rig = through(&echo, 0).await;
    let (mut socket, _) = handshake(rig.address, "/ws").await;
    expect(&mut socket, "hello").await;
    rig.end().await;
    assert_eq!(within("end", socket.read(&mut [0])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_websocket_has_a_place_among_the_connections_until_it_ends() {
    let echo = Echo::start().await;
    let rig = through(&echo, 1).await;
    let (mut first, _) = handshake(rig.address, "/ws").await;
    expect(&mut first, "hello").await;
    let mut second = Box::pin(handshake(rig.address, "/ws"));
    let early = tokio::time::timeout(Duration::from_millis(500), &mut second).await;
    assert!(early.is_err(), "more connections than allowed");
    drop(first);
    let (mut second, _) = second.await;
    expect(&mut second, "hello").await;
    drop(second);
    rig.end().await;
}

#[tokio::test]
async fn a_refused_handshake_passes_as_it_is() {
    let rig = Rig::start(|config| config.upstream.push = UpstreamPush::Passthrough).await;
    let (_, head) = handshake(rig.address, "/ws").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let seen = rig.upstream.last("/ws");
    assert_eq!(seen.headers["upgrade"], "websocket");
    rig.end().await;
}

#[tokio::test]
async fn a_handshake_goes_by_http1_whatever_tls_offers() {
    let ca = Ca::new();
    let upstream = Upstream::behind(Door::Tls(ca.server(&["h2", "http/1.1"]))).await;
    let rig = Rig::before(upstream, |config| {
        config.upstream.push = UpstreamPush::Passthrough;
        config.upstream.ca_file = Some(ca.file().to_owned());
    });
    // Connections of HTTP/2 are there already.
    rig.ask("GET", "/file", "alice").await;
    handshake(rig.address, "/ws").await;
    let seen = rig.upstream.last("/ws");
    assert_eq!(
        (seen.version, &seen.headers["upgrade"]),
        (Version::HTTP_11, &"websocket".parse().unwrap())
    );
    assert_eq!(rig.upstream.last("/file").version, Version::HTTP_2);
    rig.end().await;
}

#[tokio::test]
async fn a_handshake_is_no_handshake_where_our_push_replaces_upstreams() {
    for push in [UpstreamPush::Auto, UpstreamPush::Ignore] {
        let rig = Rig::start(|config| config.upstream.push = push).await;
        let (_, head) = handshake(rig.address, "/ws").await;
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
        let seen = rig.upstream.last("/ws");
        assert!(!seen.headers.contains_key("upgrade"), "{seen:?}");
        rig.end().await;
    }
}

/// The Session of an upstream with push of its own, as clients are given it.
async fn session(rig: &Rig) -> Value {
    let body = json!({
        "capabilities": {
            "urn:ietf:params:jmap:core": {},
            WEBSOCKET: { "url": "ws://mail.example/ws", "supportsPush": true },
        },
        "accounts": {}, "primaryAccounts": {}, "username": "alice", "state": "1",
        "apiUrl": "http://mail.example/jmap/",
        "eventSourceUrl": "http://mail.example/es?t={types}&c={closeafter}&p={ping}",
    });
    let headers = vec![("content-type", "application/json")];
    let body = Frames::of(body.to_string());
    rig.upstream.answer(SESSION, Canned { status: 200, headers, body, ..Canned::default() });
    let response = rig.ask("GET", SESSION, "alice").await;
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn what_upstream_offers_is_replaced() {
    for push in [UpstreamPush::Auto, UpstreamPush::Ignore] {
        let rig = Rig::start(|config| config.upstream.push = push).await;
        let session = session(&rig).await;
        let ours = format!("http://{}{EVENT_SOURCE}?types=", rig.address);
        assert!(session["eventSourceUrl"].as_str().unwrap().starts_with(&ours), "{session}");
        let ours = json!({ "url": format!("ws://{}/jmap/ws/", rig.address), "supportsPush": true });
        assert_eq!(session["capabilities"][WEBSOCKET], ours);
        rig.end().await;
    }
}

#[tokio::test]
async fn what_upstream_offers_is_led_through() {
    let rig = Rig::start(|config| config.upstream.push = UpstreamPush::Passthrough).await;
    let session = session(&rig).await;
    let own = rig.address;
    let url = format!("http://{own}/es?t={{types}}&c={{closeafter}}&p={{ping}}");
    assert_eq!(session["eventSourceUrl"], url);
    assert_eq!(session["capabilities"][WEBSOCKET]["url"], format!("ws://{own}/ws"));
    assert_eq!(session["capabilities"][WEBSOCKET]["supportsPush"], true);
    rig.end().await;
}

#[tokio::test]
async fn an_event_source_of_upstreams_own_streams_through() {
    let rig = Rig::start(|config| config.upstream.push = UpstreamPush::Passthrough).await;
    // Even where ours would be.
    for path in ["/es?t=*", EVENT_SOURCE] {
        let events = Bytes::from("event: state\ndata: {}\n\n");
        let headers = vec![("content-type", "text/event-stream")];
        let body = Frames::repeating(&events, 3);
        rig.upstream.answer(path, Canned { status: 200, headers, body, ..Canned::default() });
        let response = exchange(rig.address, asking("GET", path, "alice")).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.body(), &events.repeat(3));
    }
    rig.end().await;
}
