//! Request bodies on their way upstream: shared by attempts, and watched.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::failure::Failure;
use crate::clock::Moment;
use crate::http::Body;
use crate::http::body::BodyError;

/// A request body that several attempts may share; only one reads it.
pub(super) struct Shared(pub(super) Arc<Mutex<Body>>);

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// A request body that tells when it ended, whether upstream takes it, and keeps the client's error
/// apart from upstream's.
pub(super) struct Outgoing {
    body: Body,
    watch: Watch,
}

/// What is known of a request body on its way.
#[derive(Clone)]
pub(super) struct Watch(Option<Arc<WatchState>>);

#[derive(Default)]
struct WatchState {
    /// [`Moment`] of the end, 0 before.
    ended: AtomicU64,
    /// [`Moment`] at which hyper took the last frame, 0 while it waits for the client. hyper asks for
    /// the next one as soon as it has room, that is, when upstream reads.
    taken: AtomicU64,
    /// What the client did wrong.
    error: Mutex<Option<BodyError>>,
}

impl Outgoing {
    pub(super) fn watched(request: Request<Body>) -> (Request<Self>, Watch) {
        // A body at hand ends at once: nothing to watch, nothing to allocate.
        let at_hand = matches!(request.body(), Body::Empty | Body::Full(_));
        let watch = Watch((!at_hand).then(Arc::default));
        let held = watch.clone();
        (request.map(|body| Self { body, watch: held }), watch)
    }
}

impl Watch {
    fn note(&self, of: impl FnOnce(&WatchState) -> &AtomicU64, moment: Moment) {
        if let Some(state) = &self.0 {
            of(state).store(moment.0, Ordering::Relaxed);
        }
    }

    fn end(&self) {
        self.note(|state| &state.ended, Moment(Moment::now().0.max(1)));
    }

    /// What the client did wrong, if it was the client.
    pub(super) fn take_error(&self) -> Option<BodyError> {
        self.0.as_ref()?.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until upstream has taken nothing of the body for `taking`, or has not answered for
    /// `answering` since the body's end.
    pub(super) async fn run_out(&self, taking: Duration, answering: Duration) -> Failure {
        let Some(state) = &self.0 else {
            tokio::time::sleep(answering).await;
            return Failure::Silent(answering);
        };
        loop {
            let now = Moment::now();
            let ended = state.ended.load(Ordering::Relaxed);
            let taken = state.taken.load(Ordering::Relaxed);
            // Whatever happens meanwhile is due later than that.
            let (due, failure) = match (ended, taken) {
                (0, 0) => (now.after(taking.min(answering)), None),
                (0, taken) => (Moment(taken).after(taking), Some(Failure::Stalled(taking))),
                (ended, _) => (Moment(ended).after(answering), Some(Failure::Silent(answering))),
            };
            if let Some(failure) = failure.filter(|_| due <= now) {
                return failure;
            }
            tokio::time::sleep_until(due.min(now.after(answering)).instant()).await;
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match polled {
            Poll::Pending => {
                self.watch.note(|state| &state.taken, Moment(0));
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.watch.note(|state| &state.taken, Moment(Moment::now().0.max(1)));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(state) = &self.watch.0 {
                    *state.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                Poll::Ready(Some(Err(Broken)))
            }
            Poll::Ready(None) => {
                self.watch.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.body.is_end_stream();
        if ended {
            self.watch.end();
        }
        ended
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The error hyper sees when the client broke off; the real one waits in the watch.
#[derive(Debug, thiserror::Error)]
#[error("the client broke off its request body")]
pub(super) struct Broken;
