//! Redis as a source of notifications (architecture D11): what the link hears, read and queued.
//!
//! A message that cannot be understood is counted, named in the log with where it came from, and
//! dropped (hostile.md B11). Connecting and watching over the connection is [`crate::redis`].

use std::sync::Arc;

use crate::config;
use crate::redis::{Arrival, Link, address};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

use super::Source;
use super::ear::Ear;
use super::message::{Error, Notice};

/// The link that feeds `ear`; `None` when no Redis is configured. Run it with [`Link::run`].
///
/// # Errors
/// When `redis.url` is nothing that can be connected to.
pub fn source(
    settings: &config::Redis,
    ear: Ear,
    health: Arc<Health>,
    metrics: &Metrics,
) -> Result<Option<Link<impl Fn(Arrival<'_>) + Send + Sync + use<>>>, address::Error> {
    if settings.url.is_some() {
        ear.listens_to(Source::RedisChannel);
        ear.listens_to(Source::RedisStream);
    }
    Link::new(settings, move |arrival: Arrival<'_>| hear(&ear, arrival), health, metrics)
}

fn hear(ear: &Ear, arrival: Arrival<'_>) {
    match arrival {
        Arrival::Gap => ear.outbox.gap(),
        Arrival::Message { channel, payload } => match Notice::parse(payload) {
            Ok(notice) => ear.outbox.notice(notice, Source::RedisChannel),
            Err(error) => ear.complain(Source::RedisChannel, channel, &error),
        },
        Arrival::Entry { stream, id, change } => {
            match change.ok_or(Error::NoChangeField).and_then(Notice::parse) {
                Ok(notice) => ear.outbox.notice(notice, Source::RedisStream),
                Err(error) => {
                    ear.complain(Source::RedisStream, &format!("{stream} entry {id}"), &error);
                }
            }
        }
    }
}
