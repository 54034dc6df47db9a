//! How long upstream's push may be silent before the connection is taken for dead. Pure.
//!
//! Pings are asked for at [`PING`]. Servers may send them less often than that all the same, or send
//! comments in their place, or nothing at all; so what was seen counts, for all connections to this
//! upstream together.

use std::time::Duration;

use super::template::PING;

/// How much longer than the interval of its pings a connection may be silent: two may be lost.
const INTERVALS: f64 = 2.5;

/// The longest patience with an upstream that pings.
const MOST: Duration = Duration::from_secs(15 * 60);

/// Patience with one that sends no pings: its dead connections are found only when they are renewed.
const WITHOUT_PINGS: Duration = Duration::from_secs(10 * 60);

/// What a ping that comes in time takes off what late ones have added: this part of it. A late one is
/// forgotten after some hundreds, while a stream may be busy (silent only for moments) for dozens.
const FORGOTTEN: u32 = 256;

/// So many connections in a row that were silent from first to last are no accident.
const SILENCES: u8 = 2;

/// What is known of upstream's pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// What upstream says its interval is, or else was asked for.
    stated: Duration,
    /// The longest silence before a ping or a comment, lately.
    seen: Duration,
    /// Connections in a row that fell silent without a single ping before.
    silences: u8,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { stated: PING, seen: PING, silences: 0 }
    }
}

impl Pulse {
    /// A ping or a comment came after this much silence, and says that the interval is `stated`.
    pub fn beat(&mut self, silence: Duration, stated: Option<Duration>) {
        self.stated = stated.map_or(self.stated, |stated| stated.clamp(PING, MOST));
        let excess = self.seen.saturating_sub(silence.max(self.stated));
        self.seen = silence.max(self.seen.saturating_sub(excess / FORGOTTEN)).min(MOST);
        self.silences = 0;
    }

    /// A connection was silent for longer than [`Self::patience`]; whether it had a ping before.
    pub fn stopped(&mut self, had_beat: bool) {
        if !had_beat {
            self.silences = self.silences.saturating_add(1);
        }
    }

    /// How long a connection may be silent.
    #[must_use]
    pub fn patience(&self) -> Duration {
        if self.silences >= SILENCES {
            return WITHOUT_PINGS;
        }
        self.stated.max(self.seen).mul_f64(INTERVALS).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn two_pings_may_be_lost() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.patience(), 75 * SECOND);
        pulse.beat(SECOND, Some(30 * SECOND));
        assert_eq!(pulse.patience(), 75 * SECOND, "a burst says nothing");
    }

    #[test]
    fn pings_that_come_or_are_told_to_come_later_are_waited_for() {
        let mut pulse = Pulse::default();
        pulse.beat(60 * SECOND, None);
        assert_eq!(pulse.patience(), 150 * SECOND);
        pulse.beat(Duration::ZERO, Some(100 * SECOND));
        assert_eq!(pulse.patience(), 250 * SECOND);
        pulse.beat(Duration::ZERO, Some(Duration::MAX));
        assert_eq!(pulse.patience(), MOST);
    }

    #[test]
    fn one_late_ping_is_forgotten_and_what_is_stated_is_not() {
        let mut pulse = Pulse::default();
        pulse.beat(75 * SECOND, None);
        (0..10_000).for_each(|_| pulse.beat(30 * SECOND, None));
        assert!(pulse.patience() < 80 * SECOND, "{pulse:?}");
        pulse.beat(SECOND, Some(60 * SECOND));
        (0..10_000).for_each(|_| pulse.beat(30 * SECOND, None));
        assert_eq!(pulse.patience(), 150 * SECOND);
    }

    #[test]
    fn a_busy_stream_between_late_pings_does_not_hide_them() {
        let mut pulse = Pulse::default();
        for _ in 0..100 {
            pulse.beat(120 * SECOND, None);
            (0..50).for_each(|_| pulse.beat(SECOND, None));
            assert!(pulse.patience() > 200 * SECOND, "{pulse:?}");
        }
    }

    #[test]
    fn an_upstream_without_pings_is_not_connected_to_all_the_time() {
        let mut pulse = Pulse::default();
        pulse.stopped(false);
        assert_eq!(pulse.patience(), 75 * SECOND, "once is an accident");
        pulse.stopped(false);
        assert_eq!(pulse.patience(), WITHOUT_PINGS);
        pulse.beat(90 * SECOND, None);
        assert_eq!(pulse.patience(), 225 * SECOND, "it has some after all");
    }

    #[test]
    fn connections_that_die_after_pings_say_nothing_about_pings() {
        let mut pulse = Pulse::default();
        (0..10).for_each(|_| pulse.stopped(true));
        assert_eq!(pulse.patience(), 75 * SECOND);
    }
}
