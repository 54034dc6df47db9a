//! Holds each principal's probes below upstream's `maxConcurrentRequests` (RFC 8620 §2; S7).
//!
//! The limit is the user's own: a probe that used it up would have the user's client refused. An
//! account that finds its lane full waits here, outside the number of probes in flight, so that one
//! user with many accounts holds up nobody else.

use std::collections::{HashMap, VecDeque};

use crate::state::fact::{AccountKey, PrincipalId};

/// Probes of one principal in flight when its Session names no limit. §2 advises servers to allow at
/// least four.
const DEFAULT_WIDTH: usize = 2;

/// One lane for each principal that has a probe in flight.
///
/// When full: bounded by the watched accounts, each of which waits or runs at most once.
#[derive(Debug, Default)]
pub struct Lanes(HashMap<PrincipalId, Lane>);

#[derive(Debug, Default)]
struct Lane {
    busy: usize,
    waiting: VecDeque<AccountKey>,
}

/// How many probes a principal may have in flight: one less than upstream allows, at least one.
#[must_use]
pub fn width(max_concurrent: Option<u64>) -> usize {
    let allowed = max_concurrent.and_then(|max| usize::try_from(max).ok());
    allowed.map_or(DEFAULT_WIDTH, |max| max.saturating_sub(1)).clamp(1, DEFAULT_WIDTH)
}

impl Lanes {
    /// Takes a place in the principal's lane, or else notes that `account` waits for one.
    #[must_use]
    pub fn enter(&mut self, principal: PrincipalId, width: usize, account: &AccountKey) -> bool {
        let lane = self.0.entry(principal).or_default();
        let is_free = lane.busy < width;
        if is_free {
            lane.busy += 1;
        } else if !lane.waiting.contains(account) {
            lane.waiting.push_back(account.clone());
        }
        is_free
    }

    /// Gives a place back.
    pub fn leave(&mut self, principal: PrincipalId) {
        if let Some(lane) = self.0.get_mut(&principal) {
            lane.busy = lane.busy.saturating_sub(1);
            self.drop_empty(principal);
        }
    }

    /// All accounts that wait for this principal, who has waited longest first; each must enter again,
    /// perhaps another's lane by now. None may stay behind: nobody might come by here again.
    pub fn take_waiting(&mut self, principal: PrincipalId) -> VecDeque<AccountKey> {
        let lane = self.0.get_mut(&principal);
        let waiting = lane.map(|lane| std::mem::take(&mut lane.waiting)).unwrap_or_default();
        self.drop_empty(principal);
        waiting
    }

    fn drop_empty(&mut self, principal: PrincipalId) {
        if self.0.get(&principal).is_some_and(|lane| lane.busy == 0 && lane.waiting.is_empty()) {
            self.0.remove(&principal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jmap::id::AccountId;

    const SEVEN: PrincipalId = PrincipalId(7);
    const EIGHT: PrincipalId = PrincipalId(8);

    fn account(name: &str) -> AccountKey {
        AccountKey::shared(AccountId::parse(name).unwrap())
    }

    #[test]
    fn one_request_is_always_left_to_the_user() {
        assert_eq!(width(Some(2)), 1);
        assert_eq!(width(Some(4)), 2);
        assert_eq!(width(Some(1_000)), 2, "a generous server is no reason to hurry");
    }

    #[test]
    fn a_server_that_allows_one_request_is_still_asked() {
        assert_eq!(width(Some(1)), 1);
        assert_eq!(width(Some(0)), 1);
    }

    #[test]
    fn who_finds_the_lane_full_is_called_in_order() {
        let mut lanes = Lanes::default();
        assert!(lanes.enter(SEVEN, 1, &account("a")));
        assert!(!lanes.enter(SEVEN, 1, &account("b")));
        assert!(!lanes.enter(SEVEN, 1, &account("c")));
        assert!(lanes.enter(EIGHT, 1, &account("d")), "lanes are separate");
        lanes.leave(SEVEN);
        assert_eq!(lanes.take_waiting(SEVEN), [account("b"), account("c")]);
        assert!(lanes.enter(SEVEN, 1, &account("b")));
    }

    #[test]
    fn a_lane_nobody_uses_is_gone() {
        let mut lanes = Lanes::default();
        assert!(lanes.enter(SEVEN, 1, &account("a")));
        assert!(!lanes.enter(SEVEN, 1, &account("b")));
        lanes.leave(SEVEN);
        assert_eq!(lanes.take_waiting(SEVEN), [account("b")]);
        assert!(lanes.0.is_empty());
    }
}
