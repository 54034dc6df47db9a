//! How much the process may hold, by the settings and the descriptor limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

use crate::config::{Limits, Push};
use crate::upstream::Kept;

/// Descriptors kept from clients, of a limit of 8,192 or more; a smaller limit keeps a sixteenth. Half
/// of them are for requests to upstream, a quarter for probes, the rest for all else: listeners, side
/// doors, Redis, files.
const MOST_KEPT: u64 = 512;

/// What the process may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) descriptors: u64,
    /// Connections of clients.
    pub(super) connections: usize,
    pub(super) streams: usize,
    /// Connections to upstream that clients leave room for.
    pub(super) kept: Kept,
    /// Messages under way to push services: as many connections more may be kept for the next.
    pub(super) pushes: usize,
}

/// Raises the descriptor limit as far as the process may, and divides it.
pub(super) fn room(limits: &Limits, push: &Push) -> Room {
    let now = getrlimit(Resource::Nofile);
    // Without the right to it the limit stays what it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    let pushes = if push.mode.may_be_ours() { push.connections } else { 0 };
    divide(limits, pushes, getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

fn divide(limits: &Limits, pushes: usize, descriptors: u64) -> Room {
    let kept = (descriptors / 16).clamp(16, MOST_KEPT);
    // Of a small limit push services have their share, too.
    let pushes = pushes.min(usize::try_from(descriptors / 16).unwrap_or(usize::MAX));
    let free = usize::try_from(descriptors.saturating_sub(kept)).unwrap_or(usize::MAX);
    let free = free.saturating_sub(2 * pushes);
    // A semaphore holds no more than this.
    let free = free.clamp(1, Semaphore::MAX_PERMITS);
    let wanted = |setting: usize| if setting == 0 { free } else { setting.min(free) };
    let connections = wanted(limits.connections);
    let streams = wanted(limits.streams).min(connections);
    let quarter = usize::try_from(kept / 4).unwrap_or(1);
    // Where clients are allowed less than there is, the rest is upstream's.
    let spare = free - connections;
    let subscriptions = spare / 2;
    let requests = spare - subscriptions + 2 * quarter;
    let kept = Kept { requests, probes: quarter, subscriptions };
    Room { descriptors, connections, streams, kept, pushes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_clients_and_upstream_may_hold_fits_the_descriptor_limit() {
        for descriptors in [64, 1024, 20_000, 1 << 20] {
            for connections in [0, 10, 900, 10_000_000] {
                let limits = Limits { connections, ..Config::default().limits };
                let room = divide(&limits, 256, descriptors);
                let kept = room.kept;
                let held = room.connections + kept.requests + kept.probes + kept.subscriptions;
                let held = held + 2 * room.pushes;
                assert!((held as u64) < descriptors, "{room:?}");
                assert!(kept.probes >= 4 && kept.requests >= 8, "{room:?}");
            }
        }
    }

    #[test]
    fn streams_have_all_that_is_not_kept() {
        let room = divide(&Config::default().limits, 256, 20_000);
        assert_eq!((room.streams, room.kept.requests, room.kept.probes), (18_976, 256, 128));
        assert_eq!(divide(&Config::default().limits, 0, u64::MAX).streams, Semaphore::MAX_PERMITS);
    }
}
