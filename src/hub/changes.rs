//! What the hub is told: responses, notifications, gaps, probe answers.

use std::sync::Arc;

use super::audience::{Audience, Hub, Inner};
use super::probes::Reason;
use crate::auth::{CredentialKey, Principal};
use crate::clock::Moment;
use crate::jmap::id::{AccountId, DataType, State};
use crate::state::agreement::{Worth, count_of};
use crate::state::fact::{AccountKey, Exchange, Fact, Observer, ProbeAnswer, Probed};
use crate::state::tracker::{Outcome, Tracker};
use crate::state::types::EMAIL;

/// One API exchange as the tap saw it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Who asked; `None` while their Session is not known, and what they were told only a hint.
    pub who: Option<&'a Arc<Principal>>,
    /// When the request went out.
    pub sent: Moment,
    /// When the response's end had come.
    pub received: Moment,
}

/// What became of the states that a response stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The view of the account that they are about.
    pub key: AccountKey,
    /// They were told to somebody whose Session lists the account.
    pub is_fact: bool,
    /// They were published.
    pub is_news: bool,
}

/// What the prober needs to know to ask about an account.
#[derive(Debug)]
pub struct ProbeSubject {
    /// With whose credentials.
    pub principal: Arc<Principal>,
    /// Under which credential they are live.
    pub credential: CredentialKey,
    /// What to ask for; `Email` first.
    pub types: Vec<DataType>,
    /// `sinceState` for `Email/changes`, where somebody wants `EmailDelivery`.
    pub delivery_since: Option<State>,
}

/// The known state of `Email` as a count, if it is one: only then can another be compared with it.
fn known_count(tracker: &Tracker, key: &AccountKey) -> Option<u64> {
    let mut email = tracker.states(key).filter(|known| known.bit == EMAIL);
    email.find_map(|known| count_of(known.state))
}

/// `count` as a fact about each of `types` of which a smaller one is known.
fn newer(tracker: &Tracker, key: &AccountKey, count: u64, types: &[DataType]) -> Vec<Fact> {
    let Some(state) = State::parse(&count.to_string()) else { return Vec::new() };
    let known = tracker.states(key).filter(|known| types.contains(known.data_type));
    let older = known.filter(|known| count_of(known.state).is_some_and(|known| known < count));
    older
        .map(|known| Fact {
            data_type: known.data_type.clone(),
            state: state.clone(),
            old_state: Some(known.state.clone()),
            created: false,
        })
        .collect()
}

impl Hub {
    /// A response to one of `seen.who`'s requests stated these states.
    pub fn observe(&self, seen: Seen<'_>, account: &AccountId, facts: &[Fact]) -> Observed {
        let mut inner = self.lock();
        // For accounts outside the caller's own Session (D5), and while it is unknown: a hint.
        let owner = seen.who.filter(|principal| principal.accounts.contains_key(account));
        let (key, who) = match owner {
            Some(owner) => (inner.key_of(account, owner.id), Observer::Known(owner.id)),
            None => (AccountKey::shared(account.clone()), Observer::Unproven),
        };
        let at = Exchange { who, sent: seen.sent, received: seen.received };
        let outcome = inner.tracker.observe(&key, &at, facts);
        self.act(&mut inner, &key, outcome, Reason::Hint);
        // What one principal's view shows may show in the others', unless these are other accounts;
        // what a caller without a known Session was told may concern any.
        if owner.is_none() || outcome.published != 0 && !inner.is_per_user(&key.id) {
            self.hint_other_views(&mut inner, &key, seen.received);
        }
        Observed { key, is_fact: owner.is_some(), is_news: outcome.published != 0 }
    }

    fn hint_other_views(&self, inner: &mut Inner, key: &AccountKey, now: Moment) {
        for view in inner.tracker.views(&key.id) {
            if view != *key {
                let outcome = inner.tracker.hint(&view, None, false, now);
                self.act(inner, &view, outcome, Reason::Hint);
            }
        }
    }

    /// A request of `who`'s that may have changed these accounts ended without a readable response
    /// (A6).
    pub fn unknown(&self, who: &Principal, accounts: &[AccountId]) {
        let (theirs, shared): (Vec<_>, Vec<_>) = {
            let inner = self.lock();
            accounts.iter().cloned().partition(|id| inner.is_per_user(id))
        };
        self.for_views(&shared, |inner, key, now| {
            let outcome = inner.tracker.unknown(key, now);
            self.act(inner, key, outcome, Reason::Hint);
        });
        let mut inner = self.lock();
        for id in theirs {
            let key = inner.key_of(&id, who.id);
            let outcome = inner.tracker.unknown(&key, Moment::now());
            self.act(&mut inner, &key, outcome, Reason::Hint);
        }
    }

    /// Something may have changed in these accounts: the given types, or any. `delivery`: new Email
    /// arrived.
    pub fn hint(&self, accounts: &[AccountId], types: Option<&[DataType]>, delivery: bool) {
        self.for_views(accounts, |inner, key, now| {
            let outcome = inner.tracker.hint(key, types, delivery, now);
            self.notified(inner, key, outcome, now);
        });
    }

    /// States whose order nobody knows, from a notification.
    pub fn claim(&self, accounts: &[AccountId], states: &[(DataType, State)], delivery: bool) {
        self.for_views(accounts, |inner, key, now| {
            let outcome = inner.tracker.claim(key, states, delivery, now);
            self.notified(inner, key, outcome, now);
        });
    }

    /// The mail server counted a change of an account's mail (its count after it, unless it tells that in
    /// another event), perhaps a delivery.
    ///
    /// While counts have proved to be states, the next one is as good as a probe's answer.
    pub fn counted(&self, account: &AccountId, count: Option<u64>, delivery: bool) {
        let mut inner = self.lock();
        let now = Moment::now();
        let shared = AccountKey::shared(account.clone());
        let holds = inner.agreement.holds() && !inner.is_per_user(account);
        let known = known_count(&inner.tracker, &shared).filter(|_| holds);
        let worth = match (known, count) {
            (None, _) => Worth::Doubtful,
            (Some(known), Some(count)) => inner.agreement.weigh(account, count, known, now),
            (Some(_), None) if inner.agreement.is_paired(account, now) => Worth::Old,
            (Some(_), None) => Worth::Doubtful,
        };
        // Only of who is watched will a probe say anything; and no leap, which may be forged, is to make the
        // counts that follow look wrong.
        let is_step = known.is_none() || worth != Worth::Doubtful;
        if let Some(count) = count.filter(|_| is_step && inner.tracker.is_watched(&shared)) {
            inner.agreement.told(account, count, now);
        }
        let mail: Vec<DataType> = inner.agreement.types().cloned().collect();
        for key in inner.tracker.views(account) {
            // A view of a principal's own is one because its states are others.
            let outcome = if worth == Worth::Doubtful || key.scope.is_some() {
                inner.tracker.hint(&key, Some(&mail), delivery, now)
            } else {
                let count = count.filter(|_| worth == Worth::State);
                let facts = count.map(|count| newer(&inner.tracker, &key, count, &mail));
                inner.tracker.count(&key, &facts.unwrap_or_default(), delivery, now)
            };
            self.notified(&mut inner, &key, outcome, now);
        }
    }

    /// Asks about the accounts of which an event told whose count did not come. To be called now and then.
    pub fn collect_owed(&self) {
        let (owed, mail): (Vec<AccountId>, Vec<DataType>) = {
            let mut inner = self.lock();
            let owed = inner.agreement.owed(Moment::now());
            (owed, inner.agreement.types().cloned().collect())
        };
        if !owed.is_empty() {
            self.hint(&owed, Some(&mail), false);
        }
    }

    /// The accounts of a user by name: those of their live streams, else the account of that id.
    #[must_use]
    pub fn accounts_of_user(&self, username: &str) -> Vec<AccountId> {
        let inner = self.lock();
        let theirs = inner.audiences.values().filter(|a| a.principal.username == username);
        let mut accounts: Vec<AccountId> =
            theirs.flat_map(|audience| audience.principal.accounts.keys().cloned()).collect();
        drop(inner);
        accounts.sort_unstable();
        accounts.dedup();
        if accounts.is_empty() {
            accounts.extend(AccountId::parse(username));
        }
        accounts
    }

    /// Notifications may have been lost: everything watched is asked about.
    pub fn gap(&self) {
        let mut inner = self.lock();
        self.probes().gap();
        for key in inner.tracker.gap(Moment::now()) {
            self.probes().ask(key, Reason::Baseline);
        }
    }

    /// Does what came of a notification, whether it was news or not: that somebody told is worth
    /// knowing.
    pub(super) fn notified(
        &self,
        inner: &mut Inner,
        key: &AccountKey,
        outcome: Outcome,
        now: Moment,
    ) {
        if inner.tracker.is_watched(key) {
            self.probes().heard(key.clone(), now, outcome.published != 0);
        }
        self.act(inner, key, outcome, Reason::Hint);
    }

    fn for_views(&self, accounts: &[AccountId], tell: impl Fn(&mut Inner, &AccountKey, Moment)) {
        let mut inner = self.lock();
        let now = Moment::now();
        for account in accounts {
            for key in inner.tracker.views(account) {
                tell(&mut inner, &key, now);
            }
        }
    }

    /// What to ask about an account, and as whom: somebody whose own account it is, else who is offered
    /// most of its types (a sharee may be offered few), else whose view it is, if they are live. `None`
    /// when nobody watches.
    #[must_use]
    pub fn probe_subject(
        &self,
        key: &AccountKey,
        offered: impl Fn(&[String]) -> Vec<DataType>,
    ) -> Option<ProbeSubject> {
        let inner = self.lock();
        let owner = inner.tracker.owner(key);
        let rank = |audience: &&Audience| {
            let access = audience.principal.accounts.get(&key.id);
            let personal = access.is_some_and(|access| access.is_personal);
            let types = access.map_or(0, |access| offered(&access.capabilities).len());
            (audience.is_present(), personal, types, owner == Some(audience.principal.id))
        };
        let can_be_asked_as =
            |audience: &&Audience| !audience.revoked && inner.can_ask_for(&audience.principal);
        let audience = inner.audiences_of(key).filter(can_be_asked_as).max_by_key(rank)?;
        let principal = Arc::clone(&audience.principal);
        let access = principal.accounts.get(&key.id)?;
        let types = inner.tracker.wanted_types(key, &offered(&access.capabilities));
        let delivery_since = inner.tracker.delivery_since(key).cloned();
        let credential = audience.credential;
        Some(ProbeSubject { principal, credential, types, delivery_since })
    }

    /// A probe goes out; [`Self::probe_answered`] must follow whatever becomes of it.
    pub fn probe_sent(&self, key: &AccountKey) {
        self.lock().tracker.probe_sent(key);
    }

    /// A probe, or a part of one, was answered. Gives whether that was published, as a change.
    pub fn probe_answered(&self, key: &AccountKey, at: &Exchange, probed: &Probed<'_>) -> bool {
        let mut inner = self.lock();
        if inner.agreement.probed(&key.id, at.sent, probed.answers) {
            tracing::warn!(
                "upstream's states are no longer what Cyrus' events count: upstream is asked again"
            );
        }
        let outcome = inner.tracker.probe_answered(key, at, probed);
        if probed.answers.iter().any(|(_, answer)| matches!(answer, ProbeAnswer::State(_))) {
            inner.presumed.remove(key);
        }
        self.act(&mut inner, key, outcome, Reason::Hint);
        if outcome.published != 0 && !inner.is_per_user(&key.id) {
            self.hint_other_views(&mut inner, key, at.received);
        }
        outcome.published != 0
    }
}
