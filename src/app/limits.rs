//! How much the process may hold, by the settings and the descriptor limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;

/// Descriptors kept for upstream connections, listeners, files and the side doors, of a limit of
/// 20,000; a smaller limit keeps a sixteenth.
const MOST_RESERVED: u64 = 512;

/// What the process may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) descriptors: u64,
    pub(super) connections: usize,
    pub(super) streams: usize,
}

/// Raises the descriptor limit as far as the process may, and divides it.
pub(super) fn room(limits: &Limits) -> Room {
    let now = getrlimit(Resource::Nofile);
    // Without the right to it the limit stays what it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let reserved = (descriptors / 16).clamp(16, MOST_RESERVED);
    let free = usize::try_from(descriptors.saturating_sub(reserved)).unwrap_or(usize::MAX);
    // A semaphore holds no more than this.
    let free = free.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
    let wanted = |setting: usize| if setting == 0 { free } else { setting.min(free) };
    let connections = wanted(limits.connections);
    let streams = wanted(limits.streams).min(connections);
    Room { descriptors, connections, streams }
}
