//! How many probes may be in flight, by how upstream bears them (architecture D8).
//!
//! One more for each window of replies that came as fast as usual; half as many after a timeout, 429
//! or 5xx, three quarters after a slow reply; once per window, for all that was in flight saw the same
//! trouble (additive increase, multiplicative decrease, as TCP does it). A connection that was closed or
//! could not be made says nothing of load: [`super::quarantine`] and back-off see to it. Neither does a
//! 5xx while a type is searched for that breaks upstream.

use std::time::Duration;

use http::StatusCode;

use super::answer::{Lost, Reply};
use crate::clock::Moment;

/// Probes in flight at the most.
pub const MAX_IN_FLIGHT: usize = 32;

/// A reply that took so many times the usual is slow.
const SLOW: u32 = 4;

/// No reply is slow that took less.
const NEVER_SLOW: Duration = Duration::from_millis(250);

/// The usual follows faster replies by a fourth of the difference, and slower ones by this part of it:
/// upstream may grow slower for good, but not within one bad minute.
const SLUGGISH: f64 = 1.0 / 256.0;

/// How upstream took a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Borne {
    /// It replied, after this long.
    Replied(Duration),
    /// It had no time for it.
    Strained,
}

impl Borne {
    /// What a reply that took `took`, or its absence, says; `None` for nothing.
    #[must_use]
    pub fn by(reply: &Result<Reply, Lost>, took: Duration) -> Option<Self> {
        match reply {
            Ok(reply) if reply.status == StatusCode::TOO_MANY_REQUESTS => Some(Self::Strained),
            Ok(reply) if reply.status.is_server_error() => Some(Self::Strained),
            Ok(_) => Some(Self::Replied(took)),
            Err(Lost::TimedOut) => Some(Self::Strained),
            Err(Lost::Unreachable | Lost::Closed | Lost::TooLarge) => None,
        }
    }
}

/// See the module. Pure: time is passed in.
#[derive(Debug)]
pub struct Window {
    size: f64,
    /// Seconds that a reply usually takes.
    usual: Option<f64>,
    /// Requests sent before have been judged.
    judged_until: Moment,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: Self::LARGEST, usual: None, judged_until: Moment::default() }
    }
}

impl Window {
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    const LARGEST: f64 = MAX_IN_FLIGHT as f64;

    /// Probes that may be in flight; at least one.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 32")]
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// Takes in how a request sent at `sent` was borne.
    pub fn note(&mut self, borne: Borne, sent: Moment, now: Moment) {
        match borne {
            Borne::Strained => self.shrink(0.5, sent, now),
            Borne::Replied(took) if self.is_slow(took) => {
                self.learn(took);
                self.shrink(0.75, sent, now);
            }
            Borne::Replied(took) => {
                self.learn(took);
                self.size = (self.size + 1.0 / self.size).min(Self::LARGEST);
            }
        }
    }

    fn is_slow(&self, took: Duration) -> bool {
        let usual = self.usual.map(Duration::from_secs_f64);
        usual.is_some_and(|usual| took > usual.saturating_mul(SLOW).max(NEVER_SLOW))
    }

    fn learn(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        let usual = self.usual.get_or_insert(took);
        *usual += (took - *usual) * if took < *usual { 0.25 } else { SLUGGISH };
    }

    fn shrink(&mut self, factor: f64, sent: Moment, now: Moment) {
        if sent >= self.judged_until {
            self.size = (self.size * factor).max(1.0);
            self.judged_until = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const FAST: Borne = Borne::Replied(Duration::from_millis(20));
    const SLOW: Borne = Borne::Replied(Duration::from_secs(2));

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    /// A window that has seen what is usual.
    fn window() -> Window {
        let mut window = Window::default();
        for _ in 0..10 {
            window.note(FAST, at(0), at(0));
        }
        window
    }

    #[test]
    fn a_well_upstream_has_the_whole_window() {
        assert_eq!(window().size(), MAX_IN_FLIGHT);
    }

    #[test]
    fn trouble_halves_it_once_for_all_that_was_in_flight() {
        let mut window = window();
        for _ in 0..MAX_IN_FLIGHT {
            window.note(Borne::Strained, at(1), at(11));
        }
        assert_eq!(window.size(), MAX_IN_FLIGHT / 2);
        window.note(Borne::Strained, at(11), at(21));
        assert_eq!(window.size(), MAX_IN_FLIGHT / 4);
    }

    #[test]
    fn slow_replies_shrink_it_and_it_never_closes() {
        let mut window = window();
        window.note(SLOW, at(1), at(3));
        assert_eq!(window.size(), MAX_IN_FLIGHT * 3 / 4);
        for second in 2..60 {
            window.note(SLOW, at(2 * second), at(2 * second + 2));
        }
        assert_eq!(window.size(), 1);
    }

    #[test]
    fn it_grows_by_one_for_each_window_of_good_replies() {
        let mut window = window();
        for second in 1..=3 {
            window.note(Borne::Strained, at(second), at(second));
        }
        assert_eq!(window.size(), 4);
        for _ in 0..=4 {
            window.note(FAST, at(4), at(4));
        }
        assert_eq!(window.size(), 5);
        for _ in 0..1_000 {
            window.note(FAST, at(5), at(5));
        }
        assert_eq!(window.size(), MAX_IN_FLIGHT);
    }

    #[test]
    fn a_reply_within_a_quarter_of_a_second_is_never_slow() {
        let mut window = Window::default();
        for _ in 0..100 {
            window.note(Borne::Replied(Duration::from_millis(1)), at(0), at(0));
        }
        window.note(Borne::Replied(Duration::from_millis(240)), at(1), at(2));
        assert_eq!(window.size(), MAX_IN_FLIGHT);
    }

    #[test]
    fn what_upstream_is_for_long_becomes_the_usual() {
        let mut window = window();
        for second in 0..2_000 {
            window.note(Borne::Replied(Duration::from_millis(500)), at(second), at(second + 1));
        }
        assert_eq!(window.size(), MAX_IN_FLIGHT);
    }

    #[test]
    fn only_what_tells_of_load_counts() {
        let reply = |status| {
            let status = StatusCode::from_u16(status).unwrap();
            Ok(Reply { status, retry_after: None, body: Bytes::new(), is_as_user: true })
        };
        let took = Duration::from_secs(1);
        for strained in [reply(429), reply(503), reply(500), Err(Lost::TimedOut)] {
            assert_eq!(Borne::by(&strained, took), Some(Borne::Strained));
        }
        assert_eq!(Borne::by(&reply(200), took), Some(Borne::Replied(took)));
        for other in [Lost::Closed, Lost::Unreachable, Lost::TooLarge] {
            assert_eq!(Borne::by(&Err(other), took), None);
        }
    }
}
