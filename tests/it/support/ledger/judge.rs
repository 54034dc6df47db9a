//! Goes through a client's log beside the ledger, and stops at the first entry that breaks a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tokio::time::Instant;

use super::{Deed, Entry, Ledger, Log};

/// How much of the history a fault shows.
const SHOWN: usize = 24;

/// What was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A live client does not have upstream's last state.
    Stale,
    /// An account that the user may not see (any more).
    NotTheirs,
    /// A type outside the filter.
    NotWanted,
    /// A state that upstream never had, or not yet.
    Invented,
    /// An older state after a newer one.
    Backwards,
    /// The same again, for no reason.
    Amplified,
    /// A `StateChange` that changes nothing.
    Empty,
}

/// A broken rule with the history that shows it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) rule: Rule,
    /// In words.
    what: String,
    history: Vec<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}", self.rule, self.what)?;
        self.history.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// One type of one account, by the id the client knows it by.
type Place = (String, String);

/// One state in the history of a type.
#[derive(Debug)]
struct Past<'a> {
    at: Instant,
    state: &'a str,
    added: bool,
}

/// See the module.
pub(super) struct Replay<'a> {
    ledger: &'a Ledger,
    log: &'a Log,
    /// By account and type, what the user could have seen.
    histories: BTreeMap<(&'a str, &'a str), Vec<Past<'a>>>,
    /// Deeds that were gone through.
    past: usize,
    /// What was given to its user while the client was away.
    granted: BTreeSet<String>,
    is_open: bool,
    wanted: Option<BTreeSet<String>>,
    /// A wish that may not have been heard yet.
    asked: Option<Option<BTreeSet<String>>>,
    withdrawn: BTreeSet<String>,
    /// What the client has read or been told last.
    known: BTreeMap<Place, String>,
    /// Where in the history of `Email` all that was added is accounted for.
    delivered: BTreeMap<String, usize>,
    /// Where in the history the state told last may stand: it may be there more than once.
    reached: BTreeMap<Place, BTreeSet<usize>>,
    /// Told since there was a reason to.
    told: BTreeSet<Place>,
}

impl<'a> Replay<'a> {
    pub(super) fn of(ledger: &'a Ledger, log: &'a Log) -> Self {
        let mut histories = BTreeMap::<_, Vec<_>>::new();
        for (at, deed) in &ledger.0 {
            if let Deed::Changed { account, data_type, state, view, added } = deed
                && view.as_ref().is_none_or(|view| *view == log.user)
            {
                let past = Past { at: *at, state, added: *added };
                histories.entry((account.as_str(), data_type.as_str())).or_default().push(past);
            }
        }
        Self {
            ledger,
            log,
            histories,
            past: 0,
            granted: BTreeSet::new(),
            is_open: false,
            wanted: None,
            asked: None,
            withdrawn: BTreeSet::new(),
            known: BTreeMap::new(),
            delivered: BTreeMap::new(),
            reached: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    pub(super) fn judge(mut self) -> Result<(), Fault> {
        for (at, entry) in &self.log.entries {
            self.read_granted(*at);
            match entry {
                Entry::Opened { resumed } => {
                    (self.is_open, self.withdrawn) = (true, BTreeSet::new());
                    self.told.clear();
                    let granted = std::mem::take(&mut self.granted);
                    if !resumed {
                        self.known.clear();
                        self.delivered.clear();
                    }
                    self.read_all(*at, |id, _| !resumed || granted.contains(id));
                }
                Entry::Wished { types, resumed } => {
                    let before = std::mem::replace(&mut self.wanted, types.clone());
                    self.told.clear();
                    self.asked = None;
                    if self.is_open && !resumed {
                        self.read_all(*at, |_, name| !allows(before.as_ref(), name));
                    }
                }
                Entry::Asked { types } => {
                    self.told.clear();
                    self.asked = Some(types.clone());
                }
                Entry::Granted(account) => {
                    self.withdrawn.remove(account);
                    self.told.retain(|(told, _)| told != account);
                    self.known.retain(|(known, _), _| known != account);
                    self.delivered.remove(account);
                }
                Entry::Withdrawn(account) => {
                    self.withdrawn.insert(account.clone());
                }
                Entry::Closed => self.is_open = false,
                Entry::Told(changed) => {
                    let mut states = changed.iter().flat_map(|(account, types)| {
                        types.iter().map(move |(name, state)| (account, name, state))
                    });
                    if changed.values().all(BTreeMap::is_empty) {
                        return Err(self.fault(Rule::Empty, None, *at, "an empty StateChange"));
                    }
                    states.try_for_each(|(a, name, state)| self.hear(*at, a, name, state))?;
                }
            }
        }
        if !self.is_open {
            return Ok(());
        }
        let end = self.ledger.0.last().map(|(at, _)| *at);
        end.into_iter().for_each(|end| self.read_granted(end));
        self.judge_last()
    }

    /// The client reads what was given to its user up to this moment, if it is there: its Session
    /// tells it.
    fn read_granted(&mut self, until: Instant) {
        while let Some((at, deed)) = self.ledger.0.get(self.past).filter(|(at, _)| *at <= until) {
            self.past += 1;
            if let Deed::Granted { user, id: granted, .. } = deed
                && *user == self.log.user
            {
                if self.is_open {
                    self.read_all(*at, |id, _| id == granted);
                } else {
                    self.granted.insert(granted.clone());
                }
            }
        }
    }

    /// The client reads the states of what it may see and is new to it.
    fn read_all(&mut self, at: Instant, is_new: impl Fn(&str, &str) -> bool) {
        for (id, account) in self.visible(at) {
            for ((of, name), history) in &self.histories {
                let Some(last) = history.iter().rposition(|past| past.at <= at) else { continue };
                if *of == account && is_new(id, name) {
                    self.known.insert((id.into(), (*name).into()), history[last].state.into());
                }
                if *of == account && *name == "Email" && is_new(id, "EmailDelivery") {
                    self.delivered.insert(id.into(), last);
                }
            }
        }
    }

    /// The accounts the user may see at a moment, by id.
    fn visible(&self, at: Instant) -> BTreeMap<&'a str, &'a str> {
        let mut visible = BTreeMap::new();
        for (_, deed) in self.ledger.0.iter().take_while(|(then, _)| *then <= at) {
            match deed {
                Deed::Granted { user, id, account } if *user == self.log.user => {
                    visible.insert(id.as_str(), account.as_str());
                }
                Deed::Withdrawn { user, id } if *user == self.log.user => {
                    visible.remove(id.as_str());
                }
                _ => {}
            }
        }
        visible
    }

    /// The account that this id means, or last meant, to the user.
    fn account(&self, wanted: &str, at: Instant) -> Option<&'a str> {
        let past = self.ledger.0.iter().take_while(|(then, _)| *then <= at);
        let named = past.filter_map(|(_, deed)| match deed {
            Deed::Granted { user, id, account } if *user == self.log.user && id == wanted => {
                Some(account.as_str())
            }
            _ => None,
        });
        named.last()
    }

    /// One state of a `StateChange`.
    fn hear(&mut self, at: Instant, id: &str, name: &str, state: &str) -> Result<(), Fault> {
        let place = (id.to_owned(), name.to_owned());
        let fault =
            |rule, what: &str| Err(self.fault(rule, Some(&place), at, &format!("{what} {state}")));
        let Some(account) = self.account(id, at) else {
            return fault(Rule::NotTheirs, "never theirs, told as");
        };
        if self.withdrawn.contains(id) {
            return fault(Rule::NotTheirs, "known to be withdrawn, told as");
        }
        let asked = self.asked.as_ref().is_some_and(|types| allows(types.as_ref(), name));
        if !asked && !allows(self.wanted.as_ref(), name) {
            return fault(Rule::NotWanted, "not asked for, told as");
        }
        let history = self.histories.get(&(account, kept_as(name)));
        let history = history.into_iter().flatten().enumerate();
        let found: BTreeSet<usize> = history
            .filter(|(_, past)| past.at <= at && past.state == state)
            .map(|(place, _)| place)
            .collect();
        if found.is_empty() && self.log.hears_others && self.is_others(account, name, state) {
            self.told.remove(&place);
            self.read_all(at, |of, told| of == id && told == name);
            return Ok(());
        }
        if found.is_empty() {
            return fault(Rule::Invented, "never was (yet)");
        }
        let mut next = found.clone();
        if let Some(before) = self.reached.get(&place) {
            let earliest = before.first().copied().unwrap_or_default();
            // That users see different states may be found out at any time.
            let has_reason = self.log.hears_others || !self.told.contains(&place);
            next.retain(|at| *at > earliest || has_reason && before.contains(at));
            if next.is_empty() {
                let is_same = found.iter().any(|at| before.contains(at));
                return match is_same {
                    true => fault(Rule::Amplified, "told again"),
                    false => fault(Rule::Backwards, "told after a newer one,"),
                };
            }
        }
        if name == "EmailDelivery" {
            let last = next.last().copied().unwrap_or_default();
            let delivered = self.delivered.entry(id.into()).or_default();
            *delivered = last.max(*delivered);
        }
        self.reached.insert(place.clone(), next);
        self.known.insert(place.clone(), state.into());
        self.told.insert(place);
        Ok(())
    }

    /// Whether this is what another user sees.
    fn is_others(&self, of: &str, name: &str, told: &str) -> bool {
        self.ledger.0.iter().any(|(_, deed)| match deed {
            Deed::Changed { account, data_type, state, view: Some(_), .. } => {
                account == of && data_type == kept_as(name) && state == told
            }
            _ => false,
        })
    }

    /// Whether the client has all that upstream has.
    fn judge_last(&self) -> Result<(), Fault> {
        let Some(end) = self.ledger.0.last().map(|(at, _)| *at) else { return Ok(()) };
        for (id, account) in self.visible(end) {
            for ((of, name), history) in &self.histories {
                let Some(last) = history.last().filter(|_| *of == account) else { continue };
                let place = (id.to_owned(), (*name).to_owned());
                if allows(self.wanted.as_ref(), name)
                    && self.known.get(&place).map(String::as_str) != Some(last.state)
                {
                    let what = format!("has {:?}, not {}", self.known.get(&place), last.state);
                    return Err(self.fault(Rule::Stale, Some(&place), last.at, &what));
                }
                let added = history.iter().rposition(|past| past.added);
                if *name == "Email"
                    && allows(self.wanted.as_ref(), "EmailDelivery")
                    && added > self.delivered.get(id).copied()
                {
                    let place = (id.to_owned(), "EmailDelivery".to_owned());
                    let what = "has not heard of all that was added";
                    return Err(self.fault(Rule::Stale, Some(&place), last.at, what));
                }
            }
        }
        Ok(())
    }

    fn fault(&self, rule: Rule, place: Option<&Place>, at: Instant, what: &str) -> Fault {
        let of = place.map_or(String::new(), |(id, name)| format!(" {id} {name}"));
        let what = format!("{}{of}: {what}", self.log.user);
        Fault { rule, what, history: self.history(place, at) }
    }

    /// What the ledger and the log say of one type, up to a moment and a little further.
    fn history(&self, place: Option<&Place>, at: Instant) -> Vec<String> {
        let (id, name) = place.map_or(("", ""), |(id, name)| (id.as_str(), name.as_str()));
        let account = self.account(id, at);
        let deeds = self.ledger.0.iter().filter_map(|(then, deed)| {
            let text = match deed {
                Deed::Changed { account: of, data_type, state, view, added } => {
                    let is_it = Some(of.as_str()) == account
                        && data_type == kept_as(name)
                        && view.as_ref().is_none_or(|view| *view == self.log.user);
                    let mail = if *added { ", mail added" } else { "" };
                    is_it.then(|| format!("upstream: {of} {data_type} is {state}{mail}"))
                }
                Deed::Granted { user, id: of, .. } if of == id && *user == self.log.user => {
                    Some(format!("upstream: {user} may see {id}"))
                }
                Deed::Withdrawn { user, id: of } if of == id && *user == self.log.user => {
                    Some(format!("upstream: {user} may not see {id} any more"))
                }
                Deed::Granted { .. } | Deed::Withdrawn { .. } => None,
            };
            text.map(|text| (*then, text))
        });
        let heard = self.log.entries.iter().filter_map(|(then, entry)| {
            let text = match entry {
                Entry::Told(changed) => {
                    changed.get(id)?.get(name).map(|to| format!("told {to}"))?
                }
                Entry::Granted(of) | Entry::Withdrawn(of) if of != id => return None,
                other => format!("{other:?}"),
            };
            Some((*then, format!("    {}: {text}", self.log.user)))
        });
        let mut lines: Vec<(Instant, String)> = deeds.chain(heard).collect();
        lines.sort_by_key(|(then, _)| *then);
        let start = self.ledger.0.first().map_or(at, |(start, _)| *start);
        let until = lines.iter().rposition(|(then, _)| *then <= at).map_or(0, |last| last + 1);
        // What comes last tells most; of what has no end, all of it.
        let until = if place.is_some() && lines.len() < 2 * SHOWN { lines.len() } else { until };
        let shown = lines.get(until.saturating_sub(SHOWN)..until).unwrap_or_default();
        shown
            .iter()
            .map(|(then, text)| {
                let millis = then.saturating_duration_since(start).as_millis();
                format!("{millis:>7} ms  {text}")
            })
            .collect()
    }
}

fn allows(wanted: Option<&BTreeSet<String>>, name: &str) -> bool {
    wanted.is_none_or(|types| types.contains(name))
}

/// RFC 8621 §1.5: the state of `EmailDelivery` is that of Email at a delivery.
fn kept_as(name: &str) -> &str {
    if name == "EmailDelivery" { "Email" } else { name }
}
