//! What a client is told when upstream fails (architecture D2): 502, 503 or 504, as problem details
//! (RFC 7807), at once or after a time that is documented.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jmap_push_proxy::config::UpstreamHttp;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{Mute, deserted, problem};
use crate::support::http::{asking, exchange};
use crate::support::rig::{Rig, call, setting};
use crate::support::upstream::{API, Door, Fault, Frames, Upstream, account_of};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_refused_connection_is_502_at_once() {
    let nobody = deserted().await;
    let rig = Rig::start(|config| config.upstream.addresses = vec![nobody]).await;
    let calls = setting(&account_of("alice"), "Email");
    for response in [rig.call("alice", &calls).await, rig.ask("GET", "/file", "alice").await] {
        assert_eq!(response.status(), 502);
        assert!(response.headers().contains_key("retry-after"));
        problem(&response);
    }
    rig.end().await;
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_in_time_is_504() {
    let mute = Mute::start().await;
    let rig = Rig::start(|config| {
        config.upstream.addresses = vec![mute.tls()];
        config.upstream.connect_timeout = SHORT;
    })
    .await;
    let response = rig.ask("GET", "/file", "alice").await;
    assert_eq!(response.status(), 504);
    assert!(response.headers().contains_key("retry-after"));
    problem(&response);
    rig.end().await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_504() {
    let rig = Rig::start(|config| config.upstream.response_timeout = SHORT).await;
    rig.upstream.fail(API, Fault::Hold(Arc::new(Semaphore::new(0))), 1);
    let response = rig.call("alice", &setting(&account_of("alice"), "Email")).await;
    assert_eq!(response.status(), 504);
    problem(&response);
    rig.end().await;
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_502() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.fail(API, Fault::Close, 1);
    let response = rig.call("alice", &setting(&account_of("alice"), "Email")).await;
    assert_eq!(response.status(), 502);
    problem(&response);
    rig.end().await;
}

#[tokio::test]
async fn an_upload_that_upstream_stops_reading_is_504() {
    let mute = Mute::start().await;
    let rig = Rig::start(|config| {
        config.upstream.addresses = vec![mute.address.clone()];
        config.upstream.body_timeout = SHORT;
    })
    .await;
    // More than all buffers on the way hold.
    let endless = Frames::repeating(&Bytes::from(vec![0; 64 * 1024]), 1024);
    let request = asking("POST", "/jmap/upload/a/", "alice").map(|_| endless);
    let response = exchange(rig.address, request).await.unwrap();
    assert_eq!(response.status(), 504);
    problem(&response);
    rig.end().await;
}

#[tokio::test]
async fn an_upload_that_upstream_stops_reading_is_504_over_http2_too() {
    let rig = Rig::before(Upstream::behind(Door::Http2).await, |config| {
        config.upstream.http = UpstreamHttp::Http2;
        config.upstream.body_timeout = SHORT;
    });
    rig.upstream.fail("/jmap/upload/a/", Fault::Deaf, 1);
    let endless = Frames::repeating(&Bytes::from(vec![0; 64 * 1024]), 1024);
    let request = asking("POST", "/jmap/upload/a/", "alice").map(|_| endless);
    let response = exchange(rig.address, request).await.unwrap();
    assert_eq!(response.status(), 504);
    problem(&response);
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_uploads_slowly_is_not_taken_for_an_upstream_that_hangs() {
    let rig = Rig::start(|config| config.upstream.body_timeout = 3 * SHORT).await;
    // A client that pauses longer than upstream may is judged by its own limit.
    let request = asking("POST", "/jmap/upload/a/", "alice").map(|_| Slow::default());
    let response = exchange(rig.address, request).await.unwrap();
    assert_eq!(response.status(), 404, "the fake has no uploads");
    assert_eq!(rig.upstream.last("/jmap/upload/a/").length, 3);
    rig.end().await;
}

#[tokio::test]
async fn more_large_requests_than_there_is_memory_for_are_503() {
    let rig = Rig::start(|config| {
        config.limits.request_size = 64 * 1024;
        config.limits.request_memory = 64 * 1024;
    })
    .await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail(API, Fault::Hold(Arc::clone(&gate)), 1);
    let calls = json!([["Core/echo", { "x": "y".repeat(40 * 1024) }, "0"]]);
    let held = exchange(rig.address, call("alice", &calls));
    let refused = async {
        rig.upstream.asked(API, 1).await;
        let response = rig.call("alice", &calls).await;
        gate.add_permits(1);
        response
    };
    let (held, refused) = tokio::join!(held, refused);
    assert_eq!(held.unwrap().status(), 200);
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    problem(&refused);
    rig.end().await;
}

#[tokio::test]
async fn upstreams_own_503_passes_as_it_is() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.fail(API, Fault::Status(503), 1);
    let response = rig.call("alice", &setting(&account_of("alice"), "Email")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.body(), "out of order");
    rig.end().await;
}

/// A body of three bytes with a pause before each.
struct Slow {
    left: u8,
    pause: std::pin::Pin<Box<tokio::time::Sleep>>,
}

impl Default for Slow {
    fn default() -> Self {
        Self { left: 3, pause: Box::pin(tokio::time::sleep(4 * SHORT)) }
    }
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<http_body::Frame<Bytes>>>> {
        std::task::ready!(self.pause.as_mut().poll(cx));
        if self.left == 0 {
            return std::task::Poll::Ready(None);
        }
        self.left -= 1;
        self.pause.as_mut().reset(tokio::time::Instant::now() + 4 * SHORT);
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(b"x")))))
    }
}
