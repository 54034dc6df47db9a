//! What happens, step by step, as the seed has it: changes and their notices, requests that pass,
//! clients, accounts given and taken, bad weather.

use std::sync::Arc;
use std::time::Duration;

use jmap_push_proxy::auth::CredentialKey;
use jmap_push_proxy::clock::Moment;
use jmap_push_proxy::config::AccountScope;
use jmap_push_proxy::hub::{Observed, Seen};
use jmap_push_proxy::jmap::id::{AccountId, DataType, State};
use jmap_push_proxy::probe::Passed;
use jmap_push_proxy::state::fact::Fact;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::client::{Client, RETURNING, WISHES};
use super::server::{TEAM, USERS, Weather, bad_weather, fact};
use super::terms::{Knowledge, Terms, pick};
use super::world::World;
use crate::support::upstream::account_of;

/// Clients at most.
const CLIENTS: usize = 8;

/// The longest a notice is under way.
const LATE: Duration = Duration::from_secs(4);

/// The longest that anything is wrong with upstream.
const BAD: Duration = Duration::from_secs(20);

/// The account of which no notice tells, where there is one.
const SILENT: &str = TEAM;

/// Whose own account is given to nobody else.
const KEPT: &str = USERS[0];

/// What a notice says of a change.
#[derive(Debug, Clone)]
enum Notice {
    Types(Vec<DataType>),
    Anything,
    States(Vec<(DataType, State)>),
    /// The mail counter after the change.
    Count(u64),
}

/// See the module.
pub(super) struct Script {
    pub(super) world: Arc<World>,
    terms: Terms,
    rng: StdRng,
    /// Notices are lost until somebody says so.
    deaf: bool,
    credentials: u128,
    /// Whether the interval of accounts that are told of has held.
    pub(super) relied_on_notices: bool,
}

impl Script {
    pub(super) fn new(world: Arc<World>, terms: Terms, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { world, terms, rng, deaf: false, credentials: 0, relied_on_notices: false }
    }

    /// All of it, up to the last change.
    pub(super) async fn run(&mut self) {
        for _ in 0..self.terms.steps {
            let pause = self.terms.pause.mul_f64(self.rng.random_range(0.0..=1.0));
            // Things happen in the same moment, too.
            if self.rng.random_bool(0.7) {
                sleep(pause).await;
            }
            self.step();
            self.relied_on_notices |= self.world.relies_on_notices();
        }
        self.world.server.turns(Weather::Fair);
        if std::mem::take(&mut self.deaf) {
            self.world.hub().gap();
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..35 => self.change(),
            35..60 => self.call(),
            60..72 => self.arrive(),
            72..80 => self.depart(),
            80..85 => self.wish(),
            85..90 => self.share(),
            90..94 if self.terms.is_steady => self.change(),
            90..93 => self.lose_notices(),
            93 => self.world.restart(self.rng.random()),
            _ if !self.rng.random_bool(self.terms.trouble) => self.change(),
            94..98 => self.worsen(),
            _ => self.refuse(),
        }
    }

    fn account(&mut self) -> String {
        let accounts = self.world.server.mail(|mail| mail.all_accounts());
        pick(&mut self.rng, &accounts).clone()
    }

    // --- changes that nobody makes through the proxy ---

    fn change(&mut self) {
        let mut account = self.account();
        let name = *pick(&mut self.rng, &["mail", "mail", "Email", "Mailbox", "Identity", "back"]);
        if name == "back" {
            // Who reads what it is given does not read through the proxy.
            account = account_of(KEPT);
        }
        let changed: &[&str] = match name {
            "mail" => &["Email", "Mailbox", "Thread"],
            "back" => &[RETURNING],
            ref one => std::slice::from_ref(one),
        };
        let before = self.states(&account, changed);
        if self.rng.random_bool(0.1) {
            // Of something that has not happened yet, or never does.
            let early = self.account();
            self.notify(&early, &Notice::Anything, false, Duration::ZERO);
        }
        self.world.server.mail(|mail| match name {
            "mail" => mail.deliver(&account),
            "back" => _ = mail.turn_back(&account, RETURNING),
            other => _ = mail.change(&account, other),
        });
        let is_lost = match self.terms.knowledge {
            Knowledge::Interval(_, part) => self.rng.random_bool(part),
            Knowledge::Notices => self.deaf,
        };
        let is_lost = is_lost || (self.terms.has_silent && account == SILENT);
        if is_lost {
            return;
        }
        let now = self.states(&account, changed);
        let is_counted = self.terms.has_one_counter && name != RETURNING && name != "back";
        // Who tells counts tells of each delivery.
        let delivery = name == "mail" && (is_counted || self.rng.random_bool(0.7));
        let notice = match self.world.server.mail(|mail| mail.state(&account, "Email")).parse() {
            Ok(count) if is_counted && self.rng.random_bool(0.9) => Notice::Count(count),
            _ => self.notice(changed, now),
        };
        for _ in 0..*pick(&mut self.rng, &[1, 1, 1, 2, 3]) {
            let late = LATE.mul_f64(self.rng.random_range(0.0_f64..=1.0).powi(3));
            self.notify(&account, &notice, delivery, late);
        }
        if self.rng.random_bool(0.1) {
            let wrong = self.wrong(changed, before);
            let late = LATE.mul_f64(self.rng.random_range(0.0..=1.0));
            self.notify(&account, &wrong, false, late);
        }
    }

    fn states(&mut self, account: &str, names: &[&str]) -> Vec<(DataType, State)> {
        let user = *pick(&mut self.rng, &USERS);
        let seen = |name: &&str| {
            let state =
                self.world.server.mail(|mail| mail.seen_by(user, &mail.state(account, name)));
            (DataType::parse(name).unwrap(), State::parse(&state).unwrap())
        };
        names.iter().map(seen).collect()
    }

    /// One that is enough to know of the change.
    fn notice(&mut self, changed: &[&str], now: Vec<(DataType, State)>) -> Notice {
        match self.rng.random_range(0..4) {
            0 => Notice::Anything,
            1 => Notice::States(now),
            // Email stands for what depends on it.
            2 => Notice::States(now.into_iter().take(1).collect()),
            _ => Notice::Types(changed.iter().filter_map(|name| DataType::parse(name)).collect()),
        }
    }

    /// One that is no good: an older state, or none that ever was.
    fn wrong(&mut self, changed: &[&str], before: Vec<(DataType, State)>) -> Notice {
        if self.rng.random_bool(0.5) {
            return Notice::States(before);
        }
        let wrong = |name: &&str| (DataType::parse(name).unwrap(), State::parse("x").unwrap());
        Notice::States(changed.iter().map(wrong).collect())
    }

    fn notify(&self, account: &str, notice: &Notice, delivery: bool, late: Duration) {
        let (account, notice) = ([AccountId::parse(account).unwrap()], notice.clone());
        let world = Arc::clone(&self.world);
        self.world.spawn(async move {
            sleep(late).await;
            let hub = world.hub();
            match notice {
                Notice::Types(types) => hub.hint(&account, Some(&types), delivery),
                Notice::Anything => hub.hint(&account, None, delivery),
                Notice::States(states) => hub.claim(&account, &states, delivery),
                Notice::Count(count) => hub.counted(&account[0], Some(count), delivery),
            }
        });
    }

    /// Notices get lost, or those who lost them find out.
    fn lose_notices(&mut self) {
        self.deaf = !self.deaf;
        if !self.deaf {
            self.world.hub().gap();
        }
    }

    // --- requests that pass through the proxy ---

    fn call(&mut self) {
        let user = *pick(&mut self.rng, &USERS);
        let accounts = self.world.server.mail(|mail| mail.accounts_of(user));
        let account = pick(&mut self.rng, &accounts).clone();
        let id = json!({ "accountId": account });
        let name = *pick(&mut self.rng, &["Email", "Mailbox", "Thread", "Identity"]);
        let since =
            self.world.server.mail(|mail| mail.seen_by(user, &mail.state(&account, "Email")));
        let since = json!({ "accountId": account, "sinceState": since });
        let calls = match self.rng.random_range(0..5) {
            0 => json!([[format!("{name}/get"), id, "0"]]),
            1 => json!([["Email/get", id, "0"], ["Mailbox/get", id, "1"], ["Thread/get", id, "2"]]),
            2 => json!([["Email/changes", since, "0"], ["Mailbox/get", id, "1"]]),
            3 => json!([["Email/set", id, "0"], ["Mailbox/set", id, "1"], ["Thread/set", id, "2"]]),
            _ => json!([[format!("{name}/set"), id, "0"]]),
        };
        let is_known = self.rng.random_bool(0.8);
        let is_lost = self.terms.trouble > 0.0 && self.rng.random_bool(0.15);
        let is_told = self.terms.scope == AccountScope::PerUser;
        let (world, calls) = (Arc::clone(&self.world), json!({ "methodCalls": calls }));
        self.world.spawn(async move {
            let request = Request { user, account, calls, is_known, is_lost, is_told };
            request.pass(&world).await;
        });
    }

    // --- clients ---

    fn credential(&mut self) -> CredentialKey {
        self.credentials += 1;
        // Beyond those of requests.
        CredentialKey(self.credentials + USERS.len() as u128)
    }

    fn clients(&self) -> Vec<Arc<Client>> {
        self.world.clients.lock().unwrap().clone()
    }

    /// Somebody comes, or comes back.
    fn arrive(&mut self) {
        let clients = self.clients();
        let away: Vec<_> = clients.iter().filter(|client| !client.is_busy()).collect();
        if !away.is_empty() && (self.rng.random_bool(0.6) || clients.len() >= CLIENTS) {
            let client = *pick(&mut self.rng, &away);
            self.come_back(client);
        } else if clients.len() < CLIENTS {
            let user = *pick(&mut self.rng, &USERS);
            let theirs: Vec<_> = clients.iter().filter(|client| client.user == user).collect();
            let credential = match theirs.first() {
                Some(other) if self.rng.random_bool(0.5) => other.credential(),
                _ => self.credential(),
            };
            // Who shares all shares what is encoded, too.
            let wish = match theirs.first() {
                Some(other) if self.rng.random_bool(0.4) => other.wish(),
                _ => self.rng.random_range(0..WISHES.len()),
            };
            let slow = Duration::from_millis(*pick(&mut self.rng, &[0, 0, 10, 2000]));
            let reads = self.terms.finds_out();
            let client = Client::new(user, credential, wish, slow, reads);
            self.world.clients.lock().unwrap().push(Arc::clone(&client));
            self.come_back(&client);
        }
    }

    fn come_back(&mut self, client: &Arc<Client>) {
        if self.world.is_refused(client.credential()) {
            client.renew(self.credential());
        }
        client.come(&self.world);
    }

    /// All who are away come back.
    pub(super) fn gather(&mut self) {
        for client in self.clients().iter().filter(|client| !client.is_busy()) {
            self.come_back(client);
        }
    }

    fn depart(&mut self) {
        let clients = self.clients();
        if !clients.is_empty() {
            pick(&mut self.rng, &clients).leave();
        }
    }

    fn wish(&mut self) {
        let clients = self.clients();
        if !clients.is_empty() {
            let wish = self.rng.random_range(0..WISHES.len());
            pick(&mut self.rng, &clients).want(wish);
        }
    }

    // --- who may see what, and what goes wrong ---

    /// An account is given or taken.
    fn share(&mut self) {
        let user = *pick(&mut self.rng, &USERS);
        let other = *pick(&mut self.rng, &USERS);
        let account = if self.rng.random_bool(0.3) { account_of(other) } else { TEAM.to_owned() };
        if account == account_of(user) || account == account_of(KEPT) {
            return;
        }
        self.world.server.mail(|mail| {
            if mail.accounts_of(user).contains(&account) {
                mail.withdraw(user, &account);
            } else {
                mail.share(user, &account);
            }
        });
    }

    fn worsen(&mut self) {
        let weather = bad_weather(&mut self.rng);
        let lasts = BAD.mul_f64(self.rng.random_range(0.0..=1.0));
        let server = Arc::clone(&self.world.server);
        server.turns(weather);
        self.world.spawn(async move {
            sleep(lasts).await;
            server.turns(Weather::Fair);
        });
    }

    fn refuse(&mut self) {
        let clients = self.clients();
        if !clients.is_empty() {
            let client = pick(&mut self.rng, &clients);
            self.world.withdraw_credential(client.credential());
        }
    }
}

/// A user's request that passes through the proxy.
struct Request {
    user: &'static str,
    account: String,
    calls: Value,
    /// Whether the proxy knows whose it is.
    is_known: bool,
    /// Whether its answer gets lost.
    is_lost: bool,
    /// Whether upstream tells of it: where ids are each user's own, what one did says nothing about
    /// what the others have.
    is_told: bool,
}

impl Request {
    /// The proxy sees what comes back, or that nothing does.
    async fn pass(self, world: &Arc<World>) {
        let place = USERS.iter().position(|name| *name == self.user).unwrap();
        let principal = world.authenticate(CredentialKey(place as u128), self.user).await;
        let Some(principal) = principal else { return };
        let body = self.calls.to_string();
        let (sent, hub) = (Moment::now(), world.hub());
        let answer = timeout(BAD, world.server.answer(self.user, body.as_bytes())).await;
        let account = AccountId::parse(&self.account).unwrap();
        // A process that is gone saw nothing of it.
        if self.is_told || !Arc::ptr_eq(&hub, &world.hub()) {
            world.hub().hint(std::slice::from_ref(&account), None, false);
        }
        let reply = match answer {
            Ok(Ok(reply)) if reply.status.is_success() && !self.is_lost => reply,
            _ => return hub.unknown(&principal, &[account]),
        };
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        let responses = body["methodResponses"].as_array().unwrap();
        let facts: Vec<Fact> = responses.iter().filter_map(fact).collect();
        let received = Moment::now();
        let seen = Seen { who: self.is_known.then_some(&principal), sent, received };
        let Observed { key, is_fact, is_news } = hub.observe(seen, &account, &facts);
        let has_written = responses.iter().any(|response| !response[1]["newState"].is_null());
        let passed = Passed { sent, received, is_fact, has_written, is_news };
        let types = facts.iter().map(|fact| &fact.data_type);
        world.prober().upstream_answered(&key, types, &passed);
        if body["sessionState"] != principal.session_state.as_str() {
            world.session_changed(&principal);
        }
    }
}
