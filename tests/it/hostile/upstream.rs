//! B13: an upstream that attacks, or that somebody has taken over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::rig::{EVENT_SOURCE, Rig, address_of};
use crate::support::upstream::{Canned, Frames, SESSION};
use crate::support::wait::within;

/// A server that answers whatever comes by the same bytes, again and again if it is to have no end.
struct Raw {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    _connections: JoinSet<()>,
}

impl Raw {
    async fn answering(head: &'static str, part: &'static [u8], endless: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&asked);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                open.spawn(async move {
                    let mut request = vec![0; 64 << 10];
                    while let Ok(1..) = socket.read(&mut request).await {
                        count.fetch_add(1, Ordering::Relaxed);
                        if socket.write_all(head.as_bytes()).await.is_err() {
                            return;
                        }
                        while socket.write_all(part).await.is_ok() && endless {}
                    }
                });
            }
        });
        Self { address, asked, _connections: connections }
    }

    /// A proxy before it.
    async fn rig(&self) -> Rig {
        let address = address_of(self.address);
        Rig::start(|config| config.upstream.addresses = vec![address]).await
    }
}

/// B13: heads that another parser may read as two.
#[tokio::test]
async fn a_response_that_can_be_split_is_none() {
    let heads = [
        "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nHTTP/",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nevil!",
        "evil\r\n\r\n",
    ];
    for head in heads {
        let raw = Raw::answering(head, b"", false).await;
        let rig = raw.rig().await;
        let answer = rig.ask("GET", "/anything", "alice").await;
        assert_eq!(answer.status(), 502, "{head:?}");
        assert!(!answer.headers().contains_key("set-cookie"), "{head:?}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{head:?}");
        rig.end().await;
    }
}

/// B13: two framings of one response: what goes on must have one.
#[tokio::test]
async fn a_response_of_two_framings_is_passed_on_with_one() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n\
                2\r\nhi\r\n0\r\n\r\n";
    let raw = Raw::answering(head, b"", false).await;
    let rig = raw.rig().await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let request = "GET /anything HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("answer", socket.read_to_string(&mut answer)).await.unwrap();
    let framings = ["content-length:", "transfer-encoding:"];
    let count = framings.iter().filter(|name| answer.to_lowercase().contains(**name)).count();
    assert!(count <= 1, "{answer}");
    rig.end().await;
}

/// B13: a Session without an end is read no further than `limits.session_size`.
#[tokio::test]
async fn a_session_without_an_end_is_502() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"x\":\"";
    let raw = Raw::answering(head, &[b'x'; 4096], true).await;
    let rig = raw.rig().await;
    assert_eq!(rig.ask("GET", SESSION, "alice").await.status(), 502);
    let stream = format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=0");
    assert_eq!(rig.ask("GET", &stream, "alice").await.status(), 502);
    rig.end().await;
}

/// B13: redirects in a circle, and away.
#[tokio::test]
async fn a_redirect_in_a_circle_or_to_a_stranger_is_502_and_soon_given_up() {
    let circle = "HTTP/1.1 301 Moved\r\nLocation: /.well-known/jmap\r\nContent-Length: 0\r\n\r\n";
    let away =
        "HTTP/1.1 302 Found\r\nLocation: http://evil.example/jmap\r\nContent-Length: 0\r\n\r\n";
    for head in [circle, away] {
        let raw = Raw::answering(head, b"", false).await;
        let rig = raw.rig().await;
        let before = raw.asked.load(Ordering::Relaxed);
        assert_eq!(rig.ask("GET", SESSION, "alice").await.status(), 502, "{head}");
        let asked = raw.asked.load(Ordering::Relaxed) - before;
        assert!(asked <= 4, "{asked} requests");
        rig.end().await;
    }
}

/// B13: cookies that upstream sets on our own request for the Session are nobody's.
#[tokio::test]
async fn cookies_of_our_own_requests_reach_no_client_of_the_event_source() {
    let rig = Rig::start(|_| {}).await;
    let cookie = ("set-cookie", "session=evil");
    let mut session = rig.ask("GET", SESSION, "alice").await;
    let json = ("content-type", "application/json");
    let body = Frames::of(std::mem::take(session.body_mut()));
    rig.upstream.answer(
        SESSION,
        Canned { status: 200, headers: vec![cookie, json], body, ..Canned::default() },
    );
    let stream = rig.events("bob", "types=*&closeafter=no&ping=0").await;
    assert!(!stream.headers.contains_key("set-cookie"));
    rig.upstream.answer(
        SESSION,
        Canned { status: 401, headers: vec![cookie], body: Frames::default(), ..Canned::default() },
    );
    let path = format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=0");
    let refused = rig.ask("GET", &path, "carol").await;
    assert_eq!(refused.status(), 401);
    assert!(!refused.headers().contains_key("set-cookie"));
    drop(stream);
    rig.end().await;
}
