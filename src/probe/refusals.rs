//! For which users upstream has refused a credential that is to serve all of them.
//!
//! Refused for one user it is left alone for that one: the user may be gone, or not be one that a
//! service may ask for. Refused for several, one after the other, it is itself in doubt. Pure: time is
//! passed in; who asks with what is decided by whoever holds it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::clock::Moment;
use crate::state::fact::PrincipalId;

/// Refused for a user, it is left alone for this long, lest each probe take two requests.
const REST: Duration = Duration::from_secs(60);

/// So many users refused, and none served in between, and it is the credential's fault.
const SEVERAL: usize = 3;

/// Users remembered.
const MOST: usize = 4096;

/// See the module.
///
/// When full: the one refused longest ago is forgotten, which costs it a request.
#[derive(Debug, Default)]
pub struct Refusals {
    until: HashMap<PrincipalId, Moment>,
    by_time: BTreeSet<(Moment, PrincipalId)>,
    /// Users refused since one was served, [`SEVERAL`] at most.
    in_a_row: HashSet<PrincipalId>,
}

impl Refusals {
    /// Whether the credential is left alone for this user.
    #[must_use]
    pub fn rests(&self, user: PrincipalId, now: Moment) -> bool {
        self.until.get(&user).is_some_and(|until| *until > now)
    }

    /// It was refused for this user. Gives whether it is in doubt for all of them.
    pub fn refused(&mut self, user: PrincipalId, now: Moment) -> bool {
        self.forget(user);
        let until = now.after(REST);
        self.until.insert(user, until);
        self.by_time.insert((until, user));
        while self.by_time.first().is_some_and(|(at, _)| *at <= now) || self.until.len() > MOST {
            let Some((_, oldest)) = self.by_time.pop_first() else { break };
            self.until.remove(&oldest);
        }
        if self.in_a_row.len() < SEVERAL {
            self.in_a_row.insert(user);
        }
        self.in_a_row.len() >= SEVERAL
    }

    /// It was good for this user.
    pub fn accepted(&mut self, user: PrincipalId) {
        self.forget(user);
        self.in_a_row.clear();
    }

    fn forget(&mut self, user: PrincipalId) {
        if let Some(until) = self.until.remove(&user) {
            self.by_time.remove(&(until, user));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: PrincipalId = PrincipalId(0);
    const BOB: PrincipalId = PrincipalId(1);
    const CAROL: PrincipalId = PrincipalId(2);

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_user_it_was_refused_for_is_left_alone_for_a_minute_and_no_other() {
        let mut refusals = Refusals::default();
        assert!(!refusals.refused(ALICE, at(0)));
        assert!(refusals.rests(ALICE, at(59)) && !refusals.rests(ALICE, at(60)));
        assert!(!refusals.rests(BOB, at(1)));
    }

    #[test]
    fn one_user_refused_again_and_again_puts_it_in_no_doubt() {
        let mut refusals = Refusals::default();
        assert!((0..100).all(|minute| !refusals.refused(ALICE, at(60 * minute))));
    }

    #[test]
    fn several_users_refused_put_it_in_doubt_until_one_is_served() {
        let mut refusals = Refusals::default();
        assert!(!refusals.refused(ALICE, at(0)) && !refusals.refused(BOB, at(1)));
        assert!(refusals.refused(CAROL, at(2)));
        assert!(refusals.refused(ALICE, at(62)), "still");
        refusals.accepted(BOB);
        assert!(!refusals.rests(BOB, at(3)));
        assert!(!refusals.refused(CAROL, at(63)));
    }

    #[test]
    fn users_that_alternate_with_one_that_is_served_put_it_in_no_doubt() {
        let mut refusals = Refusals::default();
        for user in 10..100 {
            assert!(!refusals.refused(PrincipalId(user), at(user)));
            refusals.accepted(BOB);
        }
    }

    #[test]
    fn no_more_are_remembered_than_it_says() {
        let mut refusals = Refusals::default();
        for user in 0..2 * MOST as u64 {
            refusals.refused(PrincipalId(user), at(0));
        }
        assert_eq!((refusals.until.len(), refusals.by_time.len()), (MOST, MOST));
        refusals.refused(ALICE, at(61));
        assert_eq!((refusals.until.len(), refusals.by_time.len()), (1, 1), "rest is over");
    }
}
