//! The subscriptions there are, each with what this process knows beside the record: a credential that is at
//! hand, and whom to wake when something about it changes.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use tokio::sync::OwnedMutexGuard as Turn;
use tokio::sync::{Notify, watch};

use super::subscription::{Subscription, SubscriptionId};
use crate::auth::{CredentialKey, Principal};
use crate::hub::Subscriber;

/// Users that share a turn: enough that two seldom do.
const TURNS: usize = 64;

/// A credential that upstream takes for the owner's, and whom it takes it for.
pub(super) type Present = (CredentialKey, Arc<Principal>);

/// One subscription.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: SubscriptionId,
    state: Mutex<State>,
    changed: Notify,
    /// Whether it is known from what states it goes on, so that no later change is missed.
    is_served: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    /// `None` once it is destroyed.
    record: Option<Arc<Subscription>>,
    present: Option<Present>,
}

impl Held {
    pub(super) fn new(record: Arc<Subscription>, present: Option<Present>) -> Arc<Self> {
        let id = record.id;
        let state = Mutex::new(State { record: Some(record), present });
        Arc::new(Self { id, state, changed: Notify::new(), is_served: watch::Sender::new(false) })
    }

    /// The record as it is now; `None` when it is destroyed.
    pub(super) fn record(&self) -> Option<Arc<Subscription>> {
        self.lock().record.clone()
    }

    /// The credential at hand.
    pub(super) fn present(&self) -> Option<Present> {
        self.lock().present.clone()
    }

    /// The record is another now, or gone.
    pub(super) fn replace(&self, record: Option<Arc<Subscription>>) {
        self.lock().record = record;
        self.changed.notify_one();
    }

    /// A credential is at hand, or no longer.
    pub(super) fn attend(&self, present: Option<Present>) {
        self.lock().present = present;
        self.changed.notify_one();
    }

    /// Whom the credential at hand is taken for now: what its Session said before is not to come back.
    pub(super) fn renew(&self, subscriber: &Subscriber) {
        let Some(now) = subscriber.principal() else { return };
        if let Some((key, principal)) = &mut self.lock().present
            && *key == subscriber.credential()
        {
            *principal = now;
        }
    }

    /// Waits for the record or the credential to change, since this was last waited for. One waits.
    ///
    /// Cancel safety: nothing is lost when it is dropped.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// No later change is missed.
    pub(super) fn serve(&self) {
        self.is_served.send_replace(true);
    }

    /// Waits until no later change is missed.
    ///
    /// Cancel safety: may be dropped at any time.
    pub(super) async fn served(&self) {
        // The sender lives as long as `self`.
        let _ = self.is_served.subscribe().wait_for(|is_served| *is_served).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bounded by `push.subscriptions_per_user` for each user.
#[derive(Debug)]
pub(super) struct Registry {
    /// Held for map operations only.
    users: Mutex<HashMap<Box<str>, Vec<Arc<Held>>>>,
    /// Who changes a user's subscriptions, one after the other, the write to the disk included.
    turns: Vec<Arc<tokio::sync::Mutex<()>>>,
    hasher: RandomState,
}

impl Default for Registry {
    fn default() -> Self {
        let turns = std::iter::repeat_with(Default::default).take(TURNS).collect();
        Self { users: Mutex::default(), turns, hasher: RandomState::new() }
    }
}

impl Registry {
    /// Waits for one's turn to change a user's subscriptions.
    pub(super) async fn turn(&self, user: &str) -> Option<Turn<()>> {
        let hash = usize::try_from(self.hasher.hash_one(user)).unwrap_or_default();
        match self.turns.get(hash % TURNS) {
            Some(turn) => Some(Arc::clone(turn).lock_owned().await),
            None => None,
        }
    }

    /// All of a user's.
    pub(super) fn of_user(&self, user: &str) -> Vec<Arc<Held>> {
        self.lock().get(user).cloned().unwrap_or_default()
    }

    pub(super) fn add(&self, user: &str, held: Arc<Held>) {
        self.lock().entry(user.into()).or_default().push(held);
    }

    pub(super) fn remove(&self, user: &str, id: SubscriptionId) {
        let mut users = self.lock();
        if let Some(theirs) = users.get_mut(user) {
            theirs.retain(|held| held.id != id);
            if theirs.is_empty() {
                users.remove(user);
            }
        }
    }

    /// Looks at each.
    pub(super) fn for_each(&self, mut look: impl FnMut(&Held)) {
        self.lock().values().flatten().for_each(|held| look(held));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<Arc<Held>>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
