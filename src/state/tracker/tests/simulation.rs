//! Random schedules of a server, its clients, and messages that are late, doubled or lost.
//!
//! The oracle is the delivery ledger (hostile.md A4): the server writes down what each type went
//! through, every subscriber what it was given, and at rest
//!
//! 1. each live subscriber's last state of each type is the server's, across reconnects by token,
//!    lost notifications and restarts of the proxy ("never stale");
//! 2. what was published is a subsequence of what the server went through ("never backwards");
//! 3. no more was probed than there were reasons to ("no amplification").
//!
//! A change has a notice or a response that shows it; where notices are lost, the tracker is told
//! of the gap. States of `Quota` return to earlier ones, those of the mail types do not.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::*;
use crate::state::fact::{Delivery, Observer, ProbeAnswer};
use crate::state::token::Token;

const TYPES: [&str; 4] = ["Email", "Mailbox", "Thread", "Quota"];
/// Offered by a capability, answered with `unknownMethod`.
const DENIED: &str = "SieveScript";
const ALICE: PrincipalId = PrincipalId(1);
const BOB: PrincipalId = PrincipalId(2);
const FILTERS: usize = 6;

fn named(name: &str) -> DataType {
    DataType::parse(name).unwrap()
}

fn account_id(account: usize) -> AccountId {
    AccountId::parse(["A1", "A2"][account]).unwrap()
}

fn filter(which: usize) -> TypeFilter {
    let names: &[&str] = match which {
        0 => return TypeFilter::All,
        1 => &["Email"],
        2 => &["Mailbox"],
        3 => &["EmailDelivery"],
        4 => &["Thread", "Quota"],
        _ => &["Quota", "Nonsense"],
    };
    TypeFilter::only(names.iter().map(|name| named(name)))
}

#[derive(Debug, Clone)]
enum Step {
    /// Upstream changes by itself; `copies` notices of the form `notice` get under way.
    Change {
        account: usize,
        kind: usize,
        adds: bool,
        notice: usize,
        copies: usize,
    },
    /// A client sends a request: a read, a write, both, or `Email/changes`.
    Send {
        account: usize,
        who: usize,
        kind: usize,
        call: usize,
    },
    /// Upstream works on a request under way; its response gets back, or breaks off.
    Work(Index),
    Respond(Index, bool),
    Notify(Index),
    Gap,
    Restart,
    /// An account that is due is probed; upstream works on a probe; its answer gets back.
    Probe(Index),
    WorkOnProbe(Index),
    Answer(Index, usize),
    Subscribe {
        account: usize,
        who: usize,
        filter: usize,
    },
    Resume(Index),
    Leave(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let (account, kind) = (0usize..2, 0usize..TYPES.len());
    prop_oneof![
        6 => (account.clone(), kind.clone(), any::<bool>(), 0usize..5, 1usize..3).prop_map(
            |(account, kind, adds, notice, copies)| Step::Change { account, kind, adds, notice, copies }
        ),
        6 => (account.clone(), 0usize..3, kind, 0usize..5)
            .prop_map(|(account, who, kind, call)| Step::Send { account, who, kind, call }),
        6 => any::<Index>().prop_map(Step::Work),
        6 => (any::<Index>(), prop::bool::weighted(0.1)).prop_map(|(i, b)| Step::Respond(i, b)),
        6 => any::<Index>().prop_map(Step::Notify),
        1 => Just(Step::Gap),
        1 => Just(Step::Restart),
        6 => any::<Index>().prop_map(Step::Probe),
        5 => any::<Index>().prop_map(Step::WorkOnProbe),
        6 => (any::<Index>(), 0usize..8).prop_map(|(i, fate)| Step::Answer(i, fate)),
        3 => (account, 0usize..2, 0usize..FILTERS)
            .prop_map(|(account, who, filter)| Step::Subscribe { account, who, filter }),
        2 => any::<Index>().prop_map(Step::Resume),
        2 => any::<Index>().prop_map(Step::Leave),
    ]
}

/// The server of one account: what each type went through.
#[derive(Debug, Clone)]
struct Ledger {
    history: BTreeMap<&'static str, Vec<u64>>,
    /// The places in the history of `Email` at which Email was added.
    added: Vec<usize>,
}

impl Ledger {
    fn new() -> Self {
        let history = TYPES.iter().map(|name| (*name, vec![0])).collect();
        Self { history, added: Vec::new() }
    }

    fn change(&mut self, name: &'static str, adds: bool) {
        let history = self.history.get_mut(name).unwrap();
        let count = history.len() as u64;
        history.push(if name == "Quota" { count % 3 } else { count });
        if name == "Email" {
            if adds {
                self.added.push(self.history["Email"].len() - 1);
            }
            self.change("Mailbox", false);
            self.change("Thread", false);
        }
    }

    fn now(&self, name: &str) -> u64 {
        *self.history[name].last().unwrap()
    }

    fn created_since(&self, email: u64) -> bool {
        self.added.iter().any(|place| *place as u64 > email)
    }
}

#[derive(Debug)]
struct Request {
    account: usize,
    who: Observer,
    name: &'static str,
    call: usize,
    sent: u64,
    facts: Option<Vec<Fact>>,
}

impl Request {
    fn writes(&self) -> bool {
        matches!(self.call, 1 | 2)
    }
}

#[derive(Debug, Clone)]
struct Notice {
    account: usize,
    names: Option<Vec<&'static str>>,
    /// Exact states instead of names only.
    states: Vec<(DataType, State)>,
    delivery: bool,
}

#[derive(Debug)]
struct Flight {
    account: usize,
    who: PrincipalId,
    sent: u64,
    types: Vec<DataType>,
    since: Option<State>,
    states: Option<Vec<(DataType, ProbeAnswer)>>,
}

/// A client with its event stream, as the hub keeps it.
#[derive(Debug, Clone)]
struct Subscriber {
    account: usize,
    who: PrincipalId,
    key: AccountKey,
    filter: TypeFilter,
    /// What the client knows.
    view: BTreeMap<DataType, State>,
    token: Option<String>,
    /// Until the baseline is known, nothing is sent.
    waiting: bool,
    dirty: u64,
}

struct World {
    now: u64,
    /// Whether the two principals see different state strings.
    two_views: bool,
    ledgers: [Ledger; 2],
    tracker: Tracker,
    requests: Vec<Request>,
    notices: Vec<Notice>,
    due: BTreeSet<AccountKey>,
    flights: BTreeMap<AccountKey, Flight>,
    live: Vec<Subscriber>,
    away: Vec<Subscriber>,
    /// Oracle 2: how far into the history publications have come.
    reached: BTreeMap<(usize, &'static str), usize>,
    probes: usize,
    failures: bool,
    /// Oracle 3: events that may each cause one probe.
    reasons: usize,
}

fn pick<T>(items: &mut Vec<T>, which: &Index) -> Option<T> {
    if items.is_empty() { None } else { Some(items.swap_remove(which.index(items.len()))) }
}

impl World {
    fn new(two_views: bool) -> Self {
        Self {
            now: 1,
            two_views,
            ledgers: [Ledger::new(), Ledger::new()],
            tracker: Tracker::new(1),
            requests: Vec::new(),
            notices: Vec::new(),
            due: BTreeSet::new(),
            flights: BTreeMap::new(),
            live: Vec::new(),
            away: Vec::new(),
            reached: BTreeMap::new(),
            probes: 0,
            failures: false,
            reasons: 0,
        }
    }

    /// The state string that `who` sees.
    fn state(&self, who: PrincipalId, name: &str, number: u64) -> State {
        let view = if self.two_views { who.0 } else { 0 };
        State::parse(&format!("{view}-{name}-{number}")).unwrap()
    }

    fn number(state: &State) -> u64 {
        state.as_str().rsplit('-').next().unwrap().parse().unwrap()
    }

    fn run(&mut self, step: &Step) {
        self.now += 1;
        match *step {
            Step::Change { account, kind, adds, notice, copies } => {
                self.ledgers[account].change(TYPES[kind], adds);
                let notice = self.notice(account, TYPES[kind], adds, notice);
                self.notices.extend(vec![notice; copies]);
            }
            Step::Send { account, who, kind, call } => {
                let who = match who {
                    0 => Observer::Known(ALICE),
                    1 => Observer::Known(BOB),
                    _ => Observer::Unproven,
                };
                let (name, sent) = (TYPES[kind], self.now);
                self.requests.push(Request { account, who, name, call, sent, facts: None });
            }
            Step::Work(ref which) if !self.requests.is_empty() => {
                let place = which.index(self.requests.len());
                self.work(place);
            }
            Step::Respond(ref which, broken) => {
                if let Some(request) = pick(&mut self.requests, which) {
                    self.respond(request, broken);
                }
            }
            Step::Notify(ref which) => {
                if let Some(notice) = pick(&mut self.notices, which) {
                    self.notify(&notice);
                }
            }
            Step::Gap => self.gap(),
            Step::Restart => self.restart(),
            Step::Probe(ref which) if !self.due.is_empty() => {
                let key = self.due.iter().nth(which.index(self.due.len())).unwrap().clone();
                self.probe(&key);
            }
            Step::WorkOnProbe(ref which) if !self.flights.is_empty() => {
                let key = self.flights.keys().nth(which.index(self.flights.len())).unwrap().clone();
                self.work_on_probe(&key);
            }
            Step::Answer(ref which, fate) if !self.flights.is_empty() => {
                let key = self.flights.keys().nth(which.index(self.flights.len())).unwrap().clone();
                self.answer(&key, fate);
            }
            Step::Subscribe { account, who, filter: which } if self.live.len() < 6 => {
                let who = [ALICE, BOB][who];
                let key = AccountKey::shared(account_id(account));
                let (filter, view) = (filter(which), BTreeMap::new());
                let (token, waiting, dirty) = (None, true, 0);
                let new = Subscriber { account, who, key, filter, view, token, waiting, dirty };
                self.connect(new);
            }
            Step::Resume(ref which) => {
                if let Some(subscriber) = pick(&mut self.away, which) {
                    self.connect(subscriber);
                }
            }
            Step::Leave(ref which) => {
                if let Some(subscriber) = pick(&mut self.live, which) {
                    self.tracker.unwatch(&subscriber.key, &subscriber.filter);
                    self.away.push(subscriber);
                }
            }
            _ => {}
        }
    }

    // --- the server and its clients -------------------------------------------------------------

    fn notice(&self, account: usize, name: &'static str, adds: bool, form: usize) -> Notice {
        let state = self.state(ALICE, name, self.ledgers[account].now(name));
        let (mut names, mut states) = (Some(vec![name]), Vec::new());
        match form {
            0 => names = None,
            1 => states.push((named(name), state)),
            _ => {}
        }
        Notice { account, names, states, delivery: adds && name == "Email" && form != 2 }
    }

    fn work(&mut self, place: usize) {
        let (account, name, call, who) = {
            let request = &self.requests[place];
            if request.facts.is_some() {
                return;
            }
            (request.account, request.name, request.call, request.who)
        };
        let who = if let Observer::Known(who) = who { who } else { ALICE };
        let fact = |world: &Self, name: &str, old: Option<u64>| Fact {
            data_type: named(name),
            state: world.state(who, name, world.ledgers[account].now(name)),
            old_state: old.map(|old| world.state(who, name, old)),
            created: false,
        };
        let old = self.ledgers[account].now(name);
        let facts = match call {
            0 => vec![fact(self, name, None)],
            1 => {
                self.ledgers[account].change(name, false);
                vec![fact(self, name, Some(old))]
            }
            2 => {
                let before = fact(self, "Mailbox", None);
                self.ledgers[account].change(name, true);
                vec![before, fact(self, name, Some(old)), fact(self, "Thread", None)]
            }
            3 => {
                let since = old_email(&self.ledgers[account]);
                let created = self.ledgers[account].created_since(since);
                vec![Fact { created, ..fact(self, "Email", Some(since)) }]
            }
            _ => TYPES.iter().map(|name| fact(self, name, None)).collect(),
        };
        self.requests[place].facts = Some(facts);
    }

    fn respond(&mut self, request: Request, broken: bool) {
        self.requests.push(request);
        self.work(self.requests.len() - 1);
        let request = self.requests.pop().unwrap();
        let id = account_id(request.account);
        if broken {
            if request.writes() {
                self.reasons += 1;
                for key in self.tracker.views(&id) {
                    let outcome = self.tracker.unknown(&key, Moment(self.now));
                    self.act(&key, outcome);
                }
            }
            return;
        }
        let key = match request.who {
            Observer::Known(who) => self.tracker.key_of(&id, who),
            Observer::Unproven => AccountKey::shared(id),
        };
        let facts = request.facts.unwrap();
        let known: BTreeMap<_, _> =
            self.tracker.states(&key).map(|k| (k.data_type.clone(), k.state.clone())).collect();
        let tells = facts.iter().any(|fact| known.get(&fact.data_type) != Some(&fact.state));
        self.reasons += usize::from(tells);
        let at =
            Exchange { who: request.who, sent: Moment(request.sent), received: Moment(self.now) };
        let outcome = self.tracker.observe(&key, &at, &facts);
        self.act(&key, outcome);
    }

    fn notify(&mut self, notice: &Notice) {
        self.reasons += 1;
        let now = Moment(self.now);
        for key in self.tracker.views(&account_id(notice.account)) {
            let types: Option<Vec<_>> =
                notice.names.as_ref().map(|names| names.iter().map(|name| named(name)).collect());
            let outcome = if notice.states.is_empty() {
                self.tracker.hint(&key, types.as_deref(), notice.delivery, now)
            } else {
                self.tracker.claim(&key, &notice.states, notice.delivery, now)
            };
            self.act(&key, outcome);
        }
    }

    fn gap(&mut self) {
        self.notices.clear();
        let due = self.tracker.gap(Moment(self.now));
        self.reasons += 1 + self.live.len();
        self.due.extend(due);
    }

    /// Everything the process knew is gone, and its connections with it.
    fn restart(&mut self) {
        self.tracker = Tracker::new(1);
        self.requests.clear();
        self.due.clear();
        self.flights.clear();
        self.away.append(&mut self.live);
    }

    // --- the prober -----------------------------------------------------------------------------

    fn probe(&mut self, key: &AccountKey) {
        let owner = self.tracker.owner(key);
        let mut candidates = self.live.iter().filter(|subscriber| subscriber.key == *key);
        let who = match candidates.clone().find(|subscriber| Some(subscriber.who) == owner) {
            Some(subscriber) => subscriber,
            None => match candidates.next() {
                Some(subscriber) => subscriber,
                None => {
                    self.due.remove(key);
                    return;
                }
            },
        };
        if self.flights.contains_key(key) {
            return;
        }
        self.due.remove(key);
        let (account, who) = (who.account, who.who);
        let offered: Vec<_> = TYPES.iter().chain(&[DENIED]).rev().map(|name| named(name)).collect();
        let types = self.tracker.wanted_types(key, &offered);
        let since = self.tracker.delivery_since(key).cloned();
        self.probes += 1;
        self.tracker.probe_sent(key);
        let flight = Flight { account, who, sent: self.now, types, since, states: None };
        self.flights.insert(key.clone(), flight);
    }

    fn work_on_probe(&mut self, key: &AccountKey) {
        let flight = &self.flights[key];
        if flight.states.is_some() {
            return;
        }
        let ledger = &self.ledgers[flight.account];
        let answer = |data_type: &DataType| {
            let answer = match ledger.history.contains_key(data_type.as_str()) {
                true => {
                    let name = data_type.as_str();
                    ProbeAnswer::State(self.state(flight.who, name, ledger.now(name)))
                }
                false => ProbeAnswer::UnknownMethod,
            };
            (data_type.clone(), answer)
        };
        let states = flight.types.iter().map(answer).collect();
        self.flights.get_mut(key).unwrap().states = Some(states);
    }

    /// The answer arrives: whole, without some types, not at all, or in two parts.
    fn answer(&mut self, key: &AccountKey, fate: usize) {
        self.work_on_probe(key);
        let mut flight = self.flights.remove(key).unwrap();
        let mut answers = flight.states.take().unwrap();
        // `Email/changes` runs after `Email/get`: more may have been added by then.
        let email = answers.iter().any(|(name, _)| name.as_str() == "Email");
        let mut delivery = flight.since.take().filter(|_| email).map(|since| Delivery {
            created: self.ledgers[flight.account].created_since(Self::number(&since)),
            since,
        });
        let failed = |place: usize| fate == 0 || fate == 1 && place.is_multiple_of(2);
        for (place, (_, answer)) in answers.iter_mut().enumerate() {
            if failed(place) {
                *answer = ProbeAnswer::Failed;
                self.failures = true;
                self.reasons += 1;
                self.due.insert(key.clone());
            }
        }
        if fate <= 1 {
            delivery = None;
        }
        let at = Exchange {
            who: Observer::Known(flight.who),
            sent: Moment(flight.sent),
            received: Moment(self.now),
        };
        let complete = fate != 2 || answers.len() < 2;
        if !complete {
            flight.types = answers.split_off(1).into_iter().map(|(name, _)| name).collect();
        }
        let probed = Probed { answers: &answers, delivery, complete };
        let outcome = self.tracker.probe_answered(key, &at, &probed);
        if !complete {
            self.now += 1;
            flight.sent = self.now;
            self.flights.insert(key.clone(), flight);
        }
        self.act(key, outcome);
    }

    // --- the hub --------------------------------------------------------------------------------

    fn connect(&mut self, mut subscriber: Subscriber) {
        subscriber.key = self.tracker.key_of(&account_id(subscriber.account), subscriber.who);
        (subscriber.waiting, subscriber.dirty) = (true, 0);
        let (key, filter) = (subscriber.key.clone(), subscriber.filter.clone());
        self.live.push(subscriber);
        self.reasons += 1;
        let outcome = self.tracker.watch(&key, &filter, Moment(self.now));
        self.act(&key, outcome);
        if self.tracker.is_settled(&key) {
            self.catch_up(&key);
        }
    }

    fn act(&mut self, key: &AccountKey, outcome: Outcome) {
        if outcome.probe {
            self.due.insert(key.clone());
        }
        if outcome.published != 0 {
            self.check_order(key, outcome.published);
            for subscriber in self.live.iter_mut().filter(|s| s.key == *key) {
                subscriber.dirty |=
                    outcome.published & subscriber.filter.mask(self.tracker.types());
                subscriber.deliver(&self.tracker);
            }
            let types: Vec<_> = (0..=63)
                .filter(|bit| outcome.published & only(*bit) != 0)
                .map(|bit| self.tracker.types().name(bit).unwrap().clone())
                .collect();
            for other in self.tracker.views(&key.id).into_iter().filter(|other| other != key) {
                self.reasons += 1;
                let outcome = self.tracker.hint(&other, Some(&types), false, Moment(self.now));
                self.act(&other, outcome);
            }
        }
        if outcome.settled {
            self.catch_up(key);
        }
        if let Some(principal) = outcome.split {
            self.move_to_own_view(key, principal);
        }
    }

    fn catch_up(&mut self, key: &AccountKey) {
        let waiting = self.live.iter_mut().filter(|s| s.key == *key && s.waiting);
        waiting.for_each(|subscriber| subscriber.catch_up(&self.tracker));
    }

    fn move_to_own_view(&mut self, key: &AccountKey, principal: PrincipalId) {
        let moved = |s: &mut Subscriber| s.key == *key && s.who == principal;
        let moving: Vec<_> = self.live.extract_if(.., moved).collect();
        let own = AccountKey::scoped(key.id.clone(), principal);
        for mut subscriber in moving {
            self.reasons += 1;
            self.tracker.unwatch(key, &subscriber.filter);
            let outcome = self.tracker.watch(&own, &subscriber.filter, Moment(self.now));
            (subscriber.key, subscriber.waiting) = (own.clone(), true);
            self.live.push(subscriber);
            self.act(&own, outcome);
        }
    }

    // --- the oracle -----------------------------------------------------------------------------

    fn check_order(&mut self, key: &AccountKey, published: u64) {
        let account = usize::from(key.id != account_id(0));
        let delivery = published & only(EMAIL_DELIVERY) != 0;
        let added = !self.ledgers[account].added.is_empty();
        assert!(!delivery || added || self.failures, "nothing was added");
        // Before the baseline is known, nobody is told.
        if self.two_views || !self.tracker.is_settled(key) {
            return;
        }
        for name in TYPES {
            let wanted = named(name);
            let known = self.tracker.states(key).find(|known| *known.data_type == wanted);
            let Some(known) = known.filter(|known| published & only(known.bit) != 0) else {
                continue;
            };
            let reached = self.reached.entry((account, name)).or_default();
            let number = Self::number(known.state);
            let ahead = &self.ledgers[account].history[name][*reached..];
            let place = ahead.iter().position(|past| *past == number);
            *reached += place.unwrap_or_else(|| panic!("{name} went back to {number}: {ahead:?}"));
        }
    }

    /// Delivers all that is under way and answers all that is due.
    fn come_to_rest(&mut self) {
        while let Some(request) = self.requests.pop() {
            self.now += 1;
            self.respond(request, false);
        }
        while let Some(notice) = self.notices.pop() {
            self.now += 1;
            self.notify(&notice);
        }
        let mut rounds = 0;
        while !self.due.is_empty() || !self.flights.is_empty() {
            for key in self.due.clone() {
                self.now += 1;
                self.probe(&key);
            }
            for key in self.flights.keys().cloned().collect::<Vec<_>>() {
                self.now += 1;
                self.answer(&key, 7);
            }
            rounds += 1;
            assert!(rounds <= 6, "probes never come to rest");
        }
    }

    /// Everybody reads everything, often enough for two views to be told apart.
    fn everybody_reads(&mut self) {
        for round in 0..6 {
            for (account, who) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                self.run(&Step::Send { account, who: (who + round) % 2, kind: 0, call: 4 });
                self.come_to_rest();
            }
        }
    }

    fn check(&self) {
        for subscriber in &self.live {
            let ledger = &self.ledgers[subscriber.account];
            assert!(!subscriber.waiting, "{subscriber:?}");
            for name in TYPES.into_iter().filter(|name| subscriber.filter.allows(&named(name))) {
                let now = self.state(subscriber.who, name, ledger.now(name));
                assert_eq!(subscriber.view.get(&named(name)), Some(&now), "{subscriber:?}");
            }
            if subscriber.filter.allows(&named("EmailDelivery")) {
                let delivered = Self::number(&subscriber.view[&named("EmailDelivery")]);
                assert!(!ledger.created_since(delivered), "{subscriber:?} {:?}", ledger.added);
            }
        }
        assert!(self.probes <= self.reasons, "{} probes, {} reasons", self.probes, self.reasons);
    }
}

/// What a client last synchronised to: some older state of `Email`.
fn old_email(ledger: &Ledger) -> u64 {
    ledger.now("Email").saturating_sub(2)
}

impl Subscriber {
    /// Sends what is pending, with the token that covers it.
    fn deliver(&mut self, tracker: &Tracker) {
        if self.waiting || self.dirty == 0 {
            return;
        }
        for known in tracker.states(&self.key).filter(|known| self.dirty & only(known.bit) != 0) {
            self.view.insert(known.data_type.clone(), known.state.clone());
        }
        self.dirty = 0;
        let fresh = self.covered(tracker).filter(|known| known.fresh);
        let entries = fresh.map(|known| (&self.key.id, known.data_type, known.state));
        self.token = Some(Token::encode(entries));
    }

    /// The baseline is known: a client with a token gets what it missed, one without synchronises.
    fn catch_up(&mut self, tracker: &Tracker) {
        self.waiting = false;
        if let Some(token) = self.token.as_deref().and_then(Token::parse) {
            let current = self.covered(tracker).map(|k| (&self.key.id, k.data_type, k.state));
            let missed = token.missed(current).into_iter().map(|(_, name)| name);
            let missed = missed.filter(|name| self.filter.allows(name));
            self.dirty |= missed
                .filter_map(|name| tracker.types().bit(name))
                .fold(0, |mask, bit| mask | only(bit));
        } else {
            let wanted = tracker.states(&self.key).filter(|k| self.filter.allows(k.data_type));
            self.view = wanted.map(|k| (k.data_type.clone(), k.state.clone())).collect();
        }
        self.deliver(tracker);
    }

    fn covered<'a>(&'a self, tracker: &'a Tracker) -> impl Iterator<Item = Known<'a>> {
        let with_email = self.filter.allows(&named("EmailDelivery"));
        tracker.states(&self.key).filter(move |known| {
            self.filter.allows(known.data_type)
                || with_email && known.bit == crate::state::types::EMAIL
        })
    }
}

fn simulate(two_views: bool, steps: &[Step]) {
    let mut world = World::new(two_views);
    for step in steps {
        world.run(step);
    }
    world.come_to_rest();
    if two_views {
        world.everybody_reads();
    }
    world.check();
    while let Some(subscriber) = world.away.pop() {
        world.connect(subscriber);
    }
    world.come_to_rest();
    if two_views {
        world.everybody_reads();
    }
    world.check();
}

/// `PROPTEST_CASES` makes it longer.
fn schedules() -> ProptestConfig {
    ProptestConfig { cases: 2 * ProptestConfig::default().cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(schedules())]

    #[test]
    fn at_rest_every_subscriber_has_the_servers_states(
        steps in prop::collection::vec(step(), 0..150),
    ) {
        simulate(false, &steps);
    }

    #[test]
    fn at_rest_every_subscriber_has_the_states_of_its_own_view(
        steps in prop::collection::vec(step(), 0..100),
    ) {
        simulate(true, &steps);
    }
}
