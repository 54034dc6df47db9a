//! Bodies too large to be held, and whether they were.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::upstream::{Canned, Frames};

/// 64 MB in frames of 64 KB.
const FRAME: usize = 64 << 10;
const FRAMES: usize = 1024;

/// Bytes of a large body.
pub(crate) const LENGTH: usize = FRAME * FRAMES;

/// Most that the process may grow meanwhile, client and upstream included.
const ROOM: usize = 24 << 20;

/// A large request body, of no length.
pub(crate) struct Upload {
    frame: Bytes,
    left: usize,
}

impl Default for Upload {
    fn default() -> Self {
        Self { frame: Bytes::from(vec![7; FRAME]), left: FRAMES }
    }
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

/// A request body that begins and does not go on.
pub(crate) struct Half(Option<Bytes>);

impl Half {
    pub(crate) fn new(first: &'static str) -> Self {
        Self(Some(Bytes::from(first)))
    }
}

impl http_body::Body for Half {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.take().map_or(Poll::Pending, |first| Poll::Ready(Some(Ok(Frame::data(first)))))
    }
}

/// A large response, of no length.
pub(crate) fn download() -> Canned {
    let body = Frames::repeating(&Bytes::from(vec![7; FRAME]), FRAMES);
    Canned { status: 200, body, ..Canned::default() }
}

/// How long a response's body is; keeps nothing of it.
pub(crate) async fn length_of(response: Response<Incoming>) -> Result<usize, hyper::Error> {
    let (mut body, mut length) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}

/// What the process held at a moment.
pub(crate) struct Memory(usize);

impl Memory {
    pub(crate) fn now() -> Self {
        Self(held("VmRSS"))
    }

    /// Fails if the process has held much more since.
    pub(crate) fn has_hardly_grown(&self) {
        let grown = held("VmHWM").saturating_sub(self.0);
        assert!(grown < ROOM, "{grown} bytes more");
    }
}

/// Bytes of memory held now (`VmRSS`), or at most so far (`VmHWM`).
fn held(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}
