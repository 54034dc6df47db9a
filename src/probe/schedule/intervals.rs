//! How often an account is asked about while nothing else calls for it.

use std::time::Duration;

use rand::RngExt as _;

use super::Schedule;
use crate::config;
use crate::state::fact::AccountKey;

/// How far an interval is spread in both directions, so that accounts do not stay in step.
pub(super) const SPREAD: f64 = 0.2;

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

impl Schedule {
    /// How long to leave the account alone, with jitter; `None` for ever.
    pub(super) fn interval_of(&mut self, account: &AccountKey) -> Option<Duration> {
        let common = self.usual_interval()?;
        let factor = self.rng.random_range(1.0 - SPREAD..=1.0 + SPREAD);
        let entry = self.entries.get(account);
        let kept = entry.filter(|entry| entry.is_untold).map(|_| self.intervals.usual);
        let hurry = entry.and_then(|entry| entry.hurry);
        Some(hurry.or(kept).unwrap_or(common).mul_f64(factor))
    }

    /// The interval of all accounts that are in no hurry and have been told of; `None` for none.
    pub(super) fn usual_interval(&self) -> Option<Duration> {
        let Intervals { usual, told, .. } = self.intervals;
        (!self.intervals.are_off()).then_some(if self.is_confident() { told } else { usual })
    }
}
