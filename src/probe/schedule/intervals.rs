//! How often an account is asked about while nothing else calls for it.

use std::time::Duration;

use crate::config;

/// How much longer the next interval of an account is, that is asked about more often than usual.
const SLOWER: f64 = 1.5;

/// `probe.interval` and what may hold in its place.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// The promise, and zero for none.
    pub(super) usual: Duration,
    /// After a probe has found what nobody told.
    pub(super) min: Duration,
    /// While others tell of every change.
    pub(super) told: Duration,
}

impl Intervals {
    /// The settings, put in order.
    #[must_use]
    pub fn new(config: &config::Probe) -> Self {
        let usual = config.interval;
        let (min, told) = (config.interval_min.min(usual), config.interval_told.max(usual));
        Self { usual, min, told }
    }

    /// The same whatever happens.
    #[cfg(test)]
    pub(super) fn even(usual: Duration) -> Self {
        Self { usual, min: usual, told: usual }
    }

    pub(super) fn are_off(&self) -> bool {
        self.usual.is_zero()
    }

    /// The interval after this one; `None` for the usual one.
    pub(super) fn slower(&self, hurry: Duration) -> Option<Duration> {
        Some(hurry.mul_f64(SLOWER)).filter(|slower| *slower < self.usual)
    }
}
