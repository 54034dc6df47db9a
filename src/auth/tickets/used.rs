//! Which tickets have been used, as far as this process knows: what makes them single-use. Pure.
//!
//! A use is remembered for as long as the ticket would otherwise be taken. What is not here and has not
//! expired was not used; what is not here and has expired is taken by nobody.

use std::collections::HashMap;
use std::time::Duration;

use super::seal::TicketId;

/// Used tickets remembered at most. When full: those whose time is over go, then the sixteenth of the
/// grants that would end first, each of which costs a browser's page a new ticket; a use that is still
/// to be remembered so that there is no second one never goes, and a new one is refused instead.
const MOST: usize = 100_000;

/// The fewest at which those whose time is over are looked for.
const LEAST_SWEEP: usize = 1024;

/// See the module. Times are wall-clock, since the epoch.
#[derive(Debug)]
pub(super) struct Used {
    tickets: HashMap<TicketId, Entry>,
    sweep_at: usize,
    most: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Until when an event source may come back with it; `None` when nobody may use it again.
    granted: Option<Duration>,
    /// Until when it would be taken by whoever does not know of its use.
    expires: Duration,
}

impl Entry {
    fn is_over(&self, now: Duration) -> bool {
        self.expires <= now && self.granted.is_none_or(|end| end <= now)
    }
}

impl Default for Used {
    fn default() -> Self {
        Self::with_room(MOST)
    }
}

impl Used {
    /// An empty one, with room for so many.
    pub(super) fn with_room(most: usize) -> Self {
        Self { tickets: HashMap::new(), sweep_at: LEAST_SWEEP.min(most), most }
    }

    /// Whether a ticket that expires at `expires` may be used `now`, and if so remembers that it was:
    /// for good, or so that it may be used again until `granted`.
    pub(super) fn claim(
        &mut self,
        id: TicketId,
        expires: Duration,
        granted: Option<Duration>,
        now: Duration,
    ) -> bool {
        if let Some(known) = self.tickets.get(&id) {
            return granted.is_some() && known.granted.is_some_and(|end| now < end);
        }
        if expires <= now || !self.make_room(now) {
            return false;
        }
        self.tickets.insert(id, Entry { granted, expires });
        true
    }

    /// Makes a ticket useless, grant included. `false` if there is no room to remember that.
    pub(super) fn revoke(&mut self, id: TicketId, expires: Duration, now: Duration) -> bool {
        if expires <= now {
            // Unknown is enough.
            self.tickets.remove(&id);
            return true;
        }
        if !self.tickets.contains_key(&id) && !self.make_room(now) {
            return false;
        }
        self.tickets.insert(id, Entry { granted: None, expires });
        true
    }

    /// Whether there is room for one more.
    fn make_room(&mut self, now: Duration) -> bool {
        if self.tickets.len() >= self.sweep_at {
            self.tickets.retain(|_, entry| !entry.is_over(now));
            self.give_up_grants(now);
            self.sweep_at = (2 * self.tickets.len()).clamp(LEAST_SWEEP.min(self.most), self.most);
        }
        self.tickets.len() < self.most
    }

    fn give_up_grants(&mut self, now: Duration) {
        if self.tickets.len() < self.most {
            return;
        }
        let grant = |entry: &Entry| entry.granted.filter(|_| entry.expires <= now);
        let mut ends: Vec<Duration> = self.tickets.values().filter_map(grant).collect();
        let Some(last) = ends.len().checked_sub(1) else { return };
        let (_, end, _) = ends.select_nth_unstable(last / 16);
        let end = *end;
        self.tickets.retain(|_, entry| grant(entry).is_none_or(|other| other > end));
    }
}
