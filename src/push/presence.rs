//! Owners who come back with a credential, and credentials that upstream refuses (P5; architecture D9).
//!
//! A credential that is at hand is kept in memory while its subscription lives: with it the accounts are
//! looked at again and again as for a stream, upstream is asked what changed, and a refusal ends the
//! subscription. Where none is at hand (after a restart; an access token that has run out;
//! `push.keep_credentials = false`), what bounds a subscription is `expires`.

use std::sync::Arc;

use super::binding::Binding;
use super::registry::{Held, Present};
use super::serve::End;
use super::subscription::{Subscription, View};
use super::{Caller, Push};
use crate::auth::{CredentialKey, Principal};
use crate::clock;
use crate::hub::Subscriber;

/// Seconds by which upstream's clock may be ahead of ours.
const SKEW: u64 = 60;

/// Whether a credential serves better than the one at hand: where there is none, or where that is a token
/// that runs out sooner.
fn is_better(present: Option<&Present>, new: &Principal) -> bool {
    let Some((_, present)) = present else { return true };
    match (present.credentials.expires(), new.credentials.expires()) {
        (Some(present), Some(new)) => new > present,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

impl Push {
    /// Upstream has just accepted a credential: subscriptions of its user that wait for one have it from
    /// now on.
    pub(super) async fn arrived(&self, key: CredentialKey) {
        let Some(principal) = self.wiring.authority.known(key) else { return };
        let who = Caller { key, principal };
        for held in self.registry.of_user(&who.principal.identity()) {
            let Some(record) = held.record() else { continue };
            if !is_better(held.present().as_ref(), &who.principal)
                || !self.is_owner(&who, &record.owner).await.unwrap_or(false)
            {
                continue;
            }
            if self.settings.keep_credentials {
                held.attend(Some((key, Arc::clone(&who.principal))));
            } else {
                self.see(&held, &record, &who.principal).await;
            }
        }
    }

    /// The credential of a subscription is good no longer, as the hub has it.
    pub(super) fn refused(
        &self,
        held: &Held,
        record: &Subscription,
        subscriber: &Subscriber,
    ) -> Result<(), End> {
        let present = held.present();
        let has_run_out = present.as_ref().is_some_and(|(_, principal)| {
            let expires = principal.credentials.expires();
            expires.is_some_and(|expires| expires <= clock::wall().as_secs() + SKEW)
        });
        let outlives = match &record.owner {
            Binding::User(_) => true,
            Binding::Grant(_) => has_run_out,
            Binding::Header(_) | Binding::Password(_) => false,
        };
        if subscriber.wake().is_lost() {
            // Nobody refused it: it is tried again, and nobody else would bring it back.
            return Ok(());
        }
        if outlives || present.is_none() {
            held.attend(None);
            return Ok(());
        }
        Err(End::CredentialRefused)
    }

    /// Keeps which accounts the owner sees, if these are others now.
    pub(super) async fn note_view(&self, held: &Held, subscriber: &Subscriber) {
        let (Some(record), Some(_)) = (held.record(), held.present()) else { return };
        let Some(principal) = subscriber.principal() else { return };
        self.see(held, &record, &principal).await;
    }

    async fn see(&self, held: &Held, record: &Subscription, principal: &Principal) {
        let view = View::of(principal);
        if view != record.view {
            self.amend(held, |record| record.view = view).await;
        }
    }
}
