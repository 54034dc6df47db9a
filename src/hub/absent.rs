//! Subscribers that are not connected (`PushSubscription`, §7.2): for some no credential is at hand, and
//! upstream cannot be asked for them.

use super::audience::{Audience, Hub, Inner};
use super::probes::Reason;
use crate::auth::Principal;
use crate::clock::Moment;
use crate::jmap::id::{DataType, State};
use crate::state::fact::{AccountKey, Exchange, Observer};

impl Inner {
    /// Whether upstream can be asked on somebody's behalf.
    pub(super) fn can_ask_for(&self, principal: &Principal) -> bool {
        !principal.credentials.is_absent() || self.as_service && !principal.username.is_empty()
    }

    fn can_be_asked(&self, key: &AccountKey) -> bool {
        self.audiences_of(key)
            .any(|audience| !audience.revoked && self.can_ask_for(&audience.principal))
    }
}

impl Hub {
    /// Makes an account the prober's affair, or no longer: while somebody watches it, and there is
    /// somebody to ask as.
    pub(super) fn see_to(&self, inner: &mut Inner, key: &AccountKey) {
        let is_due = inner.tracker.is_watched(key) && inner.can_be_asked(key);
        if is_due {
            let is_new = inner.asked.insert(key.clone());
            if is_new {
                self.probes().watch(key.clone());
            }
            let is_attended = inner.audiences_of(key).any(|it| !it.revoked && it.is_present());
            if (is_new || is_attended) && inner.presumed.remove(key) {
                // What was made up is to be told to nobody who can be told the truth.
                let outcome = inner.tracker.gap_of(key, Moment::now());
                self.act(inner, key, outcome, Reason::Baseline);
            }
        } else if inner.asked.remove(key) {
            self.probes().unwatch(key.clone());
            if inner.tracker.is_watched(key) {
                // What upstream was still to be asked has to be told without it.
                self.probes().ask(key.clone(), Reason::Baseline);
            }
        }
        if !inner.tracker.is_watched(key) {
            inner.presumed.remove(key);
        }
    }

    /// Something may have changed in an account. Where nobody can be asked about it, says so to those who
    /// watch it, by states of our own making. Gives whether upstream can be asked instead.
    pub fn can_be_asked_or_presume(
        &self,
        key: &AccountKey,
        offered: impl Fn(&[String]) -> Vec<DataType>,
    ) -> bool {
        let mut inner = self.lock();
        if inner.can_be_asked(key) {
            return true;
        }
        self.invent(&mut inner, key, offered);
        false
    }

    /// Upstream turned out not to be asked about an account, although there was somebody to ask as.
    pub fn presume(&self, key: &AccountKey, offered: impl Fn(&[String]) -> Vec<DataType>) {
        self.invent(&mut self.lock(), key, offered);
    }

    fn invent(
        &self,
        inner: &mut Inner,
        key: &AccountKey,
        offered: impl Fn(&[String]) -> Vec<DataType>,
    ) {
        let first = inner.audiences_of(key).next().map(|audience| &audience.principal);
        let Some(principal) = first.cloned() else { return };
        let Some(access) = principal.accounts.get(&key.id) else { return };
        let (types, now) = (offered(&access.capabilities), Moment::now());
        let who = inner.tracker.owner(key).unwrap_or(principal.id);
        let at = Exchange { who: Observer::Known(who), sent: now, received: now };
        let outcome = inner.tracker.presume(key, &at, &types, invented);
        inner.presumed.insert(key.clone());
        self.act(inner, key, outcome, Reason::Baseline);
    }

    /// The accounts whose states are of our own making.
    #[must_use]
    pub fn presumed(&self) -> usize {
        self.lock().presumed.len()
    }
}

/// A state that upstream never gave and that was never told before.
fn invented() -> State {
    State::invent(rand::random())
}

impl Audience {
    /// Whether its credential is at hand.
    pub(super) fn is_present(&self) -> bool {
        !self.principal.credentials.is_absent()
    }
}
