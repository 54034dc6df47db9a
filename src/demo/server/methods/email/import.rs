//! `Email/import` and `Email/copy` (RFC 8621 §4.8, §4.7): a message that exists already.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::set::{created, read_filing, set};
use crate::demo::server::date::UtcDate;
use crate::demo::server::methods::error::{MethodError, SetError, SetErrorKind};
use crate::demo::server::methods::standard::{SetResponse, not_found};
use crate::demo::server::methods::{Caller, MAX_OBJECTS, parse};
use crate::demo::server::store::Id;
use crate::demo::server::store::account::Account;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportArguments {
    account_id: Id,
    #[serde(default)]
    if_in_state: Option<String>,
    emails: BTreeMap<Id, Value>,
}

/// §4.8 `EmailImport`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EmailImport {
    blob_id: Id,
    mailbox_ids: Value,
    #[serde(default)]
    keywords: Value,
    received_at: Option<UtcDate>,
}

/// `Email/import`.
pub(crate) fn import(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: ImportArguments = parse(arguments)?;
    let account_id = arguments.account_id;
    let old_state = caller.writable(&account_id)?.emails().state();
    check(arguments.if_in_state.as_deref(), &old_state, arguments.emails.len())?;
    let mut response = SetResponse::new(&account_id, old_state);
    for (creation_id, mut object) in arguments.emails {
        caller.resolve_keys(&mut object, "mailboxIds");
        let now = caller.now;
        let outcome = import_one(caller.writable(&account_id)?, object, now);
        caller.remember(&creation_id, &outcome);
        response.create(creation_id, outcome);
    }
    let state = caller.account(&account_id)?.emails().state();
    Ok(only_creation(response.into_value(&state)))
}

fn import_one(account: &mut Account, object: Value, now: UtcDate) -> Result<Value, SetError> {
    let import: EmailImport =
        serde_json::from_value(object).map_err(|error| SetError::shape(&error))?;
    let (_, raw) = account.blob(&import.blob_id).ok_or(SetErrorKind::BlobNotFound)?;
    let filing = read_filing(&import.mailbox_ids, &import.keywords)?;
    let id = account.add_email(raw, filing, import.received_at.unwrap_or(now))?;
    Ok(created(account, &id))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CopyArguments {
    from_account_id: Id,
    #[serde(default)]
    if_from_in_state: Option<String>,
    account_id: Id,
    #[serde(default)]
    if_in_state: Option<String>,
    create: BTreeMap<Id, Value>,
    #[serde(default)]
    on_success_destroy_original: bool,
    #[serde(default)]
    destroy_from_if_in_state: Option<String>,
}

/// §4.7: the Email to copy, and what is different about the copy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EmailCopy {
    id: Id,
    mailbox_ids: Value,
    keywords: Option<Value>,
    received_at: Option<UtcDate>,
}

/// `Email/copy`.
pub(crate) fn copy(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: CopyArguments = parse(arguments)?;
    let (from, to) = (arguments.from_account_id, arguments.account_id);
    if from == to {
        return Err(MethodError::InvalidArgument {
            argument: "fromAccountId".into(),
            expected: "another account than `accountId`",
        });
    }
    let from_state = match caller.store.account(caller.user, &from) {
        Some(account) => account.emails().state(),
        None => return Err(MethodError::FromAccountNotFound),
    };
    let old_state = caller.writable(&to)?.emails().state();
    check(arguments.if_from_in_state.as_deref(), &from_state, 0)?;
    check(arguments.if_in_state.as_deref(), &old_state, arguments.create.len())?;
    let mut response = SetResponse::new(&to, old_state);
    let mut originals = Vec::new();
    for (creation_id, mut object) in arguments.create {
        caller.resolve_keys(&mut object, "mailboxIds");
        let outcome = copy_one(caller, &from, &to, object)?;
        if let Ok((original, _)) = &outcome {
            originals.push(original.clone());
        }
        let outcome = outcome.map(|(_, copy)| copy);
        caller.remember(&creation_id, &outcome);
        response.create(creation_id, outcome);
    }
    let state = caller.account(&to)?.emails().state();
    let mut response = only_creation(response.into_value(&state));
    if let Value::Object(members) = &mut response {
        members.insert("fromAccountId".to_owned(), json!(from));
    }
    if arguments.on_success_destroy_original && !originals.is_empty() {
        let if_in_state = arguments.destroy_from_if_in_state;
        let destroy = json!({ "accountId": from, "ifInState": if_in_state, "destroy": originals });
        caller.implicitly("Email/set", set, destroy);
    }
    Ok(response)
}

/// The id of the original and the `created` object of the copy.
fn copy_one(
    caller: &mut Caller<'_>,
    from: &str,
    to: &str,
    object: Value,
) -> Result<Result<(Id, Value), SetError>, MethodError> {
    let copy: EmailCopy = match serde_json::from_value(object) {
        Ok(copy) => copy,
        Err(error) => return Ok(Err(SetError::shape(&error))),
    };
    let Some(email) = caller.account(from)?.emails().get(&copy.id) else {
        return Ok(Err(not_found()));
    };
    let raw = email.raw.clone();
    let received_at = copy.received_at.unwrap_or(email.received_at);
    let keywords = email.filing.keywords.clone();
    let account = caller.writable(to)?;
    Ok(read_filing(&copy.mailbox_ids, copy.keywords.as_ref().unwrap_or(&Value::Null))
        .and_then(|mut filing| {
            if copy.keywords.is_none() {
                filing.keywords = keywords;
            }
            Ok(account.add_email(raw, filing, received_at)?)
        })
        .map(|id| (copy.id, created(account, &id))))
}

fn check(if_in_state: Option<&str>, state: &str, count: usize) -> Result<(), MethodError> {
    if if_in_state.is_some_and(|expected| expected != state) {
        return Err(MethodError::StateMismatch);
    }
    if count > MAX_OBJECTS { Err(MethodError::RequestTooLarge) } else { Ok(()) }
}

/// A `/set` response without what only `/set` has.
fn only_creation(mut response: Value) -> Value {
    if let Value::Object(members) = &mut response {
        members.retain(|name, _| !name.ends_with("pdated") && !name.ends_with("estroyed"));
    }
    response
}
