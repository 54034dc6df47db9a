//! JMAP calls in the name of one user, to the proxy or straight to the server.

use std::collections::BTreeMap;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::http;

/// The types whose states are compared in the end. Cyrus 3.6 is not asked for
/// `VacationResponse`: it kills the process that is asked.
pub(crate) const TYPES: [&str; 3] = ["Email", "Mailbox", "Thread"];

/// (account, type) → state.
pub(crate) type States = BTreeMap<(String, String), String>;

/// One user at one address.
#[derive(Clone)]
pub(crate) struct Caller {
    /// host:port.
    pub(crate) address: String,
    /// The value of `Authorization`.
    pub(crate) authorization: String,
    /// The account of their own: with Cyrus, their name.
    pub(crate) account: String,
}

impl Caller {
    pub(crate) fn new(address: &str, user: &str) -> Self {
        Self::with_password(address, user, &format!("pw-{user}"))
    }

    pub(crate) fn with_password(address: &str, user: &str, password: &str) -> Self {
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        Self {
            address: address.to_owned(),
            authorization: format!("Basic {credentials}"),
            account: user.to_owned(),
        }
    }

    /// The Session, found as RFC 8620 §2.2 says. Cyrus itself redirects once.
    pub(crate) fn session(&self) -> Value {
        let mut response = self.send("GET", "/.well-known/jmap", "").expect("a Session");
        if response.status == 301 {
            let location = response.header("location").expect("a Location");
            let path = location.split(&self.address).last().expect("a path").to_owned();
            response = self.send("GET", &path, "").expect("a Session");
        }
        assert_eq!(response.status, 200, "Session of {}", self.account);
        serde_json::from_str(&response.text().expect("a whole Session")).expect("a Session in JSON")
    }

    /// The methods of one API request; gives their responses.
    ///
    /// # Panics
    ///
    /// When the answer is not 200.
    pub(crate) fn call(&self, methods: &[(&str, Value)]) -> Vec<Value> {
        results(&self.ask(&self.request(methods)))
    }

    /// The Response to a Request (§3.3, §3.4).
    ///
    /// # Panics
    ///
    /// When the answer is not 200.
    pub(crate) fn ask(&self, request: &Value) -> Value {
        let response = self.send("POST", "/jmap/", &request.to_string());
        let response = response.expect("an answer to an API request");
        let status = response.status;
        let text = response.text().expect("a whole answer");
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).expect("an answer in JSON")
    }

    /// The methods of one API request, whatever comes of it.
    pub(crate) fn try_call(&self, methods: &[(&str, Value)]) -> io::Result<http::Response> {
        self.send("POST", "/jmap/", &self.request(methods).to_string())
    }

    /// The Request object (RFC 8620 §3.3) with these methods. Each is of the user's own account unless
    /// it names another or its type belongs to none, and has its index for the call's id.
    pub(crate) fn request(&self, methods: &[(&str, Value)]) -> Value {
        let calls: Vec<Value> = methods
            .iter()
            .enumerate()
            .map(|(index, (name, arguments))| {
                let mut arguments = arguments.clone();
                let is_of_account = !name.starts_with("PushSubscription/");
                if is_of_account && arguments.get("accountId").is_none() {
                    arguments["accountId"] = json!(self.account);
                }
                json!([name, arguments, index.to_string()])
            })
            .collect();
        json!({
            "using": [
                "urn:ietf:params:jmap:core",
                "urn:ietf:params:jmap:mail",
                "urn:ietf:params:jmap:vacationresponse",
            ],
            "methodCalls": calls,
        })
    }

    /// What `Foo/get` says now, for each of [`TYPES`] in every account of this user's Session.
    pub(crate) fn states(&self) -> States {
        let session = self.session();
        let accounts = session["accounts"].as_object().expect("accounts");
        let mut states = States::new();
        for account in accounts.keys() {
            let names = TYPES.map(|data_type| format!("{data_type}/get"));
            let arguments = json!({ "accountId": account, "ids": [] });
            let calls: Vec<_> =
                names.iter().map(|name| (name.as_str(), arguments.clone())).collect();
            for (data_type, response) in TYPES.iter().zip(self.call(&calls)) {
                let state = response["state"].as_str();
                let state = state.unwrap_or_else(|| panic!("{data_type}/get: {response}"));
                states.insert((account.clone(), (*data_type).to_owned()), state.to_owned());
            }
        }
        states
    }

    /// The state that `Email/get` returns for this user's own account.
    pub(crate) fn email_state(&self) -> String {
        let response = self.call(&[("Email/get", json!({ "ids": [] }))]);
        response[0]["state"].as_str().expect("a state").to_owned()
    }

    /// The id of this user's newest mail.
    pub(crate) fn newest_email(&self) -> String {
        let response = self.call(&[newest_email()]);
        response[0]["ids"][0].as_str().expect("a mail").to_owned()
    }

    /// Sets or clears a keyword of a mail; gives the new state.
    pub(crate) fn flag(&self, email: &str, keyword: &str, set: bool) -> String {
        new_state(&self.call(&[change_keyword(email, keyword, set)]))
    }

    fn send(&self, method: &str, target: &str, body: &str) -> io::Result<http::Response> {
        let headers = [
            ("Authorization", self.authorization.as_str()),
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
        ];
        http::send(&self.address, method, target, &headers, body)
    }
}

/// What the methods of a Response object (RFC 8620 §3.4) came to.
pub(crate) fn results(response: &Value) -> Vec<Value> {
    let responses = response["methodResponses"].as_array();
    let responses = responses.unwrap_or_else(|| panic!("no methodResponses: {response}"));
    responses.iter().map(|response| response[1].clone()).collect()
}

/// Asks for the id of the newest mail.
pub(crate) fn newest_email() -> (&'static str, Value) {
    let newest = json!({
        "sort": [{ "property": "receivedAt", "isAscending": false }],
        "limit": 1,
    });
    ("Email/query", newest)
}

/// Sets or clears a keyword of a mail.
pub(crate) fn change_keyword(email: &str, keyword: &str, set: bool) -> (&'static str, Value) {
    let value = if set { json!(true) } else { Value::Null };
    ("Email/set", json!({ "update": { email: { format!("keywords/{keyword}"): value } } }))
}

/// What the one `Email/set` of a request led to.
pub(crate) fn new_state(results: &[Value]) -> String {
    results[0]["newState"].as_str().expect("a new state").to_owned()
}
