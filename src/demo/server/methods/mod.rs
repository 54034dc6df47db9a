//! The methods (RFC 8620 §4 and §5, RFC 8621), one file per data type.
//!
//! A method is a function from arguments to the arguments of its response; what all data types do
//! alike is in [`standard`] and [`query`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::date::UtcDate;
use super::store::account::Account;
use super::store::{Access, Id, Store};
use error::{MethodError, SetError};

pub(crate) mod email;
pub(crate) mod error;
pub(crate) mod identity;
pub(crate) mod mailbox;
pub(crate) mod patch;
pub(crate) mod query;
pub(crate) mod standard;
pub(crate) mod submission;
pub(crate) mod thread;
pub(crate) mod vacation;

/// `urn:ietf:params:jmap:core`, which brings `Core/echo`.
pub(crate) const CORE: &str = crate::jmap::capability::CORE;
/// RFC 8621 §1.3.1.
pub(crate) const MAIL: &str = "urn:ietf:params:jmap:mail";
/// RFC 8621 §1.3.2.
pub(crate) const SUBMISSION: &str = "urn:ietf:params:jmap:submission";
/// RFC 8621 §1.3.3.
pub(crate) const VACATION: &str = "urn:ietf:params:jmap:vacationresponse";

/// Everything the Session advertises.
pub(crate) const CAPABILITIES: [&str; 4] = [CORE, MAIL, SUBMISSION, VACATION];

/// `maxObjectsInGet` and `maxObjectsInSet`.
pub(crate) const MAX_OBJECTS: usize = 500;

/// Who calls, and what the calls of one request share.
#[derive(Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) user: &'a str,
    /// Creation ids of this request and the ids they became (§3.3, §5.3).
    pub(crate) created_ids: BTreeMap<Id, Id>,
    pub(crate) now: UtcDate,
    /// Responses of methods called implicitly (§5.4, RFC 8621 §7.5), to follow the one at work.
    pub(crate) implicit: Vec<(&'static str, Value)>,
}

/// One entry of `methodResponses`: name, arguments, method call id.
pub(crate) type Invocation = (Cow<'static, str>, Value, String);

type Method = fn(&mut Caller<'_>, Value) -> Result<Value, MethodError>;

/// Every method with the capability that brings it.
const METHODS: &[(&str, &str, Method)] = &[
    ("Core/echo", CORE, |_, arguments| Ok(arguments)),
    ("Mailbox/get", MAIL, mailbox::get),
    ("Mailbox/changes", MAIL, mailbox::changes),
    ("Mailbox/query", MAIL, mailbox::query),
    ("Mailbox/queryChanges", MAIL, query::changes),
    ("Mailbox/set", MAIL, mailbox::set),
    ("Thread/get", MAIL, thread::get),
    ("Thread/changes", MAIL, thread::changes),
    ("Email/get", MAIL, email::get::get),
    ("Email/changes", MAIL, email::changes),
    ("Email/query", MAIL, email::query::query),
    ("Email/queryChanges", MAIL, query::changes),
    ("Email/set", MAIL, email::set::set),
    ("Email/import", MAIL, email::import::import),
    ("Email/copy", MAIL, email::import::copy),
    ("Identity/get", SUBMISSION, identity::get),
    ("Identity/changes", SUBMISSION, identity::changes),
    ("EmailSubmission/get", SUBMISSION, submission::get),
    ("EmailSubmission/changes", SUBMISSION, submission::changes),
    ("EmailSubmission/set", SUBMISSION, submission::set),
    ("VacationResponse/get", VACATION, vacation::get),
    ("VacationResponse/set", VACATION, vacation::set),
];

/// Answers one method call by one response or, with implicit calls, more.
pub(crate) fn call(
    caller: &mut Caller<'_>,
    using: &[String],
    name: &str,
    arguments: Value,
    call_id: &str,
) -> Vec<Invocation> {
    let known = METHODS
        .iter()
        .find(|(known, capability, _)| *known == name && using.iter().any(|urn| urn == capability));
    let outcome = match known {
        Some((_, _, method)) => method(caller, arguments),
        None => Err(MethodError::UnknownMethod),
    };
    let first = match outcome {
        Ok(result) => (Cow::Owned(name.to_owned()), result, call_id.to_owned()),
        Err(error) => (Cow::Borrowed("error"), error.to_value(), call_id.to_owned()),
    };
    let implicit = std::mem::take(&mut caller.implicit).into_iter();
    let implicit = implicit.map(|(name, result)| (Cow::Borrowed(name), result, call_id.to_owned()));
    std::iter::once(first).chain(implicit).collect()
}

impl Caller<'_> {
    /// The account of an `accountId` argument.
    pub(crate) fn account(&self, id: &str) -> Result<&Account, MethodError> {
        self.store.account(self.user, id).ok_or(MethodError::AccountNotFound)
    }

    /// The account of an `accountId` argument, to be changed.
    pub(crate) fn writable(&mut self, id: &str) -> Result<&mut Account, MethodError> {
        if self.store.access(self.user, id) == Some(Access::Read) {
            return Err(MethodError::AccountReadOnly);
        }
        self.store.account_mut(self.user, id).ok_or(MethodError::AccountNotFound)
    }

    /// §5.3: an id, or `#` and the creation id of a record created earlier in this request.
    pub(crate) fn resolved<'a>(&'a self, id: &'a str) -> &'a str {
        let created = id.strip_prefix('#').and_then(|id| self.created_ids.get(id));
        created.map_or(id, String::as_str)
    }

    /// Makes a creation id known to the calls that follow.
    pub(crate) fn remember(&mut self, creation_id: &str, outcome: &Result<Value, SetError>) {
        let object = outcome.as_ref().ok();
        if let Some(id) = object.and_then(|object| object.get("id")).and_then(Value::as_str) {
            self.created_ids.insert(creation_id.to_owned(), id.to_owned());
        }
    }

    /// Calls a method whose response is to follow that of the one at work.
    pub(crate) fn implicitly(&mut self, name: &'static str, method: Method, arguments: Value) {
        let response = match method(self, arguments) {
            Ok(result) => (name, result),
            Err(error) => ("error", error.to_value()),
        };
        self.implicit.push(response);
    }

    /// [`Self::resolved`] for the keys of a set of ids, such as `mailboxIds`, of a record or a
    /// patch that is not read yet.
    pub(crate) fn resolve_keys(&self, object: &mut Value, property: &str) {
        if let Some(Value::Object(ids)) = object.get_mut(property) {
            *ids = std::mem::take(ids)
                .into_iter()
                .map(|(id, value)| (self.resolved(&id).to_owned(), value))
                .collect();
        }
    }
}

/// Reads the arguments of a method.
pub(crate) fn parse<T: DeserializeOwned>(arguments: Value) -> Result<T, MethodError> {
    serde_json::from_value(arguments).map_err(MethodError::Arguments)
}

/// An object without the members that were not asked for; `id` always stays.
pub(crate) fn select(object: &mut Value, properties: Option<&[String]>) {
    if let (Value::Object(members), Some(properties)) = (object, properties) {
        members.retain(|name, _| name == "id" || properties.iter().any(|wanted| wanted == name));
    }
}

/// A record as JSON, its id put in front.
pub(crate) fn with_id<T: serde::Serialize>(id: &str, record: &T) -> Result<Value, MethodError> {
    let mut object = serde_json::to_value(record).map_err(MethodError::Answer)?;
    if let Value::Object(members) = &mut object {
        members.insert("id".to_owned(), json!(id));
    }
    Ok(object)
}

#[cfg(test)]
mod tests;
