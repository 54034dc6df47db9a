//! API requests in memory: each whole, all of them within one limit (architecture D5).
//!
//! Memory is taken as bytes arrive, so that a client has to send what it wants to occupy, and must
//! keep sending: what it announces costs nothing. The first bytes of each request come out of a part
//! of their own, so that large ones cannot keep the usual small ones out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::http::Body;
use crate::http::body::{BodyError, Gathered};

/// Bytes a second at which a request must come, over each time that silence may take.
const LEAST_RATE: u32 = 1024;

/// What one permit stands for.
const UNIT: usize = 1024;

/// Units of a request that count as small.
const SMALL: usize = 64;

/// See the module. When full: [`Unread::Full`].
#[derive(Debug)]
pub struct Memory {
    /// An eighth of all: the first [`Self::share`] units of each request.
    small: Arc<Semaphore>,
    share: usize,
    /// The others.
    large: Arc<Semaphore>,
    patience: Duration,
}

/// A body, and its place in memory.
#[derive(Debug)]
pub struct Held {
    /// All of it.
    pub bytes: Bytes,
    /// Kept as long as the bytes are.
    pub place: Place,
}

/// What a request occupies.
#[derive(Debug, Default)]
pub struct Place {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The others occupy all there is.
    #[error("too many large requests at once")]
    Full,
    /// It broke off, is too large or too slow.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl Memory {
    /// Room for `bytes`; a body may be silent for `patience`.
    pub fn new(bytes: usize, patience: Duration) -> Self {
        let units = bytes / UNIT;
        let small = (units / 8).max(1);
        let large = units.saturating_sub(small);
        let share = small.min(SMALL);
        let [small, large] = [small, large].map(|units| Arc::new(Semaphore::new(units)));
        Self { small, share, large, patience }
    }

    /// Has a place cover `bytes`, if it does not yet.
    ///
    /// # Errors
    /// [`Unread::Full`].
    pub fn grow(&self, place: &mut Place, bytes: usize) -> Result<(), Unread> {
        let units = bytes.div_ceil(UNIT);
        take(&self.small, &mut place.small, units.min(self.share))?;
        take(&self.large, &mut place.large, units.saturating_sub(self.share))
    }

    /// Reads a body to its end, at most `limit` bytes.
    ///
    /// # Errors
    /// [`Unread`].
    pub async fn read(&self, mut body: Body, limit: usize) -> Result<Held, Unread> {
        let mut gathered = Gathered::default();
        let mut place = Place::default();
        let (mut due, mut arrived) = (Instant::now() + self.patience, 0);
        // A request that is not over by then must have brought so much since.
        let least = self.patience.as_secs().saturating_mul(LEAST_RATE.into());
        loop {
            let frame = match timeout_at(due, body.frame()).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => return Ok(Held { bytes: gathered.into_bytes(), place }),
                Err(_) if (gathered.len() - arrived) as u64 >= least => {
                    (due, arrived) = (due + self.patience, gathered.len());
                    continue;
                }
                Err(_) => return Err(BodyError::Slow(LEAST_RATE).into()),
            };
            gathered.push(frame, limit)?;
            self.grow(&mut place, gathered.len())?;
        }
    }

    /// How long a request of `bytes` so far may take to come whole.
    #[must_use]
    pub fn patience(&self, bytes: usize) -> Duration {
        let rate =
            Duration::from_secs(u64::try_from(bytes).unwrap_or(u64::MAX) / u64::from(LEAST_RATE));
        self.patience.saturating_add(rate)
    }
}

/// Has `held` be `count` units at least.
fn take(
    units: &Arc<Semaphore>,
    held: &mut Option<OwnedSemaphorePermit>,
    count: usize,
) -> Result<(), Unread> {
    let more = count.saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
    if more == 0 {
        return Ok(());
    }
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    let taken = Arc::clone(units).try_acquire_many_owned(more).map_err(|_| Unread::Full)?;
    match held {
        Some(held) => held.merge(taken),
        None => *held = Some(taken),
    }
    Ok(())
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

    /// One body, then another.
    struct Chained<B>(Option<Pin<Box<B>>>, Body);

    impl<B: http_body::Body<Data = Bytes, Error = BodyError>> http_body::Body for Chained<B> {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            if let Some(first) = &mut self.0 {
                match std::task::ready!(first.as_mut().poll_frame(cx)) {
                    Some(frame) => return Poll::Ready(Some(frame)),
                    None => self.0 = None,
                }
            }
            Pin::new(&mut self.1).poll_frame(cx)
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
        // Four units for what is small.
        let memory = Memory::new(32 * UNIT, Duration::from_secs(60));
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
    async fn large_requests_leave_room_for_small_ones() {
        let memory = Memory::new(1024 * UNIT, Duration::from_secs(60));
        let request = |units| memory.read(Body::from(vec![0; units * UNIT]), 1 << 20);
        let large = request(SMALL + 896).await.unwrap();
        assert!(matches!(request(SMALL + 1).await, Err(Unread::Full)));
        assert_eq!(request(SMALL).await.unwrap().bytes.len(), SMALL * UNIT);
        drop(large);
        assert!(request(SMALL + 896).await.is_ok());
    }

    /// A burst buys no time.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_after_a_burst_is_given_up_no_later() {
        let memory = Memory::new(1 << 20, Duration::from_secs(60));
        let burst = http_body_util::Full::new(Bytes::from(vec![0; 100 * UNIT]));
        let burst = http_body_util::BodyExt::map_err(burst, |never| match never {});
        let began = Instant::now();
        let body = Body::boxed(Chained(Some(Box::pin(burst)), dripping()));
        assert!(memory.read(body, 1 << 20).await.is_err());
        assert_eq!(began.elapsed().as_secs(), 120);
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_not_read() {
        let memory = Memory::new(1 << 20, Duration::from_secs(60));
        let error = memory.read(Body::from(vec![0; 11]), 10).await.unwrap_err();
        assert!(matches!(error, Unread::Body(BodyError::TooLarge(10))), "{error:?}");
    }
}
