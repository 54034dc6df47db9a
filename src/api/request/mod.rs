//! Which methods an API request (§3.3) calls, and on which accounts.
//!
//! A look at a body that is already in memory. It refuses nothing: what cannot be read is forwarded byte for
//! byte all the same, and upstream says what is wrong with it, unless it may call a method of ours
//! ([`super::batch`]).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::text::Text;
use crate::jmap::capability;
use crate::jmap::id::AccountId;
use crate::jmap::object::{members, offset, splice};

/// Most method calls looked at. Servers allow some dozens (`maxCallsInRequest`, §2); a body with more
/// than this counts as unreadable, so that its size in memory stays a small multiple of the body's.
pub const MAX_CALLS: usize = 1024;

/// A JMAP Request object, as far as a proxy needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method calls, in order. Names are decoded: `"Email\/s\u0065t"` is `Email/set`.
    pub calls: Vec<Call<'a>>,
    /// Whether `using` may name one of [`capability::OWN`].
    pub may_use_own: bool,
}

/// One method call (§3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// The name, such as `Email/set`.
    pub name: Cow<'a, str>,
    /// `accountId`; `None` when absent, not an account id, or a result reference (`#accountId`).
    pub account_id: Option<AccountId>,
    /// `fromAccountId` of `/copy` (§5.4), which `onSuccessDestroyOriginal` changes as well.
    pub from_account_id: Option<AccountId>,
    /// The method call id.
    pub call_id: Cow<'a, str>,
}

impl<'a> Request<'a> {
    /// Reads a whole body. `None` when it is not a JMAP request: not JSON, no `methodCalls`, calls of
    /// another shape, more than [`MAX_CALLS`], or one of the members read here twice (§1.5 forbids
    /// it, and which one upstream takes is unknown).
    #[must_use]
    pub fn scan(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Whether it calls a method of `PushSubscription` (§7.2).
    #[must_use]
    pub fn calls_own(&self) -> bool {
        self.calls.iter().any(|call| is_own(&call.name))
    }

    /// Whether the responses of all calls that may change something tell to what state.
    #[must_use]
    pub fn tells_states(&self) -> bool {
        self.calls.iter().all(|call| !call.may_change() || call.tells_state())
    }

    /// Which accounts the calls may change.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let mut accounts = Vec::new();
        for call in self.calls.iter().filter(|call| call.may_change()) {
            // A result reference (§3.7) may come to any of the caller's accounts.
            let Some(account) = &call.account_id else { return Changes::Any };
            for account in std::iter::once(account).chain(&call.from_account_id) {
                if !accounts.contains(account) {
                    accounts.push(account.clone());
                }
            }
        }
        if accounts.is_empty() { Changes::Nothing } else { Changes::Accounts(accounts) }
    }
}

/// What an API request may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// It only reads.
    Nothing,
    /// These accounts, each once.
    Accounts(Vec<AccountId>),
    /// Any that its caller may change.
    Any,
}

impl Changes {
    /// Whether the account may be changed.
    #[must_use]
    pub fn concern(&self, account: &AccountId) -> bool {
        match self {
            Self::Nothing => false,
            Self::Accounts(accounts) => accounts.contains(account),
            Self::Any => true,
        }
    }
}

impl Call<'_> {
    /// Whether the call may change something.
    #[must_use]
    pub fn may_change(&self) -> bool {
        may_change(&self.name)
    }

    /// Whether its response tells the state it led to (§5.3, §5.4; RFC 8621 §4.8).
    fn tells_state(&self) -> bool {
        self.name.rsplit_once('/').is_some_and(|(_, m)| matches!(m, "set" | "copy" | "import"))
    }
}

/// Whether a method may change something: every one may, but for those that only read by their standard
/// name (§4.1, §5.1, §5.2, §5.5, §5.6; RFC 8621 §4.9).
pub(super) fn may_change(name: &str) -> bool {
    let method = name.rsplit_once('/').map_or("", |(_, method)| method);
    !matches!(method, "get" | "query" | "changes" | "queryChanges" | "parse" | "echo")
}

/// Whether a method is of the type that can be ours (§7.2).
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with("PushSubscription/")
}

/// Whether a body may hold the name of such a method, escaped or not. Never misses one; what is found may
/// as well be text about it.
pub(super) fn may_name_own(body: &[u8]) -> bool {
    // Where it does not stand there as it is, one of its letters is escaped.
    const HINTS: [&str; 4] = ["PushSubscription", r"\u005", r"\u006", r"\u007"];
    str::from_utf8(body).is_ok_and(|text| HINTS.iter().any(|hint| text.contains(hint)))
}

impl<'de> Deserialize<'de> for Request<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RequestVisitor)
    }
}

/// Written out, because a derived one would also take an array for the object.
struct RequestVisitor;

impl<'de> Visitor<'de> for RequestVisitor {
    type Value = Request<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Request object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut calls, mut may_use_own) = (None, false);
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "using" => may_use_own |= may_list_own(map.next_value::<&RawValue>()?.get()),
                "methodCalls" => once(&mut calls, map.next_value()?)?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        let Calls(calls) = calls.ok_or_else(|| A::Error::missing_field("methodCalls"))?;
        Ok(Request { calls, may_use_own })
    }
}

/// Whether a list of capabilities may name one of ours: an escaped name is looked at more closely.
fn may_list_own(using: &str) -> bool {
    using.contains('\\') || using.split('"').any(|name| capability::OWN.contains(&name))
}

/// A request without those capabilities in `using` that are our `own` alone; every other byte stays. `None`
/// when it names none, or cannot be read.
#[must_use]
pub fn without_capabilities(body: &[u8], own: &[&str]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let mut splices = Vec::new();
    for using in members(text).ok()?.iter().filter(|member| member.name == "using") {
        let names: Vec<&RawValue> = serde_json::from_str(using.value.get()).ok()?;
        let is_own = |name: &&&RawValue| {
            let name = serde_json::from_str(name.get());
            name.is_ok_and(|Text(name)| own.contains(&&*name))
        };
        let (own, kept): (Vec<&&RawValue>, Vec<&&RawValue>) = names.iter().partition(is_own);
        if !own.is_empty() {
            let kept: Vec<_> = kept.iter().map(|name| name.get()).collect();
            splices.push((offset(text, using.value.get()), format!("[{}]", kept.join(","))));
        }
    }
    (!splices.is_empty()).then(|| splice(text, splices))
}

/// The value of `methodCalls`.
struct Calls<'a>(Vec<Call<'a>>);

impl<'de> Deserialize<'de> for Calls<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CallsVisitor)
    }
}

struct CallsVisitor;

impl<'de> Visitor<'de> for CallsVisitor {
    type Value = Calls<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_CALLS} method calls")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut calls = Vec::new();
        while let Some((Text(name), Arguments { account_id, from_account_id }, Text(call_id))) =
            seq.next_element()?
        {
            if calls.len() == MAX_CALLS {
                return Err(A::Error::invalid_length(MAX_CALLS + 1, &self));
            }
            calls.push(Call { name, account_id, from_account_id, call_id });
        }
        Ok(Calls(calls))
    }
}

/// The arguments of one call.
struct Arguments {
    account_id: Option<AccountId>,
    from_account_id: Option<AccountId>,
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ArgumentsVisitor)
    }
}

struct ArgumentsVisitor;

impl<'de> Visitor<'de> for ArgumentsVisitor {
    type Value = Arguments;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of arguments")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut account_id, mut from_account_id) = (None, None);
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "accountId" => once(&mut account_id, map.next_value::<&RawValue>()?)?,
                "fromAccountId" => once(&mut from_account_id, map.next_value::<&RawValue>()?)?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Arguments {
            account_id: account_id.and_then(parse_account_id),
            from_account_id: from_account_id.and_then(parse_account_id),
        })
    }
}

/// The account id, if the value is a string that is one.
fn parse_account_id(value: &RawValue) -> Option<AccountId> {
    let Text(text) = serde_json::from_str(value.get()).ok()?;
    AccountId::parse(&text)
}

/// Sets `slot` unless it was set before.
fn once<T, E: Error>(slot: &mut Option<T>, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("a member is there twice")),
    }
}

#[cfg(test)]
mod tests;
