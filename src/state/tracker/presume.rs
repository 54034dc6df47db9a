//! What is told of an account about which nobody can be asked (architecture D7, P5): its subscribers left no
//! credential that still serves, and something may have changed.
//!
//! States are opaque, so one of our own making that was never told before says just that: "something
//! changed, fetch it" (§7.1). It stays until somebody can be asked.

use crate::jmap::id::{DataType, State};
use crate::state::fact::{AccountKey, Delivery, Exchange, ProbeAnswer, Probed};
use crate::state::types::{EMAIL, MAILBOX, THREAD, only};

use super::{Outcome, Tracker};

impl Tracker {
    /// Answers every open question about a watched account by states that `invent` makes up. `at` is now;
    /// `offered` is what its capabilities offer.
    pub fn presume(
        &mut self,
        key: &AccountKey,
        at: &Exchange,
        offered: &[DataType],
        invent: impl Fn() -> State,
    ) -> Outcome {
        let Some(account) = self.accounts.get(key) else { return Outcome::default() };
        let is_all = !account.is_settled() || account.unseen_hinted;
        let hinted = account.slots.iter().filter(|slot| slot.hinted);
        let mut open = hinted.fold(0, |mask, slot| mask | only(slot.bit));
        if is_all || account.delivery_hinted {
            open |= only(EMAIL);
        }
        if open & only(EMAIL) != 0 {
            open |= only(MAILBOX) | only(THREAD);
        }
        let created = is_all || account.delivery_hinted;
        let is_open = |name: &DataType| {
            is_all || self.types.bit(name).is_some_and(|bit| open & only(bit) != 0)
        };
        let types = self.wanted_types(key, offered).into_iter().filter(is_open);
        let answers: Vec<_> = types.map(|name| (name, ProbeAnswer::State(invent()))).collect();
        let delivery = account.judged.clone().map(|since| Delivery { since, created });
        self.probe_sent(key);
        self.probe_answered(key, at, &Probed { answers: &answers, delivery, complete: true })
    }
}
