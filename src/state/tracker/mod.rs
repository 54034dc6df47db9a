//! Every account's states, and what is to be published or probed next (architecture D7, D8).
//!
//! The rules, and where they stand:
//!
//! | rule | |
//! |---|---|
//! | exact, new, in order: publish; equal: nothing; out of order: probe | [`Tracker::observe`] |
//! | first sight is the baseline, published only if something says it is a change | [`Tracker::observe`] |
//! | hint: probe; while one is in flight: exactly one follow-up; unwatched: a mark | [`Tracker::hint`] |
//! | an exact state without order: a hint, unless it is the known one | [`Tracker::claim`] |
//! | the first watcher, or one that widens what is wanted: baseline probe | [`Tracker::watch`] |
//! | lost notifications: nothing is fresh until probed | [`Tracker::gap`] |
//! | a probe's answer is the truth of its send moment | [`Tracker::probe_answered`] |
//! | `Email` moves `Mailbox` and `Thread`; `EmailDelivery` is derived | `account`, `delivery` |
//! | nobody can be asked: a state of our own making says that something changed | [`Tracker::presume`] |
//! | two principals that disagree twice in a row have two views | `suspicion` |
//!
//! # What the callers have to keep to
//!
//! - A subscriber is sent nothing before its account is settled ([`Outcome::settled`],
//!   [`Tracker::is_settled`]): an earlier event would carry a token that marks as given what was
//!   never compared. Then it gets what its token missed and what was published since, in one event.
//! - Its token is made of the [`Known::fresh`] states at the moment of sending, after everything
//!   pending for it has gone into the event.
//! - A probe at an interval needs no hint: [`Tracker::probe_sent`] may be called at any time.
//!
//! **Invariant:** the states accepted for a type, in order, are a subsequence of those upstream
//! went through; once hints and probes have come to rest, the last one is upstream's.

mod account;
mod delivery;
mod outcome;
mod presume;
mod probing;
mod response;
mod suspicion;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use crate::clock::Moment;
use crate::jmap::id::{AccountId, DataType, State};

use self::account::{Account, Effects};
pub use self::outcome::{Known, Outcome};
use self::response::{Answers, Response};
use super::fact::{AccountKey, Exchange, Fact, Observer, PrincipalId, Probed};
use super::types::{EMAIL_DELIVERY, TypeFilter, TypeTable, only};

/// The states of all accounts that are watched, and of the latest others.
///
/// When full: a watched account is always remembered (streams have limits of their own); the
/// unwatched account heard of longest ago makes room, and where there is none, a new unwatched one
/// is not remembered. The loss is small: its next watcher gets a baseline by probe either way.
#[derive(Debug)]
pub struct Tracker {
    types: TypeTable,
    /// Ordered, so that the views of one account stand together.
    accounts: BTreeMap<AccountKey, Box<Account>>,
    /// By age, the accounts that nobody watches and no probe is under way for: an answer must find
    /// the entry that asked.
    idle: BTreeMap<NonZeroU64, AccountKey>,
    ticks: NonZeroU64,
    seq: u64,
    refused_types: u64,
    max_accounts: usize,
}

impl Tracker {
    /// A tracker that remembers up to `max_accounts` accounts, and all that are watched.
    #[must_use]
    pub fn new(max_accounts: usize) -> Self {
        Self {
            types: TypeTable::new(),
            accounts: BTreeMap::new(),
            idle: BTreeMap::new(),
            ticks: NonZeroU64::MIN,
            seq: 0,
            refused_types: 0,
            max_accounts,
        }
    }

    /// The types known so far.
    #[must_use]
    pub fn types(&self) -> &TypeTable {
        &self.types
    }

    /// The number of the last publication; 0 before the first.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Takes the next number for something that is new to some subscribers without being a new state,
    /// such as an account they may see from now on.
    pub fn advance(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// How many states were dropped because the [`TypeTable`] is full: worth one warning.
    #[must_use]
    pub fn refused_types(&self) -> u64 {
        self.refused_types
    }

    /// The key under which `principal`'s view of an account is kept. (With `account_scope =
    /// "per_user"` that is always [`AccountKey::scoped`], and nobody need ask.)
    #[must_use]
    pub fn key_of(&self, id: &AccountId, principal: PrincipalId) -> AccountKey {
        let own = AccountKey::scoped(id.clone(), principal);
        if self.accounts.contains_key(&own) { own } else { AccountKey::shared(id.clone()) }
    }

    /// All views of an account: what a notification that names only the account is about. The
    /// shared one even if nothing is known of it.
    #[must_use]
    pub fn views(&self, id: &AccountId) -> Vec<AccountKey> {
        let shared = AccountKey::shared(id.clone());
        let last = AccountKey::scoped(id.clone(), PrincipalId(u64::MAX));
        let scoped = self.accounts.range(&shared..=&last).map(|(key, _)| key.clone());
        let mut views = vec![shared.clone()];
        views.extend(scoped.filter(|key| *key != shared));
        views
    }

    /// The states of one response, all of the account `key`.
    ///
    /// Exact states count as facts only for the principal whose answers made the entry, and only
    /// if the request was sent after the last accepted state had arrived (ST1: only equality means
    /// anything, so two responses under way at once have no order).
    pub fn observe(&mut self, key: &AccountKey, at: &Exchange, facts: &[Fact]) -> Outcome {
        let response = Response::reduce(facts, &mut self.types);
        self.refused_types += response.refused;
        if response.seen.is_empty() {
            return Outcome::default();
        }
        self.with(key, |account, _, fx| account.observe(at, &response, fx))
    }

    /// States that are as good as a probe's answer at this moment, for the owner of the view: they are
    /// newer than those known ([`Agreement`](super::agreement::Agreement)). `delivery`: new Email was added,
    /// and `EmailDelivery` takes the present state of `Email`.
    ///
    /// Raises no question. Where nobody says whether `Email` moved by additions (not to say so is to deny
    /// it, unless a message was lost), the next probe finds out: what is not judged stays so till then.
    pub fn count(
        &mut self,
        key: &AccountKey,
        facts: &[Fact],
        delivery: bool,
        now: Moment,
    ) -> Outcome {
        let Some(who) = self.owner(key) else { return Outcome::default() };
        let at = Exchange { who: Observer::Known(who), sent: now, received: now };
        let response = Response::reduce(facts, &mut self.types);
        if response.seen.is_empty() && !delivery {
            return Outcome::default();
        }
        self.with(key, |account, _, fx| account.count(&at, &response, delivery, fx))
    }

    /// Something may have changed: the given types, or any. Names that neither upstream nor the
    /// capability table ever used are ignored: there is nothing to ask about them.
    ///
    /// `delivery`: new Email was added; `EmailDelivery` takes the next `Email` state.
    pub fn hint(
        &mut self,
        key: &AccountKey,
        types: Option<&[DataType]>,
        delivery: bool,
        now: Moment,
    ) -> Outcome {
        let types = types.map(|types| self.mask(types.iter()));
        let delivery = delivery || types.is_some_and(|types| types & only(EMAIL_DELIVERY) != 0);
        if types == Some(0) && !delivery {
            return Outcome::default();
        }
        self.with(key, |account, _, fx| account.hint(types, delivery, now, fx))
    }

    /// A response that broke off, or a `serverPartialFail` (§3.6.2), of a request that may have
    /// changed anything.
    pub fn unknown(&mut self, key: &AccountKey, now: Moment) -> Outcome {
        self.hint(key, None, false, now)
    }

    /// Exact states that nobody can order (a notification): those already known say nothing, the
    /// others are hints. `delivery` as for [`Self::hint`], unless that delivery is accounted for.
    pub fn claim(
        &mut self,
        key: &AccountKey,
        states: &[(DataType, State)],
        delivery: bool,
        now: Moment,
    ) -> Outcome {
        let with_bit = |(name, state)| Some((self.types.bit(name)?, state));
        let states: Vec<_> = states.iter().map(|(n, s)| (n, s)).filter_map(with_bit).collect();
        let delivery = delivery || states.iter().any(|(bit, _)| *bit == EMAIL_DELIVERY);
        if states.is_empty() && !delivery {
            return Outcome::default();
        }
        self.with(key, |account, _, fx| account.claim(&states, delivery, now, fx))
    }

    /// A subscriber begins to watch the account.
    pub fn watch(&mut self, key: &AccountKey, filter: &TypeFilter, now: Moment) -> Outcome {
        if !self.accounts.contains_key(key) {
            if self.accounts.len() >= self.max_accounts {
                self.evict();
            }
            self.accounts.insert(key.clone(), Box::default());
        }
        self.with(key, |account, types, fx| account.watch(filter, types, now, fx))
    }

    /// A subscriber stops watching; `filter` is the one it began with. The states are kept, but
    /// after the last one nothing is fresh any more.
    pub fn unwatch(&mut self, key: &AccountKey, filter: &TypeFilter) {
        if self.accounts.contains_key(key) {
            let _ = self.with(key, |account, types, fx| account.unwatch(filter, types, fx));
        }
        if self.accounts.len() > self.max_accounts {
            self.evict();
        }
    }

    /// Notifications may have been lost: every watched account needs a probe, and no token counts
    /// on its states until then.
    ///
    /// Returns the accounts to probe now. Those with a probe in flight are not among them: its
    /// answer asks for the follow-up.
    pub fn gap(&mut self, now: Moment) -> Vec<AccountKey> {
        let types = &self.types;
        let ask = |(key, account): (&AccountKey, &mut Box<Account>)| {
            let mut fx = Effects::new(account.watchers().mask(types), 0);
            account.gap(now, &mut fx);
            account.conclude(&fx).probe.then(|| key.clone())
        };
        self.accounts.iter_mut().filter_map(ask).collect()
    }

    /// A probe of the account goes out. It has to be followed by [`Self::probe_answered`] whatever
    /// becomes of it: until then no other is asked for.
    pub fn probe_sent(&mut self, key: &AccountKey) {
        if self.accounts.contains_key(key) {
            let _ = self.with(key, |account, _, _| account.probe_sent());
        }
    }

    /// The answer to a probe. `at.who` is the principal that asked, best the [`owner`](Self::owner):
    /// its view is the entry's from now on. A bisected probe is answered in parts, each with its
    /// own moments.
    ///
    /// [`Outcome::probe`] is never set for what failed: that is asked again with back-off (D8).
    pub fn probe_answered(
        &mut self,
        key: &AccountKey,
        at: &Exchange,
        probed: &Probed<'_>,
    ) -> Outcome {
        let answers = Answers::reduce(probed, &mut self.types);
        if !self.accounts.contains_key(key) {
            return Outcome::default();
        }
        let outcome = self.with(key, |account, _, fx| account.probe_answered(at, &answers, fx));
        if let Some(principal) = outcome.split {
            // Known even if nobody watches it, so that its owner's requests cause no more probes.
            let own = AccountKey::scoped(key.id.clone(), principal);
            let _ = self.with(&own, |_, _, _| {});
        }
        outcome
    }

    /// The principal whose view the entry is, and whose credentials are the first choice for a
    /// probe.
    #[must_use]
    pub fn owner(&self, key: &AccountKey) -> Option<PrincipalId> {
        self.accounts.get(key)?.owner
    }

    /// Whether anybody watches the account.
    #[must_use]
    pub fn is_watched(&self, key: &AccountKey) -> bool {
        self.accounts.get(key).is_some_and(|account| account.is_watched())
    }

    /// Whether the account is watched and its baseline known (see [`Outcome::settled`]).
    #[must_use]
    pub fn is_settled(&self, key: &AccountKey) -> bool {
        self.accounts.get(key).is_some_and(|account| account.is_settled())
    }

    /// The types a probe must ask for: of those the account's capabilities `offered` and those
    /// already seen or hinted at, the wanted ones that upstream does not deny. `Email` comes first, so that the
    /// states of `Mailbox` and `Thread` are not older than its (§3.3: calls run in order).
    ///
    /// When empty, there is nothing to send; report an empty, complete answer.
    #[must_use]
    pub fn wanted_types(&self, key: &AccountKey, offered: &[DataType]) -> Vec<DataType> {
        let Some(account) = self.accounts.get(key) else { return Vec::new() };
        let seen = account.slots.iter().filter(|slot| slot.state.is_some() || slot.hinted);
        let seen = seen.fold(0, |mask, slot| mask | only(slot.bit));
        let asked = account.asked(account.watchers().mask(&self.types));
        let asked = asked & (seen | self.mask(offered.iter()));
        let bits = (0..=63).filter(|bit| asked & only(*bit) != 0);
        let mut types: Vec<_> = bits.filter_map(|bit| self.types.name(bit).cloned()).collect();
        // A capability of the future may offer a type that has no bit yet.
        let unknown = offered.iter().filter(|name| self.types.bit(name).is_none());
        types.extend(unknown.filter(|name| account.watchers().allows(name)).cloned());
        types
    }

    /// The `sinceState` of an `Email/changes` that the probe makes *after* its `Email/get`, if
    /// somebody wants `EmailDelivery`. The order matters: what is added in between must be found
    /// too often rather than never.
    #[must_use]
    pub fn delivery_since(&self, key: &AccountKey) -> Option<&State> {
        let account = self.accounts.get(key)?;
        let wanted = account.watchers().mask(&self.types) & only(EMAIL_DELIVERY) != 0;
        // One of our own making means nothing to upstream.
        account.judged.as_ref().filter(|state| wanted && !state.is_invented())
    }

    /// The known states of an account, in no order.
    pub fn states(&self, key: &AccountKey) -> impl Iterator<Item = Known<'_>> {
        let slots = self.accounts.get(key).into_iter().flat_map(|account| &account.slots);
        slots.filter_map(|slot| {
            Some(Known {
                data_type: self.types.name(slot.bit)?,
                bit: slot.bit,
                state: slot.state.as_ref()?,
                changed_at: slot.changed_at,
                fresh: slot.fresh,
            })
        })
    }

    fn mask<'a>(&self, types: impl Iterator<Item = &'a DataType>) -> u64 {
        types.filter_map(|name| self.types.bit(name)).fold(0, |mask, bit| mask | only(bit))
    }

    /// Runs `act` on the account's entry, if there is one or room for one.
    fn with(
        &mut self,
        key: &AccountKey,
        act: impl FnOnce(&mut Account, &TypeTable, &mut Effects),
    ) -> Outcome {
        if !self.accounts.contains_key(key) {
            if self.accounts.len() >= self.max_accounts && !self.evict() {
                return Outcome::default();
            }
            self.accounts.insert(key.clone(), Box::default());
        }
        let Some(account) = self.accounts.get_mut(key) else { return Outcome::default() };
        let mut fx = Effects::new(account.watchers().mask(&self.types), self.seq + 1);
        act(account, &self.types, &mut fx);
        let outcome = account.conclude(&fx);
        if outcome.published != 0 {
            self.seq += 1;
        }
        if let Some(tick) = account.idle.take() {
            self.idle.remove(&tick);
        }
        if !account.is_watched() && !account.is_being_probed() {
            self.ticks = self.ticks.saturating_add(1);
            account.idle = Some(self.ticks);
            self.idle.insert(self.ticks, key.clone());
        }
        outcome
    }

    /// Forgets the unwatched account heard of longest ago; false if all are watched.
    fn evict(&mut self) -> bool {
        let Some((_, key)) = self.idle.pop_first() else { return false };
        self.accounts.remove(&key).is_some()
    }
}
