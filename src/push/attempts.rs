//! When a message is tried again, and when it is not (RFC 8620 §7.2, P4: 429 "MUST" slow down; RFC 8030 §7.3,
//! §8.4; hostile.md X11). Pure: outcomes and a random number in, a verdict out.
//!
//! | outcome | then |
//! |---|---|
//! | 2xx | given |
//! | 404, 410, | the subscription is destroyed |
//! | 413 | shorter messages |
//! | 429, 5xx, 3xx | again after `push.attempt_interval`, doubled each time, or `Retry-After` |
//! | no response | again after `push.retry_interval`, doubled each time, and after `push.attempts` of it at the pace above |
//! | an address that is not allowed | again after an hour |
//! | other 4xx | nothing more is sent until its client changes it |
//!
//! After `push.attempts` that were answered the subscription rests for an hour between attempts; no pause is
//! longer. What it lacks stays pending,
//! merged with what comes: no state is given up while the subscription lives.

use std::time::Duration;

use http::StatusCode;

use super::target::outcome::{Outcome, Unreachable};

/// The longest pause of our own choosing.
const REST: Duration = Duration::from_secs(3600);

/// `push.attempts`, `push.attempt_interval`, `push.retry_interval`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) most: u32,
    pub(super) attempt_interval: Duration,
    pub(super) retry_interval: Duration,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Given,
    /// The subscription is no more.
    Gone,
    Shrink,
    Again(Duration),
    /// Another attempt would end the same.
    Useless(Reason),
}

/// Why nothing more is sent: what a push service answers to every message of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the push service refuses our messages with {0}")]
pub(super) struct Reason(StatusCode);

/// Attempts of one subscription that failed in a row.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Attempts(u32);

impl Attempts {
    /// Takes note of an outcome. `chance` is drawn from 0 to 1: without it those that failed together
    /// would come back together.
    pub(super) fn judge(&mut self, outcome: Outcome, terms: &Terms, chance: f64) -> Verdict {
        let (is_reached, at_least) = match outcome {
            Outcome::Accepted(_) => {
                self.0 = 0;
                return Verdict::Given;
            }
            Outcome::Gone(_) => return Verdict::Gone,
            Outcome::TooLarge => return Verdict::Shrink,
            Outcome::Refused(status) => return Verdict::Useless(Reason(status)),
            // A resolver may have been wrong for a moment; nothing was dialled.
            Outcome::Unreachable(Unreachable::Denied(_)) => (true, REST),
            Outcome::Slow { retry_after } => (true, retry_after.unwrap_or_default()),
            Outcome::Redirected(_) | Outcome::Failed(_) => (true, Duration::ZERO),
            Outcome::Unreachable(_) => (false, Duration::ZERO),
        };
        let doubled =
            |first: Duration, times: u32| first.saturating_mul(1 << times.min(20)).min(REST);
        let failed = self.0;
        self.0 = self.0.saturating_add(1);
        let pause = match (is_reached, self.0 < terms.most) {
            (true, true) => doubled(terms.attempt_interval, failed),
            (true, false) => REST,
            (false, true) => doubled(terms.retry_interval, failed),
            // A network that was away for some seconds, or for some hours: on at the slower pace.
            (false, false) => doubled(terms.attempt_interval, self.0 - terms.most),
        };
        // Never sooner than a push service asks.
        let pause = pause.mul_f64(0.8 + 0.4 * chance).max(at_least);
        Verdict::Again(pause + at_least.mul_f64(0.1 * chance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        most: 4,
        attempt_interval: Duration::from_secs(60),
        retry_interval: Duration::from_secs(1),
    };

    /// The pauses after these outcomes, without chance, in seconds.
    fn pauses(outcomes: impl IntoIterator<Item = Outcome>) -> Vec<u64> {
        let mut attempts = Attempts::default();
        let verdicts = outcomes.into_iter().map(|outcome| attempts.judge(outcome, &TERMS, 0.5));
        verdicts
            .map(|verdict| match verdict {
                Verdict::Again(pause) => pause.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn failed(status: u16) -> Outcome {
        Outcome::Failed(StatusCode::from_u16(status).unwrap())
    }

    fn slow(seconds: Option<u64>) -> Outcome {
        Outcome::Slow { retry_after: seconds.map(Duration::from_secs) }
    }

    #[test]
    fn pauses_double_and_then_the_subscription_rests() {
        assert_eq!(pauses([failed(500); 6]), [60, 120, 240, 3600, 3600, 3600]);
        let unreachable = Outcome::Unreachable(Unreachable::Connect);
        assert_eq!(pauses([unreachable; 7]), [1, 2, 4, 60, 120, 240, 480]);
    }

    /// RFC 8620 §7.2, RFC 8030 §8.4.
    #[test]
    fn a_push_service_that_says_how_long_is_never_asked_sooner() {
        for chance in [0.0, 0.5, 1.0] {
            let mut attempts = Attempts::default();
            let verdict = attempts.judge(slow(Some(900)), &TERMS, chance);
            let Verdict::Again(pause) = verdict else { panic!("{verdict:?}") };
            assert!((900..=990).contains(&pause.as_secs()), "{pause:?}");
        }
        assert_eq!(pauses([slow(None), slow(None)]), [60, 120]);
        assert_eq!(pauses([slow(Some(1))])[0], 60, "sooner than our own pace is not needed");
    }

    #[test]
    fn one_that_was_taken_ends_the_series() {
        let mut attempts = Attempts::default();
        attempts.judge(failed(502), &TERMS, 0.5);
        assert_eq!(
            attempts.judge(Outcome::Accepted(StatusCode::CREATED), &TERMS, 0.5),
            Verdict::Given
        );
        let verdict = attempts.judge(failed(502), &TERMS, 0.5);
        assert_eq!(verdict, Verdict::Again(Duration::from_secs(60)));
    }

    #[test]
    fn pauses_differ_by_chance() {
        let with = |chance| Attempts::default().judge(failed(500), &TERMS, chance);
        assert_eq!(with(0.0), Verdict::Again(Duration::from_secs(48)));
        assert_eq!(with(1.0), Verdict::Again(Duration::from_secs(72)));
    }

    /// RFC 8030 §7.3, P4, protocol.md §5.7.
    #[test]
    fn what_would_end_the_same_is_not_tried_again() {
        let judge = |outcome| Attempts::default().judge(outcome, &TERMS, 0.5);
        for status in [404, 410] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(judge(Outcome::Gone(status)), Verdict::Gone);
        }
        for status in [400, 401, 403, 422] {
            let status = StatusCode::from_u16(status).unwrap();
            let reason = Reason(status);
            assert_eq!(judge(Outcome::Refused(status)), Verdict::Useless(reason));
        }
        assert_eq!(judge(Outcome::TooLarge), Verdict::Shrink);
    }
}
