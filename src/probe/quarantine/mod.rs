//! The data types that are not asked for, for now (architecture D8).
//!
//! Three reasons: upstream breaks on a type, it has no method for it, it does not know the capability
//! that brings it. Who broke is found in [`super::round`]; this remembers, and says when to try again.
//!
//! A type that breaks is held back for the whole upstream, so that a server that crashes on it is not
//! crashed once per account. Unless the type was answered for another account in the last hour: then
//! it is the account that is broken, and held back is the type of this account alone. For the same
//! reason the next try is left to another account if there is one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;

use super::plan::MAX_TYPES;
use crate::clock::Moment;
use crate::jmap::id::DataType;
use crate::state::fact::AccountKey;

/// The longest pause of a type, and how long an answer for one account speaks for the type.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The shortest pause, should the setting be shorter.
const SHORTEST: Duration = Duration::from_secs(1);

/// When an account that was told to wait for another's try asks again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The rest between two searches for culprits while upstream answers nobody: it is down then, and
/// searching makes `2n` requests of one.
const REST: Duration = Duration::from_secs(10);

/// Types remembered for the upstream as a whole. When full: nothing is learnt about further types,
/// which are then asked for like any other.
const MAX_REMEMBERED: usize = 16 * MAX_TYPES;

/// Why a type is not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Asking for it closes the connection, gives 5xx or no reply at all.
    Breaks,
    /// `unknownMethod`, or not for this account.
    Unsupported,
}

/// A type that is not asked for, for the operator to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// The type; `EmailDelivery` stands for `Email/changes`.
    #[serde(serialize_with = "as_str")]
    pub data_type: DataType,
    /// Whether this concerns one account or, `false`, all of them.
    pub is_one_account: bool,
    /// Why.
    pub reason: Reason,
    /// Seconds until it may be asked for again.
    pub seconds_left: u64,
}

fn as_str<S: serde::Serializer>(data_type: &DataType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(data_type.as_str())
}

/// An account's types, sorted by whether and how they may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted {
    /// In one request.
    pub together: Vec<DataType>,
    /// Each in a request of its own: it broke the last time.
    pub alone: Vec<DataType>,
    /// When the first of the types left out may be asked for.
    pub withheld_until: Option<Moment>,
}

#[derive(Debug, Clone)]
struct Hold {
    reason: Reason,
    until: Moment,
    pause: Duration,
    /// Whose request broke last.
    by: AccountKey,
    /// Whose request tries it now.
    trier: Option<AccountKey>,
}

/// See the module. Pure: time is passed in.
///
/// When full: see [`MAX_TYPES`] for one account's types, [`Self::forget`] bounds the accounts by the
/// watched ones.
#[derive(Debug)]
pub struct Quarantine {
    first: Duration,
    upstream: BTreeMap<DataType, Hold>,
    accounts: HashMap<AccountKey, BTreeMap<DataType, Hold>>,
    capabilities: BTreeMap<String, Moment>,
    /// Who was answered last, by type.
    answered: BTreeMap<DataType, (AccountKey, Moment)>,
    /// The account whose round searches for a culprit. One at a time, so that a server that crashes is
    /// not crashed by many searches at once.
    searcher: Option<AccountKey>,
    /// No search before, unless something is answered first.
    rest_until: Option<Moment>,
}

impl Quarantine {
    /// `first` is the first pause of a type that breaks (`probe.quarantine`); it doubles up to
    /// [`LONGEST`].
    #[must_use]
    pub fn new(first: Duration) -> Self {
        Self {
            first: first.clamp(SHORTEST, LONGEST),
            upstream: BTreeMap::new(),
            accounts: HashMap::new(),
            capabilities: BTreeMap::new(),
            answered: BTreeMap::new(),
            searcher: None,
            rest_until: None,
        }
    }

    /// Sorts the types of an account that is about to be asked.
    pub fn sort(&mut self, account: &AccountKey, types: Vec<DataType>, now: Moment) -> Sorted {
        let mut sorted = Sorted::default();
        for data_type in types {
            match self.admit(account, &data_type, now) {
                Ok(false) => sorted.together.push(data_type),
                Ok(true) => sorted.alone.push(data_type),
                Err(until) => {
                    let first = sorted.withheld_until.map_or(until, |first| first.min(until));
                    sorted.withheld_until = Some(first);
                }
            }
        }
        sorted
    }

    /// Whether the account may ask for the type, and if so, whether alone; if not, when it may.
    fn admit(
        &mut self,
        account: &AccountKey,
        data_type: &DataType,
        now: Moment,
    ) -> Result<bool, Moment> {
        let own = self.accounts.get_mut(account).and_then(|holds| holds.get_mut(data_type));
        let mut alone = false;
        if let Some(hold) = own {
            hold.admit(account, now, Duration::ZERO)?;
            alone = hold.reason == Reason::Breaks;
        }
        if let Some(hold) = self.upstream.get_mut(data_type) {
            // Another account's turn comes first.
            hold.admit(account, now, hold.pause / 4)?;
            alone = true;
        }
        Ok(alone)
    }

    /// Whether `data_type` may serve as a witness: not held, and if possible answered before.
    #[must_use]
    pub fn bystander(
        &self,
        account: &AccountKey,
        candidates: impl Iterator<Item = DataType>,
    ) -> Option<DataType> {
        let own = self.accounts.get(account);
        candidates
            .filter(|data_type| !self.upstream.contains_key(data_type))
            .filter(|data_type| own.is_none_or(|holds| !holds.contains_key(data_type)))
            .max_by_key(|data_type| self.answered.contains_key(data_type))
    }

    /// Notes that upstream gave a type's state. Gives whether that ended a hold for breaking.
    pub fn answered(&mut self, account: &AccountKey, data_type: &DataType, now: Moment) -> bool {
        if let Some(last) = self.answered.get_mut(data_type) {
            *last = (account.clone(), now);
        } else if self.answered.len() < MAX_REMEMBERED {
            self.answered.insert(data_type.clone(), (account.clone(), now));
        }
        self.unbroken(account, data_type)
    }

    /// Notes that asking for a type did not break upstream. Gives whether that ended a hold for
    /// breaking.
    pub fn unbroken(&mut self, account: &AccountKey, data_type: &DataType) -> bool {
        self.rest_until = None;
        let own = self.release_own(account, data_type);
        let general = self.upstream.remove(data_type);
        [own, general].into_iter().flatten().any(|hold| hold.reason == Reason::Breaks)
    }

    /// Holds a type back because it broke. Gives for how long if that is news: it is none when another
    /// account found out in the meantime.
    pub fn convict(
        &mut self,
        account: &AccountKey,
        data_type: &DataType,
        now: Moment,
    ) -> Option<Duration> {
        let own = self.accounts.get_mut(account).and_then(|holds| holds.get_mut(data_type));
        if let Some(hold) = own.or_else(|| self.upstream.get_mut(data_type)) {
            return hold.renew(account, now);
        }
        let hold = Hold::new(Reason::Breaks, account, now, self.first);
        let works_elsewhere = self
            .answered
            .get(data_type)
            .is_some_and(|(who, when)| who != account && now.since(*when) < LONGEST);
        if works_elsewhere {
            self.hold_own(account, data_type, hold);
        } else if self.upstream.len() < MAX_REMEMBERED {
            self.upstream.insert(data_type.clone(), hold);
        }
        Some(self.first)
    }

    /// The types among `asked` that were found to break while the account's request was under way:
    /// they explain why it broke.
    #[must_use]
    pub fn found_meanwhile(&self, account: &AccountKey, asked: &[DataType]) -> Vec<DataType> {
        let is_news = |data_type: &&DataType| {
            let hold = self.upstream.get(*data_type);
            hold.is_some_and(|hold| hold.trier.as_ref() != Some(account))
        };
        asked.iter().filter(is_news).cloned().collect()
    }

    /// Drops a type of one account for an hour: upstream has no such method, or not for this account.
    pub fn unsupported(&mut self, account: &AccountKey, data_type: &DataType, now: Moment) {
        let hold = Hold::new(Reason::Unsupported, account, now, LONGEST);
        self.hold_own(account, data_type, hold);
    }

    /// Drops a capability, and with it its types, for an hour (§3.6.1 `unknownCapability`).
    pub fn drop_capability(&mut self, capability: String, now: Moment) {
        self.capabilities.retain(|_, until| *until > now);
        if self.capabilities.len() < MAX_REMEMBERED {
            self.capabilities.insert(capability, now.after(LONGEST));
        }
    }

    /// Whether a capability may be named in `using`.
    #[must_use]
    pub fn knows(&self, capability: &str, now: Moment) -> bool {
        self.capabilities.get(capability).is_none_or(|until| *until <= now)
    }

    /// Whether this account's round may search for a culprit; if so, it alone until [`Self::finish`].
    pub fn may_search(&mut self, account: &AccountKey, now: Moment) -> bool {
        if let Some(searcher) = &self.searcher {
            return searcher == account;
        }
        let is_rested = self.rest_until.is_none_or(|until| now >= until);
        if is_rested {
            self.searcher = Some(account.clone());
            self.rest_until = Some(now.after(REST));
        }
        is_rested
    }

    /// The account's round is over. A try that came to no result is repeated after the same pause.
    pub fn finish(&mut self, account: &AccountKey, now: Moment) {
        if self.searcher.as_ref() == Some(account) {
            self.searcher = None;
            self.rest_until = self.rest_until.map(|_| now.after(REST));
        }
        let own = self.accounts.get_mut(account).into_iter().flat_map(BTreeMap::values_mut);
        for hold in self.upstream.values_mut().chain(own) {
            if hold.trier.as_ref() == Some(account) {
                hold.trier = None;
                hold.until = now.after(hold.pause);
            }
        }
    }

    /// Forgets an account that is watched no more. Gives whether a type of it was held for breaking.
    pub fn forget(&mut self, account: &AccountKey) -> bool {
        let holds = self.accounts.remove(account).unwrap_or_default();
        holds.values().any(|hold| hold.reason == Reason::Breaks)
    }

    /// What is held back now.
    #[must_use]
    pub fn list(&self, now: Moment) -> Vec<Quarantined> {
        let describe = |(data_type, hold): (&DataType, &Hold), is_one_account| Quarantined {
            data_type: data_type.clone(),
            is_one_account,
            reason: hold.reason,
            seconds_left: hold.until.since(now).as_secs(),
        };
        let general = self.upstream.iter().map(|entry| describe(entry, false));
        let own = self.accounts.values().flatten().map(|entry| describe(entry, true));
        general.chain(own).collect()
    }

    /// How many types are held back because they break.
    #[must_use]
    pub fn breaking(&self) -> usize {
        let own = self.accounts.values().flat_map(BTreeMap::values);
        self.upstream.values().chain(own).filter(|hold| hold.reason == Reason::Breaks).count()
    }

    fn hold_own(&mut self, account: &AccountKey, data_type: &DataType, hold: Hold) {
        self.accounts.entry(account.clone()).or_default().insert(data_type.clone(), hold);
    }

    fn release_own(&mut self, account: &AccountKey, data_type: &DataType) -> Option<Hold> {
        let holds = self.accounts.get_mut(account)?;
        let hold = holds.remove(data_type);
        if holds.is_empty() {
            self.accounts.remove(account);
        }
        hold
    }
}

impl Hold {
    fn new(reason: Reason, by: &AccountKey, now: Moment, pause: Duration) -> Self {
        Self { reason, until: now.after(pause), pause, by: by.clone(), trier: None }
    }

    /// It broke again, provided that this was a try and no late echo of the first time.
    fn renew(&mut self, by: &AccountKey, now: Moment) -> Option<Duration> {
        self.trier.take_if(|trier| trier == by)?;
        self.pause = (self.pause * 2).min(LONGEST);
        self.until = now.after(self.pause);
        self.by = by.clone();
        Some(self.pause)
    }

    /// Whether the account may ask for the type now; if not, when. Whose request broke last waits
    /// `longer` than others.
    fn admit(&mut self, account: &AccountKey, now: Moment, longer: Duration) -> Result<(), Moment> {
        if self.trier.as_ref().is_some_and(|trier| trier != account) {
            return Err(now.after(TRY_AGAIN));
        }
        let until = if self.by == *account { self.until.after(longer) } else { self.until };
        if now < until {
            return Err(until);
        }
        self.trier = Some(account.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
