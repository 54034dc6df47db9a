//! Reads one subscription from its first byte to its end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use super::change::{self, Push};
use super::ended::{Ended, Farewell};
use super::event_stream::{Decoder, Event, Kind, Said};
use super::pulse::Pulse;
use crate::hub::Claim;

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A `StateChange`.
    Changes(Vec<Claim>),
    /// An event that should be one and cannot be read.
    Unreadable,
}

/// Listens to the end, which comes, too, when upstream is silent for longer than `pulse` allows.
///
/// Cancel safety: may be dropped at any time.
pub(super) async fn listen<B>(
    mut body: B,
    pulse: &Mutex<Pulse>,
    mut hear: impl FnMut(Heard),
) -> Farewell
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut stream = Stream { pulse, decoder: Decoder::default(), wait: None, has_beat: false };
    let mut heard_at = Instant::now();
    let ended = loop {
        let patience = stream.pulse().patience();
        let data = match timeout(patience, body.frame()).await {
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Ok(Some(Err(_))) => break Ended::Broken,
            Ok(None) => break Ended::Closed,
            Err(_) => {
                stream.pulse().stopped(stream.has_beat);
                break Ended::Silent;
            }
        };
        let silence = heard_at.elapsed();
        heard_at = Instant::now();
        stream.read(&data, silence, &mut hear);
    };
    Farewell { ended, wait: stream.wait, last_id: stream.decoder.last_id().map(Into::into) }
}

struct Stream<'a> {
    /// Of all streams together. Held for a look.
    pulse: &'a Mutex<Pulse>,
    decoder: Decoder,
    wait: Option<Duration>,
    has_beat: bool,
}

impl Stream<'_> {
    fn pulse(&self) -> std::sync::MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&mut self, mut bytes: &[u8], silence: Duration, hear: &mut impl FnMut(Heard)) {
        while let Some(said) = self.decoder.next(&mut bytes) {
            match said {
                Said::Comment => self.beat(silence, None),
                Said::Event(Event { kind: Kind::Ping, data }) => {
                    self.beat(silence, change::interval(&data));
                }
                Said::Event(Event { kind: Kind::Other, .. }) => {}
                Said::Event(Event { kind, data }) => {
                    match change::read(&data, kind == Kind::State) {
                        Push::Changes(claims) => hear(Heard::Changes(claims)),
                        Push::Unreadable => hear(Heard::Unreadable),
                        Push::Other => {}
                    }
                }
                Said::TooLong => hear(Heard::Unreadable),
                Said::Retry(wait) => self.wait = Some(wait),
            }
        }
    }

    fn beat(&mut self, silence: Duration, stated: Option<Duration>) {
        self.has_beat = true;
        self.pulse().beat(silence, stated);
    }
}

#[cfg(test)]
mod tests;
