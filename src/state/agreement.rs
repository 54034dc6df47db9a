//! Whether a counter that the mail server tells is what JMAP calls a state (architecture D7).
//!
//! Cyrus tells an account's mail counter beside its events, and Cyrus 3.6 writes that number as the state
//! of `Email`, `Mailbox` and `Thread`; other versions write states differently. So it is found out:
//! each count told is compared with what the next probe says. Once they have agreed often enough, and as
//! long as they never disagree, a count is as good as a probe's answer, and newer than a smaller one: but
//! only as the next step. One that leaps ahead may be forged, one that falls back may be a restored
//! backup; both are asked about.
//!
//! Cyrus sends most changes as two events, of which one has the count. An event without waits here for its
//! count ([`Agreement::owed`]): Cyrus drops what is larger than 8 KB, and may be told to send the other
//! kind alone.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::jmap::id::{AccountId, DataType, State};
use crate::state::fact::ProbeAnswer;

/// Types that the counter may be the state of. `Email` first: the states of the others are not older.
const TYPES: [&str; 3] = ["Email", "Mailbox", "Thread"];

/// Agreements, one after the other, until a type's state is believed to be the count.
const ENOUGH: u32 = 8;

/// Counts that wait for a probe.
///
/// When full: all are forgotten, those of accounts that nobody watches any more among them.
const MAX_OPEN: usize = 16_384;

/// The largest step in which a count is believed: as many changes at once as one command makes.
const STEP: u64 = 10_000;

/// An event without a count has it within this time, before or after.
pub const PAIRED: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, PartialEq)]
pub struct Agreement {
    /// How often they agreed, one after the other.
    types: [(DataType, u32); TYPES.len()],
    /// The greatest count told of an account, and when: only what is asked later is compared.
    open: HashMap<AccountId, (u64, Moment)>,
    /// The last count told of an account, and when; for [`PAIRED`] only.
    last: HashMap<AccountId, (u64, Moment)>,
    /// Accounts that an event without a count told of, and when.
    owed: HashMap<AccountId, Moment>,
}

/// What a count is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// It is known, or was overtaken by one that is.
    Old,
    /// It is the state.
    State,
    /// Nobody knows: upstream is to be asked.
    Doubtful,
}

impl Default for Agreement {
    #[expect(clippy::expect_used, reason = "three names that are data types")]
    fn default() -> Self {
        let unproven = |name| (DataType::parse(name).expect("a data type"), 0);
        let types = TYPES.map(unproven);
        Self { types, open: HashMap::new(), last: HashMap::new(), owed: HashMap::new() }
    }
}

impl Agreement {
    /// The types whose state a count may be, believed or not.
    pub fn types(&self) -> impl Iterator<Item = &DataType> {
        self.types.iter().map(|(name, _)| name)
    }

    /// Whether a count is the state of all of them.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.types.iter().all(|(_, times)| *times >= ENOUGH)
    }

    /// A count was told.
    pub fn told(&mut self, account: &AccountId, count: u64, now: Moment) {
        if self.open.len() >= MAX_OPEN {
            self.open.clear();
        }
        let (open, at) = self.open.entry(account.clone()).or_insert((count, now));
        if count > *open {
            (*open, *at) = (count, now);
        }
        self.owed.remove(account);
        if self.last.len() >= MAX_OPEN {
            self.last.clear();
        }
        let (last, at) = self.last.entry(account.clone()).or_insert((count, now));
        if count > *last || now.since(*at) > PAIRED {
            (*last, *at) = (count, now);
        }
    }

    /// What a count told just now is worth beside the state that is known.
    #[must_use]
    pub fn weigh(&self, account: &AccountId, count: u64, known: u64, now: Moment) -> Worth {
        if count > known {
            return if count - known <= STEP { Worth::State } else { Worth::Doubtful };
        }
        // Two events of different processes of Cyrus may come in the other order.
        let overtaken = self
            .last
            .get(account)
            .is_some_and(|(last, at)| *last >= known && *last > count && now.since(*at) <= PAIRED);
        if count == known || overtaken { Worth::Old } else { Worth::Doubtful }
    }

    /// An event told of the account without a count. False when its count was told just before, or there
    /// is no room to wait for it: then ask.
    #[must_use]
    pub fn is_paired(&mut self, account: &AccountId, now: Moment) -> bool {
        if self.last.get(account).is_some_and(|(_, at)| now.since(*at) <= PAIRED) {
            return true;
        }
        let has_room = self.owed.len() < MAX_OPEN;
        if has_room {
            self.owed.entry(account.clone()).or_insert(now);
        }
        has_room
    }

    /// The accounts whose count did not come in time: they are asked about.
    pub fn owed(&mut self, now: Moment) -> Vec<AccountId> {
        let late = self.owed.extract_if(|_, since| now.since(*since) > PAIRED);
        let late = late.map(|(account, _)| account).collect();
        self.last.retain(|_, (_, at)| now.since(*at) <= PAIRED);
        late
    }

    /// What a probe said of the account, sent at that moment. Gives whether counts are no longer believed.
    pub fn probed(
        &mut self,
        account: &AccountId,
        sent: Moment,
        answers: &[(DataType, ProbeAnswer)],
    ) -> bool {
        let open = self.open.get(account).filter(|(_, told)| sent > *told);
        let Some((count, _)) = open.copied() else { return false };
        let held = self.holds();
        let mut has_compared = false;
        for (name, answer) in answers {
            let ProbeAnswer::State(state) = answer else { continue };
            let known = self.types.iter_mut().find(|(known, _)| known == name);
            let Some((_, times)) = known else { continue };
            has_compared = true;
            match count_of(state) {
                // Of a later change, whose event is still to come.
                Some(state) if state > count => {}
                Some(state) if state == count => *times = times.saturating_add(1),
                _ => *times = 0,
            }
        }
        if has_compared {
            self.open.remove(account);
        }
        held && !self.holds()
    }
}

/// The state as a count: one that is not written as a plain number is none.
#[must_use]
pub fn count_of(state: &State) -> Option<u64> {
    let count: u64 = state.as_str().parse().ok()?;
    (count.to_string() == state.as_str()).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> AccountId {
        AccountId::parse("alice").unwrap()
    }

    fn answers(states: [&str; 3]) -> Vec<(DataType, ProbeAnswer)> {
        let answer = |(name, state): (&str, &str)| {
            let state = ProbeAnswer::State(State::parse(state).unwrap());
            (DataType::parse(name).unwrap(), state)
        };
        TYPES.into_iter().zip(states).map(answer).collect()
    }

    fn at(second: u64) -> Moment {
        Moment::default().after(Duration::from_secs(second))
    }

    /// Tells `count` and has a probe answer, a second later.
    fn round(agreement: &mut Agreement, second: u64, count: u64, states: [&str; 3]) -> bool {
        agreement.told(&alice(), count, at(second));
        agreement.probed(&alice(), at(second + 1), &answers(states))
    }

    #[test]
    fn a_count_is_believed_after_probes_have_said_the_same_often_enough() {
        let mut agreement = Agreement::default();
        for times in 1..=u64::from(ENOUGH) {
            assert!(!agreement.holds(), "after {}", times - 1);
            let state = times.to_string();
            assert!(!round(&mut agreement, times * 10, times, [&state; 3]));
        }
        assert!(agreement.holds());
    }

    #[test]
    fn one_type_that_differs_is_enough_to_believe_none() {
        let mut agreement = Agreement::default();
        for times in 2..=20 {
            let state = times.to_string();
            assert!(!round(&mut agreement, times * 10, times, [&state, "1", &state]));
            assert!(!agreement.holds());
        }
    }

    #[test]
    fn a_state_that_is_no_plain_number_ends_the_belief_and_that_is_said_once() {
        for state in ["J7", "07", "7-1", "+7"] {
            let mut agreement = Agreement::default();
            for times in 1..=u64::from(ENOUGH) {
                round(&mut agreement, times * 10, times, [&times.to_string(); 3]);
            }
            assert!(agreement.holds());
            assert!(round(&mut agreement, 1_000, 7, [state; 3]), "{state:?}");
            assert!(!agreement.holds());
            assert!(!round(&mut agreement, 1_010, 7, [state; 3]), "{state:?}");
        }
    }

    #[test]
    fn a_probe_that_was_sent_before_the_event_and_one_that_saw_more_prove_nothing() {
        let mut agreement = Agreement::default();
        agreement.told(&alice(), 7, at(10));
        assert!(!agreement.probed(&alice(), at(9), &answers(["6"; 3])), "it saw less, rightly");
        assert!(!agreement.probed(&alice(), at(11), &answers(["8"; 3])));
        assert!(agreement.open.is_empty());
        assert!(agreement.types.iter().all(|(_, times)| *times == 0), "nothing is learnt");
    }

    #[test]
    fn accounts_that_no_probe_asks_about_keep_nobody_from_being_compared() {
        let mut agreement = Agreement::default();
        for number in 0..2 * MAX_OPEN as u64 {
            let stranger = AccountId::parse(&format!("stranger{number}")).unwrap();
            agreement.told(&stranger, 1, at(1));
        }
        assert!(agreement.open.len() <= MAX_OPEN);
        round(&mut agreement, 10, 9, ["9"; 3]);
        assert!(agreement.types.iter().all(|(_, times)| *times == 1));
    }

    #[test]
    fn a_count_is_believed_as_the_next_step_only() {
        let mut agreement = Agreement::default();
        agreement.told(&alice(), 57, at(10));
        let weigh = |count, known, second| agreement.weigh(&alice(), count, known, at(second));
        assert_eq!(weigh(57, 56, 10), Worth::State);
        assert_eq!(weigh(57, 57, 10), Worth::Old);
        assert_eq!(weigh(56, 57, 10), Worth::Old, "it comes late");
        assert_eq!(weigh(56, 57, 20), Worth::Doubtful, "a backup was restored");
        assert_eq!(weigh(56, 60, 10), Worth::Doubtful);
        assert_eq!(weigh(1_000_000_000, 57, 10), Worth::Doubtful, "it may be forged");
    }

    #[test]
    fn an_event_whose_count_does_not_come_is_asked_about() {
        let mut agreement = Agreement::default();
        assert!(agreement.is_paired(&alice(), at(10)), "it may come");
        assert_eq!(agreement.owed(at(11)), []);
        assert_eq!(agreement.owed(at(12)), [alice()]);
        assert_eq!(agreement.owed(at(13)), [], "once");
        assert!(agreement.is_paired(&alice(), at(20)));
        agreement.told(&alice(), 7, at(20));
        assert_eq!(agreement.owed(at(30)), [], "it came");
    }

    #[test]
    fn an_event_right_behind_its_count_owes_nothing() {
        let mut agreement = Agreement::default();
        agreement.told(&alice(), 7, at(10));
        assert!(agreement.is_paired(&alice(), at(10)));
        assert_eq!(agreement.owed(at(20)), []);
    }

    #[test]
    fn the_greatest_of_several_counts_is_compared() {
        let mut agreement = Agreement::default();
        agreement.told(&alice(), 9, at(10));
        agreement.told(&alice(), 8, at(11));
        assert!(!agreement.probed(&alice(), at(12), &answers(["9"; 3])));
        assert!(agreement.types.iter().all(|(_, times)| *times == 1));
    }
}
