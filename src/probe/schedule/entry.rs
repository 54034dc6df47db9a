//! What is kept of one watched account, and for how long one that is watched no longer is remembered.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::jmap::id::DataType;
use crate::state::fact::AccountKey;

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

/// Baselines of one account that may be asked for one after the other. A page that is loaded again, or
/// two streams of one client, wait for nothing.
const BASELINES_AT_ONCE: u32 = 5;

/// After those, the least time between two: who connects and disconnects in a loop makes no more
/// requests than that.
const BASELINE_REST: Duration = Duration::from_secs(2);

/// Full jitter up to this after the first failure, twice as much after each further one.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest back-off of an account. Not above the usual interval, so that an account is asked about
/// within seconds of upstream's return.
pub(super) const BACKOFF_LONGEST: Duration = Duration::from_secs(30);

/// Why an account is asked about; the later one weighs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Its interval is over, or an earlier probe failed.
    Interval,
    /// Somebody begins to watch it, or notifications may have been lost: its states are to be known.
    Baseline,
    /// Something says that it changed.
    Hint,
}

impl Why {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Interval, Self::Baseline, Self::Hint];

    /// The name by which metrics tell them apart.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Baseline => "baseline",
            Self::Hint => "hint",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No interval and no request: nothing to wait for.
    Asleep,
    /// In `timed`.
    Timed(Moment),
    /// In `urgent` or `routine`, since the moment.
    Due(Moment),
    /// Handed out by `Schedule::due`.
    Running,
    /// Handed out, and given back until `Schedule::unpark`; due since the moment.
    Parked(Moment),
}

/// The longest time to leave an account alone that has failed so often before.
pub(super) fn longest_backoff(failures: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF_LONGEST)
}

/// One watched account.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) phase: Phase,
    pub(super) why: Why,
    /// Requested again while running: one follow-up.
    pub(super) again: Option<Why>,
    /// Removed while running: gone when that ends.
    pub(super) is_removed: bool,
    /// The probe that runs has found something new.
    pub(super) is_news: bool,
    pub(super) failures: u32,
    /// Back-off: not asked about before.
    pub(super) not_before: Moment,
    pub(super) baselines: Baselines,
    /// Types left out of the last probe may be asked for from then on.
    pub(super) withheld: Option<Moment>,
    /// The interval while it is asked about more often than usual.
    pub(super) hurry: Option<Duration>,
    /// What the last probe asked for.
    pub(super) asked: Option<Arc<[DataType]>>,
    /// When it was last handed out.
    pub(super) asked_at: Moment,
    /// When the probe that runs or waits was requested, at the earliest.
    pub(super) requested_at: Moment,
    /// Up to when its states are known to have been those known.
    pub(super) confirmed: Option<Moment>,
    /// The first notification since there is a hint to answer.
    pub(super) noticed: Option<Moment>,
    /// The last notification.
    pub(super) noticed_last: Option<Moment>,
    /// What a probe found that nobody had told, until this moment has come: it is judged then.
    pub(super) find: Option<Moment>,
    /// When a change of it that a source told was last counted.
    pub(super) counted: Option<Moment>,
    /// A probe found in it what nobody told: it keeps the usual interval.
    pub(super) is_untold: bool,
}

impl Entry {
    pub(super) fn new(baselines: Baselines, now: Moment) -> Self {
        Self {
            phase: Phase::Asleep,
            why: Why::Interval,
            again: None,
            is_removed: false,
            is_news: false,
            failures: 0,
            not_before: now,
            baselines,
            withheld: None,
            hurry: None,
            asked: None,
            asked_at: now,
            requested_at: now,
            confirmed: None,
            noticed: None,
            noticed_last: None,
            find: None,
            counted: None,
            is_untold: false,
        }
    }

    /// Its probe ended. Gives whether that was one by interval and found nothing new.
    pub(super) fn finish(
        &mut self,
        ended: Ended,
        backoff: Option<Duration>,
        withheld_until: Option<Moment>,
        now: Moment,
    ) -> bool {
        let has_failed = backoff.is_some();
        self.failures = if has_failed { self.failures.saturating_add(1) } else { 0 };
        self.not_before = now.after(backoff.unwrap_or_default());
        self.withheld = withheld_until;
        if ended == Ended::Answered {
            self.confirmed = Some(self.asked_at);
            self.noticed = self.noticed.filter(|at| *at > self.asked_at);
        }
        let is_news = std::mem::take(&mut self.is_news);
        let is_routine = self.why == Why::Interval && ended == Ended::Answered && !is_news;
        if self.again.is_some() {
            // Some time since then.
            self.requested_at = self.asked_at;
        }
        // What was waited for and not got is still waited for.
        let unanswered = Some(self.why).filter(|_| has_failed);
        self.why = self.again.take().max(unanswered).unwrap_or(Why::Interval);
        is_routine
    }

    /// A hint is to be answered.
    pub(super) fn is_hinted(&self) -> bool {
        self.why == Why::Hint || self.again == Some(Why::Hint)
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.why != Why::Interval
    }

    /// When it may be asked about for this reason at the earliest.
    pub(super) fn earliest(&self, why: Why) -> Moment {
        let rested = if why == Why::Baseline { self.baselines.next() } else { Moment::default() };
        self.not_before.max(rested)
    }
}

/// When all baselines of an account asked for so far would have been, at [`BASELINE_REST`] each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Baselines(Moment);

impl Baselines {
    pub(super) fn spend(&mut self, now: Moment) {
        self.0 = self.0.max(now).after(BASELINE_REST);
    }

    /// When the next one may be asked for.
    fn next(self) -> Moment {
        self.0.before(BASELINE_REST.saturating_mul(BASELINES_AT_ONCE - 1))
    }
}

/// The baselines of accounts that are watched no longer.
///
/// When full: an account is kept for at most [`BASELINE_REST`] times [`BASELINES_AT_ONCE`] after its
/// last baseline, so that the global rate bounds their number.
#[derive(Debug, Default)]
pub(super) struct Departed {
    spent: HashMap<AccountKey, Baselines>,
    by_age: BTreeSet<(Baselines, AccountKey)>,
}

impl Departed {
    pub(super) fn keep(&mut self, account: &AccountKey, baselines: Baselines, now: Moment) {
        while let Some((spent, account)) = self.by_age.pop_first() {
            if spent.0 > now {
                self.by_age.insert((spent, account));
                break;
            }
            self.spent.remove(&account);
        }
        if baselines.0 > now {
            self.spent.insert(account.clone(), baselines);
            self.by_age.insert((baselines, account.clone()));
        }
    }

    pub(super) fn take(&mut self, account: &AccountKey) -> Baselines {
        let baselines = self.spent.remove(account).unwrap_or_default();
        self.by_age.remove(&(baselines, account.clone()));
        baselines
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.spent.len(), self.by_age.len());
        self.spent.len()
    }
}

/// Lists of types asked for, so that ten thousand accounts do not hold ten thousand copies.
///
/// When full: lists are no longer shared.
#[derive(Debug, Default)]
pub(super) struct Lists(Vec<Arc<[DataType]>>);

impl Lists {
    const MOST: usize = 64;

    pub(super) fn shared(&mut self, types: Vec<DataType>) -> Arc<[DataType]> {
        if let Some(known) = self.0.iter().find(|known| ***known == *types) {
            return Arc::clone(known);
        }
        let list: Arc<[DataType]> = types.into();
        if self.0.len() < Self::MOST {
            self.0.push(Arc::clone(&list));
        }
        list
    }
}
