//! `PushSubscription/get` and `/set` as a client sees them, on subscriptions held in a list.

use std::cell::Cell;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::error::MethodError;
use super::get::get;
use super::set::{Outcome, set};
use super::*;
use crate::auth::principal::Access;
use crate::config::secret::Key;
use crate::jmap::id::AccountId;
use crate::push::subscription::SubscriptionId;

mod creating;
mod getting;
mod properties;
mod updating;

const NOW: UtcDate = UtcDate(1_785_931_200);
const DAY: i64 = 86_400;
/// The key that is advertised, and the day on which another was.
const VAPID: u32 = 3;
const RETIRED: UtcDate = UtcDate(NOW.0 + DAY);
const WEEK: UtcDate = UtcDate(NOW.0 + 7 * DAY);

/// One user with one credential.
struct World {
    vault: Vault,
    limits: Limits,
    now: UtcDate,
    binding: Binding,
    view: View,
    held: Vec<Subscription>,
    of_user: Option<usize>,
    created_before: Vec<(&'static str, String)>,
    wait: Duration,
    asked: Cell<usize>,
    drawn: u8,
}

impl World {
    fn new() -> Self {
        let access = Access { is_personal: true, capabilities: Arc::from(["urn:x".to_owned()]) };
        let account = (AccountId::parse("a1").unwrap(), access);
        let view = View { accounts: Arc::from([account]), api_path: "/jmap".into(), host: None };
        Self {
            vault: Vault::new(&Key::random()),
            limits: Limits::new(10, 10, 5, Duration::from_secs(7 * 86_400)),
            now: NOW,
            binding: Binding::User([1; 32]),
            view,
            held: Vec::new(),
            of_user: None,
            created_before: Vec::new(),
            wait: Duration::ZERO,
            asked: Cell::new(0),
            drawn: 0,
        }
    }

    fn with<T>(&self, call: impl FnOnce(&Caller<'_>, &Terms<'_>) -> T) -> T {
        let owned: Vec<_> = self.held.iter().collect();
        let caller = Caller {
            binding: &self.binding,
            username: "alice",
            view: &self.view,
            owned: &owned,
            of_user: self.of_user.unwrap_or(owned.len()),
        };
        let terms = Terms { now: self.now, limits: &self.limits, vault: &self.vault, vapid: VAPID };
        call(&caller, &terms)
    }

    fn get(&self, arguments: Value) -> Result<Value, MethodError> {
        self.with(|caller, terms| get(&object(arguments), caller.owned, terms))
    }

    /// Makes the call, and what comes of it true.
    fn try_set(&mut self, arguments: Value) -> Result<Outcome, MethodError> {
        let mut drawn = self.drawn;
        let mut draw = |bytes: &mut [u8]| {
            drawn += 1;
            bytes.fill(drawn);
        };
        let mut admit = |_: &Secrets| {
            self.asked.set(self.asked.get() + 1);
            if self.wait.is_zero() { Ok(()) } else { Err(self.wait) }
        };
        let created_before = |wanted: &str| {
            let (_, id) = self.created_before.iter().find(|(known, _)| *known == wanted)?;
            Some(id.clone())
        };
        let outcome = self.with(|caller, terms| {
            let judges = Judges {
                draw: &mut draw,
                are_keys: &|p256dh, auth| p256dh == "point" && auth == "secret",
                check_url: &|url| {
                    url.starts_with("https://").then_some(()).ok_or("https only".into())
                },
                admit: &mut admit,
                retired: &|vapid| (vapid != VAPID).then_some(RETIRED),
                created_before: &created_before,
            };
            set(&object(arguments), caller, terms, judges)
        });
        self.drawn = drawn;
        outcome.inspect(|outcome| apply(&mut self.held, &outcome.changes))
    }

    fn set(&mut self, arguments: Value) -> Value {
        self.try_set(arguments).unwrap().response
    }

    /// Makes one subscription with these properties beside those required; its id.
    fn make(&mut self, more: Value) -> String {
        let mut new = json!({ "deviceClientId": "d", "url": "https://push.example/1" });
        new.as_object_mut().unwrap().extend(object(more));
        let response = self.set(json!({ "create": { "k": new } }));
        response["created"]["k"]["id"].as_str().unwrap_or_else(|| panic!("{response}")).to_owned()
    }

    fn patch(&mut self, id: &str, patch: impl Into<Value>) -> Value {
        let patch = patch.into();
        self.set(json!({ "update": { id: patch } }))
    }

    fn held(&self, id: &str) -> Option<&Subscription> {
        let id = SubscriptionId::parse(id);
        self.held.iter().find(|held| Some(held.id) == id)
    }

    fn code(&self, id: &str) -> String {
        let secrets = self.held(id).unwrap().secrets(&self.vault).unwrap();
        secrets.verification_code.to_string()
    }

    fn verify(&mut self, id: &str) {
        let patch = json!({ "verificationCode": self.code(id) });
        let response = self.patch(id, patch);
        assert_eq!(response["updated"], json!({ id: null }), "{response}");
    }
}

fn apply(held: &mut Vec<Subscription>, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Create(new) => held.push((**new).clone()),
            Change::Update(changed) => {
                let at = held.iter().position(|it| it.id == changed.id).expect("there to change");
                held[at] = (**changed).clone();
            }
            Change::Destroy(id) => {
                let at = held.iter().position(|it| it.id == *id).expect("there to destroy");
                held.remove(at);
            }
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("no object: {other}"),
    }
}

fn invalid(error: &Value) -> Vec<&str> {
    assert_eq!(error["type"], "invalidProperties", "{error}");
    error["properties"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}
