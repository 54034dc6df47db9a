//! When which account is asked about (architecture D8).
//!
//! Pure: time is passed in, nothing is sent. One probe per account at a time, with at most one
//! follow-up; a global rate, and a number in flight that follows how upstream bears it; accounts
//! somebody waits for before those whose interval is over, yet never all of the time, and among them who
//! has waited longest; back-off with full jitter per account; a least time between two baselines.
//!
//! | question | file |
//! |---|---|
//! | what is kept of an account? | `entry` |
//! | how long is an interval? | `intervals` |
//! | do others tell of every change? | [`evidence`] |

mod entry;
pub mod evidence;
mod intervals;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::entry::{Departed, Entry, Lists, Phase};
pub use self::entry::{Ended, Why};
use self::evidence::{ENOUGH, Tally};
pub use self::intervals::Intervals;
use super::budget::Budget;
use super::window::{Borne, Window};
use crate::clock::Moment;
use crate::state::fact::AccountKey;

/// The longest `Retry-After` that is believed.
const RETRY_LONGEST: Duration = Duration::from_secs(3600);

/// Accounts that failed while upstream was away are asked about within this once it is back.
const HEAL_WITHIN: Duration = Duration::from_secs(2);

/// After so many accounts at once, one from the interval goes, if one is due.
const URGENT_IN_A_ROW: u32 = 3;

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

/// See the module.
///
/// When full: there is one entry for each watched account and nothing else grows.
#[derive(Debug)]
pub struct Schedule {
    intervals: Intervals,
    budget: Budget,
    window: Window,
    entries: HashMap<AccountKey, Entry>,
    timed: BTreeSet<(Moment, AccountKey)>,
    urgent: BTreeSet<(Moment, AccountKey)>,
    routine: BTreeSet<(Moment, AccountKey)>,
    running: usize,
    urgent_in_a_row: u32,
    departed: Departed,
    lists: Lists,
    /// Changes that others told since a probe found one that nobody had.
    told: u32,
    /// So many of them count as all.
    needed: u32,
    /// When fewer are needed again, if it is more than at first.
    forgiven_at: Moment,
    /// What nobody had told so far, by when it is judged; one for each account at most.
    finds: BTreeSet<(Moment, AccountKey)>,
    /// Entries in a hurry.
    hurried: usize,
    tally: Tally,
    rng: StdRng,
}

impl Schedule {
    /// `rate` in requests a second; `seed` of all jitter.
    #[must_use]
    pub fn new(intervals: Intervals, rate: u32, seed: u64) -> Self {
        Self {
            intervals,
            budget: Budget::new(rate),
            window: Window::default(),
            entries: HashMap::new(),
            timed: BTreeSet::new(),
            urgent: BTreeSet::new(),
            routine: BTreeSet::new(),
            running: 0,
            urgent_in_a_row: 0,
            departed: Departed::default(),
            lists: Lists::default(),
            told: 0,
            needed: ENOUGH,
            forgiven_at: Moment::default(),
            finds: BTreeSet::new(),
            hurried: 0,
            tally: Tally::default(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Starts watching an account; its first probe by interval comes at a random part of it.
    pub fn watch(&mut self, account: &AccountKey, now: Moment) {
        if let Some(entry) = self.entries.get_mut(account) {
            entry.is_removed = false;
            return;
        }
        let entry = Entry::new(self.departed.take(account), now);
        self.entries.insert(account.clone(), entry);
        if let Some(interval) = self.usual_interval() {
            let first = self.random_part(interval);
            self.plan(account, now.after(first));
        }
    }

    /// Asks for a probe at once: a baseline, or a hint (D7). While one runs, asks for exactly one
    /// follow-up. Gives whether the account is watched.
    pub fn request(&mut self, account: &AccountKey, why: Why, now: Moment) -> bool {
        let Some(entry) = self.entries.get_mut(account).filter(|entry| !entry.is_removed) else {
            return false;
        };
        let known = if entry.phase == Phase::Running { entry.again } else { Some(entry.why) };
        if known.is_some_and(|known| known >= why) {
            return true;
        }
        if entry.phase == Phase::Running {
            entry.again = Some(why);
            return true;
        }
        (entry.why, entry.requested_at) = (why, now);
        if !matches!(entry.phase, Phase::Parked(_)) {
            let at = entry.earliest(why).max(now);
            // One that waited already goes on waiting where it stands.
            let at = match entry.phase {
                Phase::Timed(since) | Phase::Due(since) if since < at => since,
                _ => at,
            };
            self.plan(account, at);
        }
        true
    }

    /// Stops watching an account. One that runs is gone when it ends.
    pub fn remove(&mut self, account: &AccountKey, now: Moment) {
        match self.entries.get_mut(account) {
            Some(entry) if entry.phase == Phase::Running => entry.is_removed = true,
            Some(_) => {
                self.take_out(account);
                self.forget(account, now);
            }
            None => {}
        }
    }

    /// Why an account that was handed out is asked about.
    #[must_use]
    pub fn why(&self, account: &AccountKey) -> Option<Why> {
        self.entries.get(account).map(|entry| entry.why)
    }

    /// Takes in how upstream bore a request sent at `sent`.
    pub fn borne(&mut self, borne: Borne, sent: Moment, now: Moment) {
        self.window.note(borne, sent, now);
    }

    /// Accounts that may be asked about at the same time, for now.
    #[must_use]
    pub fn in_flight_limit(&self) -> usize {
        self.window.size()
    }

    /// The account to ask about now. Spends nothing: see [`Self::spend`].
    pub fn due(&mut self, now: Moment) -> Next {
        self.judge(now);
        self.promote(now);
        if self.running >= self.window.size() {
            return Next::Idle;
        }
        if self.queued() == 0 {
            let first = [self.timed.first(), self.finds.first()].into_iter().flatten().min();
            return first.map_or(Next::Idle, |(at, _)| Next::At(*at));
        }
        let free_at = self.budget.free_at();
        if free_at > now {
            return Next::At(free_at);
        }
        let Some(account) = self.pick() else { return Next::Idle };
        if let Some(entry) = self.entries.get_mut(&account) {
            entry.phase = Phase::Running;
            entry.again = None;
            entry.asked_at = now;
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
            self.forget(account, now);
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
        let Some(entry) = self.entries.get_mut(account) else { return false };
        if entry.phase != Phase::Running {
            return true;
        }
        self.running = self.running.saturating_sub(1);
        entry.phase = Phase::Asleep;
        if entry.why == Why::Baseline && ended != Ended::Idle {
            entry.baselines.spend(entry.asked_at);
        }
        if entry.is_removed {
            self.forget(account, now);
            return false;
        }
        let is_routine = entry.finish(ended, backoff, withheld_until, now);
        if is_routine {
            self.slow_down(account);
        }
        let interval = self.interval_of(account);
        let Some(entry) = self.entries.get(account) else { return false };
        let at = if entry.is_urgent() {
            Some(entry.earliest(entry.why).max(now))
        } else {
            let by_interval = interval.map(|interval| now.after(interval));
            let retry = backoff.map(|_| entry.not_before);
            let first = [by_interval, retry, withheld_until].into_iter().flatten().min();
            first.map(|at| at.max(entry.not_before))
        };
        if let Some(at) = at {
            self.plan(account, at);
        }
        true
    }

    /// Upstream is well again: back-offs end within two seconds.
    pub fn heal(&mut self, now: Moment) {
        let mut backing_off: Vec<AccountKey> = self
            .entries
            .iter_mut()
            // A longer one is upstream's own `Retry-After`.
            .filter(|(_, entry)| {
                entry.failures > 0 && entry.not_before <= now.after(entry::BACKOFF_LONGEST)
            })
            .map(|(account, entry)| {
                entry.failures = 0;
                entry.not_before = now;
                account.clone()
            })
            .collect();
        // The same jitter for the same accounts, whatever order the map is in.
        backing_off.sort_unstable();
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
            let queue = if entry.is_urgent() { &mut self.urgent } else { &mut self.routine };
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
        let jitter = self.random_part(entry::longest_backoff(failures));
        match ended {
            Ended::Answered | Ended::Idle => None,
            Ended::Failed | Ended::Limited(None) => Some(jitter),
            Ended::Limited(Some(asked)) => Some(asked.min(RETRY_LONGEST) + jitter),
        }
    }

    /// The account is watched no longer and in no queue.
    fn forget(&mut self, account: &AccountKey, now: Moment) {
        let is_find = self.drop_find(account);
        self.set_hurry(account, None);
        if let Some(entry) = self.entries.remove(account) {
            self.departed.keep(account, entry.baselines, now);
        }
        if is_find {
            self.untold(now);
        }
    }

    fn random_part(&mut self, whole: Duration) -> Duration {
        whole.mul_f64(self.rng.random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests;
