//! Places for connections to upstream: each is a descriptor, held from before the connection is opened
//! until it is closed, idle or not.
//!
//! A place is taken of those kept for the purpose, and when these are used up of those of the next
//! purpose: probes before requests, requests before connections of clients. So clients never take the
//! last descriptor, and live streams learn of changes whatever is forwarded. A subscription to upstream's
//! own push takes a place kept for it or of a client's connection, never one of requests or probes.
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
    subscriptions: Arc<Semaphore>,
}

/// Places kept for each purpose.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "each is its name's")]
pub struct Kept {
    pub requests: usize,
    pub probes: usize,
    pub subscriptions: usize,
}

impl Room {
    /// `clients` are the places of clients' connections.
    #[must_use]
    pub fn new(clients: Arc<Semaphore>, kept: Kept) -> Self {
        let Kept { requests, probes, subscriptions } = kept;
        let [requests, probes, subscriptions] = [requests, probes, subscriptions]
            .map(|kept| Arc::new(Semaphore::new(kept.min(Semaphore::MAX_PERMITS))));
        Self { clients, requests, probes, subscriptions }
    }

    pub(super) fn for_requests(&self) -> Places {
        Places { kept: Arc::clone(&self.requests), next: Arc::clone(&self.clients) }
    }

    pub(super) fn for_probes(&self) -> Places {
        Places { kept: Arc::clone(&self.probes), next: Arc::clone(&self.requests) }
    }

    pub(super) fn for_subscriptions(&self) -> Places {
        Places { kept: Arc::clone(&self.subscriptions), next: Arc::clone(&self.clients) }
    }

    /// Connections of subscriptions: at most half of the places of clients besides those kept for them, or
    /// the last clients could not come in.
    pub(super) fn most_subscriptions(&self) -> usize {
        let kept = self.subscriptions.available_permits();
        kept.saturating_add(self.clients.available_permits() / 2).max(1)
    }

    /// Idle connections of one pool: those of others find a place beside them.
    pub(super) fn most_idle(&self) -> usize {
        (self.requests.available_permits() / 2).max(1)
    }
}

/// Room for as many as come.
impl Default for Room {
    fn default() -> Self {
        let most = Semaphore::MAX_PERMITS;
        let kept = Kept { requests: most, probes: most, subscriptions: most };
        Self::new(Arc::new(Semaphore::new(0)), kept)
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

/// Marks a request whose response never ends, with its place among those that are under way, counted
/// from 0: HTTP/2 connections are shared by [`Subscription::TOGETHER`] of them.
#[derive(Debug, Clone, Copy)]
pub struct Subscription(pub usize);

impl Subscription {
    /// Below the least number of streams that a server should allow on a connection (RFC 9113 §6.5.2).
    pub(super) const TOGETHER: usize = 64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_leave_clients_half_of_their_places() {
        let most = |clients, subscriptions| {
            let kept = Kept { requests: 8, probes: 4, subscriptions };
            Room::new(Arc::new(Semaphore::new(clients)), kept).most_subscriptions()
        };
        assert_eq!((most(960, 0), most(100, 400), most(1, 0)), (480, 450, 1));
        assert_eq!(Room::default().most_subscriptions(), Semaphore::MAX_PERMITS);
    }
}
