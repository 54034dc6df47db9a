//! The accounts that upstream must be asked about, until the prober takes them.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::state::fact::AccountKey;

/// What changed in the set of watched accounts, or is due to be asked.
#[derive(Debug, Default)]
pub struct Due {
    /// Ask now: a baseline, a hint, a doubt.
    pub ask: HashSet<AccountKey>,
    /// Watched since the last time.
    pub watched: HashSet<AccountKey>,
    /// No longer watched.
    pub unwatched: HashSet<AccountKey>,
}

/// A set, not a queue: an account stands in it once. Bounded by the accounts that are watched.
#[derive(Debug, Default)]
pub struct Probes {
    due: Mutex<Due>,
    ready: Notify,
}

impl Probes {
    pub(super) fn ask(&self, key: AccountKey) {
        self.change(|due| {
            due.ask.insert(key);
        });
    }

    pub(super) fn watch(&self, key: AccountKey) {
        self.change(|due| {
            due.unwatched.remove(&key);
            due.watched.insert(key);
        });
    }

    pub(super) fn unwatch(&self, key: AccountKey) {
        self.change(|due| {
            due.watched.remove(&key);
            due.ask.remove(&key);
            due.unwatched.insert(key);
        });
    }

    /// Waits for something to be due, and takes all of it.
    ///
    /// Cancel safety: nothing is taken before it is returned.
    pub async fn take(&self) -> Due {
        loop {
            let ready = self.ready.notified();
            let due = std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner));
            if !(due.ask.is_empty() && due.watched.is_empty() && due.unwatched.is_empty()) {
                return due;
            }
            ready.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Due)) {
        change(&mut self.due.lock().unwrap_or_else(PoisonError::into_inner));
        self.ready.notify_one();
    }
}
