//! Places for connections to upstream: each is a descriptor, held from before the connection is opened
//! until it is closed, idle or not.
//!
//! A place is taken of those kept for the purpose, and when these are used up of those of the next
//! purpose: probes before requests, requests before connections of clients. So clients never take the
//! last descriptor, and live streams learn of changes whatever is forwarded.
//!
//! When full: a connection waits for `upstream.connect_timeout`, unless another in the pool becomes
//! free first; then its request is answered 503.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections to upstream there may be.
#[derive(Debug, Clone)]
pub struct Room {
    clients: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    probes: Arc<Semaphore>,
}

impl Room {
    /// `requests` and `probes` are places kept for each; `clients` are those of clients' connections.
    #[must_use]
    pub fn new(clients: Arc<Semaphore>, requests: usize, probes: usize) -> Self {
        let [requests, probes] = [requests, probes].map(|kept| Arc::new(Semaphore::new(kept)));
        Self { clients, requests, probes }
    }

    pub(super) fn for_requests(&self) -> Places {
        Places { kept: Arc::clone(&self.requests), next: Arc::clone(&self.clients) }
    }

    pub(super) fn for_probes(&self) -> Places {
        Places { kept: Arc::clone(&self.probes), next: Arc::clone(&self.requests) }
    }

    /// Idle connections of one pool: those of others find a place beside them.
    pub(super) fn most_idle(&self) -> usize {
        (self.requests.available_permits() / 2).max(1)
    }
}

/// Room for as many as come.
impl Default for Room {
    fn default() -> Self {
        Self::new(Arc::new(Semaphore::new(0)), Semaphore::MAX_PERMITS, Semaphore::MAX_PERMITS)
    }
}

/// The places for one purpose.
#[derive(Debug, Clone)]
pub(super) struct Places {
    kept: Arc<Semaphore>,
    next: Arc<Semaphore>,
}

impl Places {
    /// Waits for a place.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let (kept, next) = (Arc::clone(&self.kept), Arc::clone(&self.next));
        let place = tokio::select! {
            biased;
            place = kept.acquire_owned() => place,
            place = next.acquire_owned() => place,
        };
        // Neither is ever closed.
        place.ok()
    }
}

/// No place became free in time.
#[derive(Debug, thiserror::Error)]
#[error("as many connections to upstream are open as the descriptor limit allows")]
pub(super) struct Full;

/// Marks a request that asks for changes on behalf of live streams: it has places of its own.
#[derive(Debug, Clone, Copy)]
pub struct Probe;
