//! The accounts that upstream must be asked about, and what others said of them, until the prober
//! takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::clock::Moment;
use crate::state::fact::AccountKey;

/// What changed in the set of watched accounts, or is due to be asked. In order, so that a simulation
/// runs the same way twice.
#[derive(Debug, Default)]
pub struct Due {
    /// Ask now, and why.
    pub ask: BTreeMap<AccountKey, Reason>,
    /// Watched since the last time.
    pub watched: BTreeSet<AccountKey>,
    /// No longer watched.
    pub unwatched: BTreeSet<AccountKey>,
    /// Watched accounts that notifications spoke of.
    pub heard: BTreeMap<AccountKey, Heard>,
    /// Notifications may have been lost.
    pub gap: bool,
}

impl Due {
    fn is_empty(&self) -> bool {
        let Self { ask, watched, unwatched, heard, gap } = self;
        let is_set = ask.is_empty() && watched.is_empty() && unwatched.is_empty();
        is_set && heard.is_empty() && !gap
    }
}

/// Why upstream must be asked; the later one weighs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its states are to be known.
    Baseline,
    /// A hint or a doubt: they may have changed.
    Hint,
}

/// What notifications said of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// When the first of them came.
    pub at: Moment,
    /// Whether one was published as it was.
    pub is_published: bool,
}

/// Sets, not queues: an account stands in each once. Bounded by the accounts that are watched.
#[derive(Debug, Default)]
pub struct Probes {
    due: Mutex<Due>,
    ready: Notify,
}

impl Probes {
    pub(super) fn ask(&self, key: AccountKey, reason: Reason) {
        self.change(|due| {
            let known = due.ask.entry(key).or_insert(reason);
            *known = reason.max(*known);
        });
    }

    pub(super) fn heard(&self, key: AccountKey, at: Moment, is_published: bool) {
        self.change(|due| {
            let heard = due.heard.entry(key).or_insert(Heard { at, is_published });
            heard.is_published |= is_published;
        });
    }

    pub(super) fn gap(&self) {
        self.change(|due| due.gap = true);
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
            due.heard.remove(&key);
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
            if !due.is_empty() {
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
