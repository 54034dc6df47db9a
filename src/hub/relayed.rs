//! What upstream's own push tells, to one of the credentials that have live streams (architecture D14).

use super::audience::{Audience, Hub};
use super::probes::Reason;
use crate::auth::CredentialKey;
use crate::clock::Moment;
use crate::jmap::id::{AccountId, DataType, State};

/// What upstream's own push says of one account (§7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The account.
    pub account: AccountId,
    /// States, whose order against responses nobody knows.
    pub states: Vec<(DataType, State)>,
    /// Types of which only a change is known.
    pub types: Vec<DataType>,
    /// Whether new Email arrived.
    pub delivery: bool,
}

impl Hub {
    /// Upstream's own push told this to who authenticates by `credential`. Gives whether the account
    /// is theirs; one that is not stays untouched.
    pub fn relayed(&self, credential: CredentialKey, claim: &Claim) -> bool {
        let Claim { account, states, types, delivery } = claim;
        let mut inner = self.lock();
        let Some(audience) = inner.audience(credential) else { return false };
        let who = audience.principal.id;
        if !audience.principal.accounts.contains_key(account) {
            return false;
        }
        let views = match inner.is_per_user(account) {
            true => vec![inner.key_of(account, who)],
            false => inner.tracker.views(account),
        };
        let now = Moment::now();
        for key in views {
            let outcome = inner.tracker.claim(&key, states, *delivery, now);
            self.notified(&mut inner, &key, outcome, now);
            let outcome = inner.tracker.hint(&key, Some(types), false, now);
            self.act(&mut inner, &key, outcome, Reason::Hint);
        }
        true
    }

    /// Upstream's own push may have told something to who authenticates by `credential`, and we have
    /// not heard it: all accounts they watch are asked about.
    pub fn missed(&self, credential: CredentialKey) {
        let mut inner = self.lock();
        let keys: Vec<_> =
            inner.audience(credential).into_iter().flat_map(Audience::keys).cloned().collect();
        for key in keys {
            let outcome = inner.tracker.gap_of(&key, Moment::now());
            self.act(&mut inner, &key, outcome, Reason::Baseline);
        }
    }

    /// Upstream's own push is no longer heard for somebody, and nobody knows since when: others are to
    /// be relied on less.
    pub fn unheard(&self) {
        self.probes().gap();
    }
}
