//! The life of a probe of one account: asked for, under way, answered (architecture D7, D8).
//!
//! Sending it, its budget and its retries belong to `probe`.

use crate::clock::Moment;
use crate::state::fact::{AccountKey, Exchange, Observer};
use crate::state::types::{EMAIL, only};

use super::account::{Account, Effects, Taken};
use super::response::Answers;
use super::{Outcome, Tracker};

/// Whether upstream is being asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Probe {
    #[default]
    Idle,
    InFlight {
        /// Something came up after it was sent: exactly one more follows.
        follow_up: bool,
        /// A part of it was answered.
        heard: bool,
        /// The watching has had neither a gap nor new types since it was sent.
        baseline: bool,
    },
}

impl Account {
    /// What is known has to be confirmed by something asked after `now`.
    pub(super) fn renew_baseline(&mut self, now: Moment, fx: &mut Effects) {
        (self.since, self.settled) = (now, false);
        if let Probe::InFlight { baseline, .. } = &mut self.probe {
            *baseline = false;
        }
        fx.raised = u64::MAX;
    }

    pub(super) fn is_being_probed(&self) -> bool {
        self.probe != Probe::Idle
    }

    pub(super) fn probe_sent(&mut self) {
        if self.probe == Probe::Idle {
            self.probe = Probe::InFlight { follow_up: false, heard: false, baseline: true };
        }
    }

    pub(super) fn probe_answered(
        &mut self,
        at: &Exchange,
        answers: &Answers<'_>,
        fx: &mut Effects,
    ) {
        let (overtaken, mut heard, baseline) = match self.probe {
            Probe::InFlight { follow_up, heard, baseline } => (follow_up, heard, baseline),
            Probe::Idle => (false, false, true),
        };
        fx.overtaken = overtaken;
        heard |= answers.failed == 0 || !answers.seen.is_empty() || answers.absent != 0;
        self.probe = match answers.complete {
            true => Probe::Idle,
            false => Probe::InFlight { follow_up: overtaken, heard, baseline },
        };
        if let Observer::Known(who) = at.who
            && self.owner.replace(who) != Some(who)
        {
            self.suspects = None;
            // What the one was denied the other may have.
            self.slots.iter_mut().for_each(|slot| slot.absent = false);
        }
        self.take_answers(at, answers, fx);
        if let Some(suspects) = &mut self.suspects {
            fx.split = suspects.weigh(&self.slots, answers.stated(), at.sent);
        }
        if answers.complete && heard {
            self.unseen_hinted &= at.sent < self.hinted_at || overtaken;
            if self.is_watched() && !self.settled && baseline {
                (self.settled, fx.settled) = (true, true);
                self.accept_the_unanswered(fx);
            }
        }
        if answers.complete && overtaken && self.has_question(fx) {
            fx.raised = u64::MAX;
        }
    }

    /// Types that failed at the baseline. A state known of one stands: it is the best there is to
    /// compare a token with and to put into one, and another one found later is published. Where
    /// none is known, the first sight will be a change for those who watch by then.
    fn accept_the_unanswered(&mut self, fx: &Effects) {
        let asked = self.asked(fx.wanted);
        for slot in self.slots.iter_mut().filter(|slot| asked & only(slot.bit) != 0) {
            slot.fresh |= slot.state.is_some();
            slot.hinted |= slot.state.is_none();
            self.delivery_hinted |= slot.bit == EMAIL && slot.state.is_none();
        }
        self.refresh_delivery(fx);
    }

    fn take_answers(&mut self, at: &Exchange, answers: &Answers<'_>, fx: &mut Effects) {
        for seen in &answers.seen {
            let taken = self.take(seen, at, fx);
            if seen.bit == EMAIL {
                if taken == Taken::Published {
                    self.raise(self.dependents(fx) & !answers.stated(), at.received, fx);
                }
                self.judge_probed(answers, taken, fx);
            }
        }
        for bit in (0..=63).filter(|bit| (answers.absent | answers.failed) & only(*bit) != 0) {
            let slot = self.slot_mut(bit);
            if answers.absent & only(bit) != 0 {
                slot.state = None;
                (slot.absent, slot.fresh, slot.hinted) = (true, false, false);
            }
        }
    }

    fn has_question(&self, fx: &Effects) -> bool {
        let asked = self.asked(fx.wanted);
        !self.settled
            || self.unseen_hinted
            || self.has_unjudged_email(fx)
            || self.slots.iter().any(|slot| slot.hinted && asked & only(slot.bit) != 0)
    }

    /// Ends a call: a question of a watched account becomes a probe, or the follow-up of the one
    /// that is under way.
    pub(super) fn conclude(&mut self, fx: &Effects) -> Outcome {
        let mut probe = self.is_watched() && fx.raised & self.asked(fx.wanted) != 0;
        if let Probe::InFlight { follow_up, .. } = &mut self.probe {
            *follow_up |= probe;
            probe = false;
        }
        Outcome { published: fx.published, probe, settled: fx.settled, split: fx.split }
    }
}

impl Tracker {
    /// Notifications about one account may have been lost, as [`Tracker::gap`] has it for all.
    pub fn gap_of(&mut self, key: &AccountKey, now: Moment) -> Outcome {
        self.with(key, |account, _, fx| account.gap(now, fx))
    }
}
