//! What the fake upstream holds: users, accounts, states, and a ledger of every change (RFC 8620 §1.6,
//! §5). No objects: only that something changed.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::push::Push;
use crate::support::ledger::Ledger;

/// The types the fake knows, by capability.
const TYPES: [(&str, &[&str]); 4] = [
    ("urn:ietf:params:jmap:core", &[]),
    ("urn:ietf:params:jmap:mail", &["Mailbox", "Email", "Thread"]),
    ("urn:ietf:params:jmap:submission", &["Identity", "EmailSubmission"]),
    ("urn:ietf:params:jmap:vacationresponse", &["VacationResponse"]),
];

/// The types that mail is told of by.
const MAIL: [&str; 3] = ["Email", "Mailbox", "Thread"];

#[derive(Debug, Default)]
struct User {
    /// The ids this user knows them by, and those of the ledger.
    accounts: BTreeMap<String, String>,
    /// Rises when `accounts` changes: the Session's `state`.
    version: u32,
    is_refused: bool,
}

#[derive(Debug, Default)]
struct Counts {
    now: u32,
    highest: u32,
}

#[derive(Debug, Default)]
struct Account {
    states: BTreeMap<String, Counts>,
    /// States of Email to which the arrival of a mail led.
    created: Vec<u32>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Mail {
    users: BTreeMap<String, User>,
    /// Tokens that nothing opens with.
    refused: BTreeSet<String>,
    accounts: BTreeMap<String, Account>,
    /// All that was done, the first states included.
    pub(crate) ledger: Ledger,
    /// Whether each user sees states of their own.
    has_views: bool,
    /// Whether one counter is the state of [`MAIL`], as Cyrus has it.
    pub(crate) has_one_counter: bool,
    /// `maxSizeRequest` of the Session.
    pub(crate) max_size_request: u32,
    /// What upstream tells by itself.
    pub(crate) push: Push,
}

/// Who a JWT is of (RFC 7519 §4.1.2).
fn subject(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}

/// The id of a user's own account.
pub(crate) fn account_of(user: &str) -> String {
    format!("a-{user}")
}

impl Default for Mail {
    fn default() -> Self {
        Self::of(&["alice", "bob"], false)
    }
}

impl Mail {
    /// These users, each with an account of their own; with `has_views` each sees states of their own
    /// in it, and in any other.
    pub(crate) fn of(users: &[&str], has_views: bool) -> Self {
        let mut mail = Self {
            users: users.iter().map(|user| ((*user).to_owned(), User::default())).collect(),
            refused: BTreeSet::new(),
            accounts: BTreeMap::new(),
            ledger: Ledger::default(),
            has_views,
            has_one_counter: false,
            max_size_request: 10_000_000,
            push: Push::default(),
        };
        for user in users {
            mail.share(user, &account_of(user));
        }
        mail
    }

    /// Lets a user see an account, which is made if it is new.
    pub(crate) fn share(&mut self, user: &str, account: &str) {
        if !self.accounts.contains_key(account) {
            self.accounts.insert(account.into(), Account::default());
            for data_type in TYPES.iter().flat_map(|(_, types)| *types) {
                self.change(account, data_type);
            }
        }
        self.grant(user, account, account);
    }

    fn grant(&mut self, name: &str, id: &str, account: &str) {
        self.ledger.granted(name, id, account);
        let user = self.users.entry(name.into()).or_default();
        user.accounts.insert(id.into(), account.into());
        user.version += 1;
    }

    /// Lets a user know their own account by this id, which may mean another one to others.
    pub(crate) fn rename(&mut self, user: &str, id: &str) {
        let own = account_of(user);
        self.withdraw(user, &own);
        self.grant(user, id, &own);
    }

    /// Lets a user see an account no longer.
    pub(crate) fn withdraw(&mut self, name: &str, id: &str) {
        self.ledger.withdrawn(name, id);
        let user = self.users.get_mut(name).unwrap();
        user.accounts.remove(id);
        user.version += 1;
    }

    /// The accounts that a user may see, by id.
    pub(crate) fn accounts_of(&self, user: &str) -> Vec<String> {
        self.users[user].accounts.keys().cloned().collect()
    }

    /// All accounts.
    pub(crate) fn all_accounts(&self) -> Vec<String> {
        self.accounts.keys().cloned().collect()
    }

    /// From now on nothing opens with this user's credentials.
    pub(crate) fn refuse(&mut self, user: &str) {
        self.users.get_mut(user).unwrap().is_refused = true;
    }

    /// From now on nothing opens with this token, whatever else does.
    pub(crate) fn refuse_token(&mut self, token: &str) {
        self.refused.insert(token.into());
    }

    /// Something of this type changes; gives its new state.
    pub(crate) fn change(&mut self, account: &str, data_type: &str) -> String {
        if self.has_one_counter && MAIL.contains(&data_type) {
            return self.count_up(account, false);
        }
        let states = &mut self.accounts.get_mut(account).unwrap().states;
        let counts = states.entry(data_type.into()).or_default();
        counts.highest += 1;
        counts.now = counts.highest;
        self.write(account, data_type, false)
    }

    /// One more change of mail where one counter counts them; gives it.
    fn count_up(&mut self, account: &str, added: bool) -> String {
        let held = self.accounts.get_mut(account).unwrap();
        let count = MAIL.iter().map(|name| held.states[*name].highest).max().unwrap() + 1;
        for name in MAIL {
            held.states.insert(name.into(), Counts { now: count, highest: count });
        }
        if added {
            held.created.push(count);
        }
        for name in MAIL {
            self.write(account, name, added && name == "Email");
        }
        count.to_string()
    }

    /// This type returns to the state before the last one; gives it.
    pub(crate) fn turn_back(&mut self, account: &str, data_type: &str) -> String {
        let states = &mut self.accounts.get_mut(account).unwrap().states;
        let counts = states.get_mut(data_type).unwrap();
        counts.now = (counts.now - 1).max(1);
        self.write(account, data_type, false)
    }

    fn write(&mut self, account: &str, data_type: &str, added: bool) -> String {
        let now = self.accounts[account].states[data_type].now;
        self.push_change(account, data_type, now);
        if added {
            self.push_change(account, "EmailDelivery", now);
        }
        let views: Vec<Option<&str>> = match self.has_views {
            true => self.users.keys().map(|user| Some(user.as_str())).collect(),
            false => vec![None],
        };
        for view in views {
            let state = view.map_or(now.to_string(), |user| format!("{user}-{now}"));
            if added {
                self.ledger.added(account, &state, view);
            } else {
                self.ledger.changed(account, data_type, &state, view);
            }
        }
        now.to_string()
    }

    fn push_change(&mut self, account: &str, data_type: &str, now: u32) {
        for (name, user) in &self.users {
            let ids = user.accounts.iter().filter(|(_, held)| *held == account);
            for (id, _) in ids {
                let state = if self.has_views { format!("{name}-{now}") } else { now.to_string() };
                self.push.changed(name, id, data_type, &state);
            }
        }
    }

    /// A mail arrives.
    pub(crate) fn deliver(&mut self, account: &str) {
        if self.has_one_counter {
            self.count_up(account, true);
            return;
        }
        let held = self.accounts.get_mut(account).unwrap();
        let email = held.states.get_mut("Email").unwrap();
        email.highest += 1;
        email.now = email.highest;
        held.created.push(email.now);
        self.write(account, "Email", true);
        for data_type in &MAIL[1..] {
            self.change(account, data_type);
        }
    }

    /// The state of a type now; where each user sees others, without what makes it theirs.
    pub(crate) fn state(&self, account: &str, data_type: &str) -> String {
        self.accounts[account].states[data_type].now.to_string()
    }

    /// A state as this user sees it.
    pub(crate) fn seen_by(&self, user: &str, state: &str) -> String {
        if self.has_views { format!("{user}-{state}") } else { state.to_owned() }
    }

    /// Whose request it is, by `Authorization: Bearer user`, or `Bearer user;` and anything, or a JWT whose
    /// `sub` is the user.
    pub(crate) fn user(&self, authorization: Option<&str>) -> Option<String> {
        let token = authorization?.strip_prefix("Bearer ")?;
        if self.refused.contains(token) {
            return None;
        }
        let subject = subject(token);
        let user = subject.as_deref().or_else(|| token.split(';').next())?;
        let known = self.users.get(user).filter(|user| !user.is_refused);
        known.map(|_| user.to_owned())
    }

    pub(crate) fn session(&self, user: &str) -> Value {
        let capabilities = |core: Value| -> Value {
            let urns = TYPES.iter().map(|(urn, types)| {
                ((*urn).to_owned(), if types.is_empty() { core.clone() } else { json!({}) })
            });
            Value::Object(urns.collect())
        };
        let core = json!({
            "maxSizeRequest": self.max_size_request,
            "maxCallsInRequest": 16,
            "maxConcurrentRequests": 8,
        });
        let accounts = self.users[user].accounts.iter().map(|(id, account)| {
            let account = json!({
                "name": id,
                "isPersonal": *account == account_of(user),
                "isReadOnly": false,
                "accountCapabilities": capabilities(json!({})),
            });
            (id.clone(), account)
        });
        let mut session = json!({
            "capabilities": capabilities(core),
            "accounts": Value::Object(accounts.collect()),
            "primaryAccounts": { "urn:ietf:params:jmap:mail": account_of(user) },
            "username": user,
            "apiUrl": "/jmap/",
            "downloadUrl": "/jmap/download/{accountId}/{blobId}/{name}?type={type}",
            "uploadUrl": "/jmap/upload/{accountId}/",
            "state": self.session_state(user),
        });
        if let Some(template) = &self.push.template {
            session["eventSourceUrl"] = json!(template);
        }
        if let Some(url) = &self.push.socket {
            let socket = json!({ "url": url, "supportsPush": true });
            session["capabilities"]["urn:ietf:params:jmap:websocket"] = socket;
        }
        if let Some(vapid) = &self.push.vapid {
            session["capabilities"]["urn:ietf:params:jmap:webpush-vapid"] = vapid.clone();
        }
        session
    }

    fn session_state(&self, user: &str) -> String {
        format!("session-{}", self.users[user].version)
    }

    /// The Response object (§3.4) to these method calls.
    pub(crate) fn respond(&mut self, user: &str, calls: &[Call]) -> Value {
        let responses: Vec<Value> = calls.iter().map(|call| self.answer(user, call)).collect();
        json!({ "methodResponses": responses, "sessionState": self.session_state(user) })
    }

    fn answer(&mut self, user: &str, Call(name, arguments, id): &Call) -> Value {
        let error = |kind: &str| json!(["error", { "type": kind }, id]);
        if name == "Core/echo" {
            return json!([name, arguments, id]);
        }
        let (data_type, verb) = name.split_once('/').unwrap_or((name, ""));
        if !TYPES.iter().any(|(_, types)| types.contains(&data_type)) {
            return error("unknownMethod");
        }
        let id_of_account = arguments["accountId"].as_str().unwrap_or_default();
        let Some(account) = self.users[user].accounts.get(id_of_account).cloned() else {
            return error("accountNotFound");
        };
        let account = account.as_str();
        let own = |mail: &Self, state: &str| mail.seen_by(user, state);
        let old = own(self, &self.state(account, data_type));
        let answer = match verb {
            "get" => {
                json!({ "accountId": id_of_account, "state": old, "list": [], "notFound": [] })
            }
            "set" => {
                let new = self.change(account, data_type);
                let new = own(self, &new);
                json!({ "accountId": id_of_account, "oldState": old, "newState": new, "created": null, "updated": { "x": null }, "destroyed": null })
            }
            "changes" => {
                let since = arguments["sinceState"].as_str().unwrap();
                let since = since.rsplit('-').next().unwrap().parse().unwrap();
                let created = self.accounts[account].created.iter().filter(|at| **at > since);
                let created: Vec<String> = created.map(|at| format!("m{at}")).collect();
                json!({
                    "accountId": id_of_account, "oldState": arguments["sinceState"], "newState": old,
                    "hasMoreChanges": false, "created": created, "updated": [], "destroyed": [],
                })
            }
            _ => return error("unknownMethod"),
        };
        json!([name, answer, id])
    }
}

/// One method call (§3.2): name, arguments, call id.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Call(pub(crate) String, pub(crate) Value, pub(crate) String);

/// The method calls of a Request object (§3.3).
pub(crate) fn calls(body: &[u8]) -> Option<Vec<Call>> {
    let mut request: Value = serde_json::from_slice(body).ok()?;
    serde_json::from_value(request["methodCalls"].take()).ok()
}
