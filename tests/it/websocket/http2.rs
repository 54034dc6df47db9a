//! WebSockets on streams of an HTTP/2 connection (RFC 8441), where other requests go on beside them.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::Empty;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::support::http::asking;
use crate::support::http2::Http2;
use crate::support::rig::Rig;
use crate::support::upstream::{API, Canned, Frames, SESSION, account_of};
use crate::support::wait::within;
use crate::support::ws::{End, WEBSOCKET, Ws, held};

fn extended_connect(path: &str, protocol: &'static str) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri(path)
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-protocol", "jmap")
        .header("sec-websocket-version", "13")
        .header("authorization", "Bearer alice")
        .body(Empty::new())
        .unwrap()
}

async fn open(client: &mut Http2) -> Ws {
    let response = client.send(extended_connect(WEBSOCKET, "websocket")).await.unwrap();
    assert_eq!(response.status(), 200, "{response:?}");
    assert_eq!(response.headers()["sec-websocket-protocol"], "jmap");
    let upgraded = within("upgrade", hyper::upgrade::on(response)).await.unwrap();
    Ws::over(Box::new(TokioIo::new(upgraded))).await
}

#[tokio::test]
async fn requests_and_push_go_over_a_stream_of_http2() {
    let rig = Rig::start(|config| {
        config.websocket.throttle = Duration::ZERO;
        // The connection is in use for as long as its WebSockets are.
        config.downstream.keep_alive = Duration::from_secs(1);
        config.websocket.ping = Duration::from_secs(1);
    })
    .await;
    let mut client = Http2::connect(rig.address).await;
    let (mut one, mut other) = (open(&mut client).await, open(&mut client).await);
    held(&rig, 2).await;
    one.enable(json!({})).await;
    other.request("1", &json!([["Core/echo", { "a": 1 }, "c"]])).await;
    assert_eq!(other.next().await.unwrap()["requestId"], "1");
    while other.pings < 3 {
        other.wait_for_ping().await;
    }
    let new = rig.change("alice", "Email").await;
    one.told(&account_of("alice"), "Email", &new).await;
    let session = client.exchange(asking("GET", SESSION, "alice")).await.unwrap();
    assert_eq!(session.status(), 200);
    drop(other);
    held(&rig, 1).await;
    let (end, ()) = tokio::join!(one.end(), rig.drain());
    assert_eq!(end, End::Closed(1001));
}

/// S5: what a client's window has no room for is held by us, and counts.
#[tokio::test]
async fn a_response_that_the_client_does_not_take_keeps_its_place_in_memory() {
    let rig = Rig::start(|config| {
        config.websocket.memory = 8 << 20;
        config.websocket.response_size = 6 << 20;
    })
    .await;
    // More than the client's window.
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(5 << 20));
    let large = Canned { status: 200, body: Frames::of(large), ..Canned::default() };
    rig.upstream.answer(API, large);
    let mut client = Http2::connect(rig.address).await;
    let mut slow = open(&mut client).await;
    let mut bob = Ws::open(&rig, "bob").await;
    slow.request("1", &json!([["Foo/get", {}, "c"]])).await;
    within("response that begins", slow.carrier().read_exact(&mut [0])).await.unwrap();
    bob.request("2", &json!([["Foo/get", {}, "c"]])).await;
    let refused = bob.next().await.unwrap();
    assert_eq!((&refused["@type"], &refused["status"]), (&"RequestError".into(), &503.into()));
    drop(slow);
    rig.end().await;
}

#[tokio::test]
async fn no_other_tunnel_is_opened() {
    let rig = Rig::start(|_| {}).await;
    let mut client = Http2::connect(rig.address).await;
    let elsewhere = client.send(extended_connect("/jmap/", "websocket")).await.unwrap();
    assert_eq!(elsewhere.status(), 405);
    let other = client.send(extended_connect(WEBSOCKET, "connect-udp")).await.unwrap();
    assert!(other.status().is_client_error() || other.status() == 501, "{other:?}");
    let mut plain = extended_connect(WEBSOCKET, "websocket");
    *plain.method_mut() = Method::GET;
    plain.extensions_mut().remove::<Protocol>();
    assert_eq!(client.send(plain).await.unwrap().status(), 426);
    assert!(rig.upstream.seen().iter().all(|seen| seen.path == SESSION));
    rig.end().await;
}
