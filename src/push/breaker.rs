//! Leaves push services alone that are in trouble (hostile.md X11): one host that is down or overloaded must
//! not take the places that others' messages need, nor be met by all of its subscriptions at once when it
//! comes back. Pure.

use std::collections::HashMap;
use std::time::Duration;

use super::target::outcome::Outcome;
use crate::clock::Moment;

/// Failures in a row, of whatever subscriptions, that open it.
const FAILURES: u32 = 10;

/// First pause; it doubles.
const PAUSE: Duration = Duration::from_secs(30);

/// The longest.
const LONGEST: Duration = Duration::from_secs(600);

/// Hosts in trouble that are remembered. When full: no further host is left alone.
const MOST: usize = 10_000;

/// See the module. Only hosts in trouble are in it.
#[derive(Debug, Default)]
pub(super) struct Breaker(HashMap<Box<str>, Trouble>);

#[derive(Debug)]
enum Trouble {
    /// So many messages failed in a row.
    Failing(u32),
    /// Nothing is sent until then; opened so often in a row.
    Open(Moment, u32),
    /// One message is under way since then, and decides about the others.
    Trial(Moment, u32),
}

impl Breaker {
    /// Whether a message may go to the host now, else how long to wait.
    pub(super) fn admit(&mut self, host: &str, now: Moment) -> Result<(), Duration> {
        let Some(trouble) = self.0.get_mut(host) else { return Ok(()) };
        let (until, opened) = match *trouble {
            Trouble::Failing(_) => return Ok(()),
            Trouble::Open(until, opened) => (until, opened),
            // One that never told what came of it holds up nobody for ever.
            Trouble::Trial(since, opened) => (since.after(PAUSE), opened),
        };
        if now < until {
            return Err(until.since(now));
        }
        *trouble = Trouble::Trial(now, opened);
        Ok(())
    }

    /// What came of a message.
    pub(super) fn note(&mut self, host: &str, outcome: Outcome, now: Moment) {
        if !matches!(outcome, Outcome::Failed(_) | Outcome::Unreachable(_)) {
            self.0.remove(host);
            return;
        }
        if !self.0.contains_key(host) && self.0.len() >= MOST {
            return;
        }
        let trouble = self.0.entry(host.into()).or_insert(Trouble::Failing(0));
        let opened = match *trouble {
            Trouble::Failing(failures) if failures + 1 < FAILURES => {
                *trouble = Trouble::Failing(failures + 1);
                return;
            }
            // It was under way when it was opened, and says nothing new.
            Trouble::Open(..) => return,
            Trouble::Failing(_) => 0,
            Trouble::Trial(_, opened) => opened,
        };
        let pause = PAUSE.saturating_mul(1 << opened.min(10)).min(LONGEST);
        *trouble = Trouble::Open(now.after(pause), opened.saturating_add(1));
    }

    /// Hosts that are left alone now.
    pub(super) fn open(&self) -> usize {
        self.0.values().filter(|it| !matches!(it, Trouble::Failing(_))).count()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::push::target::outcome::Unreachable;

    const HOST: &str = "push.example";
    const FAILED: Outcome = Outcome::Unreachable(Unreachable::Connect);
    const TAKEN: Outcome = Outcome::Accepted(StatusCode::CREATED);

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    fn opened(now: Moment) -> Breaker {
        let mut breaker = Breaker::default();
        (0..FAILURES).for_each(|_| breaker.note(HOST, FAILED, now));
        breaker
    }

    #[test]
    fn a_host_that_fails_is_left_alone_and_no_other_is() {
        let mut breaker = opened(at(0));
        assert_eq!(breaker.admit(HOST, at(1)), Err(Duration::from_secs(29)));
        assert_eq!(breaker.admit("other.example", at(1)), Ok(()));
        assert_eq!(breaker.open(), 1);
    }

    #[test]
    fn it_takes_failures_in_a_row() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES * 3 {
            (1..FAILURES).for_each(|_| breaker.note(HOST, FAILED, at(0)));
            breaker.note(HOST, TAKEN, at(0));
        }
        assert_eq!(breaker.admit(HOST, at(0)), Ok(()));
        breaker.note(HOST, Outcome::Gone(StatusCode::GONE), at(0));
        assert_eq!(breaker.open(), 0, "a host that answers is not in trouble");
    }

    #[test]
    fn one_message_tries_it_after_the_pause_and_decides_about_the_others() {
        let mut breaker = opened(at(0));
        assert_eq!(breaker.admit(HOST, at(30)), Ok(()));
        assert!(breaker.admit(HOST, at(30)).is_err(), "one is enough");
        breaker.note(HOST, FAILED, at(31));
        assert_eq!(breaker.admit(HOST, at(31)), Err(Duration::from_secs(60)), "it doubles");
        assert_eq!(breaker.admit(HOST, at(91)), Ok(()));
        breaker.note(HOST, TAKEN, at(92));
        assert_eq!(breaker.admit(HOST, at(92)), Ok(()));
    }

    #[test]
    fn a_trial_that_never_tells_what_came_of_it_holds_up_nobody_for_ever() {
        let mut breaker = opened(at(0));
        assert_eq!(breaker.admit(HOST, at(30)), Ok(()));
        assert_eq!(breaker.admit(HOST, at(60)), Ok(()));
    }
}
