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

/// The same of one user, whom it costs nothing to get tickets and use them: nobody takes another's place
/// by that. When full: as above, among their own.
const SHARE: usize = MOST / 100;

/// The fewest at which those whose time is over are looked for.
const LEAST_SWEEP: usize = 1024;

/// A ticket, and whose.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnTicket {
    /// Hash of the owner's name.
    pub(super) owner: u64,
    /// Its name.
    pub(super) id: TicketId,
}

/// See the module. Times are wall-clock, since the epoch.
#[derive(Debug)]
pub(super) struct Used {
    owners: HashMap<u64, Own>,
    /// Tickets of all owners.
    count: usize,
    sweep_at: usize,
    most: usize,
    share: usize,
}

/// One user's.
type Own = HashMap<TicketId, Entry>;

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

    /// The end of a grant that may be given up.
    fn grant(&self, now: Duration) -> Option<Duration> {
        self.granted.filter(|_| self.expires <= now)
    }
}

impl Default for Used {
    fn default() -> Self {
        Self::with_room(MOST, SHARE)
    }
}

impl Used {
    /// An empty one, with room for so many, and for so many of one user.
    pub(super) fn with_room(most: usize, share: usize) -> Self {
        let sweep_at = LEAST_SWEEP.min(most);
        Self { owners: HashMap::new(), count: 0, sweep_at, most, share }
    }

    /// Whether a ticket that expires at `expires` may be used `now`, and if so remembers that it was:
    /// for good, or so that it may be used again until `granted`.
    pub(super) fn claim(
        &mut self,
        ticket: OwnTicket,
        expires: Duration,
        granted: Option<Duration>,
        now: Duration,
    ) -> bool {
        if let Some(known) = self.owners.get(&ticket.owner).and_then(|own| own.get(&ticket.id)) {
            return granted.is_some() && known.granted.is_some_and(|end| now < end);
        }
        if expires <= now || !self.make_room(ticket.owner, now) {
            return false;
        }
        self.insert(ticket, Entry { granted, expires });
        true
    }

    /// Makes a ticket useless, grant included. `false` if there is no room to remember that.
    pub(super) fn revoke(&mut self, ticket: OwnTicket, expires: Duration, now: Duration) -> bool {
        let OwnTicket { owner, id } = ticket;
        let own = self.owners.get_mut(&owner);
        if expires <= now {
            // Unknown is enough.
            let known = own.and_then(|own| own.remove(&id));
            self.count -= usize::from(known.is_some());
            return true;
        }
        if !own.is_some_and(|own| own.contains_key(&id)) && !self.make_room(owner, now) {
            return false;
        }
        self.insert(ticket, Entry { granted: None, expires });
        true
    }

    fn insert(&mut self, OwnTicket { owner, id }: OwnTicket, entry: Entry) {
        let before = self.owners.entry(owner).or_default().insert(id, entry);
        self.count += usize::from(before.is_none());
    }

    /// Whether there is room for one more of this user's.
    fn make_room(&mut self, owner: u64, now: Duration) -> bool {
        if let Some(own) = self.owners.get_mut(&owner).filter(|own| own.len() >= self.share) {
            let before = own.len();
            own.retain(|_, entry| !entry.is_over(now));
            if own.len() >= self.share {
                give_up_grants(&mut [&mut *own], now);
            }
            self.count -= before - own.len();
            if own.len() >= self.share {
                return false;
            }
        }
        if self.count >= self.sweep_at {
            self.sweep(now);
        }
        self.count < self.most
    }

    fn sweep(&mut self, now: Duration) {
        self.owners.retain(|_, own| {
            own.retain(|_, entry| !entry.is_over(now));
            !own.is_empty()
        });
        let count = |owners: &HashMap<u64, Own>| owners.values().map(Own::len).sum();
        self.count = count(&self.owners);
        if self.count >= self.most {
            give_up_grants(&mut self.owners.values_mut().collect::<Vec<_>>(), now);
            self.count = count(&self.owners);
        }
        self.sweep_at = (2 * self.count).clamp(LEAST_SWEEP.min(self.most), self.most);
    }
}

/// Forgets the sixteenth of the grants that would end first.
fn give_up_grants(tables: &mut [&mut Own], now: Duration) {
    let grants = tables.iter().flat_map(|own| own.values()).filter_map(|entry| entry.grant(now));
    let mut ends: Vec<Duration> = grants.collect();
    let Some(last) = ends.len().checked_sub(1) else { return };
    let (_, end, _) = ends.select_nth_unstable(last / 16);
    let end = *end;
    for own in tables {
        own.retain(|_, entry| entry.grant(now).is_none_or(|other| other > end));
    }
}
