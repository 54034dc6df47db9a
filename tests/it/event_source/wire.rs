//! What an event source looks like on the wire (T-SSE-1 to T-SSE-13).

use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ALL, WITH_PING};
use crate::support::http::asking;
use crate::support::rig::{EVENT_SOURCE, Rig};
use crate::support::upstream::{SESSION, account_of};
use crate::support::wait::within;

#[tokio::test]
async fn the_head_comes_at_once_and_forbids_what_would_hold_events_back() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", ALL).await;
    let head = &stream.headers;
    assert_eq!(head["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(head["cache-control"], "no-cache, no-store, no-transform");
    assert_eq!(head["x-accel-buffering"], "no");
    assert!(!head.contains_key("content-length") && !head.contains_key("content-encoding"));
    // T-SSE-5: the first bytes, before anything has happened; T-SSE-4: no blank line in them.
    let opening = stream.chunk().await.unwrap().unwrap();
    let opening = std::str::from_utf8(&opening).unwrap();
    assert!(opening.starts_with(":\nretry: ") && !opening.contains("\n\n"), "{opening:?}");
    rig.end().await;
}

#[tokio::test]
async fn an_event_is_one_chunk_of_event_data_and_id() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", ALL).await;
    let new = rig.change("alice", "Email").await;
    // `support::sse` holds it to the order of fields, LF, and one event a chunk.
    let event = stream.state().await;
    let account = account_of("alice");
    let expected =
        format!(r#"{{"@type":"StateChange","changed":{{"{account}":{{"Email":"{new}"}}}}}}"#);
    assert_eq!(event.data, expected);
    let id = event.id.unwrap();
    assert!(id.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_".contains(&letter)));
    rig.end().await;
}

#[tokio::test]
async fn a_ping_sets_no_id() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", WITH_PING).await;
    let ping = stream.next().await.unwrap();
    assert_eq!((ping.name.as_str(), ping.data.as_str()), ("ping", "{\"interval\":1}"));
    assert_eq!(ping.id, None);
    rig.end().await;
}

#[tokio::test]
async fn silence_is_filled_with_comments_without_a_blank_line() {
    let second = std::time::Duration::from_secs(1);
    let rig = Rig::start(|config| config.event_source.keep_alive = second).await;
    let mut stream = rig.events("alice", ALL).await;
    stream.chunk().await.unwrap();
    assert_eq!(stream.chunk().await.unwrap().unwrap(), ":\n");
    rig.end().await;
}

#[tokio::test]
async fn other_methods_are_told_what_is_allowed() {
    let rig = Rig::start(|_| {}).await;
    for method in ["HEAD", "POST", "PUT", "DELETE"] {
        let response = rig.ask(method, &format!("{EVENT_SOURCE}?{ALL}"), "alice").await;
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "GET");
    }
    rig.end().await;
}

#[tokio::test]
async fn the_advertised_url_is_the_one_that_works() {
    let rig = Rig::start(|_| {}).await;
    let session = rig.ask("GET", SESSION, "alice").await;
    let session: Value = serde_json::from_slice(session.body()).unwrap();
    let template = session["eventSourceUrl"].as_str().unwrap();
    let origin = format!("http://{}", rig.address);
    let expected =
        format!("{origin}{EVENT_SOURCE}?types={{types}}&closeafter={{closeafter}}&ping={{ping}}");
    assert_eq!(template, expected);
    let filled =
        template.replace("{types}", "*").replace("{closeafter}", "no").replace("{ping}", "1");
    let query = filled.split_once('?').unwrap().1;
    let mut stream = rig.events("alice", query).await;
    assert_eq!(stream.next().await.unwrap().name, "ping");
    rig.end().await;
}

#[tokio::test]
async fn http_2_by_prior_knowledge_carries_the_same_events() {
    let rig = Rig::start(|_| {}).await;
    let socket = TcpStream::connect(rig.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(
        TokioExecutor::new(),
        TokioIo::new(socket),
    )
    .await
    .unwrap();
    let uri = format!("http://{}{EVENT_SOURCE}?{ALL}", rig.address);
    let reading = async {
        let response = sender.send_request(asking("GET", &uri, "alice")).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        let mut body = response.into_body();
        let mut text = String::new();
        let new = rig.change("alice", "Email").await;
        while !text.contains("event: state") {
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            text += std::str::from_utf8(&data).unwrap();
        }
        assert!(text.contains(&format!("{{\"Email\":\"{new}\"}}")), "{text:?}");
        assert!(text.starts_with(":\nretry: ") && text.ends_with("\n\n"), "{text:?}");
    };
    let mut connection = pin!(connection);
    Box::pin(within("event", async {
        tokio::select! {
            () = reading => {}
            ended = &mut connection => panic!("the connection ended: {ended:?}"),
        }
    }))
    .await;
    drop(sender);
    rig.end().await;
}

#[tokio::test]
async fn http_1_0_is_given_events_without_chunks() {
    let rig = Rig::start(|_| {}).await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let request = format!(
        "GET {EVENT_SOURCE}?types=*&closeafter=state&ping=0 HTTP/1.0\r\nHost: {}\r\n\
         Authorization: Bearer alice\r\n\r\n",
        rig.address
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    within("opening", async {
        while !read.ends_with(b"\n") || !read.windows(6).any(|part| part == b"retry:") {
            assert!(socket.read_buf(&mut read).await.unwrap() > 0);
        }
    })
    .await;
    let new = rig.change("alice", "Email").await;
    within("end", socket.read_to_end(&mut read)).await.unwrap();
    let text = String::from_utf8(read).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    assert!(!body.contains('\r') && body.ends_with("\n\n"), "{body:?}");
    assert!(body.contains(&format!("{{\"Email\":\"{new}\"}}")), "{body:?}");
    rig.end().await;
}
