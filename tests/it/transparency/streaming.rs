//! Bodies pass as they come: nothing is held whole, nothing half is shown as whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::BodyExt as _;

use crate::support::http::{asking, exchange, exchange_by};
use crate::support::rig::{Rig, call, setting};
use crate::support::upstream::{Canned, Fault, Frames, SESSION, account_of};

/// 64 MB in frames of 64 KB.
const FRAME: usize = 64 << 10;
const FRAMES: usize = 1024;

/// Most that the process may grow meanwhile, client and upstream included.
const ROOM: usize = 24 << 20;

/// A request body of so many frames; of no length.
struct Upload {
    frame: Bytes,
    left: usize,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }
}

/// Bytes of memory held now (`VmRSS`), or at most so far (`VmHWM`).
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn a_large_upload_streams_through() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.answer("/upload", Canned { status: 201, ..Canned::default() });
    let before = memory("VmRSS");
    let upload = Upload { frame: Bytes::from(vec![7; FRAME]), left: FRAMES };
    let request = Request::post("/upload").body(upload).unwrap();
    let response = exchange(rig.address, request).await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(rig.upstream.last("/upload").length, FRAME * FRAMES);
    let grown = memory("VmHWM").saturating_sub(before);
    assert!(grown < ROOM, "{grown} bytes more");
    rig.end().await;
}

#[tokio::test]
async fn a_large_download_streams_through() {
    let rig = Rig::start(|_| {}).await;
    let body = Frames::repeating(&Bytes::from(vec![7; FRAME]), FRAMES);
    rig.upstream.answer("/download", Canned { status: 200, body, ..Canned::default() });
    let before = memory("VmRSS");
    let count = async |response: http::Response<hyper::body::Incoming>| {
        let (mut body, mut length) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(length)
    };
    let length = exchange_by(rig.address, asking("GET", "/download", "alice"), count).await;
    assert_eq!(length.unwrap(), FRAME * FRAMES);
    let grown = memory("VmHWM").saturating_sub(before);
    assert!(grown < ROOM, "{grown} bytes more");
    rig.end().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_shown_as_whole() {
    let rig = Rig::start(|_| {}).await;
    for headers in [vec![], vec![("content-length", "100")]] {
        let canned = Canned {
            status: 200,
            headers,
            body: Frames::broken("half of it"),
            ..Canned::default()
        };
        rig.upstream.answer("/half", canned);
        let answer = exchange(rig.address, asking("GET", "/half", "alice")).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    rig.end().await;
}

#[tokio::test]
async fn an_api_answer_that_breaks_off_is_never_shown_as_whole() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.fail("Email/set", Fault::Truncate, 1);
    let request = call("alice", &setting(&account_of("alice"), "Email"));
    let answer = exchange(rig.address, request).await;
    assert!(answer.is_err(), "{answer:?}");
    rig.end().await;
}

#[tokio::test]
async fn a_session_that_breaks_off_is_a_problem() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.fail(SESSION, Fault::Truncate, 1);
    let response = rig.ask("GET", SESSION, "alice").await;
    assert_eq!(response.status(), 502);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    rig.end().await;
}
