//! Whether others tell of every change, and what follows for how often upstream is asked.
//!
//! The interval is a promise: an account of which nobody tells is asked about at least that often.
//! Where a source of notifications tells of everything, asking as often is waste; where it tells of
//! half, asking less often breaks the promise. Nobody can say in advance which it is, but it shows:
//!
//! - A change of which a source tells first is evidence for it. [`ENOUGH`] of them in a row, over all
//!   accounts, and the longer interval (`probe.interval_told`) holds. One for each account and usual
//!   interval counts: a burst in one account says nothing about the others.
//! - A change that a probe by interval finds is evidence against it: the count starts from nothing,
//!   and every account is back to the usual interval, each at a moment of its own. One is enough: the
//!   next one would take the longer interval to be noticed.
//! - A source may tell of most accounts and never of the rest. So each such find makes [`HARDER`]
//!   times as many told changes necessary, which halves with every hour ([`FORGIVEN`]) without one,
//!   and the account keeps the usual interval for as long as it is watched.
//! - The probe may merely have been faster. So a find is judged only after [`GRACE`], and a
//!   notification that comes meanwhile, or came as long before, makes it one that was told.
//! - A find in an account that is watched no longer is judged then: nobody is left to tell of it.
//! - A source that was lost tells nothing: the count starts from nothing at once.
//! - What passes through us in a client's response is evidence for neither: it says nothing of how
//!   the changes become known that do *not* pass through us, mail that arrives above all. Were it
//!   counted, a server that can tell nothing would come to be asked every five minutes only because
//!   its users read their mail. Nor is it evidence against: a request that was under way when the
//!   probe was may be what the probe saw.
//!
//! An account in which a find was made is asked about every `probe.interval_min`; each probe by
//! interval that finds nothing makes that half as long again, up to the usual interval.

use std::sync::Arc;
use std::time::Duration;

use super::Schedule;
use super::entry::{Phase, Why};
use crate::clock::Moment;
use crate::jmap::id::DataType;
use crate::state::fact::AccountKey;

/// So many changes told in a row count as all, before it has been found wrong.
pub const ENOUGH: u32 = 32;

/// So many times as many are necessary after each find that nobody told.
const HARDER: u32 = 4;

/// Half as many are necessary after each such time without one.
const FORGIVEN: Duration = Duration::from_secs(3600);

/// How much later than a probe a source may be.
pub const GRACE: Duration = Duration::from_secs(10);

/// A client's response that passed, as far as it concerns one account.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// When the request went out.
    pub sent: Moment,
    /// When the response had arrived.
    pub received: Moment,
    /// Whether it showed the account as one of those who see it does.
    pub is_fact: bool,
    /// Whether the request may have changed the account.
    pub has_written: bool,
    /// Whether the response told subscribers something new.
    pub is_news: bool,
}

/// Who told of a change first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A client's response, or a doubt that one left.
    Response,
    /// A notification.
    Notice,
    /// Nobody: a probe by interval found it.
    Probe,
}

impl Source {
    /// The name by which metrics tell them apart.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Notice => "notice",
            Self::Probe => "probe",
        }
    }
}

/// A change that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Who told of it.
    pub source: Source,
    /// How long it may have taken from the change to its publication, at most: from when the
    /// notification came or the request was sent, else from when the states were last known to be
    /// the old ones.
    pub within: Duration,
}

/// What was counted since it was last asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Finds of probes by interval that turned out to have been told.
    pub told: u64,
    /// Finds of probes by interval that nobody told.
    pub unannounced: u64,
    /// Probes by interval that a passing response spared.
    pub spared: u64,
}

impl Schedule {
    /// A source of notifications spoke of the account at `at`. `is_published`: so exactly that it was
    /// published without asking upstream.
    pub fn heard(&mut self, account: &AccountKey, at: Moment, is_published: bool, now: Moment) {
        let Some(entry) = self.entries.get_mut(account).filter(|entry| !entry.is_removed) else {
            return;
        };
        entry.noticed_last = entry.noticed_last.max(Some(at));
        // The first that the probe which waits or runs is to answer.
        if entry.noticed.is_none() || !entry.is_hinted() {
            entry.noticed = Some(at);
        }
        let is_find = entry.find.is_some();
        if is_find {
            self.tally.told += 1;
            self.forget_find(account, now);
        }
        if is_find || is_published {
            self.count_told(account, now);
        }
    }

    /// A client's response that stated these types of the account passed. If it tells what a probe
    /// would have asked, the next probe by interval is put off as if it had been one. Gives the
    /// change, if it told one.
    pub fn passed<'a>(
        &mut self,
        account: &AccountKey,
        types: impl IntoIterator<Item = &'a DataType>,
        passed: &Passed,
        now: Moment,
    ) -> Option<Change> {
        let entry = self.entries.get_mut(account).filter(|entry| !entry.is_removed)?;
        // From when the states told by it are known to have been the old ones.
        let since = if passed.has_written { Some(passed.sent) } else { entry.confirmed };
        let found_at = entry.find.map(|judged| judged.before(GRACE));
        let mut asked: Vec<&DataType> = entry.asked.iter().flat_map(|list| list.iter()).collect();
        let is_asked = !asked.is_empty();
        types.into_iter().for_each(|stated| asked.retain(|name| *name != stated));
        let is_whole = passed.is_fact && is_asked && asked.is_empty();
        if is_whole {
            entry.confirmed = entry.confirmed.max(Some(passed.sent));
        }
        if passed.has_written && found_at.is_some_and(|found| passed.sent <= found) {
            self.forget_find(account, now);
        }
        if is_whole {
            self.put_off(account, passed.sent);
        }
        let since = since.filter(|_| passed.is_news)?;
        Some(Change { source: Source::Response, within: passed.received.since(since) })
    }

    /// The probe of the account that runs has found something new. Gives the change, if it is one
    /// since somebody watches, and the first of this probe.
    pub fn found(&mut self, account: &AccountKey, now: Moment) -> Option<Change> {
        let entry = self.entries.get_mut(account)?;
        if entry.phase != Phase::Running || std::mem::replace(&mut entry.is_news, true) {
            return None;
        }
        if entry.noticed_last.is_some_and(|at| at.after(GRACE) >= entry.asked_at) {
            let since = entry.noticed.or(entry.noticed_last).unwrap_or(now);
            self.tally.told += u64::from(entry.why == Why::Interval);
            self.count_told(account, now);
            return Some(Change { source: Source::Notice, within: now.since(since) });
        }
        match entry.again.map_or(entry.why, |again| again.max(entry.why)) {
            Why::Hint => {
                let asked = if entry.is_urgent() { entry.requested_at } else { entry.asked_at };
                let within = now.since(asked);
                Some(Change { source: Source::Response, within })
            }
            Why::Baseline => None,
            Why::Interval => {
                let within = entry.confirmed.map(|at| now.since(at));
                let judged_at = now.after(GRACE);
                entry.find = Some(judged_at);
                self.finds.insert((judged_at, account.clone()));
                if !self.intervals.are_off() {
                    self.set_hurry(account, Some(self.intervals.min));
                }
                within.map(|within| Change { source: Source::Probe, within })
            }
        }
    }

    /// Notifications may have been lost: nobody tells of everything any more.
    pub fn gap(&mut self, now: Moment) {
        let was_confident = self.is_confident();
        self.told = 0;
        if was_confident {
            self.back_to_usual(now);
        }
    }

    /// Whether the longer interval holds.
    #[must_use]
    pub fn is_confident(&self) -> bool {
        self.told >= self.needed
    }

    /// What a probe of the account asks for; it must be running.
    pub fn asking(&mut self, account: &AccountKey, types: Vec<DataType>) {
        let list = self.lists.shared(types);
        if let Some(entry) = self.entries.get_mut(account) {
            entry.asked = Some(Arc::clone(&list));
        }
    }

    /// What was counted since this was last called.
    pub fn tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Accounts that are asked about more often than usual.
    #[must_use]
    pub fn hurried(&self) -> usize {
        self.hurried
    }

    /// Judges the finds whose time has come.
    pub(super) fn judge(&mut self, now: Moment) {
        self.forgive(now);
        while let Some((at, account)) = self.finds.pop_first() {
            if at > now {
                self.finds.insert((at, account));
                return;
            }
            if let Some(entry) = self.entries.get_mut(&account) {
                entry.find = None;
                entry.is_untold = true;
            }
            self.untold(now);
        }
    }

    /// A find that nobody told.
    pub(super) fn untold(&mut self, now: Moment) {
        self.tally.unannounced += 1;
        self.gap(now);
        self.needed = self.needed.saturating_mul(HARDER);
        self.forgiven_at = now.after(FORGIVEN);
    }

    fn forgive(&mut self, now: Moment) {
        while self.needed > ENOUGH && self.forgiven_at <= now {
            self.needed = (self.needed / 2).max(ENOUGH);
            self.forgiven_at = self.forgiven_at.after(FORGIVEN);
        }
    }

    /// A source told of a change of the account.
    fn count_told(&mut self, account: &AccountKey, now: Moment) {
        let Some(entry) = self.entries.get_mut(account) else { return };
        if entry.counted.is_none_or(|at| now >= at.after(self.intervals.usual)) {
            entry.counted = Some(now);
            self.told = self.told.saturating_add(1);
        }
    }

    /// A find is no evidence: it was told, or made by a request that passed.
    fn forget_find(&mut self, account: &AccountKey, now: Moment) {
        let _ = self.drop_find(account);
        self.set_hurry(account, None);
        let asked_at = self.entries.get(account).map_or(now, |entry| entry.asked_at);
        self.put_off(account, asked_at);
    }

    /// Gives whether a find of the account waited to be judged.
    pub(super) fn drop_find(&mut self, account: &AccountKey) -> bool {
        let find = self.entries.get_mut(account).and_then(|entry| entry.find.take());
        find.is_some_and(|at| self.finds.remove(&(at, account.clone())))
    }

    pub(super) fn set_hurry(&mut self, account: &AccountKey, hurry: Option<Duration>) {
        let Some(entry) = self.entries.get_mut(account) else { return };
        self.hurried += usize::from(hurry.is_some());
        self.hurried -= usize::from(entry.hurry.is_some());
        entry.hurry = hurry;
    }

    /// A probe by interval found nothing new.
    pub(super) fn slow_down(&mut self, account: &AccountKey) {
        let hurry = self.entries.get(account).and_then(|entry| entry.hurry);
        let slower = hurry.and_then(|hurry| self.intervals.slower(hurry));
        self.set_hurry(account, slower);
    }

    /// The account's next probe by interval comes no sooner than if one had been sent at `sent`.
    fn put_off(&mut self, account: &AccountKey, sent: Moment) {
        let Some(interval) = self.interval_of(account) else { return };
        let Some(entry) = self.entries.get(account) else { return };
        let (Phase::Timed(at) | Phase::Due(at)) = entry.phase else { return };
        let next = sent.after(interval);
        let next = entry.withheld.map_or(next, |until| next.min(until));
        if entry.why == Why::Interval && entry.failures == 0 && next > at {
            self.tally.spared += 1;
            self.plan(account, next);
        }
    }

    /// Every account that would be asked about later than the usual interval allows, is sooner.
    fn back_to_usual(&mut self, now: Moment) {
        let latest = now.after(self.intervals.usual);
        let late: Vec<AccountKey> = self
            .timed
            .iter()
            .rev()
            .take_while(|(at, _)| *at > latest)
            .map(|(_, account)| account.clone())
            .filter(|account| self.entries.get(account).is_some_and(|entry| !entry.is_urgent()))
            .collect();
        for account in late {
            let soon = now.after(self.random_part(self.intervals.usual));
            let not_before = self.entries.get(&account).map_or(soon, |entry| entry.not_before);
            self.plan(&account, soon.max(not_before));
        }
    }
}
