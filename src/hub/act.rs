//! Does what the tracker decides: wakes, asks, splits.

use super::audience::{Hub, Inner};
use super::probes::Reason;
use crate::clock::Moment;
use crate::state::fact::{AccountKey, PrincipalId};
use crate::state::tracker::Outcome;

impl Hub {
    /// Does what an outcome asks for; `reason` is the reason to probe, if it asks for that.
    pub(super) fn act(
        &self,
        inner: &mut Inner,
        key: &AccountKey,
        outcome: Outcome,
        reason: Reason,
    ) {
        if outcome.probe {
            self.probes().ask(key.clone(), reason);
        }
        if outcome.published != 0 {
            let seq = inner.tracker.seq();
            for audience in inner.audiences_of(key) {
                for view in &audience.views {
                    if view.filter.mask(inner.tracker.types()) & outcome.published != 0 {
                        view.publish(seq);
                    }
                }
            }
        }
        if outcome.settled {
            for audience in inner.audiences_of(key) {
                for view in &audience.views {
                    view.ring();
                }
            }
        }
        if let Some(principal) = outcome.split {
            tracing::info!("a user sees other states of a shared account: kept apart from now on");
            self.split(inner, key, principal);
        }
    }

    /// Moves the audiences of `principal` from the shared view of an account to one of its own.
    fn split(&self, inner: &mut Inner, key: &AccountKey, principal: PrincipalId) {
        let own = AccountKey::scoped(key.id.clone(), principal);
        let moving: Vec<_> = inner
            .watchers
            .get(key)
            .into_iter()
            .flatten()
            .filter_map(|credential| Some((*credential, inner.audiences.get(credential)?)))
            .filter(|(_, audience)| audience.principal.id == principal)
            .flat_map(|(credential, audience)| {
                let filters = audience.views.iter().map(|view| view.filter.clone());
                filters.map(move |filter| (credential, filter)).collect::<Vec<_>>()
            })
            .collect();
        for (credential, filter) in moving {
            if let Some(audience) = inner.audiences.get_mut(&credential) {
                for (account, _) in audience.accounts.iter_mut().filter(|(a, _)| a == key) {
                    *account = own.clone();
                }
                audience.views.iter().for_each(|view| view.forget_frame());
            }
            inner.stop_watching(key, credential);
            let watchers = inner.watchers.entry(own.clone()).or_default();
            if !watchers.contains(&credential) {
                watchers.push(credential);
            }
            self.watch(inner, &own, &filter);
            // What the shared view did not publish of this principal's may be news.
            let outcome = inner.tracker.hint(&own, None, true, Moment::now());
            self.act(inner, &own, outcome, Reason::Baseline);
            self.unwatch(inner, key, &filter);
        }
        self.see_to(inner, key);
    }
}
