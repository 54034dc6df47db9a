//! The one body type of both directions, and bounded reading of one.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer broke off, or broke HTTP's framing.
    #[error("the peer ended the body early")]
    Peer(#[source] hyper::Error),
    /// Nothing came for the time allowed.
    #[error("no byte of the body came for {0:?}")]
    Silent(Duration),
    /// It comes, but would take for ever.
    #[error("the body comes at less than {0} bytes a second")]
    Slow(u32),
    /// More bytes than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
}

/// A request or response body. Errors reach hyper, which then cuts the connection: a truncated body
/// is never passed off as whole.
pub enum Body {
    /// No bytes.
    Empty,
    /// All bytes at hand.
    Full(Bytes),
    /// Streams from the other side.
    Relay(Relay),
    /// A body whose end somebody waits for, by the token.
    Held(Box<(Self, Arc<dyn Any + Send + Sync>)>),
    /// Any other, behind one allocation.
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    /// Streams `incoming` on, giving up after `silence` without a byte.
    #[must_use]
    pub fn relay(incoming: Incoming, silence: Duration) -> Self {
        Self::Relay(Relay { incoming, silence, timer: None })
    }

    /// Keeps `token` until the body is gone.
    #[must_use]
    pub fn holding(self, token: Arc<dyn Any + Send + Sync>) -> Self {
        // An empty body is gone at once.
        if matches!(self, Self::Empty) { self } else { Self::Held(Box::new((self, token))) }
    }

    /// Wraps any other body.
    pub fn boxed(body: impl HttpBody<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Self::Boxed(Box::pin(body))
    }

    /// Reads the body to its end, at most `limit` bytes.
    ///
    /// # Errors
    /// When it is larger, or ends early.
    pub async fn collect_limited(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let mut gathered = Gathered::default();
        while let Some(frame) = self.frame().await {
            gathered.push(frame?, limit)?;
        }
        Ok(gathered.into_bytes())
    }

    /// Reads the body to its end, though at most `most` bytes and a frame of it, and keeps no more than
    /// the first `kept` bytes.
    ///
    /// # Errors
    /// When it ends early.
    pub async fn collect_beginning(mut self, kept: usize, most: u64) -> Result<Bytes, BodyError> {
        let mut beginning = BytesMut::new();
        let mut read = 0_u64;
        while read < most
            && let Some(frame) = self.frame().await
        {
            let Ok(mut data) = frame?.into_data() else { continue };
            read = read.saturating_add(data.len() as u64);
            data.truncate(kept.saturating_sub(beginning.len()));
            beginning.extend_from_slice(&data);
        }
        Ok(beginning.freeze())
    }
}

/// What of a body has come so far. The usual body is one frame: kept without a copy.
#[derive(Debug, Default)]
pub struct Gathered {
    first: Bytes,
    whole: BytesMut,
}

impl Gathered {
    /// Adds a frame; trailers are left out.
    ///
    /// # Errors
    /// When it becomes larger than `limit` bytes.
    pub fn push(&mut self, frame: Frame<Bytes>, limit: usize) -> Result<(), BodyError> {
        let Ok(data) = frame.into_data() else { return Ok(()) };
        if self.len().saturating_add(data.len()) > limit {
            return Err(BodyError::TooLarge(limit));
        }
        if self.is_empty() {
            self.first = data;
        } else {
            self.whole.extend_from_slice(&std::mem::take(&mut self.first));
            self.whole.extend_from_slice(&data);
        }
        Ok(())
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len() + self.whole.len()
    }

    /// Whether nothing has come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.whole.is_empty() { self.first } else { self.whole.freeze() }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Body::Empty",
            Self::Full(_) => "Body::Full",
            Self::Relay(_) => "Body::Relay",
            Self::Held(_) => "Body::Held",
            Self::Boxed(_) => "Body::Boxed",
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Relay(relay) => relay.poll_frame(cx),
            Self::Held(held) => Pin::new(&mut held.0).poll_frame(cx),
            Self::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Relay(relay) => relay.incoming.is_end_stream(),
            Self::Held(held) => held.0.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Relay(relay) => relay.incoming.size_hint(),
            Self::Held(held) => held.0.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

/// A body on its way from one side to the other: frame by frame, nothing held back.
pub struct Relay {
    incoming: Incoming,
    silence: Duration,
    /// Made at the first wait only: most bodies come in one piece.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Relay {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(Instant::now() + self.silence);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Peer)));
        }
        let silence = self.silence;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Silent(silence))))
    }
}
