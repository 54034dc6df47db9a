//! `EmailDelivery`: a type that no method serves, derived from `Email` (RFC 8621 §1.5).
//!
//! "The state string for this MUST change whenever a new Email is added to the store, but it SHOULD
//! NOT change upon any other change to the Email objects." Its state is the `Email` state at which
//! an addition was seen. `judged` is the `Email` state up to which additions are accounted for;
//! between it and the present state of `Email` lies what only `Email/changes` can tell.

use crate::jmap::id::State;
use crate::state::types::{EMAIL, EMAIL_DELIVERY, only};

use super::account::{Account, Effects, Taken};
use super::response::Answers;

impl Account {
    /// Whether an `Email/changes` with this `sinceState` covers everything not yet judged.
    pub(super) fn starts_at_known_email(&self, since: Option<&State>) -> bool {
        since.is_some() && (since == self.judged.as_ref() || since == self.state(EMAIL))
    }

    /// After a response stated `Email`: `created` if it showed additions to what was known.
    pub(super) fn judge_observed(&mut self, created: bool, seen: &State, fx: &mut Effects) {
        self.follow_email(fx);
        if created && self.state(EMAIL) == Some(seen) {
            self.deliver(fx);
        }
        if self.has_unjudged_email(fx) {
            fx.raised |= only(EMAIL);
        }
        self.refresh_delivery(fx);
    }

    /// After `Email` was counted; `delivered` says whether by an addition.
    pub(super) fn judge_counted(&mut self, delivered: bool, fx: &mut Effects) {
        self.follow_email(fx);
        if delivered {
            self.deliver(fx);
        }
        self.refresh_delivery(fx);
    }

    /// After a probe stated `Email`. Where `EmailDelivery` is wanted and the probe cannot tell
    /// (`delivery` is `None`), a change counts as an addition: it MUST NOT be missed.
    pub(super) fn judge_probed(&mut self, answers: &Answers<'_>, taken: Taken, fx: &mut Effects) {
        self.follow_email(fx);
        let Some(seen) = answers.state(EMAIL) else { return };
        let created = match answers.delivery {
            Some(delivery) => delivery.created && delivery.since != *seen,
            None => self.settled && fx.wants(EMAIL_DELIVERY) && self.judged.as_ref() != Some(seen),
        };
        if taken == Taken::Unordered {
            // The next accepted state contains it.
            self.delivery_hinted |= created;
        } else if self.state(EMAIL) == Some(seen) {
            if created {
                self.deliver(fx);
            }
            if answers.delivery.is_some() {
                self.judged = Some(seen.clone());
            }
        }
        self.refresh_delivery(fx);
    }

    /// `EmailDelivery` may stand in a token if `Email` may and all of it is judged: the token then
    /// says that nothing was added up to that state, whoever compares it.
    pub(super) fn refresh_delivery(&mut self, fx: &Effects) {
        let fresh = self.slot(EMAIL).is_some_and(|email| email.fresh);
        let fresh = fresh && fx.wants(EMAIL_DELIVERY) && !self.has_unjudged_email(fx);
        if let Some(delivery) = self.slots.iter_mut().find(|slot| slot.bit == EMAIL_DELIVERY) {
            delivery.fresh = fresh;
        }
    }

    /// Gives `EmailDelivery` its baseline, resolves a delivery hint.
    fn follow_email(&mut self, fx: &mut Effects) {
        let Some(email) = self.slot(EMAIL) else { return };
        let (state, open) = (email.state.clone(), email.hinted);
        if state.is_none() {
            return;
        }
        if self.state(EMAIL_DELIVERY).is_none() {
            self.judged.clone_from(&state);
            self.slot_mut(EMAIL_DELIVERY).state = state;
            if self.delivery_hinted {
                self.publish_delivery(fx);
            }
            self.delivery_hinted = false;
        } else if self.delivery_hinted && !open {
            if self.judged != state {
                self.deliver(fx);
            }
            self.delivery_hinted = false;
        }
    }

    /// New Email was added, up to the present state of `Email`.
    fn deliver(&mut self, fx: &mut Effects) {
        let state = self.state(EMAIL).cloned();
        self.judged.clone_from(&state);
        if self.state(EMAIL_DELIVERY) != state.as_ref() {
            self.slot_mut(EMAIL_DELIVERY).state = state;
            self.publish_delivery(fx);
        }
    }

    fn publish_delivery(&mut self, fx: &mut Effects) {
        self.slot_mut(EMAIL_DELIVERY).changed_at = fx.next;
        fx.published |= only(EMAIL_DELIVERY);
    }

    /// Whether somebody wants to know if `Email` moved by additions, and nobody can say yet.
    pub(super) fn has_unjudged_email(&self, fx: &Effects) -> bool {
        fx.wants(EMAIL_DELIVERY) && self.judged.as_ref() != self.state(EMAIL)
    }
}
