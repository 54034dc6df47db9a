//! Time and randomness, passed in so that pure parts can be tested at any moment.
//!
//! [`Moment`] is monotonic: a wall clock that jumps (hostile.md F14) changes nothing there.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Microseconds of the monotonic clock since the process started. Eight bytes, ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Moment {
    /// After everything.
    pub const NEVER: Self = Self(u64::MAX);

    /// The present.
    #[must_use]
    pub fn now() -> Self {
        Self(u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// This moment plus `by`.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// This moment minus `by`, not before the start.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// Time passed since `earlier`; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The same moment for tokio's timers.
    #[must_use]
    pub fn instant(self) -> Instant {
        *START + Duration::from_micros(self.0)
    }
}

/// The wall clock, since the epoch: only for times that others read or wrote.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that asks it")]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A duration spread by up to `share` (0..=1) of itself in both directions.
#[must_use]
pub fn jittered(base: Duration, share: f64) -> Duration {
    let spread: f64 = rand::random_range(-1.0..=1.0) * share;
    base.mul_f64((1.0 + spread).max(0.0))
}
