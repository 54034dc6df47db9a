//! Reads an API response while it streams to the client (architecture D5): never delays it, never
//! fails it, changes nothing but `sessionState`, which gets our suffix (S4).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};

use super::{Scanner, Verdict};
use crate::http::Body;
use crate::http::body::BodyError;

/// Called once with what the response told; [`Verdict::Unknown`] if it broke off.
type Report = Box<dyn FnOnce(Verdict) + Send>;

/// A response body on its way to the client, read as it passes.
pub(super) struct Tap {
    body: Body,
    /// `None` once reported.
    scan: Option<(Scanner, Report)>,
    suffix: Arc<str>,
}

impl Tap {
    pub(super) fn new(body: Body, suffix: Arc<str>, report: Report) -> Self {
        Self { body, scan: Some((Scanner::new(), report)), suffix }
    }

    fn pass(&mut self, data: Bytes) -> Bytes {
        let Some((scanner, _)) = &mut self.scan else { return data };
        let Some(at) = scanner.feed(&data).filter(|at| *at <= data.len()) else { return data };
        let (before, after) = data.split_at(at);
        let mut longer = BytesMut::with_capacity(data.len() + self.suffix.len());
        longer.extend_from_slice(before);
        longer.extend_from_slice(self.suffix.as_bytes());
        longer.extend_from_slice(after);
        longer.freeze()
    }

    fn report(&mut self, whole: bool) {
        let Some((scanner, report)) = self.scan.take() else { return };
        let verdict = match scanner.finish() {
            Verdict::Complete(observed) if !whole => Verdict::Unknown(observed),
            verdict => verdict,
        };
        report(verdict);
    }
}

impl HttpBody for Tap {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(frame.map_data(|data| self.pass(data)))),
            Some(Err(error)) => {
                self.report(false);
                Some(Err(error))
            }
            None => {
                self.report(true);
                None
            }
        })
    }
}

impl Drop for Tap {
    /// A client that went away left the rest unread. A body with a length ends without being polled
    /// once more, so the upstream body is asked whether this was its end.
    fn drop(&mut self) {
        let whole = self.body.is_end_stream();
        self.report(whole);
    }
}
