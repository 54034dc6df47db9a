//! Who made an API request, and what its response tells the hub, the prober and the authority.

use std::sync::Arc;

use super::calls::Wiring;
use super::turns::Turn;
use super::{Changes, MethodError, Request, Verdict, facts};
use crate::auth::{CredentialKey, Credentials, Principal};
use crate::clock::Moment;
use crate::hub::{Observed, Seen};
use crate::jmap::id::AccountId;
use crate::probe::Passed;

/// What a request may have written.
pub(super) struct Written {
    pub(super) changes: Changes,
    /// A whole response without errors says to what states that led.
    pub(super) told: bool,
}

impl Written {
    /// Reads it of a request; what cannot be read here upstream may read all the same.
    pub(super) fn of(request: Option<&Request<'_>>) -> Self {
        let read = |request: &Request<'_>| Self {
            changes: request.changes(),
            told: request.tells_states(),
        };
        request.map_or(Self::UNREAD, read)
    }

    /// What a sub-request made of some of its calls may have written.
    pub(super) fn of_part(&self, body: &[u8]) -> Self {
        match self.changes {
            Changes::Nothing => Self { changes: Changes::Nothing, told: self.told },
            _ => Self::of(Request::scan(body).as_ref()),
        }
    }

    pub(super) const UNREAD: Self = Self { changes: Changes::Any, told: false };
}

/// Who made a request, and when: what the response is judged by. Dropped before a response was read,
/// whatever the reason (a failure, a client that went away), nobody knows what was written (A6).
pub(super) struct Caller {
    pub(super) wiring: Wiring,
    pub(super) key: Option<CredentialKey>,
    pub(super) principal: Option<Arc<Principal>>,
    /// For a caller of whom nothing is known, where it may come to matter who it is.
    pub(super) credentials: Option<Arc<Credentials>>,
    pub(super) written: Written,
    pub(super) sent: Moment,
    /// It is known what was written, or that nothing was.
    pub(super) known: bool,
    pub(super) _turn: Option<Turn>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        let changes = std::mem::replace(&mut self.written.changes, Changes::Nothing);
        if self.known {
            return;
        }
        if changes == Changes::Nothing {
            return self.look_out();
        }
        let hub = Arc::clone(&self.wiring.hub);
        if let Some(principal) = &self.principal {
            return hub.unknown(principal, &concerned(changes, principal));
        }
        let (Some(key), Some(credentials)) = (self.key, self.credentials.take()) else { return };
        // Nobody's word is taken for what accounts they may write to.
        self.wiring.authority.introduce(key, credentials, move |principal| {
            let mut accounts = concerned(changes, principal);
            accounts.retain(|account| principal.accounts.contains_key(account));
            hub.unknown(principal, &accounts);
        });
    }
}

/// The accounts that a request of `principal`'s may have changed.
fn concerned(changes: Changes, principal: &Principal) -> Vec<AccountId> {
    match changes {
        Changes::Nothing => Vec::new(),
        Changes::Accounts(accounts) => accounts,
        Changes::Any => principal.accounts.keys().cloned().collect(),
    }
}

impl Caller {
    /// Whether it may be an owner of subscriptions who comes back.
    fn is_awaited(&self) -> bool {
        self.principal.is_none()
            && self.wiring.push.as_ref().is_some_and(|push| push.awaits_owners())
    }

    /// Has upstream asked who it is, if it is awaited: that it only read makes no difference then.
    fn look_out(&mut self) {
        if let (true, Some(key), Some(credentials)) =
            (self.is_awaited(), self.key, self.credentials.take())
        {
            self.wiring.authority.look_out(key, credentials);
        }
    }

    /// The response was read.
    pub(super) fn heard(mut self, verdict: &Verdict) {
        let Wiring { authority, hub, prober, .. } = &self.wiring;
        let (observed, certain) = match verdict {
            Verdict::Complete(observed) => (observed, true),
            Verdict::Unknown(observed) => (observed, false),
        };
        let seen = Seen {
            // What was read beside a doubt is good for a hint.
            who: self.principal.as_ref().filter(|_| certain),
            sent: self.sent,
            received: Moment::now(),
        };
        if let (Some(push), Some(key), Some(principal)) =
            (&self.wiring.push, self.key, &self.principal)
        {
            push.accepted(key, principal);
        }
        for (account, facts) in facts(&observed.responses) {
            let Observed { key, is_fact, is_news } = hub.observe(seen, &account, &facts);
            let passed = Passed {
                sent: seen.sent,
                received: seen.received,
                is_fact,
                has_written: self.written.changes.concern(&account),
                is_news,
            };
            prober.upstream_answered(&key, facts.iter().map(|fact| &fact.data_type), &passed);
        }
        if let (Some(principal), Some(state)) = (&self.principal, &observed.session_state)
            && principal.session_state != state.as_str()
        {
            authority.session_changed(principal);
        }
        let doubtful = observed.errors.iter().any(MethodError::may_have_changed);
        // Of somebody unknown nothing was taken for a fact.
        self.known = certain && !doubtful && self.written.told && !self.is_awaited();
    }
}
