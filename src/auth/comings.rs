//! Credentials about which something has changed (who they are, whether streams live on them), until one
//! who follows that takes note.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::credentials::CredentialKey;

/// A set, not a queue: a credential stands in it once. Bounded by the credentials that come between two
/// looks, and empty while nobody follows.
#[derive(Debug, Default)]
pub struct Comings {
    /// `None` while nobody follows.
    changed: Mutex<Option<HashSet<CredentialKey>>>,
    ready: Notify,
}

impl Comings {
    /// Begins to note them. There is one who follows.
    pub fn follow(&self) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
    }

    /// Something about this credential has changed; who follows knows where to look what it is now.
    pub(crate) fn note(&self, credential: CredentialKey) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.as_mut().is_some_and(|changed| changed.insert(credential)) {
            self.ready.notify_one();
        }
    }

    /// Waits until something has changed, and takes all of it.
    ///
    /// Cancel safety: nothing is taken before it is returned.
    pub async fn take(&self) -> HashSet<CredentialKey> {
        loop {
            let ready = self.ready.notified();
            let taken = self.taken();
            if !taken.is_empty() {
                return taken;
            }
            ready.await;
        }
    }

    fn taken(&self) -> HashSet<CredentialKey> {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
