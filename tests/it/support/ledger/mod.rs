//! The delivery ledger (hostile.md A4), the oracle of every scenario: upstream writes down what it
//! does, each client what it hears, and whatever happened in between,
//!
//! 1. each live client ends with upstream's states of all it may see and wants ([`Rule::Stale`]);
//! 2. nothing is told that is not its own at that time, or not wanted ([`Rule::NotTheirs`],
//!    [`Rule::NotWanted`]);
//! 3. nothing is told twice without a reason, so that there are no more `StateChange`s than changes
//!    and known reasons ([`Rule::Amplified`]);
//! 4. nothing is told that upstream never said, or an older state after a newer one
//!    ([`Rule::Invented`], [`Rule::Backwards`]).
//!
//! What a client knows is what it read itself when its stream opened, and then what it is told. Time
//! is tokio's, so that the simulation's clock serves as well as the real one.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::{Instant, timeout};

use super::sse::EventStream;
use super::upstream::Upstream;
use super::wait::DEADLINE;
use super::ws::Ws;

mod judge;
#[cfg(test)]
mod tests;

pub(crate) use judge::{Fault, Rule};

/// States by account and type.
pub(crate) type Changed = BTreeMap<String, BTreeMap<String, String>>;

/// What upstream did.
#[derive(Debug, Clone)]
enum Deed {
    /// A type of an account went to a state.
    Changed {
        account: String,
        data_type: String,
        state: String,
        /// The only user who sees this state, where each sees others.
        view: Option<String>,
        /// New Email was added (RFC 8621 §1.5).
        added: bool,
    },
    /// A user may see an account, under this id.
    Granted { user: String, id: String, account: String },
    /// A user may see it no longer.
    Withdrawn { user: String, id: String },
}

/// All that upstream did, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Vec<(Instant, Deed)>);

impl Ledger {
    fn write(&mut self, deed: Deed) {
        self.0.push((Instant::now(), deed));
    }

    /// A type of an account went to a state, in one user's view or all.
    pub(crate) fn changed(&mut self, account: &str, name: &str, state: &str, view: Option<&str>) {
        let (account, data_type, state) = (account.into(), name.into(), state.into());
        let view = view.map(str::to_owned);
        self.write(Deed::Changed { account, data_type, state, view, added: false });
    }

    /// Email went to a state because some was added.
    pub(crate) fn added(&mut self, account: &str, state: &str, view: Option<&str>) {
        let (account, data_type, state) = (account.into(), "Email".into(), state.into());
        let view = view.map(str::to_owned);
        self.write(Deed::Changed { account, data_type, state, view, added: true });
    }

    pub(crate) fn granted(&mut self, user: &str, id: &str, account: &str) {
        let (user, id, account) = (user.into(), id.into(), account.into());
        self.write(Deed::Granted { user, id, account });
    }

    pub(crate) fn withdrawn(&mut self, user: &str, id: &str) {
        self.write(Deed::Withdrawn { user: user.into(), id: id.into() });
    }

    /// Judges all that a client heard; the first fault is given.
    pub(crate) fn judge(&self, log: &Log) -> Result<(), Fault> {
        judge::Replay::of(self, log).judge()
    }
}

/// What a client does or hears, or what the proxy knows of it.
#[derive(Debug, Clone)]
enum Entry {
    /// Its stream is open. Unless it has `resumed`, it has read all states from upstream by now.
    Opened {
        resumed: bool,
    },
    /// It wants these types from now on; all for `None`. What it wants since now it has read by now,
    /// unless it has `resumed`.
    Wished {
        types: Option<BTreeSet<String>>,
        resumed: bool,
    },
    /// It has sent a wish for these types: until it knows that it was heard, the former ones may come
    /// as well.
    Asked {
        types: Option<BTreeSet<String>>,
    },
    Told(Changed),
    /// The proxy has learnt that it may see an account, while its stream was open.
    Granted(String),
    /// The proxy has learnt that it may see an account no longer.
    Withdrawn(String),
    Closed,
}

/// All that one client heard, across connections.
///
/// What it reads late it writes down late: before [`Self::withdrawn`] is called, what is under way
/// has to be read.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    user: String,
    /// Whether it may hear of a change by the state that another user sees. It then reads its own.
    hears_others: bool,
    entries: Vec<(Instant, Entry)>,
}

impl Log {
    /// Of a client of `user` that wants these types; all for `None`.
    pub(crate) fn new(user: &str, types: Option<&[&str]>) -> Self {
        let mut log = Self { user: user.into(), hears_others: false, entries: Vec::new() };
        log.wished(types, false);
        log
    }

    /// Of a client that sends this header and query.
    pub(crate) fn of_request(authorization: Option<&str>, target: &str) -> Self {
        let user = authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let types = query.split('&').find_map(|pair| pair.strip_prefix("types="));
        let types = types.unwrap_or("*").replace("%2C", ",");
        let named: Vec<&str> = types.split(',').collect();
        Self::new(user, (types != "*").then_some(&named))
    }

    /// The proxy does not know yet that users see different states of one account.
    pub(crate) fn may_hear_others(&mut self) {
        self.hears_others = true;
    }

    fn write(&mut self, entry: Entry) {
        self.entries.push((Instant::now(), entry));
    }

    pub(crate) fn opened(&mut self, resumed: bool) {
        self.write(Entry::Opened { resumed });
    }

    pub(crate) fn wished(&mut self, types: Option<&[&str]>, resumed: bool) {
        self.write(Entry::Wished { types: owned(types), resumed });
    }

    pub(crate) fn asked(&mut self, types: Option<&[&str]>) {
        self.write(Entry::Asked { types: owned(types) });
    }

    pub(crate) fn told(&mut self, changed: Changed) {
        self.write(Entry::Told(changed));
    }

    pub(crate) fn granted(&mut self, account: &str) {
        self.write(Entry::Granted(account.into()));
    }

    pub(crate) fn withdrawn(&mut self, account: &str) {
        self.write(Entry::Withdrawn(account.into()));
    }

    pub(crate) fn closed(&mut self) {
        self.write(Entry::Closed);
    }

    /// Every account, type and state told, in order.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let told = self.entries.iter().filter_map(|(_, entry)| match entry {
            Entry::Told(changed) => Some(changed),
            _ => None,
        });
        told.flatten().flat_map(|(account, types)| {
            types.iter().map(|(name, state)| (account.as_str(), name.as_str(), state.as_str()))
        })
    }

    /// Whether this was told.
    pub(crate) fn has(&self, account: &str, data_type: &str, state: &str) -> bool {
        self.states().any(|told| told == (account, data_type, state))
    }
}

fn owned(types: Option<&[&str]>) -> Option<BTreeSet<String>> {
    types.map(|types| types.iter().map(|name| (*name).to_owned()).collect())
}

/// A client that can be read on.
pub(crate) trait Client {
    fn log(&self) -> &Log;

    /// Reads until it is told more.
    async fn hear(&mut self);
}

impl Client for EventStream {
    fn log(&self) -> &Log {
        &self.log
    }

    async fn hear(&mut self) {
        self.state().await;
    }
}

impl Client for Ws {
    fn log(&self) -> &Log {
        &self.log
    }

    async fn hear(&mut self) {
        self.state().await;
    }
}

/// Reads each client on until it has upstream's present states, and judges all it heard.
pub(crate) async fn settle<'a, C: Client + 'a>(
    upstream: &Upstream,
    clients: impl IntoIterator<Item = &'a mut C>,
) {
    for client in clients {
        let deadline = Instant::now() + DEADLINE / 2;
        while let Err(fault) = upstream.mail(|mail| mail.ledger.judge(client.log())) {
            let left = deadline.saturating_duration_since(Instant::now());
            let heard = fault.rule == Rule::Stale && timeout(left, client.hear()).await.is_ok();
            assert!(heard, "{fault}");
        }
    }
}
