//! What the fake upstream holds: users, accounts, states, and a ledger of every change (RFC 8620 §1.6,
//! §5). No objects: only that something changed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The types the fake knows, by capability.
const TYPES: [(&str, &[&str]); 4] = [
    ("urn:ietf:params:jmap:core", &[]),
    ("urn:ietf:params:jmap:mail", &["Mailbox", "Email", "Thread"]),
    ("urn:ietf:params:jmap:submission", &["Identity", "EmailSubmission"]),
    ("urn:ietf:params:jmap:vacationresponse", &["VacationResponse"]),
];

/// One line of the ledger: a type of an account went to a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) account: String,
    pub(crate) data_type: String,
    pub(crate) state: String,
}

#[derive(Debug, Default)]
struct User {
    /// The ids this user knows them by, and those of the ledger.
    accounts: BTreeMap<String, String>,
    /// Rises when `accounts` changes: the Session's `state`.
    version: u32,
    is_refused: bool,
}

#[derive(Debug, Default)]
struct Account {
    states: BTreeMap<String, u32>,
    /// States of Email to which the arrival of a mail led.
    created: Vec<u32>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Mail {
    users: BTreeMap<String, User>,
    accounts: BTreeMap<String, Account>,
    /// Every state there was, the first ones included, in order.
    pub(crate) ledger: Vec<Change>,
    /// `maxSizeRequest` of the Session.
    pub(crate) max_size_request: u32,
}

/// The id of a user's own account.
pub(crate) fn account_of(user: &str) -> String {
    format!("a-{user}")
}

impl Default for Mail {
    fn default() -> Self {
        let mut mail = Self {
            users: BTreeMap::new(),
            accounts: BTreeMap::new(),
            ledger: Vec::new(),
            max_size_request: 10_000_000,
        };
        for user in ["alice", "bob"] {
            mail.share(user, &account_of(user));
        }
        mail
    }
}

impl Mail {
    /// Lets a user see an account, which is made if it is new.
    pub(crate) fn share(&mut self, user: &str, account: &str) {
        if !self.accounts.contains_key(account) {
            self.accounts.insert(account.into(), Account::default());
            for data_type in TYPES.iter().flat_map(|(_, types)| *types) {
                self.change(account, data_type);
            }
        }
        let user = self.users.entry(user.into()).or_default();
        user.accounts.insert(account.into(), account.into());
        user.version += 1;
    }

    /// Lets a user know their own account by this id, which may mean another one to others.
    pub(crate) fn rename(&mut self, user: &str, id: &str) {
        let own = account_of(user);
        self.withdraw(user, &own);
        self.users.get_mut(user).unwrap().accounts.insert(id.into(), own);
    }

    /// Lets a user see an account no longer.
    pub(crate) fn withdraw(&mut self, user: &str, account: &str) {
        let user = self.users.get_mut(user).unwrap();
        user.accounts.remove(account);
        user.version += 1;
    }

    /// From now on nothing opens with this user's credentials.
    pub(crate) fn refuse(&mut self, user: &str) {
        self.users.get_mut(user).unwrap().is_refused = true;
    }

    /// Something of this type changes; gives its new state.
    pub(crate) fn change(&mut self, account: &str, data_type: &str) -> String {
        let states = &mut self.accounts.get_mut(account).unwrap().states;
        let state = states.entry(data_type.into()).or_default();
        *state += 1;
        let state = state.to_string();
        self.ledger.push(Change {
            account: account.into(),
            data_type: data_type.into(),
            state: state.clone(),
        });
        state
    }

    /// A mail arrives.
    pub(crate) fn deliver(&mut self, account: &str) {
        for data_type in ["Email", "Mailbox", "Thread"] {
            self.change(account, data_type);
        }
        let account = self.accounts.get_mut(account).unwrap();
        account.created.push(account.states["Email"]);
    }

    /// The state of a type now.
    pub(crate) fn state(&self, account: &str, data_type: &str) -> String {
        self.accounts[account].states[data_type].to_string()
    }

    /// Whose request it is, by `Authorization: Bearer user`.
    pub(super) fn user(&self, authorization: Option<&str>) -> Option<String> {
        let user = authorization?.strip_prefix("Bearer ")?;
        let known = self.users.get(user).filter(|user| !user.is_refused);
        known.map(|_| user.to_owned())
    }

    pub(super) fn session(&self, user: &str) -> Value {
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
        json!({
            "capabilities": capabilities(core),
            "accounts": Value::Object(accounts.collect()),
            "primaryAccounts": { "urn:ietf:params:jmap:mail": account_of(user) },
            "username": user,
            "apiUrl": "/jmap/",
            "downloadUrl": "/jmap/download/{accountId}/{blobId}/{name}?type={type}",
            "uploadUrl": "/jmap/upload/{accountId}/",
            "state": self.session_state(user),
        })
    }

    fn session_state(&self, user: &str) -> String {
        format!("session-{}", self.users[user].version)
    }

    /// The Response object (§3.4) to these method calls.
    pub(super) fn respond(&mut self, user: &str, calls: &[Call]) -> Value {
        let responses: Vec<Value> = calls.iter().map(|call| self.answer(user, call)).collect();
        json!({ "methodResponses": responses, "sessionState": self.session_state(user) })
    }

    fn answer(&mut self, user: &str, Call(name, arguments, id): &Call) -> Value {
        let error = |kind: &str| json!(["error", { "type": kind }, id]);
        if name == "Core/echo" {
            return json!([name, arguments, id]);
        }
        let id_of_account = arguments["accountId"].as_str().unwrap_or_default();
        let Some(account) = self.users[user].accounts.get(id_of_account).cloned() else {
            return error("accountNotFound");
        };
        let account = account.as_str();
        let (data_type, verb) = name.split_once('/').unwrap_or((name, ""));
        if !TYPES.iter().any(|(_, types)| types.contains(&data_type)) {
            return error("unknownMethod");
        }
        let old = self.state(account, data_type);
        let answer = match verb {
            "get" => {
                json!({ "accountId": id_of_account, "state": old, "list": [], "notFound": [] })
            }
            "set" => {
                let new = self.change(account, data_type);
                json!({ "accountId": id_of_account, "oldState": old, "newState": new, "created": null, "updated": { "x": null }, "destroyed": null })
            }
            "changes" => {
                let since: u32 = arguments["sinceState"].as_str().unwrap().parse().unwrap();
                let created = self.accounts[account].created.iter().filter(|at| **at > since);
                let created: Vec<String> = created.map(|at| format!("m{at}")).collect();
                json!({
                    "accountId": id_of_account, "oldState": since.to_string(), "newState": old,
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
pub(super) struct Call(pub(super) String, pub(super) Value, String);

/// The method calls of a Request object (§3.3).
pub(super) fn calls(body: &[u8]) -> Option<Vec<Call>> {
    let mut request: Value = serde_json::from_slice(body).ok()?;
    serde_json::from_value(request["methodCalls"].take()).ok()
}
