//! When which account is asked about (architecture D8).
//!
//! Pure: time is passed in, nothing is sent. One probe per account at a time, with at most one
//! follow-up; a global rate; accounts somebody waits for before those whose interval is over, yet
//! never all of the time; back-off with full jitter per account.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::budget::Budget;
use crate::clock::Moment;
use crate::state::fact::AccountKey;

/// Accounts asked about at the same time.
pub const MAX_IN_FLIGHT: usize = 32;

/// How far an interval is spread in both directions, so that accounts do not stay in step.
const SPREAD: f64 = 0.2;

/// Full jitter up to this after the first failure, twice as much after each further one.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest back-off of an account. Not above the usual interval, so that an account is asked about
/// within seconds of upstream's return.
const BACKOFF_LONGEST: Duration = Duration::from_secs(30);

/// The longest `Retry-After` that is believed.
const RETRY_LONGEST: Duration = Duration::from_secs(3600);

/// Accounts that failed while upstream was away are asked about within this once it is back.
const HEAL_WITHIN: Duration = Duration::from_secs(2);

/// After so many accounts at once, one from the interval goes, if one is due.
const URGENT_IN_A_ROW: u32 = 3;

/// How a probe of an account ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Upstream answered.
    Answered,
    /// It did not, or refused.
    Failed,
    /// It asked for patience, for this long if it said so.
    Limited(Option<Duration>),
    /// There was nothing to ask, or nobody to ask for.
    Idle,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask about this account, then call [`Schedule::finished`] or [`Schedule::park`].
    Ask(AccountKey),
    /// Nothing before this moment, unless something is requested or finishes.
    At(Moment),
    /// Nothing until something is requested or finishes.
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No interval and no request: nothing to wait for.
    Asleep,
    /// In `timed`.
    Timed(Moment),
    /// In `urgent` or `routine`, since the moment.
    Due(Moment),
    /// Handed out by [`Schedule::due`].
    Running,
    /// Handed out, and given back until [`Schedule::unpark`]; due since the moment.
    Parked(Moment),
}

#[derive(Debug)]
struct Entry {
    phase: Phase,
    /// Somebody waits for it: a baseline or a hint.
    is_urgent: bool,
    /// Requested again while running: one follow-up.
    again: bool,
    /// Removed while running: gone when that ends.
    is_removed: bool,
    failures: u32,
    /// Back-off: not asked about before.
    not_before: Moment,
}

/// See the module.
///
/// When full: there is one entry for each watched account and nothing else grows.
#[derive(Debug)]
pub struct Schedule {
    interval: Duration,
    budget: Budget,
    entries: HashMap<AccountKey, Entry>,
    timed: BTreeSet<(Moment, AccountKey)>,
    urgent: BTreeSet<(Moment, AccountKey)>,
    routine: BTreeSet<(Moment, AccountKey)>,
    running: usize,
    urgent_in_a_row: u32,
    rng: StdRng,
}

impl Schedule {
    /// `interval` between two probes of an account, zero for none but requested ones; `rate` in
    /// requests a second; `seed` of all jitter.
    #[must_use]
    pub fn new(interval: Duration, rate: u32, seed: u64) -> Self {
        Self {
            interval,
            budget: Budget::new(rate),
            entries: HashMap::new(),
            timed: BTreeSet::new(),
            urgent: BTreeSet::new(),
            routine: BTreeSet::new(),
            running: 0,
            urgent_in_a_row: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Starts watching an account; its first probe by interval comes at a random part of it.
    pub fn watch(&mut self, account: &AccountKey, now: Moment) {
        if let Some(entry) = self.entries.get_mut(account) {
            entry.is_removed = false;
            return;
        }
        let entry = Entry {
            phase: Phase::Asleep,
            is_urgent: false,
            again: false,
            is_removed: false,
            failures: 0,
            not_before: now,
        };
        self.entries.insert(account.clone(), entry);
        if !self.interval.is_zero() {
            let first = self.random_part(self.interval);
            self.plan(account, now.after(first));
        }
    }

    /// Asks for a probe at once: a baseline, or a hint (D7). While one runs, asks for exactly one
    /// follow-up. Gives whether the account is watched.
    pub fn request(&mut self, account: &AccountKey, now: Moment) -> bool {
        let Some(entry) = self.entries.get_mut(account).filter(|entry| !entry.is_removed) else {
            return false;
        };
        match entry.phase {
            Phase::Running => entry.again = true,
            Phase::Parked(_) => entry.is_urgent = true,
            Phase::Timed(_) | Phase::Due(_) if entry.is_urgent => {}
            Phase::Asleep | Phase::Timed(_) | Phase::Due(_) => {
                entry.is_urgent = true;
                let at = entry.not_before.max(now);
                self.plan(account, at);
            }
        }
        true
    }

    /// Stops watching an account. One that runs is gone when it ends.
    pub fn remove(&mut self, account: &AccountKey) {
        match self.entries.get_mut(account) {
            Some(entry) if entry.phase == Phase::Running => entry.is_removed = true,
            Some(_) => {
                self.take_out(account);
                self.entries.remove(account);
            }
            None => {}
        }
    }

    /// The account to ask about now. Spends nothing: see [`Self::spend`].
    pub fn due(&mut self, now: Moment) -> Next {
        self.promote(now);
        if self.running >= MAX_IN_FLIGHT {
            return Next::Idle;
        }
        if self.queued() == 0 {
            return self.timed.first().map_or(Next::Idle, |(at, _)| Next::At(*at));
        }
        let free_at = self.budget.free_at();
        if free_at > now {
            return Next::At(free_at);
        }
        let Some(account) = self.pick() else { return Next::Idle };
        if let Some(entry) = self.entries.get_mut(&account) {
            entry.phase = Phase::Running;
            entry.again = false;
        }
        self.running += 1;
        Next::Ask(account)
    }

    /// Notes that a request is sent now.
    pub fn spend(&mut self, now: Moment) {
        self.budget.spend(now);
    }

    /// The account that was handed out cannot be asked about yet; it does not count as in flight.
    pub fn park(&mut self, account: &AccountKey, now: Moment) {
        let Some(entry) = self.entries.get_mut(account) else { return };
        if entry.phase != Phase::Running {
            return;
        }
        self.running = self.running.saturating_sub(1);
        entry.phase = Phase::Parked(now);
        if entry.is_removed {
            self.entries.remove(account);
        }
    }

    /// Takes a parked account up again. Gives whether it was parked.
    pub fn unpark(&mut self, account: &AccountKey) -> bool {
        let Some(Phase::Parked(since)) = self.entries.get(account).map(|entry| entry.phase) else {
            return false;
        };
        self.plan(account, since);
        true
    }

    /// A probe ended. `withheld_until`: types were left out that may be asked for from then on. Gives
    /// whether the account is still watched.
    pub fn finished(
        &mut self,
        account: &AccountKey,
        ended: Ended,
        withheld_until: Option<Moment>,
        now: Moment,
    ) -> bool {
        let backoff = self.backoff(account, ended);
        let interval = self.spread_interval();
        let Some(entry) = self.entries.get_mut(account) else { return false };
        if entry.phase != Phase::Running {
            return true;
        }
        self.running = self.running.saturating_sub(1);
        entry.phase = Phase::Asleep;
        if entry.is_removed {
            self.entries.remove(account);
            return false;
        }
        let has_failed = backoff.is_some();
        entry.failures = if has_failed { entry.failures.saturating_add(1) } else { 0 };
        entry.not_before = now.after(backoff.unwrap_or_default());
        // What was waited for and not got is still waited for.
        entry.is_urgent = entry.again || (has_failed && entry.is_urgent);
        let by_interval = interval.map(|interval| now.after(interval).max(entry.not_before));
        let at = if entry.is_urgent {
            Some(entry.not_before)
        } else {
            let retry = has_failed.then_some(entry.not_before);
            let withheld = withheld_until.map(|until| until.max(entry.not_before));
            [by_interval, retry, withheld].into_iter().flatten().min()
        };
        if let Some(at) = at {
            self.plan(account, at);
        }
        true
    }

    /// Upstream is well again: back-offs end within two seconds.
    pub fn heal(&mut self, now: Moment) {
        let backing_off: Vec<AccountKey> = self
            .entries
            .iter_mut()
            // A longer one is upstream's own `Retry-After`.
            .filter(|(_, entry)| {
                entry.failures > 0 && entry.not_before <= now.after(BACKOFF_LONGEST)
            })
            .map(|(account, entry)| {
                entry.failures = 0;
                entry.not_before = now;
                account.clone()
            })
            .collect();
        for account in backing_off {
            let soon = now.after(self.random_part(HEAL_WITHIN));
            if let Some(Phase::Timed(at)) = self.entries.get(&account).map(|entry| entry.phase) {
                self.plan(&account, at.min(soon));
            }
        }
    }

    /// Accounts that are due and wait for the budget or a place in flight.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.urgent.len() + self.routine.len()
    }

    /// Accounts watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.entries.len()
    }

    /// Puts an account where it belongs for a probe at `at`.
    fn plan(&mut self, account: &AccountKey, at: Moment) {
        self.take_out(account);
        if let Some(entry) = self.entries.get_mut(account) {
            entry.phase = Phase::Timed(at);
            self.timed.insert((at, account.clone()));
        }
    }

    fn take_out(&mut self, account: &AccountKey) {
        let Some(entry) = self.entries.get_mut(account) else { return };
        match entry.phase {
            Phase::Timed(at) => self.timed.remove(&(at, account.clone())),
            Phase::Due(since) => {
                let key = (since, account.clone());
                self.urgent.remove(&key) || self.routine.remove(&key)
            }
            Phase::Asleep | Phase::Running | Phase::Parked(_) => false,
        };
        entry.phase = Phase::Asleep;
    }

    /// Moves what has become due into its queue.
    fn promote(&mut self, now: Moment) {
        while let Some((at, account)) = self.timed.pop_first() {
            if at > now {
                self.timed.insert((at, account));
                return;
            }
            let Some(entry) = self.entries.get_mut(&account) else { continue };
            entry.phase = Phase::Due(at);
            let queue = if entry.is_urgent { &mut self.urgent } else { &mut self.routine };
            queue.insert((at, account));
        }
    }

    /// The longest waiting urgent account, and now and then the longest waiting other one.
    fn pick(&mut self) -> Option<AccountKey> {
        let is_turn_of_routine = self.urgent.is_empty() || self.urgent_in_a_row >= URGENT_IN_A_ROW;
        let (_, account) = if is_turn_of_routine && !self.routine.is_empty() {
            self.urgent_in_a_row = 0;
            self.routine.pop_first()?
        } else {
            self.urgent_in_a_row = self.urgent_in_a_row.saturating_add(1);
            self.urgent.pop_first()?
        };
        Some(account)
    }

    /// How long to leave the account alone; `None` if nothing went wrong.
    fn backoff(&mut self, account: &AccountKey, ended: Ended) -> Option<Duration> {
        let failures = self.entries.get(account).map_or(0, |entry| entry.failures);
        let most =
            BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF_LONGEST);
        let jitter = self.random_part(most);
        match ended {
            Ended::Answered | Ended::Idle => None,
            Ended::Failed | Ended::Limited(None) => Some(jitter),
            Ended::Limited(Some(asked)) => Some(asked.min(RETRY_LONGEST) + jitter),
        }
    }

    fn spread_interval(&mut self) -> Option<Duration> {
        let factor = self.rng.random_range(1.0 - SPREAD..=1.0 + SPREAD);
        (!self.interval.is_zero()).then(|| self.interval.mul_f64(factor))
    }

    fn random_part(&mut self, whole: Duration) -> Duration {
        whole.mul_f64(self.rng.random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests;
