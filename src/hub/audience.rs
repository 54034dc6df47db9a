//! Who is there, and which accounts they see.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::codec::Codec;
use super::probes::{Probes, Reason};
use super::view::View;
use super::wake::Wake;
use crate::auth::comings::Comings;
use crate::auth::{CredentialKey, Principal};
use crate::clock::Moment;
use crate::config::AccountScope;
use crate::jmap::id::AccountId;
use crate::state::agreement::Agreement;
use crate::state::fact::{AccountKey, PrincipalId};
use crate::state::tracker::Tracker;
use crate::state::types::TypeFilter;

/// What bounds the hub.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Live subscribers of one user; zero for no limit (§8.5).
    pub per_user: usize,
    /// Accounts remembered beyond those watched.
    pub accounts: usize,
    /// Whether account ids mean the same to every user.
    pub scope: AccountScope,
    /// Whether upstream can be asked about a user by name, without a credential of theirs
    /// (`probe.headers`).
    pub as_service: bool,
}

/// What a new subscriber wants.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The types.
    pub filter: &'a TypeFilter,
    /// The transport.
    pub codec: &'static Codec,
    /// What it says it has been given (§7.3 `Last-Event-ID`); a first connection says nothing.
    pub last_event_id: Option<&'a str>,
}

/// The user has as many live subscribers as `limits.streams_per_user` allows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user has {0} live streams already")]
pub struct TooMany(pub usize);

/// See the module.
#[derive(Debug)]
pub struct Hub {
    /// One lock for all: what is done under it takes microseconds, and an order among locks that is
    /// not there cannot be wrong. A view's locks are taken after it, never before.
    inner: Mutex<Inner>,
    probes: Probes,
    comings: Comings,
    pub(super) limits: Limits,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) tracker: Tracker,
    /// Whether Cyrus' counts are states.
    pub(super) agreement: Agreement,
    pub(super) audiences: HashMap<CredentialKey, Audience>,
    /// Who sees an account.
    pub(super) watchers: HashMap<AccountKey, Vec<CredentialKey>>,
    /// The accounts that the prober knows as watched.
    pub(super) asked: HashSet<AccountKey>,
    /// Watched accounts whose states are of our own making, because nobody can be asked.
    pub(super) presumed: HashSet<AccountKey>,
    /// See [`Limits::as_service`].
    pub(super) as_service: bool,
    /// Live subscribers of each user.
    pub(super) users: HashMap<PrincipalId, usize>,
    /// Whose personal account an id is: two users having the same one means ids are per user.
    ///
    /// When full (`Limits::accounts` beyond those watched): those that nobody watches are forgotten.
    pub(super) owners: HashMap<AccountId, PrincipalId>,
    max_owners: usize,
    /// Ids are per user, as the operator says.
    per_user: bool,
    /// Ids that were found to be per user.
    ///
    /// When full (as many as `owners`): no more are looked for; users whose states differ are still
    /// found out by the tracker.
    colliding: HashSet<AccountId>,
}

/// All live subscribers that authenticated alike.
#[derive(Debug)]
pub(super) struct Audience {
    pub(super) credential: CredentialKey,
    pub(super) principal: Arc<Principal>,
    /// The accounts seen, each with the publication number from which all its states count as
    /// pending: 0, but for an account that came while streams were live.
    pub(super) accounts: Vec<(AccountKey, u64)>,
    pub(super) views: Vec<Arc<View>>,
    pub(super) subscribers: usize,
    /// Those of them that are live connections.
    pub(super) live: usize,
    /// Upstream refused the credential: its streams are ending, and nothing is asked with it.
    pub(super) revoked: bool,
}

impl Audience {
    pub(super) fn keys(&self) -> impl Iterator<Item = &AccountKey> {
        self.accounts.iter().map(|(key, _)| key)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = (&AccountKey, u64)> {
        self.accounts.iter().map(|(key, joined)| (key, *joined))
    }
}

impl Inner {
    pub(super) fn audience(&self, key: CredentialKey) -> Option<&Audience> {
        self.audiences.get(&key)
    }

    /// The audiences that see an account.
    pub(super) fn audiences_of(&self, key: &AccountKey) -> impl Iterator<Item = &Audience> {
        let watchers = self.watchers.get(key).into_iter().flatten();
        watchers.filter_map(|credential| self.audiences.get(credential))
    }

    /// Under which key `principal`'s view of an account is kept.
    pub(super) fn key_of(&self, id: &AccountId, principal: PrincipalId) -> AccountKey {
        // Who had it first keeps what is known under the bare id.
        let is_first = !self.per_user && self.owners.get(id) == Some(&principal);
        if self.is_per_user(id) && !is_first {
            AccountKey::scoped(id.clone(), principal)
        } else {
            self.tracker.key_of(id, principal)
        }
    }

    /// Whether this id means another account to each user.
    pub(super) fn is_per_user(&self, id: &AccountId) -> bool {
        self.per_user || self.colliding.contains(id)
    }

    /// Takes an audience from those that see an account.
    pub(super) fn stop_watching(&mut self, key: &AccountKey, credential: CredentialKey) {
        if let Some(watchers) = self.watchers.get_mut(key) {
            watchers.retain(|watcher| *watcher != credential);
            if watchers.is_empty() {
                self.watchers.remove(key);
            }
        }
    }

    /// So many live subscribers are a user's no longer.
    pub(super) fn discount(&mut self, user: PrincipalId, subscribers: usize) {
        if let Entry::Occupied(mut count) = self.users.entry(user) {
            *count.get_mut() = count.get().saturating_sub(subscribers);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Notes whose own accounts these are, and which ids turn out to be per user.
    fn note_owner(&mut self, principal: &Principal) {
        if self.owners.len() >= self.max_owners.saturating_add(self.watchers.len()) {
            let watched: HashSet<&AccountId> = self.watchers.keys().map(|key| &key.id).collect();
            self.owners.retain(|id, _| watched.contains(id));
        }
        for (id, _) in principal.accounts.iter().filter(|(_, access)| access.is_personal) {
            let owner = *self.owners.entry(id.clone()).or_insert(principal.id);
            let is_news = owner != principal.id && !self.is_per_user(id);
            if !is_news || self.colliding.len() >= self.max_owners {
                continue;
            }
            if self.colliding.is_empty() {
                tracing::warn!(
                    "two users have the same personal account id: it is kept apart for each \
                     (set upstream.account_scope = \"per_user\" if all are)"
                );
            }
            self.colliding.insert(id.clone());
        }
    }
}

impl Hub {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let inner = Inner {
            tracker: Tracker::new(limits.accounts),
            agreement: Agreement::default(),
            audiences: HashMap::new(),
            watchers: HashMap::new(),
            asked: HashSet::new(),
            presumed: HashSet::new(),
            as_service: limits.as_service,
            users: HashMap::new(),
            owners: HashMap::new(),
            max_owners: limits.accounts.max(1),
            per_user: limits.scope == AccountScope::PerUser,
            colliding: HashSet::new(),
        };
        let (probes, comings) = (Probes::default(), Comings::default());
        Arc::new(Self { inner: Mutex::new(inner), probes, comings, limits })
    }

    /// What upstream must be asked about.
    #[must_use]
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Whose streams come and go.
    #[must_use]
    pub fn comings(&self) -> &Comings {
        &self.comings
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self, inner: &mut Inner, key: &AccountKey, filter: &TypeFilter) {
        // Upstream is asked for nobody who wants to hear nothing.
        if filter.is_empty() {
            return;
        }
        let outcome = inner.tracker.watch(key, filter, Moment::now());
        self.see_to(inner, key);
        self.act(inner, key, outcome, Reason::Baseline);
    }

    pub(super) fn unwatch(&self, inner: &mut Inner, key: &AccountKey, filter: &TypeFilter) {
        if filter.is_empty() {
            return;
        }
        inner.tracker.unwatch(key, filter);
        self.see_to(inner, key);
    }

    /// Gives an audience the accounts of `principal`, as its credential's Session now lists them.
    /// Accounts that are gone are withdrawn at once; one that came counts as all new.
    pub(super) fn adopt(
        &self,
        inner: &mut Inner,
        credential: CredentialKey,
        principal: &Arc<Principal>,
    ) {
        inner.note_owner(principal);
        let keys: Vec<_> =
            principal.accounts.keys().map(|id| inner.key_of(id, principal.id)).collect();
        let joined = inner.tracker.advance();
        let Some(audience) = inner.audiences.get_mut(&credential) else { return };
        let live = !audience.views.is_empty();
        let (before, live_ones) = (audience.principal.id, audience.live);
        if audience.revoked || !Arc::ptr_eq(&audience.principal, principal) {
            self.comings.note(credential);
        }
        audience.principal = Arc::clone(principal);
        audience.revoked = false;
        let filters: Vec<TypeFilter> =
            audience.views.iter().map(|view| view.filter.clone()).collect();
        let old = std::mem::take(&mut audience.accounts);
        audience.accounts = keys
            .iter()
            .map(|key| {
                let known = old.iter().find(|(old, _)| old == key);
                (key.clone(), known.map_or(if live { joined } else { 0 }, |(_, from)| *from))
            })
            .collect();
        let gone: Vec<_> =
            old.into_iter().map(|(key, _)| key).filter(|k| !keys.contains(k)).collect();
        if !gone.is_empty() {
            audience.views.iter().for_each(|view| view.forget_frame());
        }
        for key in &gone {
            inner.stop_watching(key, credential);
            for filter in &filters {
                self.unwatch(inner, key, filter);
            }
        }
        if before != principal.id {
            inner.discount(before, live_ones);
            *inner.users.entry(principal.id).or_default() += live_ones;
        }
        let mut came = false;
        for key in &keys {
            let watchers = inner.watchers.entry(key.clone()).or_default();
            if watchers.contains(&credential) {
                continue;
            }
            watchers.push(credential);
            came |= live;
            for filter in &filters {
                self.watch(inner, key, filter);
                // All of it is news, whatever was added to it.
                let outcome = inner.tracker.hint(key, None, true, Moment::now());
                self.act(inner, key, outcome, Reason::Baseline);
            }
        }
        if came && let Some(audience) = inner.audience(credential) {
            for view in &audience.views {
                view.publish(joined);
            }
        }
    }

    /// The Session behind `credential` was read again: its accounts are what it says now.
    pub fn revalidated(&self, credential: CredentialKey, principal: &Arc<Principal>) {
        let mut inner = self.lock();
        if inner.audiences.contains_key(&credential) {
            self.adopt(&mut inner, credential, principal);
        }
    }

    /// Upstream no longer accepts `credential`: its streams end.
    pub fn revoke(&self, credential: CredentialKey) {
        self.end(credential, Wake::revoke);
    }

    /// Upstream has vouched for `credential` too long ago: its streams end.
    pub fn lose(&self, credential: CredentialKey) {
        self.end(credential, Wake::lose);
    }

    fn end(&self, credential: CredentialKey, end: fn(&Wake)) {
        if let Some(audience) = self.lock().audiences.get_mut(&credential) {
            audience.revoked = true;
            self.comings.note(credential);
            for view in &audience.views {
                view.end(end);
            }
        }
    }

    /// Wakes every subscriber, so that each looks at the phase of the process.
    pub fn wake_all(&self) {
        for audience in self.lock().audiences.values() {
            for view in &audience.views {
                view.ring();
            }
        }
    }

    /// Whom a credential is taken for, if it has live streams that want to hear something, and upstream
    /// has not refused it.
    #[must_use]
    pub fn live_by(&self, credential: CredentialKey) -> Option<Arc<Principal>> {
        let inner = self.lock();
        let is_good = |audience: &&Audience| !audience.revoked && audience.is_present();
        let audience = inner.audience(credential).filter(is_good)?;
        let listens = audience.views.iter().any(|view| !view.filter.is_empty());
        listens.then(|| Arc::clone(&audience.principal))
    }

    /// The credentials that have live streams, with whom they were taken for last.
    #[must_use]
    pub fn live(&self) -> Vec<(CredentialKey, Arc<Principal>)> {
        let inner = self.lock();
        let present = inner.audiences.iter().filter(|(_, audience)| audience.is_present());
        present.map(|(key, audience)| (*key, Arc::clone(&audience.principal))).collect()
    }
}
