//! `EmailDelivery`: a type that no method serves, derived from `Email` (RFC 8621 §1.5).
//!
//! "The state string for this MUST change whenever a new Email is added to the store, but it SHOULD
//! NOT change upon any other change to the Email objects." Its state is the `Email` state at which
//! an addition was seen. `judged` is the `Email` state up to which additions are accounted for;
//! between it and the present state of `Email` lies what only `Email/changes` can tell.

use crate::jmap::id::State;
use crate::state::fact::Delivery;
use crate::state::types::{EMAIL, EMAIL_DELIVERY, only};

use super::account::{Account, Effects, Taken};

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
    }

    /// After a probe stated `Email`.
    pub(super) fn judge_probed(
        &mut self,
        delivery: Option<&Delivery>,
        seen: &State,
        taken: Taken,
        fx: &mut Effects,
    ) {
        self.follow_email(fx);
        let Some(delivery) = delivery else { return };
        let created = delivery.created && delivery.since != *seen;
        if taken == Taken::Unordered {
            // The next accepted state contains it.
            self.delivery_hinted |= created;
        } else if self.state(EMAIL) == Some(seen) {
            if created {
                self.deliver(fx);
            }
            self.judged = Some(seen.clone());
        }
    }

    /// Gives `EmailDelivery` its baseline, resolves a delivery hint, keeps freshness in step.
    fn follow_email(&mut self, fx: &mut Effects) {
        let Some(email) = self.slot(EMAIL) else { return };
        let (state, fresh, open) = (email.state.clone(), email.fresh, email.hinted);
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
        self.slot_mut(EMAIL_DELIVERY).fresh = fresh && fx.wants(EMAIL_DELIVERY);
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
