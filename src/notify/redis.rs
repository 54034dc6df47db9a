//! Redis as a source of notifications (architecture D11): what the link hears, read and queued.
//!
//! A message that cannot be understood is counted, named in the log with where it came from, and
//! dropped (hostile.md B11). Connecting and watching over the connection is [`crate::redis`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Moment;
use crate::config;
use crate::redis::{Arrival, Link, address};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

use super::Source;
use super::message::{Error, Notice};
use super::queue::Outbox;

/// Least time between two log lines about bad messages: a publisher gone wrong must not fill a disk.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// The link that feeds `outbox`; `None` when no Redis is configured. Run it with [`Link::run`].
///
/// # Errors
/// When `redis.url` is nothing that can be connected to.
pub fn source(
    settings: &config::Redis,
    outbox: Outbox,
    health: Arc<Health>,
    metrics: &Metrics,
) -> Result<Option<Link<impl Fn(Arrival<'_>) + Send + Sync + use<>>>, address::Error> {
    let ear = Ear { outbox, metrics: metrics.clone(), complaints: Mutex::default() };
    Link::new(settings, move |arrival: Arrival<'_>| ear.hear(arrival), health, metrics)
}

struct Ear {
    outbox: Outbox,
    metrics: Metrics,
    /// A plain mutex: held for a comparison, taken only for bad messages.
    complaints: Mutex<Complaints>,
}

impl Ear {
    fn hear(&self, arrival: Arrival<'_>) {
        match arrival {
            Arrival::Gap => self.outbox.gap(),
            Arrival::Message { channel, payload } => match Notice::parse(payload) {
                Ok(notice) => self.outbox.notice(notice, Source::RedisChannel),
                Err(error) => self.complain(&error, Source::RedisChannel, channel, None),
            },
            Arrival::Entry { stream, id, change } => {
                match change.ok_or(Error::NoChangeField).and_then(Notice::parse) {
                    Ok(notice) => self.outbox.notice(notice, Source::RedisStream),
                    Err(error) => self.complain(&error, Source::RedisStream, stream, Some(id)),
                }
            }
        }
    }

    /// Never shows the message itself: it may name people.
    fn complain(&self, error: &Error, source: Source, name: &str, entry: Option<&str>) {
        self.metrics.notices_bad.inc();
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = complaints.admit(Moment::now()) {
            tracing::warn!(%source, name, entry, %error, unsaid, "notification dropped");
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
