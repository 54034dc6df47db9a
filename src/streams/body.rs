//! A stream that stays in hyper: HTTP/2, where the connection is shared and cannot be taken out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use super::feed::Feed;
use crate::http::body::BodyError;

/// A feed as a response body. hyper polls it only when it has passed on what it was given, which the
/// client's flow-control window bounds, so a slow reader is given one merged event here too. That a
/// client takes nothing at all is seen from outside: the response bears [`super::Limits`] as an
/// extension for the connection.
#[derive(Debug)]
pub struct FeedBody {
    opening: Option<Bytes>,
    feed: Feed,
}

impl FeedBody {
    /// Sends `opening`, then what `feed` says.
    #[must_use]
    pub fn new(opening: Bytes, feed: Feed) -> Self {
        Self { opening: Some(opening), feed }
    }
}

impl http_body::Body for FeedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(opening) = self.opening.take() {
            return Poll::Ready(Some(Ok(Frame::data(opening))));
        }
        let next = ready!(self.feed.poll_next(cx));
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }
}
