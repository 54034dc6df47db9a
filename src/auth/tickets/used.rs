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

/// What became of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody may use it again.
    Spent,
    /// An event source may come back with it.
    Granted,
}

/// See the module. Times are wall-clock, since the epoch.
#[derive(Debug)]
pub(super) struct Used {
    tickets: HashMap<TicketId, Entry>,
    sweep_at: usize,
    most: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    state: State,
    /// When it need no longer be remembered.
    until: Duration,
    /// Until when the ticket would be taken by whoever does not know of its use.
    expires: Duration,
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
    /// as [`State::Granted`] until `until`, or for good.
    pub(super) fn claim(
        &mut self,
        id: TicketId,
        expires: Duration,
        grant: Option<Duration>,
        now: Duration,
    ) -> bool {
        if let Some(known) = self.tickets.get(&id) {
            return known.state == State::Granted && grant.is_some() && now < known.until;
        }
        if expires <= now || !self.make_room(now) {
            return false;
        }
        let (state, until) = match grant {
            Some(grant) => (State::Granted, now.saturating_add(grant).max(expires)),
            None => (State::Spent, expires),
        };
        self.tickets.insert(id, Entry { state, until, expires });
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
        self.tickets.insert(id, Entry { state: State::Spent, until: expires, expires });
        true
    }

    /// Whether there is room for one more.
    fn make_room(&mut self, now: Duration) -> bool {
        if self.tickets.len() >= self.sweep_at {
            self.tickets.retain(|_, entry| now < entry.until);
            self.give_up_grants(now);
            self.sweep_at = (2 * self.tickets.len()).clamp(LEAST_SWEEP.min(self.most), self.most);
        }
        self.tickets.len() < self.most
    }

    fn give_up_grants(&mut self, now: Duration) {
        if self.tickets.len() < self.most {
            return;
        }
        let is_kept_for_reconnects = |entry: &Entry| entry.expires <= now;
        let mut ends: Vec<Duration> = self
            .tickets
            .values()
            .filter(|entry| is_kept_for_reconnects(entry))
            .map(|entry| entry.until)
            .collect();
        let share = ends.len() / 16;
        if let Some(at) = ends.len().checked_sub(1).map(|last| share.min(last)) {
            let (_, end, _) = ends.select_nth_unstable(at);
            let end = *end;
            self.tickets.retain(|_, entry| !is_kept_for_reconnects(entry) || entry.until > end);
        }
    }
}
