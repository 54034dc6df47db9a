//! What every source has: where to tell what it hears, and a voice for what it cannot understand.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Moment;
use crate::telemetry::metrics::Metrics;

use super::Source;
use super::queue::Outbox;

/// Least time between two log lines about bad messages of all sources: a publisher gone wrong must not
/// fill a disk.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ear {
    /// Where what was understood goes.
    pub outbox: Outbox,
    metrics: Metrics,
    /// A plain mutex: held for a comparison, taken only for bad messages.
    complaints: Arc<Mutex<Complaints>>,
}

impl Ear {
    /// An ear that tells `outbox`.
    #[must_use]
    pub fn new(outbox: Outbox, metrics: Metrics) -> Self {
        Self { outbox, metrics, complaints: Arc::default() }
    }

    /// Shows the count of what a source tells from the start, at zero.
    pub fn listens_to(&self, source: Source) {
        drop(self.metrics.notices.get_or_create(&[("source", source.as_str())]));
    }

    /// A message was dropped: counts it, and says so now and then, with where it came from. Never shows
    /// the message itself: it may name people.
    pub fn complain(&self, source: Source, place: &str, error: &dyn Display) {
        self.metrics.notices_bad.inc();
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = complaints.admit(Moment::now()) {
            tracing::warn!(%source, place, %error, unsaid, "notification dropped");
        }
    }
}

/// Lets one log line pass per [`COMPLAIN_EVERY`] and counts the others.
#[derive(Debug, Default)]
struct Complaints {
    last: Option<Moment>,
    unsaid: u64,
}

impl Complaints {
    /// How many were kept back since the last line, if now is the time for one.
    fn admit(&mut self, now: Moment) -> Option<u64> {
        if self.last.is_some_and(|last| now.since(last) < COMPLAIN_EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_bad_messages_is_a_trickle_of_lines() {
        let mut complaints = Complaints::default();
        let start = Moment(1);
        assert_eq!(complaints.admit(start), Some(0));
        for tick in 0..99 {
            assert_eq!(complaints.admit(start.after(Duration::from_millis(tick * 100))), None);
        }
        assert_eq!(complaints.admit(start.after(COMPLAIN_EVERY)), Some(99));
        assert_eq!(complaints.admit(start.after(COMPLAIN_EVERY * 2)), Some(0));
    }
}
