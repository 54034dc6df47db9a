//! API requests in memory: each whole, all of them within one limit (architecture D5).
//!
//! Memory is taken as bytes arrive, so that a client has to send what it wants to occupy, and must
//! keep sending: what it announces costs nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::http::Body;
use crate::http::body::{BodyError, Gathered};

/// Bytes a second at which a request must come, on average, once its first bytes had the time that
/// silence is allowed to take.
const LEAST_RATE: u32 = 1024;

/// What one permit stands for.
const UNIT: usize = 1024;

/// See the module. When full: [`Unread::Full`].
#[derive(Debug)]
pub(super) struct Memory {
    units: Arc<Semaphore>,
    patience: Duration,
}

/// A body, and its place in memory.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// The others occupy all there is.
    #[error("too many large requests at once")]
    Full,
    /// It broke off, is too large or too slow.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl Memory {
    /// Room for `bytes`; a body may be silent for `patience`.
    pub(super) fn new(bytes: usize, patience: Duration) -> Self {
        Self { units: Arc::new(Semaphore::new((bytes / UNIT).max(1))), patience }
    }

    /// Reads a body to its end, at most `limit` bytes.
    ///
    /// # Errors
    /// [`Unread`].
    pub(super) async fn read(&self, mut body: Body, limit: usize) -> Result<Held, Unread> {
        let began = Instant::now();
        let mut gathered = Gathered::default();
        let mut place: Option<OwnedSemaphorePermit> = None;
        loop {
            let arrived = u32::try_from(gathered.len()).unwrap_or(u32::MAX);
            let due = began + self.patience + Duration::from_secs((arrived / LEAST_RATE).into());
            let Some(frame) = timeout_at(due, body.frame())
                .await
                .map_err(|_| BodyError::Slow(LEAST_RATE))?
                .transpose()?
            else {
                return Ok(Held { bytes: gathered.into_bytes(), place });
            };
            gathered.push(frame, limit)?;
            let held = place.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more = gathered.len().div_ceil(UNIT).saturating_sub(held);
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            let more = Arc::clone(&self.units).try_acquire_many_owned(more);
            let more = more.map_err(|_| Unread::Full)?;
            match &mut place {
                Some(place) => place.merge(more),
                None => place = Some(more),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;

    /// A byte every second, for ever.
    struct Dripping(Pin<Box<tokio::time::Sleep>>);

    impl http_body::Body for Dripping {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            std::task::ready!(self.0.as_mut().poll(cx));
            self.0.as_mut().reset(Instant::now() + Duration::from_secs(1));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    fn dripping() -> Body {
        Body::boxed(Dripping(Box::pin(tokio::time::sleep(Duration::from_secs(1)))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up() {
        let memory = Memory::new(1 << 20, Duration::from_secs(60));
        let began = Instant::now();
        let error = memory.read(dripping(), 1 << 20).await.unwrap_err();
        assert!(matches!(error, Unread::Body(BodyError::Slow(_))), "{error:?}");
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_occupies_what_has_come_of_it() {
        let memory = Memory::new(4 * UNIT, Duration::from_secs(60));
        let slow = memory.read(dripping(), 1 << 20);
        tokio::pin!(slow);
        tokio::select! {
            biased;
            done = &mut slow => panic!("{done:?}"),
            () = tokio::time::sleep(Duration::from_secs(3)) => {}
        }
        let three = Body::from(vec![0; 3 * UNIT]);
        let held = memory.read(three, 1 << 20).await.unwrap();
        let two = || Body::from(vec![0; 2 * UNIT]);
        assert!(matches!(memory.read(two(), 1 << 20).await, Err(Unread::Full)));
        drop(held);
        assert_eq!(memory.read(two(), 1 << 20).await.unwrap().bytes.len(), 2 * UNIT);
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_not_read() {
        let memory = Memory::new(1 << 20, Duration::from_secs(60));
        let error = memory.read(Body::from(vec![0; 11]), 10).await.unwrap_err();
        assert!(matches!(error, Unread::Body(BodyError::TooLarge(10))), "{error:?}");
    }
}
