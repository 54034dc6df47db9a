//! Exchanges that do not go the straight way: interim answers, parts, trailers, early answers, and
//! clients that leave in the middle (RFC 9110 §10.1.1, §14, §6.5; hostile.md A5).

use std::convert::Infallible;

use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::bulk::{self, Half};
use crate::support::http::{asking, exchange, exchange_by};
use crate::support::http2::Http2;
use crate::support::rig::Rig;
use crate::support::upstream::{Broken, Canned, Frames};
use crate::support::wait::within;

/// Reads until this has come.
async fn read_to(socket: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    // Byte by byte, so that nothing behind it is taken.
    while !read.ends_with(end) {
        let byte = within("bytes", socket.read_u8()).await;
        read.push(byte.unwrap_or_else(|_| panic!("ended: {:?}", String::from_utf8_lossy(&read))));
    }
    read
}

async fn raw(rig: &Rig, request: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(request).await.unwrap();
    socket
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_to_go_on() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.answer("/upload", Canned { status: 201, ..Canned::default() });
    let head =
        b"POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut client = raw(&rig, head).await;
    let interim = read_to(&mut client, b"\r\n\r\n").await;
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{:?}", String::from_utf8_lossy(&interim));
    client.write_all(b"hello").await.unwrap();
    let answer = read_to(&mut client, b"\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 201 "));
    assert_eq!(rig.upstream.last("/upload").body, b"hello");
    rig.end().await;
}

#[tokio::test]
async fn a_part_is_asked_for_and_given_as_a_part() {
    let rig = Rig::start(|_| {}).await;
    let headers = vec![("content-range", "bytes 2-4/10"), ("accept-ranges", "bytes")];
    let canned = Canned { status: 206, headers, body: Frames::of("cde"), ..Canned::default() };
    rig.upstream.answer("/blob", canned);
    let mut request = asking("GET", "/blob", "alice");
    request.headers_mut().insert("range", "bytes=2-4".parse().unwrap());
    request.headers_mut().insert("if-range", "\"etag\"".parse().unwrap());
    let response = exchange(rig.address, request).await.unwrap();
    assert_eq!(response.status(), 206);
    assert_eq!(response.headers()["content-range"], "bytes 2-4/10");
    assert_eq!(response.body(), "cde");
    let seen = rig.upstream.last("/blob").headers;
    assert_eq!(seen["range"], "bytes=2-4");
    assert_eq!(seen["if-range"], "\"etag\"");
    rig.end().await;
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-checksum".parse().unwrap(), "abc".parse().unwrap())])
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let rig = Rig::start(|_| {}).await;
    let headers = vec![("trailer", "x-checksum")];
    let body = Frames::of("body").with_trailers(trailers());
    rig.upstream.answer("/x", Canned { status: 200, headers, body, ..Canned::default() });
    let request = || {
        let body = Frames::of("sent").with_trailers(trailers());
        let body = body.map_err(|_| -> Infallible { unreachable!("not broken") });
        Request::post("/x")
            .header("te", "trailers")
            .header("trailer", "x-checksum")
            .body(body)
            .unwrap()
    };
    let read = async |response: http::Response<hyper::body::Incoming>| {
        response.into_body().collect().await
    };
    let by_http1 = exchange_by(rig.address, request(), read).await.unwrap();
    let mut client = Http2::connect(rig.address).await;
    let by_http2 = client.send(request()).await.unwrap().into_body().collect().await.unwrap();
    for received in [by_http1, by_http2] {
        assert_eq!(received.trailers(), Some(&trailers()));
        assert_eq!(received.to_bytes(), "body");
    }
    for seen in rig.upstream.seen() {
        assert_eq!((seen.body.as_slice(), seen.trailers), (&b"sent"[..], trailers()));
    }
    rig.end().await;
}

#[tokio::test]
async fn an_answer_that_comes_before_the_upload_has_ended_is_passed_on() {
    let rig = Rig::start(|_| {}).await;
    let body = Frames::of("too large");
    rig.upstream.answer("/upload", Canned { status: 413, body, early: true, ..Canned::default() });
    // By HTTP/1.1, with the body half sent.
    let head = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhalf";
    let mut client = raw(&rig, head).await;
    let answer = read_to(&mut client, b"too large\r\n0\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{:?}", String::from_utf8_lossy(&answer));
    // By HTTP/2.
    let mut client = Http2::connect(rig.address).await;
    let request = Request::post("/upload").body(Half::new("half")).unwrap();
    let response = client.exchange(request).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.body()[..]), (413, &b"too large"[..]));
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_its_upload_is_gone_for_upstream_too() {
    let rig = Rig::start(|_| {}).await;
    let beginnings = [
        (&b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhalf"[..], "/one"),
        (
            b"POST /two HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "/two",
        ),
    ];
    for (beginning, path) in beginnings {
        let client = raw(&rig, beginning).await;
        rig.upstream.begun(path).await;
        drop(client);
        rig.upstream.broken_off(&Broken::Upload(path.to_owned())).await;
    }
    let mut client = Http2::connect(rig.address).await;
    let request = Request::post(format!("http://{}/three", rig.address));
    let asking = client.start(request.body(Half::new("half")).unwrap());
    rig.upstream.begun("/three").await;
    drop((client, asking));
    rig.upstream.broken_off(&Broken::Upload("/three".to_owned())).await;
    assert!(rig.upstream.seen().is_empty(), "a half shown as a whole");
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_its_download_ends_it_for_upstream() {
    let rig = Rig::start(|_| {}).await;
    for path in ["/one", "/two", "/three"] {
        rig.upstream.answer(path, bulk::download());
    }
    let mut client = raw(&rig, b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n").await;
    read_to(&mut client, b"\r\n\r\n").await;
    drop(client);
    rig.upstream.broken_off(&Broken::Download("/one".to_owned())).await;
    // By HTTP/2 with its connection, and with its stream only.
    let mut client = Http2::connect(rig.address).await;
    let response = client.send(asking("GET", "/two", "alice")).await.unwrap();
    drop(response);
    rig.upstream.broken_off(&Broken::Download("/two".to_owned())).await;
    let response = client.send(asking("GET", "/three", "alice")).await.unwrap();
    drop((client, response));
    rig.upstream.broken_off(&Broken::Download("/three".to_owned())).await;
    rig.end().await;
}
