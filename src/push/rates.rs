//! How often subscriptions may be made, and their URLs be verified (RFC 8620 §8.6; P16, hostile.md X10):
//! a verification is a request to a URL that anybody may have named. Pure.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use crate::clock::Moment;

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub most: usize,
    /// In any span of this length.
    pub per: Duration,
}

/// Subscriptions one user may make, with whatever credential: a cookie more would make another of it.
const CREATIONS: Rate = Rate { most: 10, per: Duration::from_secs(60 * 60) };

/// Verifications that one user may cause at one host.
const OF_USER: Rate = Rate { most: 1, per: Duration::from_secs(10) };

/// Verifications that all users together may cause at one host.
const OF_HOST: Rate = Rate { most: 30, per: Duration::from_secs(60) };

/// Users and hosts remembered at most, each for itself. When full: what lies too far back
/// to count goes, at most once a second; then a new one is refused until there is room.
const MOST_REMEMBERED: usize = 50_000;

/// See the module.
#[derive(Debug)]
pub struct Rates {
    creations: Windows<Box<str>>,
    of_user: Windows<(Box<str>, Box<str>)>,
    of_host: Windows<Box<str>>,
}

impl Default for Rates {
    fn default() -> Self {
        Self::new(CREATIONS)
    }
}

impl Rates {
    /// With this many creations for a user.
    #[must_use]
    pub fn new(creations: Rate) -> Self {
        Self {
            creations: Windows::new(creations),
            of_user: Windows::new(OF_USER),
            of_host: Windows::new(OF_HOST),
        }
    }

    /// Counts a subscription that this user makes, and its verification at `host` (a name in lower case, or an
    /// address).
    ///
    /// # Errors
    /// How long to wait; then nothing is counted.
    pub fn admit(&mut self, user: &str, host: &str, now: Moment) -> Result<(), Duration> {
        let wait = self.creations.wait(user, now);
        self.verify_after(wait, user, host, now)?;
        self.creations.count(user.into(), now);
        Ok(())
    }

    /// Counts a verification that is sent once more: each attempt is a request that somebody may have been
    /// made the target of.
    ///
    /// # Errors
    /// How long to wait; then nothing is counted.
    pub fn again(&mut self, user: &str, host: &str, now: Moment) -> Result<(), Duration> {
        self.verify_after(Duration::ZERO, user, host, now)
    }

    fn verify_after(
        &mut self,
        wait: Duration,
        user: &str,
        host: &str,
        now: Moment,
    ) -> Result<(), Duration> {
        let of_user = (user.into(), host.into());
        let wait = wait.max(self.of_user.wait(&of_user, now)).max(self.of_host.wait(host, now));
        if !wait.is_zero() {
            return Err(wait);
        }
        self.of_user.count(of_user, now);
        self.of_host.count(host.into(), now);
        Ok(())
    }
}

/// The last few moments of each, and no more than decide.
#[derive(Debug)]
struct Windows<K> {
    rate: Rate,
    last: HashMap<K, VecDeque<Moment>>,
    swept: Option<Moment>,
}

impl<K: Eq + Hash> Windows<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, last: HashMap::new(), swept: None }
    }

    /// How long until one more fits; zero if it does.
    fn wait<Q>(&mut self, key: &Q, now: Moment) -> Duration
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let Some(last) = self.last.get(key) else { return self.wait_for_room(now) };
        let oldest = last.front().filter(|_| last.len() >= self.rate.most);
        oldest.map_or(Duration::ZERO, |oldest| oldest.after(self.rate.per).since(now))
    }

    fn wait_for_room(&mut self, now: Moment) -> Duration {
        const SWEEP: Duration = Duration::from_secs(1);
        if self.last.len() < MOST_REMEMBERED {
            return Duration::ZERO;
        }
        let is_due = self.swept.is_none_or(|swept| now.since(swept) >= SWEEP);
        if is_due {
            self.swept = Some(now);
            let per = self.rate.per;
            self.last.retain(|_, last| last.back().is_some_and(|last| last.after(per) > now));
        }
        if self.last.len() < MOST_REMEMBERED { Duration::ZERO } else { SWEEP }
    }

    fn count(&mut self, key: K, now: Moment) {
        let last = self.last.entry(key).or_default();
        if last.len() >= self.rate.most {
            last.pop_front();
        }
        last.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment(1_000_000 * seconds)
    }

    fn admit(rates: &mut Rates, who: u64, host: &str, seconds: u64) -> Result<(), Duration> {
        rates.admit(&who.to_string(), host, at(seconds))
    }

    /// P16.
    #[test]
    fn a_user_makes_ten_in_any_hour() {
        let mut rates = Rates::default();
        for n in 0..10 {
            assert_eq!(admit(&mut rates, 1, &format!("host{n}"), n), Ok(()));
        }
        assert_eq!(admit(&mut rates, 1, "another", 600), Err(3000 * SECOND));
        assert_eq!(admit(&mut rates, 2, "another", 600), Ok(()));
        assert_eq!(admit(&mut rates, 1, "another", 3600), Ok(()));
        assert_eq!(admit(&mut rates, 1, "yet-another", 3600), Err(SECOND));
    }

    #[test]
    fn a_user_has_one_verification_sent_to_a_host_every_ten_seconds() {
        let mut rates = Rates::default();
        assert_eq!(admit(&mut rates, 1, "a", 0), Ok(()));
        assert_eq!(admit(&mut rates, 1, "a", 4), Err(6 * SECOND));
        assert_eq!(admit(&mut rates, 1, "b", 4), Ok(()));
        assert_eq!(admit(&mut rates, 2, "a", 4), Ok(()));
        assert_eq!(admit(&mut rates, 1, "a", 10), Ok(()));
    }

    /// X10: a host that does not answer is not knocked at more often for that.
    #[test]
    fn an_attempt_more_counts_as_a_verification_and_not_as_a_subscription() {
        let mut rates = Rates::default();
        assert_eq!(admit(&mut rates, 1, "a", 0), Ok(()));
        assert_eq!(rates.again("1", "a", at(1)), Err(9 * SECOND));
        for n in 1..30 {
            assert_eq!(rates.again("1", "a", at(10 * n)), Ok(()));
        }
        assert_eq!(admit(&mut rates, 1, "a", 291), Err(9 * SECOND));
        assert_eq!(admit(&mut rates, 1, "b", 291), Ok(()));
    }

    /// X10: a thousand users and one victim.
    #[test]
    fn a_host_gets_thirty_verifications_a_minute_from_all_users_together() {
        let mut rates = Rates::default();
        let admitted = (0..1000).filter(|n| admit(&mut rates, *n, "victim", 1).is_ok()).count();
        assert_eq!(admitted, 30);
        assert_eq!(admit(&mut rates, 2000, "victim", 2), Err(59 * SECOND));
        assert_eq!(admit(&mut rates, 2000, "victim", 61), Ok(()));
    }

    /// X10: one user who makes ten thousand.
    #[test]
    fn what_is_refused_does_not_count() {
        let mut rates = Rates::default();
        let admitted = (0..10_000).filter(|_| admit(&mut rates, 1, "a", 0).is_ok()).count();
        assert_eq!(admitted, 1);
        assert_eq!(admit(&mut rates, 1, "a", 10), Ok(()));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut windows = Windows::new(OF_USER);
        for n in 0..MOST_REMEMBERED {
            windows.count(n, Moment(0));
        }
        assert_eq!(windows.wait(&MOST_REMEMBERED, Moment(0)), SECOND);
        let later = Moment(0).after(OF_USER.per);
        assert_eq!(windows.wait(&MOST_REMEMBERED, later), Duration::ZERO);
        assert!(windows.last.is_empty());
    }
}
