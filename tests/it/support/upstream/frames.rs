//! Response bodies as a test wants them.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::sync::mpsc;

use super::{Broken, Inner};

/// A response body, frame by frame; of no length unless a header gives one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    pub(super) frames: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// Polls until the connection breaks, if it does.
    breaks_in: Option<u8>,
    /// What follows as it is said, until nobody can say more.
    live: Option<Said>,
}

/// What is said to a stream.
type Said = Arc<Mutex<mpsc::Receiver<Bytes>>>;

impl Frames {
    /// A whole body.
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        Self::repeating(&bytes.into(), 1)
    }

    /// The same frame again and again.
    pub(crate) fn repeating(frame: &Bytes, times: usize) -> Self {
        let frames = std::iter::repeat_n(frame.clone(), times).filter(|frame| !frame.is_empty());
        Self { frames: frames.collect(), ..Self::default() }
    }

    /// Trailers after what is there.
    pub(crate) fn with_trailers(self, trailers: HeaderMap) -> Self {
        Self { trailers: Some(trailers), ..self }
    }

    /// A body that comes as it is said.
    pub(super) fn live(said: Said) -> Self {
        Self { live: Some(said), ..Self::default() }
    }

    /// A body that lacks its end: the connection breaks once what is there was sent.
    pub(crate) fn broken(bytes: impl Into<Bytes>) -> Self {
        Self { breaks_in: Some(1), ..Self::of(bytes) }
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        if let Some(said) = &self.live {
            let next = said.lock().unwrap().poll_recv(cx);
            return next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))));
        }
        match self.breaks_in {
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            // hyper sends what it has when it has to wait.
            Some(1..) => {
                self.breaks_in = Some(0);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(0) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_whole = self.breaks_in.is_none() && self.live.is_none();
        self.frames.is_empty() && is_whole && self.trailers.is_none()
    }
}

/// A body on its way out, which tells when it is not wanted to its end.
pub(super) struct Sending {
    pub(super) frames: Frames,
    pub(super) path: String,
    pub(super) inner: Arc<Mutex<Inner>>,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.frames).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_end_stream()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.frames.frames.is_empty() {
            let broken = Broken::Download(std::mem::take(&mut self.path));
            self.inner.lock().unwrap().broken.push(broken);
        }
    }
}
