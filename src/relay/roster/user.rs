//! One user of the roster: by what credentials, and how far it has come.

use std::sync::Arc;

use crate::auth::{CredentialKey, Principal};
use crate::clock::Moment;

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) credential: CredentialKey,
    pub(super) principal: Arc<Principal>,
    /// Upstream's push did not open to it.
    pub(super) refused_until: Moment,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// Stands in the queue for this moment.
    Waiting(Moment),
    Busy(Busy),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Busy {
    pub(super) attempt: u64,
    pub(super) credential: CredentialKey,
    pub(super) place: usize,
    /// Since when it is listened; `None` while it is tried.
    pub(super) opened: Option<Moment>,
}

#[derive(Debug)]
pub(super) struct User {
    /// In the order in which they came, at least one; the newest is tried first: it lives longest.
    pub(super) candidates: Vec<Candidate>,
    pub(super) phase: Phase,
    /// Connections lost since one held.
    pub(super) losses: u32,
    /// Whether it was ever listened for.
    pub(super) was_heard: bool,
    pub(super) last_id: Option<Box<str>>,
}
