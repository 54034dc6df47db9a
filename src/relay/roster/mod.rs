//! For whom upstream's push is listened to, with whose credential, and when it is tried again. Pure.
//!
//! One subscription for each user with live streams, by one of the credentials they live on; when that
//! one goes or is refused, another takes over. What keeps upstream from storms:
//!
//! - While it is not known that upstream serves its push, one user tries and the others wait; what
//!   comes of it counts for all, for [`NOT_SERVED_FOR`]. Where it is refused or fails, the next one waits
//!   for a pause that grows; [`MOST_REFUSALS`] users in a row who are refused count as not served.
//! - A lost connection is tried again after what upstream asks for and a random part of a time that
//!   doubles (full jitter), up to [`LONGEST_PAUSE`], and from the beginning only once one has held for
//!   [`STEADY`].
//! - At most [`AT_ONCE`] attempts are under way.
//!
//! When full (`most` subscriptions): further users wait, first come first served, and are served by the
//! probe alone.

mod user;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use self::user::{Busy, Candidate, Phase, User};
use super::ended::{Ended, Farewell, Verdict};
use crate::auth::{CredentialKey, Principal};
use crate::clock::Moment;
use crate::state::fact::PrincipalId;

/// How long it is believed that upstream does not serve its push, or refuses a credential there.
pub const NOT_SERVED_FOR: Duration = Duration::from_secs(10 * 60);

/// The first pause is a random part of this.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause of our own.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The longest pause that upstream may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// A connection that held for so long was a good one: some servers end their streams after half a minute.
const STEADY: Duration = Duration::from_secs(10);

/// Attempts under way at one time.
pub const AT_ONCE: usize = 64;

/// So many users in a row who are refused while nobody is listened for: upstream's push is for nobody.
pub const MOST_REFUSALS: usize = 8;

/// An attempt to be made.
#[derive(Debug, Clone)]
pub struct Start {
    /// Whose.
    pub user: PrincipalId,
    /// Which of all.
    pub attempt: u64,
    /// By what.
    pub credential: CredentialKey,
    /// As whom.
    pub principal: Arc<Principal>,
    /// Its place among those that are under way, from 0.
    pub place: usize,
    /// The id of the last event heard.
    pub last_id: Option<Box<str>>,
}

/// What ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Whether the user was listened for before, now or earlier: one source of changes fewer.
    pub of_source: bool,
    /// Whether it was an attempt, that opened nothing.
    pub of_attempt: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Roster {
    users: HashMap<PrincipalId, User>,
    owners: HashMap<CredentialKey, PrincipalId>,
    queue: BTreeSet<(Moment, PrincipalId)>,
    most: usize,
    /// Places given back, of those below `places`.
    free: BTreeSet<usize>,
    places: usize,
    attempts: u64,
    attempting: usize,
    listening: usize,
    is_served: bool,
    /// Until then nobody tries, unless somebody is listened for.
    not_served_until: Moment,
    /// Until then the next one does not try, while it is not known that push is served.
    scout_after: Moment,
    /// Attempts that failed, one after the other, while it was not known.
    scout_losses: u32,
    /// Users who were refused since one was listened for. At most [`MOST_REFUSALS`].
    refusals: BTreeSet<PrincipalId>,
}

impl Roster {
    /// Nobody is there yet; `most` subscriptions at one time.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            users: HashMap::new(),
            owners: HashMap::new(),
            queue: BTreeSet::new(),
            most,
            free: BTreeSet::new(),
            places: 0,
            attempts: 0,
            attempting: 0,
            listening: 0,
            is_served: false,
            not_served_until: Moment::default(),
            scout_after: Moment::default(),
            scout_losses: 0,
            refusals: BTreeSet::new(),
        }
    }

    /// A credential has live streams, as this principal. Gives the attempt that has to be ended, if
    /// it was taken for somebody else before.
    pub fn came(
        &mut self,
        credential: CredentialKey,
        principal: Arc<Principal>,
        now: Moment,
    ) -> Option<u64> {
        let id = principal.id;
        let moved = self.owners.insert(credential, id).filter(|before| *before != id);
        let ended = moved.and_then(|before| self.leave(before, credential, now));
        let candidate = Candidate { credential, principal, refused_until: Moment::default() };
        let Some(user) = self.users.get_mut(&id) else {
            let (candidates, phase) = (vec![candidate], Phase::Waiting(now));
            self.users
                .insert(id, User { candidates, phase, losses: 0, was_heard: false, last_id: None });
            self.queue.insert((now, id));
            return ended;
        };
        let known = user.candidates.iter_mut().find(|known| known.credential == credential);
        let is_news =
            known.as_ref().is_none_or(|known| known.principal.push != candidate.principal.push);
        match known {
            Some(known) => known.principal = candidate.principal,
            None => user.candidates.push(candidate),
        }
        // It may open what was not to be had before; what was lost is waited for all the same.
        if is_news && user.losses == 0 && matches!(user.phase, Phase::Waiting(_)) {
            self.wait(id, now);
        }
        ended
    }

    /// A credential has live streams no more. Gives the attempt that has to be ended.
    pub fn gone(&mut self, credential: CredentialKey, now: Moment) -> Option<u64> {
        let id = self.owners.remove(&credential)?;
        self.leave(id, credential, now)
    }

    fn leave(&mut self, id: PrincipalId, credential: CredentialKey, now: Moment) -> Option<u64> {
        let user = self.users.get_mut(&id)?;
        user.candidates.retain(|candidate| candidate.credential != credential);
        let is_last = user.candidates.is_empty();
        let used = match user.phase {
            Phase::Busy(busy) if busy.credential == credential => Some(busy),
            Phase::Busy(_) | Phase::Waiting(_) => None,
        };
        if let Some(busy) = used {
            self.release(busy);
        }
        if is_last {
            if let Phase::Waiting(due) = user_phase(&self.users, id)? {
                self.queue.remove(&(due, id));
            }
            self.users.remove(&id);
        } else if used.is_some() {
            self.wait(id, now);
        }
        used.map(|busy| busy.attempt)
    }

    /// The next attempt to be made now, if there is one.
    pub fn next(&mut self, now: Moment) -> Option<Start> {
        loop {
            if self.due()? > now {
                return None;
            }
            let (_, id) = self.queue.pop_first()?;
            let user = self.users.get_mut(&id)?;
            let Some(candidate) = user.candidates.iter().rev().find(|it| it.refused_until <= now)
            else {
                let refused = user.candidates.iter().map(|candidate| candidate.refused_until);
                let due = refused.min().unwrap_or(Moment::NEVER);
                self.wait(id, due);
                continue;
            };
            let place = self.free.pop_first().unwrap_or_else(|| {
                self.places += 1;
                self.places - 1
            });
            (self.attempts, self.attempting) = (self.attempts + 1, self.attempting + 1);
            let (attempt, credential) = (self.attempts, candidate.credential);
            user.phase = Phase::Busy(Busy { attempt, credential, place, opened: None });
            let (principal, last_id) = (Arc::clone(&candidate.principal), user.last_id.clone());
            return Some(Start { user: id, attempt, credential, principal, place, last_id });
        }
    }

    /// When [`Self::next`] may have something; `None` until something else happens.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        let at_once = if self.is_served { AT_ONCE } else { 1 };
        if self.attempting >= at_once || self.is_full() {
            return None;
        }
        let (due, _) = self.queue.first()?;
        Some(match (self.listening, self.is_served) {
            (0, true) => self.not_served_until.max(*due),
            (0, false) => self.not_served_until.max(self.scout_after).max(*due),
            _ => *due,
        })
    }

    /// An attempt has opened a subscription. `false` if nobody wants it any more.
    pub fn opened(&mut self, id: PrincipalId, attempt: u64, now: Moment) -> bool {
        let Some(user) = self.users.get_mut(&id) else { return false };
        match &mut user.phase {
            Phase::Busy(busy) if busy.attempt == attempt && busy.opened.is_none() => {
                busy.opened = Some(now);
                user.was_heard = true;
            }
            Phase::Busy(_) | Phase::Waiting(_) => return false,
        }
        (self.attempting, self.listening) = (self.attempting - 1, self.listening + 1);
        (self.is_served, self.not_served_until) = (true, Moment::default());
        (self.scout_losses, self.scout_after) = (0, Moment::default());
        self.refusals.clear();
        true
    }

    /// An attempt failed, or what it opened ended; `None` if nobody wanted it any more. `random` is drawn
    /// from 0 to 1.
    pub fn ended(
        &mut self,
        (id, attempt): (PrincipalId, u64),
        farewell: Farewell,
        now: Moment,
        random: f64,
    ) -> Option<Loss> {
        let Some(Phase::Busy(busy)) = user_phase(&self.users, id) else { return None };
        if busy.attempt != attempt {
            return None;
        }
        self.release(busy);
        let is_known = self.listening > 0;
        let user = self.users.get_mut(&id)?;
        let loss = Loss { of_source: user.was_heard, of_attempt: busy.opened.is_none() };
        user.last_id = farewell.last_id.or_else(|| user.last_id.take());
        let due = match farewell.ended.verdict() {
            Verdict::NotOffered => now.after(NOT_SERVED_FOR),
            Verdict::NotServed => {
                user.losses = 0;
                if !is_known {
                    self.not_served(now);
                }
                now.after(NOT_SERVED_FOR)
            }
            Verdict::Refused => {
                for candidate in &mut user.candidates {
                    if candidate.credential == busy.credential {
                        candidate.refused_until = now.after(NOT_SERVED_FOR);
                    }
                }
                if !is_known {
                    self.refused(id, now, random);
                }
                now
            }
            Verdict::Lost => {
                let held = busy.opened.is_some_and(|opened| now.since(opened) >= STEADY);
                user.losses = if held { 0 } else { user.losses.saturating_add(1) };
                self.is_served &= is_known || busy.opened.is_some();
                let due = now.after(pause(user.losses, farewell.wait, random));
                if !self.is_served {
                    self.scout_failed(now, random);
                }
                due
            }
        };
        self.wait(id, due);
        Some(loss)
    }

    fn not_served(&mut self, now: Moment) {
        (self.is_served, self.not_served_until) = (false, now.after(NOT_SERVED_FOR));
        self.refusals.clear();
    }

    /// Nobody is listened for, and one more user is refused.
    fn refused(&mut self, id: PrincipalId, now: Moment, random: f64) {
        self.refusals.insert(id);
        if self.refusals.len() >= MOST_REFUSALS {
            self.not_served(now);
        } else if !self.is_served {
            self.scout_failed(now, random);
        }
    }

    /// Attempts that were under way together fail as one.
    fn scout_failed(&mut self, now: Moment, random: f64) {
        if now >= self.scout_after {
            self.scout_losses = self.scout_losses.saturating_add(1);
            self.scout_after = now.after(pause(self.scout_losses, None, random));
        }
    }

    fn release(&mut self, busy: Busy) {
        self.free.insert(busy.place);
        match busy.opened {
            Some(_) => self.listening -= 1,
            None => self.attempting -= 1,
        }
    }

    fn wait(&mut self, id: PrincipalId, due: Moment) {
        let Some(user) = self.users.get_mut(&id) else { return };
        if let Phase::Waiting(before) = std::mem::replace(&mut user.phase, Phase::Waiting(due)) {
            self.queue.remove(&(before, id));
        }
        self.queue.insert((due, id));
    }

    /// Users that are listened for.
    #[must_use]
    pub fn listening(&self) -> usize {
        self.listening
    }

    /// Users that have live streams.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    fn is_full(&self) -> bool {
        self.attempting + self.listening >= self.most
    }

    /// Users that wait for another's place; zero while there is one.
    #[must_use]
    pub fn crowded_out(&self) -> usize {
        if self.listening >= self.most { self.queue.len() } else { 0 }
    }

    /// Why they wait.
    #[must_use]
    pub fn full(&self) -> Ended {
        Ended::Full(self.most)
    }
}

fn user_phase(users: &HashMap<PrincipalId, User>, id: PrincipalId) -> Option<Phase> {
    users.get(&id).map(|user| user.phase)
}

/// How long to wait after so many losses.
fn pause(losses: u32, wanted: Option<Duration>, random: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1u32.checked_shl(losses).unwrap_or(u32::MAX));
    let wanted = wanted.unwrap_or_default().min(LONGEST_WAIT);
    wanted + doubled.min(LONGEST_PAUSE).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
