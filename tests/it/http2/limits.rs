//! What ends an HTTP/2 connection, or a stream of one, whose client does not play its part (hostile.md
//! B3, B4, S3).

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::bulk;
use crate::support::http::asking;
use crate::support::http2::Http2;
use crate::support::rig::{EVENT_SOURCE, Rig};
use crate::support::tls::Certified;
use crate::support::upstream::{Broken, Canned, Frames};
use crate::support::wait::{until, within};

const SECOND: Duration = Duration::from_secs(1);

/// What a client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Everything, at once, for ever.
const ALL: &str = "types=*&closeafter=no&ping=0";

#[tokio::test]
async fn a_client_that_agrees_on_http2_and_says_nothing_is_let_go() {
    let certified = Certified::new();
    let rig = Rig::start(|config| {
        config.downstream.tls = Some(certified.files.clone());
        config.downstream.header_timeout = SECOND;
    })
    .await;
    let mut silent = certified.connect(rig.address, &["h2"]).await;
    // However it is said: that it is over is all that matters.
    let _ = within("end", silent.read_to_end(&mut Vec::new())).await;
    rig.end().await;
}

#[tokio::test]
async fn half_a_preface_is_waited_for_no_longer_than_a_head() {
    let rig = Rig::start(|config| config.downstream.header_timeout = SECOND).await;
    let mut slow = TcpStream::connect(rig.address).await.unwrap();
    slow.write_all(&PREFACE[..10]).await.unwrap();
    let _ = within("end", slow.read_to_end(&mut Vec::new())).await;
    rig.end().await;
}

#[tokio::test]
async fn a_connection_without_requests_is_let_go() {
    let rig = Rig::start(|config| {
        config.downstream.keep_alive = SECOND;
        config.downstream.write_timeout = SECOND;
    })
    .await;
    // One that says only hello, and one that answers pings for ever.
    let mut mute = TcpStream::connect(rig.address).await.unwrap();
    mute.write_all(PREFACE).await.unwrap();
    let idle = Http2::connect(rig.address).await;
    idle.ended().await.unwrap();
    let _ = within("end", mute.read_to_end(&mut Vec::new())).await;
    rig.end().await;
}

#[tokio::test]
async fn a_connection_with_a_stream_is_not_idle() {
    let rig = Rig::start(|config| config.downstream.keep_alive = SECOND).await;
    let mut client = Http2::connect(rig.address).await;
    let target = format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=1");
    let mut stream = client.send(asking("GET", &target, "alice")).await.unwrap().into_body();
    let mut pings = 0;
    while pings < 3 {
        let frame = within("ping", stream.frame()).await.expect("an open stream").unwrap();
        pings += u8::from(frame.data_ref().is_some_and(|data| data.starts_with(b"event: ping")));
    }
    // And is, from when it is gone.
    drop(stream);
    client.ended().await.unwrap();
    rig.end().await;
}

#[tokio::test]
async fn an_event_stream_whose_window_stays_shut_is_closed() {
    let rig = Rig::start(|config| {
        config.event_source.write_timeout = SECOND;
        config.event_source.keep_alive = SECOND;
    })
    .await;
    let socket = TcpStream::connect(rig.address).await.unwrap();
    let mut client = Http2::over(socket, rig.address, |http| {
        http.initial_stream_window_size(1);
    })
    .await;
    let target = format!("{EVENT_SOURCE}?{ALL}");
    let stalled = client.send(asking("GET", &target, "alice")).await.unwrap();
    assert_eq!(stalled.status(), 200);
    until("closed stream", || match rig.metrics.streams.get() {
        0 => Ok(()),
        live => Err(live),
    })
    .await;
    assert_eq!(rig.metrics.slow_closed.get(), 1);
    // The connection is as good as before.
    rig.upstream.answer("/x", Canned { status: 204, ..Canned::default() });
    assert_eq!(client.exchange(asking("GET", "/x", "alice")).await.unwrap().status(), 204);
    rig.end().await;
}

#[tokio::test]
async fn an_event_stream_that_is_read_slowly_but_read_stays() {
    let rig = Rig::start(|config| config.event_source.write_timeout = SECOND).await;
    let mut client = Http2::connect(rig.address).await;
    let target = format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=2");
    let mut stream = client.send(asking("GET", &target, "alice")).await.unwrap().into_body();
    let mut text = Vec::new();
    while !text.ends_with(b"{\"interval\":2}\n\n") {
        let frame = within("ping", stream.frame()).await.expect("an open stream").unwrap();
        text.extend_from_slice(&frame.into_data().unwrap());
    }
    assert_eq!(rig.metrics.slow_closed.get(), 0);
    rig.end().await;
}

#[tokio::test]
async fn a_download_whose_window_stays_shut_is_given_up_and_upstream_told() {
    let rig = Rig::start(|config| config.downstream.write_timeout = SECOND).await;
    rig.upstream.answer("/large", bulk::download());
    let mut client = Http2::connect(rig.address).await;
    let unread = client.send(asking("GET", "/large", "alice")).await.unwrap();
    rig.upstream.broken_off(&Broken::Download("/large".to_owned())).await;
    let ended = within("end", unread.into_body().collect()).await;
    assert!(ended.is_err(), "shown as whole");
    rig.end().await;
}

#[tokio::test]
async fn a_download_that_is_read_slowly_but_read_comes_to_its_end() {
    let rig = Rig::start(|config| config.downstream.write_timeout = SECOND).await;
    let body = Frames::repeating(&Bytes::from(vec![7; 1 << 20]), 2);
    rig.upstream.answer("/large", Canned { status: 200, body, ..Canned::default() });
    let socket = TcpStream::connect(rig.address).await.unwrap();
    let mut client = Http2::over(socket, rig.address, |http| {
        http.initial_stream_window_size(16 << 10);
    })
    .await;
    let mut body = client.send(asking("GET", "/large", "alice")).await.unwrap().into_body();
    let mut length = 0;
    while let Some(frame) = within("frame", body.frame()).await {
        length += frame.unwrap().data_ref().unwrap().len();
        // Slower than the limit would allow for all of it, faster than it allows for a part.
        tokio::time::sleep(SECOND / 40).await;
    }
    assert_eq!(length, 2 << 20);
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_hears_nothing_of_the_end_is_cut_off() {
    // A response ends in the proxy while its client has taken nothing of it: what is left of it must
    // not hold the connection for ever.
    let rig = Rig::start(|config| {
        config.downstream.keep_alive = SECOND;
        config.downstream.write_timeout = SECOND;
    })
    .await;
    rig.upstream.answer(
        "/small",
        Canned { status: 200, body: Frames::of("0123456789"), ..Canned::default() },
    );
    let socket = TcpStream::connect(rig.address).await.unwrap();
    let mut client = Http2::over(socket, rig.address, |http| {
        http.initial_stream_window_size(1);
    })
    .await;
    let unread = client.send(asking("GET", "/small", "alice")).await.unwrap();
    // However it is said.
    let _ = client.ended().await;
    drop(unread);
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_resets_its_stream_leaves_nothing_behind() {
    let rig = Rig::start(|_| {}).await;
    let mut client = Http2::connect(rig.address).await;
    let target = format!("{EVENT_SOURCE}?{ALL}");
    let stream = client.send(asking("GET", &target, "alice")).await.unwrap();
    drop(stream);
    until("end of the stream", || match rig.metrics.streams.get() {
        0 => Ok(()),
        live => Err(live),
    })
    .await;
    let calls: Value = json!([["Core/echo", {}, "0"]]);
    assert_eq!(rig.call("alice", &calls).await.status(), 200);
    rig.end().await;
}
