//! Mailboxes (RFC 8621 §2).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{MethodError, SetError, SetErrorKind};
use super::query::QueryArguments;
use super::standard::{self, ChangesArguments, GetArguments, SetArguments, SetResponse, not_found};
use super::{Caller, parse, patch, with_id};
use crate::demo::server::store::account::Account;
use crate::demo::server::store::record::Mailbox;
use crate::demo::server::store::{Access, Id};

const COUNTS: [&str; 4] = ["totalEmails", "unreadEmails", "totalThreads", "unreadThreads"];
const PROPERTIES: [&str; 10] = [
    "name",
    "parentId",
    "role",
    "sortOrder",
    "isSubscribed",
    "myRights",
    "totalEmails",
    "unreadEmails",
    "totalThreads",
    "unreadThreads",
];

/// `Mailbox/get` (§2.1).
pub(crate) fn get(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: GetArguments = parse(arguments)?;
    let account = caller.account(&arguments.account_id)?;
    let access = caller.store.access(caller.user, &arguments.account_id);
    let writable = access.is_some_and(|access| access != Access::Read);
    standard::get(&arguments, account.mailboxes(), &PROPERTIES, |id, mailbox| {
        let mut object = with_id(id, mailbox)?;
        if let Value::Object(members) = &mut object {
            members.insert("myRights".to_owned(), rights(writable));
            members.extend(counts(account, id));
        }
        Ok(object)
    })
}

/// `Mailbox/changes` (§2.2), which says when nothing but counts changed.
pub(crate) fn changes(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: ChangesArguments = parse(arguments)?;
    let table = caller.account(&arguments.account_id)?.mailboxes();
    let changes = arguments.ask(table)?;
    let mut response = arguments.answer(table, &changes);
    if let Value::Object(members) = &mut response {
        let updated = if changes.only_counts { json!(COUNTS) } else { Value::Null };
        members.insert("updatedProperties".to_owned(), updated);
    }
    Ok(response)
}

/// `Mailbox/query` (§2.3).
pub(crate) fn query(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: QueryArguments = parse(arguments)?;
    let account = caller.account(&arguments.account_id)?;
    let filter = arguments.filter::<Condition>()?;
    let sort = arguments.sort.as_deref().unwrap_or_default();
    if sort.iter().any(|by| !["sortOrder", "name", "parentId"].contains(&by.property.as_str())) {
        return Err(MethodError::UnsupportedSort);
    }
    let mut found: Vec<(&Id, &Mailbox)> = account
        .mailboxes()
        .iter()
        .filter(|(_, mailbox)| filter.admits(&|condition| condition.admits(mailbox)))
        .collect();
    found.sort_by(|(_, one), (_, other)| {
        let orders = sort.iter().map(|by| {
            by.directed(match by.property.as_str() {
                "sortOrder" => one.sort_order.cmp(&other.sort_order),
                "name" => one.name.to_lowercase().cmp(&other.name.to_lowercase()),
                _ => one.parent_id.cmp(&other.parent_id),
            })
        });
        orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    let ids: Vec<&Id> = found.into_iter().map(|(id, _)| id).collect();
    arguments.answer(&ids, &account.mailboxes().state())
}

/// §2.3 `FilterCondition`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    /// Absent is no condition, `null` is "at the top".
    #[serde(default, deserialize_with = "present")]
    parent_id: Option<Option<Id>>,
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    role: Option<Option<String>>,
    has_any_role: Option<bool>,
    is_subscribed: Option<bool>,
}

/// Tells `null` from absent.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Condition {
    fn admits(&self, mailbox: &Mailbox) -> bool {
        let name = self.name.as_ref().map(|name| name.to_lowercase());
        self.parent_id.as_ref().is_none_or(|parent| *parent == mailbox.parent_id)
            && name.is_none_or(|name| mailbox.name.to_lowercase().contains(&name))
            && self.role.as_ref().is_none_or(|role| *role == mailbox.role)
            && self.has_any_role.is_none_or(|any| any == mailbox.role.is_some())
            && self.is_subscribed.is_none_or(|wanted| wanted == mailbox.is_subscribed)
    }
}

/// `Mailbox/set` (§2.5).
pub(crate) fn set(caller: &mut Caller<'_>, mut arguments: Value) -> Result<Value, MethodError> {
    let remove = arguments.get_mut("onDestroyRemoveEmails").map(Value::take);
    let remove_emails = remove.and_then(|value| value.as_bool()).unwrap_or(false);
    let arguments = SetArguments::parse(arguments)?;
    let old_state = caller.writable(&arguments.account_id)?.mailboxes().state();
    arguments.expect_state(&old_state)?;
    let account_id = arguments.account_id;
    let mut response = SetResponse::new(&account_id, old_state);
    for (creation_id, mut object) in in_order_of_parents(arguments.create.unwrap_or_default()) {
        resolve_parent(caller, &mut object);
        let outcome = create(caller.writable(&account_id)?, object);
        caller.remember(&creation_id, &outcome);
        response.create(creation_id, outcome);
    }
    for (id, patch) in arguments.update.unwrap_or_default() {
        let (real, mut patch) = (caller.resolved(&id).to_owned(), Value::Object(patch));
        resolve_parent(caller, &mut patch);
        let outcome = update(caller.writable(&account_id)?, &real, patch);
        response.update(id, outcome);
    }
    let account = caller.writable(&account_id)?;
    for id in arguments.destroy.unwrap_or_default() {
        let outcome = destroy(account, &id, remove_emails);
        response.destroy(id, outcome);
    }
    Ok(response.into_value(&account.mailboxes().state()))
}

/// §5.3 of RFC 8620 lets one new record refer to another in any order: parents come first here.
fn in_order_of_parents(create: std::collections::BTreeMap<Id, Value>) -> Vec<(Id, Value)> {
    let mut waiting: Vec<(Id, Value)> = create.into_iter().collect();
    let mut ordered = Vec::new();
    while !waiting.is_empty() {
        let names: BTreeSet<String> = waiting.iter().map(|(id, _)| format!("#{id}")).collect();
        let waits = |object: &Value| {
            object.get("parentId").and_then(Value::as_str).is_some_and(|id| names.contains(id))
        };
        let (later, now): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(_, object)| waits(object));
        if now.is_empty() {
            // A circle: each fails for want of its parent.
            ordered.extend(later);
            break;
        }
        ordered.extend(now);
        waiting = later;
    }
    ordered
}

fn create(account: &mut Account, object: Value) -> Result<Value, SetError> {
    let mailbox: Mailbox =
        serde_json::from_value(object).map_err(|error| SetError::shape(&error))?;
    check(account, None, &mailbox)?;
    let id = account.mailboxes_mut().create(mailbox);
    let mut created = Map::from_iter(counts(account, &id));
    created.insert("id".to_owned(), json!(id));
    created.insert("myRights".to_owned(), rights(true));
    Ok(Value::Object(created))
}

fn update(account: &mut Account, id: &str, patch: Value) -> Result<(), SetError> {
    let mailbox = account.mailboxes().get(id).ok_or_else(not_found)?;
    let mut object = serde_json::to_value(mailbox).map_err(|error| SetError::shape(&error))?;
    let Value::Object(patch) = patch else { return Err(SetErrorKind::InvalidPatch.into()) };
    patch::apply(&mut object, patch)?;
    let changed = serde_json::from_value(object).map_err(|error| SetError::shape(&error))?;
    check(account, Some(id), &changed)?;
    account.mailboxes_mut().update(id, |record| *record = changed);
    Ok(())
}

fn destroy(account: &mut Account, id: &str, remove_emails: bool) -> Result<(), SetError> {
    if !account.mailboxes().contains(id) {
        return Err(not_found());
    }
    if account.mailboxes().iter().any(|(_, other)| other.parent_id.as_deref() == Some(id)) {
        return Err(SetErrorKind::MailboxHasChild.into());
    }
    if !remove_emails && account.emails_in(id).next().is_some() {
        return Err(SetErrorKind::MailboxHasEmail.into());
    }
    account.destroy_mailbox(id);
    Ok(())
}

fn resolve_parent(caller: &Caller<'_>, object: &mut Value) {
    if let Some(Value::String(parent)) = object.get_mut("parentId") {
        *parent = caller.resolved(parent).to_owned();
    }
}

/// The rules of §2 for a Mailbox that is, or is to become, `id`.
fn check(account: &Account, id: Option<&str>, mailbox: &Mailbox) -> Result<(), SetError> {
    let others = || account.mailboxes().iter().filter(|(other, _)| Some(other.as_str()) != id);
    if mailbox.name.is_empty() || mailbox.name.chars().any(char::is_control) {
        return Err(SetError::property("name", "one character at least, no control characters"));
    }
    let is_sibling = |other: &Mailbox| other.parent_id == mailbox.parent_id;
    if others().any(|(_, other)| is_sibling(other) && other.name == mailbox.name) {
        return Err(SetError::property("name", "a sibling has this name"));
    }
    if mailbox.role.is_some() && others().any(|(_, other)| other.role == mailbox.role) {
        return Err(SetError::property("role", "another Mailbox has this role"));
    }
    let mut ancestor = mailbox.parent_id.as_deref();
    while let Some(parent) = ancestor {
        let Some(above) = account.mailboxes().get(parent) else {
            return Err(SetError::property("parentId", "there is no such Mailbox"));
        };
        if Some(parent) == id {
            return Err(SetError::property("parentId", "a Mailbox cannot be within itself"));
        }
        ancestor = above.parent_id.as_deref();
    }
    Ok(())
}

/// §2 `myRights`.
fn rights(writable: bool) -> Value {
    json!({
        "mayReadItems": true,
        "mayAddItems": writable,
        "mayRemoveItems": writable,
        "maySetSeen": writable,
        "maySetKeywords": writable,
        "mayCreateChild": writable,
        "mayRename": writable,
        "mayDelete": writable,
        "maySubmit": writable,
    })
}

/// The counts of §2, in the order of [`COUNTS`].
fn counts(account: &Account, id: &str) -> Vec<(String, Value)> {
    let inside: Vec<_> = account.emails_in(id).map(|(_, email)| email).collect();
    let unread_emails = inside.iter().filter(|email| email.filing.is_unread()).count();
    let threads: BTreeSet<&Id> = inside.iter().map(|email| &email.thread_id).collect();
    // "a Thread is considered unread if it has any unread Emails in any Mailbox"
    let is_unread = |thread_id: &&&Id| {
        let thread = account.threads().get(thread_id);
        let mut emails = thread.into_iter().flat_map(|thread| &thread.email_ids);
        emails.any(|id| account.emails().get(id).is_some_and(|email| email.filing.is_unread()))
    };
    let unread_threads = threads.iter().filter(is_unread).count();
    let values = [inside.len(), unread_emails, threads.len(), unread_threads];
    COUNTS.iter().zip(values).map(|(name, count)| ((*name).to_owned(), json!(count))).collect()
}
