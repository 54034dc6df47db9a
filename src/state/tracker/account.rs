//! The states of one account as one principal, or everybody, sees them (architecture D7).
//!
//! The rules of order live here. What a probe settles stands in [`super::probing`], `EmailDelivery`
//! is derived in [`super::delivery`], disagreement between principals is weighed in
//! [`super::suspicion`].

use std::num::NonZeroU64;

use crate::clock::Moment;
use crate::jmap::id::State;
use crate::state::fact::{Exchange, Observer, PrincipalId};
use crate::state::types::{
    EMAIL, EMAIL_DELIVERY, MAILBOX, THREAD, TypeFilter, TypeTable, Watchers, only,
};

use super::probing::Probe;
use super::response::{Response, Seen};
use super::suspicion::Suspects;

/// What is known of one type.
#[derive(Debug)]
pub(super) struct Slot {
    /// The last accepted state.
    pub(super) state: Option<State>,
    /// When the newest response that stated or confirmed it had arrived: a request sent earlier
    /// cannot be ordered against it.
    pub(super) accepted_at: Moment,
    /// The sequence number of the state's publication; 0 if it never was published.
    pub(super) changed_at: u64,
    pub(super) bit: u8,
    /// Watched without a gap since the state was learnt.
    pub(super) fresh: bool,
    /// Something may have changed since; settled by what is asked at `hinted_at` or later.
    pub(super) hinted: bool,
    /// Upstream answered `unknownMethod`.
    pub(super) absent: bool,
}

/// One account in one view.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// At most one per type bit, in no order.
    pub(super) slots: Vec<Slot>,
    watchers: Watchers,
    /// Rarely needed, so out of line.
    pub(super) suspects: Option<Box<Suspects>>,
    /// Whose answers the states are.
    pub(super) owner: Option<PrincipalId>,
    /// The `Email` state up to which all new Email is accounted for in `EmailDelivery`.
    pub(super) judged: Option<State>,
    /// The last gap in the watching (or its start): only what is asked later makes a state fresh.
    pub(super) since: Moment,
    /// The last hint, whatever its types.
    pub(super) hinted_at: Moment,
    /// Place among the unwatched accounts, by age; kept by the tracker.
    pub(super) idle: Option<NonZeroU64>,
    pub(super) probe: Probe,
    /// A hint named all types: one that is seen first after it, has changed.
    pub(super) unseen_hinted: bool,
    /// The baseline is known: a probe sent after `since` was answered.
    pub(super) settled: bool,
    /// A hint said that new Email arrived.
    pub(super) delivery_hinted: bool,
}

/// What one call to the tracker brings about; turned into an [`Outcome`](super::Outcome) at its
/// end.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// What the watchers want, as bits.
    pub(super) wanted: u64,
    /// The sequence number of a publication made in this call.
    pub(super) next: u64,
    pub(super) published: u64,
    /// Types about which upstream must be asked.
    pub(super) raised: u64,
    pub(super) settled: bool,
    pub(super) split: Option<PrincipalId>,
    /// The probe being answered was sent before something came up: its answer settles no hint.
    pub(super) overtaken: bool,
}

impl Effects {
    pub(super) fn new(wanted: u64, next: u64) -> Self {
        Self { wanted, next, ..Self::default() }
    }

    pub(super) fn wants(&self, bit: u8) -> bool {
        self.wanted & only(bit) != 0
    }
}

/// What became of a state that was offered to its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Published,
    /// The baseline, or the same as before.
    Kept,
    /// Not known whether it is newer: upstream is to be asked.
    Unordered,
}

impl Account {
    pub(super) fn is_watched(&self) -> bool {
        !self.watchers.is_empty()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    pub(super) fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    pub(super) fn slot(&self, bit: u8) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.bit == bit)
    }

    pub(super) fn state(&self, bit: u8) -> Option<&State> {
        self.slot(bit)?.state.as_ref()
    }

    pub(super) fn slot_mut(&mut self, bit: u8) -> &mut Slot {
        let place = self.slots.iter().position(|slot| slot.bit == bit).unwrap_or(self.slots.len());
        if place == self.slots.len() {
            self.slots.push(Slot {
                state: None,
                accepted_at: Moment::default(),
                changed_at: 0,
                bit,
                fresh: false,
                hinted: false,
                absent: false,
            });
        }
        #[expect(clippy::indexing_slicing, reason = "pushed above if it was missing")]
        &mut self.slots[place]
    }

    /// The states of one response (D7, "exact").
    pub(super) fn observe(&mut self, at: &Exchange, response: &Response<'_>, fx: &mut Effects) {
        match at.who {
            Observer::Known(who) if self.owner.is_none_or(|owner| owner == who) => {
                self.owner = Some(who);
            }
            _ => return self.overhear(at, response, fx),
        }
        let judgeable = self.starts_at_known_email(response.created_since);
        for seen in &response.seen {
            let taken = self.take(seen, at, fx);
            if seen.bit == EMAIL {
                if taken == Taken::Published {
                    self.raise(self.dependents(fx) & !response.after_email, at.received, fx);
                }
                self.judge_observed(judgeable, seen.state, fx);
            } else if seen.bit == MAILBOX && taken == Taken::Published {
                // Destroying a mailbox changes its Email (RFC 8621 §2.5), and servers that count
                // all three with one counter (Cyrus) move the others whatever it was.
                let read_too = response.seen.iter().fold(0, |mask, seen| mask | only(seen.bit));
                let others = self.present(&[EMAIL, THREAD], fx) & !read_too;
                self.raise(others, at.received, fx);
            }
        }
    }

    /// States that are newer than those known; see [`Tracker::count`](super::Tracker::count).
    pub(super) fn count(
        &mut self,
        at: &Exchange,
        response: &Response<'_>,
        delivery: bool,
        fx: &mut Effects,
    ) {
        // What was hinted at before may be more than this tells of.
        fx.overtaken = true;
        for seen in &response.seen {
            self.take(seen, at, fx);
        }
        self.judge_counted(delivery, fx);
    }

    /// States seen with other eyes than the owner's, or with nobody's we know: hints at most.
    fn overhear(&mut self, at: &Exchange, response: &Response<'_>, fx: &mut Effects) {
        for seen in &response.seen {
            let known = self.state(seen.bit);
            // A bare state where none is known contradicts nothing; the baseline is probed anyway.
            // A move to the known state may be a return that answers under way have not seen.
            let news = seen.moved || known.is_some_and(|known| known != seen.state);
            if let Observer::Known(who) = at.who {
                self.compare_views(who, seen, at, fx);
            }
            if news {
                self.raise(only(seen.bit), at.received, fx);
            }
        }
    }

    /// Weighs one exact state of the owner's view and keeps it if its order is known.
    pub(super) fn take(&mut self, seen: &Seen<'_>, at: &Exchange, fx: &mut Effects) -> Taken {
        let (since, hinted_at, unseen_hinted) = (self.since, self.hinted_at, self.unseen_hinted);
        let asked = self.asked(fx.wanted) & only(seen.bit) != 0;
        let slot = self.slot_mut(seen.bit);
        slot.absent = false;
        let (same, first) = (slot.state.as_ref() == Some(seen.state), slot.state.is_none());
        if at.sent < slot.accepted_at {
            if !same {
                self.raise(only(seen.bit), at.received, fx);
                return Taken::Unordered;
            }
            return Taken::Kept;
        }
        // A first sight is the baseline, unless something says that it is a change.
        let publish = if first { seen.moved || slot.hinted || unseen_hinted } else { !same };
        if !same {
            slot.state = Some(seen.state.clone());
        }
        slot.accepted_at = slot.accepted_at.max(at.received);
        slot.fresh |= asked && at.sent >= since;
        slot.hinted &= at.sent < hinted_at || fx.overtaken;
        if !publish {
            return Taken::Kept;
        }
        slot.changed_at = fx.next;
        fx.published |= only(seen.bit);
        Taken::Published
    }

    /// Something may have changed: all types for `None`.
    pub(super) fn hint(
        &mut self,
        types: Option<u64>,
        delivery: bool,
        now: Moment,
        fx: &mut Effects,
    ) {
        if delivery {
            self.delivery_hinted = true;
            self.raise(only(EMAIL), now, fx);
        }
        match types {
            Some(types) => self.raise(types, now, fx),
            None => {
                self.unseen_hinted = true;
                self.hinted_at = self.hinted_at.max(now);
                let known = self.slots.iter().fold(0, |mask, slot| mask | only(slot.bit));
                self.raise(known, now, fx);
                fx.raised = u64::MAX;
            }
        }
    }

    /// Exact states without order: a hint for those that are news.
    pub(super) fn claim(
        &mut self,
        states: &[(u8, &State)],
        delivery: bool,
        now: Moment,
        fx: &mut Effects,
    ) {
        let mut news = 0;
        for (bit, state) in states {
            if self.state(*bit) != Some(*state) {
                news |= only(*bit);
                continue;
            }
            // It may be a return to this state, which no answer under way has seen.
            let slot = self.slot_mut(*bit);
            slot.accepted_at = slot.accepted_at.max(now);
            if *bit == EMAIL && self.slot(EMAIL).is_some_and(|slot| slot.changed_at == 0) {
                // Known as a baseline only, so its dependents may date from before it.
                news |= self.dependents(fx);
            }
        }
        let email = self.state(EMAIL);
        let accounted = email.is_some()
            && email == self.judged.as_ref()
            && states.iter().any(|(bit, state)| *bit == EMAIL && Some(*state) == email);
        self.hint(Some(news), delivery && !accounted, now, fx);
    }

    /// Opens the question whether `types` have changed; that of `Email` includes its dependents,
    /// which may be wanted where `Email` is not.
    pub(super) fn raise(&mut self, types: u64, now: Moment, fx: &mut Effects) {
        let email = types & only(EMAIL) != 0;
        let types = types & !only(EMAIL_DELIVERY) | if email { self.dependents(fx) } else { 0 };
        for bit in (0..=63).filter(|bit| types & only(*bit) != 0) {
            self.slot_mut(bit).hinted = true;
        }
        if types != 0 {
            self.hinted_at = self.hinted_at.max(now);
            fx.raised |= types;
        }
    }

    /// `Mailbox` (its counts) and `Thread`, which a change of `Email` usually changes: those known
    /// or wanted.
    pub(super) fn dependents(&self, fx: &Effects) -> u64 {
        self.present(&[MAILBOX, THREAD], fx)
    }

    /// Those of `bits` that are known or wanted.
    fn present(&self, bits: &[u8], fx: &Effects) -> u64 {
        let asked = self.asked(fx.wanted);
        let known = |bit| self.slot(bit).is_some_and(|slot| !slot.absent);
        bits.iter()
            .filter(|bit| asked & only(**bit) != 0 || known(**bit))
            .fold(0, |mask, bit| mask | only(*bit))
    }

    pub(super) fn watch(
        &mut self,
        filter: &TypeFilter,
        table: &TypeTable,
        now: Moment,
        fx: &mut Effects,
    ) {
        let (first, before) = (!self.is_watched(), fx.wanted);
        self.watchers.add(filter);
        fx.wanted = self.watchers.mask(table);
        if first {
            for slot in &mut self.slots {
                (slot.fresh, slot.absent) = (false, false);
            }
        }
        if first || fx.wanted & !before & table.known() != 0 {
            self.renew_baseline(now, fx);
        }
        if self.asked(fx.wanted) == 0 {
            // Only names nobody ever heard from upstream: there is nothing to ask.
            (self.settled, fx.settled) = (true, !self.settled);
        }
    }

    pub(super) fn unwatch(&mut self, filter: &TypeFilter, table: &TypeTable, fx: &mut Effects) {
        self.watchers.remove(filter);
        fx.wanted = self.watchers.mask(table);
        let kept = self.asked(fx.wanted) | fx.wanted & only(EMAIL_DELIVERY);
        for slot in &mut self.slots {
            slot.fresh &= kept & only(slot.bit) != 0;
        }
        self.settled &= self.is_watched();
    }

    /// Notifications may have been lost: what is known must be confirmed.
    pub(super) fn gap(&mut self, now: Moment, fx: &mut Effects) {
        if self.is_watched() {
            self.renew_baseline(now, fx);
            for slot in &mut self.slots {
                slot.fresh = false;
            }
        }
    }

    /// What a probe must ask: the wanted types, `Email` for `EmailDelivery`, nothing absent.
    pub(super) fn asked(&self, wanted: u64) -> u64 {
        let absent = self.slots.iter().filter(|s| s.absent).fold(0, |mask, s| mask | only(s.bit));
        let email = if wanted & only(EMAIL_DELIVERY) == 0 { 0 } else { only(EMAIL) };
        (wanted & !only(EMAIL_DELIVERY) | email) & !absent
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let strings = self.slots.iter().filter(|slot| slot.bit != EMAIL_DELIVERY);
        self.slots.capacity() * size_of::<Slot>()
            + self.watchers.heap_bytes()
            // an Arc<str> has two counters before its text
            + strings.filter_map(|s| s.state.as_ref()).map(|s| 16 + s.as_str().len()).sum::<usize>()
    }
}
