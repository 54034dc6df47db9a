//! Clients that attack by HTTP/1.1: B1, B4, B5, B6.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::rig::Rig;
use crate::support::upstream::{API, SESSION};
use crate::support::wait::within;

const SECOND: Duration = Duration::from_secs(1);

/// Sends bytes and reads until the proxy closes; gives the status of the first answer, if any.
async fn until_closed(rig: &Rig, bytes: &[u8]) -> Option<u16> {
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    // It may close before it has read all.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within("end of the connection", socket.read_to_end(&mut answer)).await;
    status(&answer)
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Requests that two parsers could read in two ways. What follows each is what an attacker hides.
const SMUGGLERS: &[(&str, &str)] = &[
    (
        "CL.TE",
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.CL",
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE",
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    ),
    ("odd TE", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("hidden TE", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("two CL", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n"),
    ("signed CL", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n"),
    ("no Host", "GET /a HTTP/1.1\r\n\r\n"),
    ("two Hosts", "GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("another host in the target", "GET http://b/a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("bare LF", "GET /a HTTP/1.1\nHost: a\r\n\r\n"),
    ("folding", "GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n z: 1\r\n\r\n"),
    ("name with _", "GET /a HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 127.0.0.1\r\n\r\n"),
    ("raw UTF-8", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    ("TRACE", "TRACE /a HTTP/1.1\r\nHost: a\r\n\r\n"),
];

/// B1: refused and closed, and upstream saw neither the request nor what was hidden behind it.
#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
    let rig = Rig::start(|_| {}).await;
    for (name, request) in SMUGGLERS {
        let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
        let status = until_closed(&rig, format!("{request}{hidden}").as_bytes()).await;
        assert_eq!(status, Some(400), "{name}");
    }
    let asked: Vec<_> = rig.upstream.seen().into_iter().map(|seen| seen.path).collect();
    assert!(!asked.iter().any(|path| path == "/a" || path == "/hidden"), "{asked:?}");
    rig.end().await;
}

/// B1: the framing of a body breaks when its request is under way already.
#[tokio::test]
async fn a_body_of_broken_chunks_ends_the_request_and_what_follows_is_not_read() {
    let rig = Rig::start(|_| {}).await;
    for chunks in ["0x1\r\na\r\n0\r\n\r\n", "1\r\nab\r\n0\r\n\r\n", "1\na\r\n0\r\n\r\n"] {
        let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
        let status = until_closed(&rig, format!("{head}{chunks}{hidden}").as_bytes()).await;
        assert_eq!(status, Some(400), "{chunks:?}");
    }
    // The fake notes what came whole.
    assert!(rig.upstream.seen().iter().all(|seen| !["/a", "/hidden"].contains(&&*seen.path)));
    rig.end().await;
}

/// B4: heads byte by byte, bodies without an end, connections that nobody uses.
#[tokio::test]
async fn slow_clients_are_let_go_and_keep_nobody_waiting() {
    let rig = Rig::start(|config| {
        config.downstream.header_timeout = SECOND;
        config.downstream.body_timeout = SECOND;
        config.downstream.keep_alive = SECOND;
    })
    .await;
    let begun: [(&str, Option<u16>); 3] = [
        ("GET /a HTTP/1.1\r\nHost: a\r\nX:", Some(408)),
        (
            "POST /jmap/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
            Some(408),
        ),
        ("", None),
    ];
    let mut slow = Vec::new();
    for number in 0..150 {
        let (bytes, expected) = begun[number % begun.len()];
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        socket.write_all(bytes.as_bytes()).await.unwrap();
        slow.push((socket, expected));
    }
    let asked = Instant::now();
    assert_eq!(rig.ask("GET", SESSION, "alice").await.status(), StatusCode::OK);
    assert!(asked.elapsed() < SECOND / 2, "served after {:?}", asked.elapsed());
    for (mut socket, expected) in slow {
        let mut answer = Vec::new();
        let _ = within("end of a slow connection", socket.read_to_end(&mut answer)).await;
        assert_eq!(status(&answer), expected, "{:?}", String::from_utf8_lossy(&answer));
    }
    rig.end().await;
}

/// B4: a byte now and then does not keep a head alive.
#[tokio::test]
async fn a_head_that_trickles_is_not_waited_for() {
    let rig = Rig::start(|config| config.downstream.header_timeout = SECOND).await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let began = Instant::now();
    socket.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nX: ").await.unwrap();
    let (mut read, mut write) = socket.split();
    let mut answer = Vec::new();
    let trickle = async {
        loop {
            tokio::time::sleep(SECOND / 10).await;
            if write.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = within("end", read.read_to_end(&mut answer)) => {}
        () = trickle => {}
    }
    assert_eq!(status(&answer), Some(408));
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
    rig.end().await;
}

/// B5: as many bytes or as many fields as nobody needs.
#[tokio::test]
async fn a_head_too_large_is_431() {
    let rig = Rig::start(|_| {}).await;
    let long = format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(33 << 10));
    assert_eq!(until_closed(&rig, long.as_bytes()).await, Some(431));
    let many = format!("GET /a HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
    assert_eq!(until_closed(&rig, many.as_bytes()).await, Some(431));
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(33 << 10));
    assert_eq!(until_closed(&rig, target.as_bytes()).await, Some(431));
    assert!(rig.upstream.seen().iter().all(|seen| seen.path == SESSION));
    rig.end().await;
}

/// B6: an API request without an end is refused as soon as it is too long; nothing of it is sent on.
#[tokio::test]
async fn an_api_request_without_an_end_is_413() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.mail(|mail| mail.max_size_request = 100_000);
    rig.ask("GET", SESSION, "alice").await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let head = "POST /jmap/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer alice\r\n\
                Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = socket.split();
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let sending = async {
        let mut sent = 0;
        while write.write_all(chunk.as_bytes()).await.is_ok() {
            sent += chunk.len();
            assert!(sent < 64 << 20, "all of it is taken");
        }
        std::future::pending::<()>().await;
    };
    let mut answer = [0; 4096];
    let length = tokio::select! {
        read = within("answer", read.read(&mut answer)) => read.unwrap(),
        () = sending => 0,
    };
    assert_eq!(status(&answer[..length]), Some(413));
    assert!(String::from_utf8_lossy(&answer[..length]).contains("maxSizeRequest"));
    assert!(rig.upstream.seen().iter().all(|seen| seen.path != API));
    rig.end().await;
}

/// B6: a length that lies. Upstream gets no request that looks whole.
#[tokio::test]
async fn a_body_shorter_than_its_length_reaches_nobody() {
    let rig = Rig::start(|_| {}).await;
    for path in [API, "/upload"] {
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        let body = json!({ "using": [], "methodCalls": [] }).to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer alice\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len() + 1
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = within("end", socket.read_to_end(&mut answer)).await;
        assert!(status(&answer).is_none_or(|status| status >= 400), "{path}");
    }
    assert!(rig.upstream.seen().iter().all(|seen| ![API, "/upload"].contains(&&*seen.path)));
    rig.end().await;
}
