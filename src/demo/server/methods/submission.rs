//! `EmailSubmission`s (RFC 8621 §7): sent at once, to those recipients who live on this server.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::email;
use super::error::{MethodError, SetError, SetErrorKind};
use super::standard::{self, ChangesArguments, GetArguments, SetArguments, SetResponse, not_found};
use super::{Caller, parse, with_id};
use crate::demo::server::store::Id;
use crate::demo::server::store::account::Account;
use crate::demo::server::store::record::{Email, EmailSubmission};

const PROPERTIES: [&str; 9] = [
    "identityId",
    "emailId",
    "threadId",
    "envelope",
    "sendAt",
    "undoStatus",
    "deliveryStatus",
    "dsnBlobIds",
    "mdnBlobIds",
];

/// `EmailSubmission/get` (§7.1).
pub(crate) fn get(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: GetArguments = parse(arguments)?;
    let account = caller.account(&arguments.account_id)?;
    standard::get(&arguments, &account.submissions, &PROPERTIES, |id, submission| {
        with_id(id, submission)
    })
}

/// `EmailSubmission/changes` (§7.2).
pub(crate) fn changes(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: ChangesArguments = parse(arguments)?;
    standard::changes(&arguments, &caller.account(&arguments.account_id)?.submissions)
}

/// What `EmailSubmission/set` adds to the arguments of `/set`: changes to Emails once their
/// submission, named by `#` and creation id or by id, has succeeded.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OnSuccess {
    on_success_update_email: Option<BTreeMap<Id, Map<String, Value>>>,
    on_success_destroy_email: Option<Vec<Id>>,
}

/// `EmailSubmission/set` (§7.5).
pub(crate) fn set(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let on_success: OnSuccess = parse(arguments.clone())?;
    let arguments = SetArguments::parse(arguments)?;
    let old_state = caller.writable(&arguments.account_id)?.submissions.state();
    arguments.expect_state(&old_state)?;
    let account_id = arguments.account_id;
    let mut response = SetResponse::new(&account_id, old_state);
    for (creation_id, object) in arguments.create.unwrap_or_default() {
        let outcome = create(caller, &account_id, object);
        caller.remember(&creation_id, &outcome);
        response.create(creation_id, outcome);
    }
    let account = caller.writable(&account_id)?;
    for (id, _) in arguments.update.unwrap_or_default() {
        let known = account.submissions.contains(&id);
        let error = if known { SetErrorKind::CannotUnsend.into() } else { not_found() };
        response.update(id, Err(error));
    }
    for id in arguments.destroy.unwrap_or_default() {
        let outcome = account.submissions.destroy(&id).map(drop).ok_or_else(not_found);
        response.destroy(id, outcome);
    }
    let emails = EmailsOf { account, response: &response };
    if let Some(arguments) = on_success.to_email_set(&account_id, &emails) {
        caller.implicitly("Email/set", email::set::set, arguments);
    }
    let state = caller.account(&account_id)?.submissions.state();
    Ok(response.into_value(&state))
}

/// Which Email a submission of this call, or an older one, has sent.
struct EmailsOf<'a> {
    account: &'a Account,
    response: &'a SetResponse,
}

impl EmailsOf<'_> {
    fn email_id(&self, reference: &str) -> Option<Id> {
        let id = match reference.strip_prefix('#') {
            Some(wanted) => self.response.created_ids().find(|(key, _)| *key == wanted)?.1,
            None => reference,
        };
        self.account.submissions.get(id).map(|submission| submission.email_id.clone())
    }
}

impl OnSuccess {
    /// The arguments of the `Email/set` that follows; `None` when nothing follows.
    fn to_email_set(&self, account_id: &str, emails: &EmailsOf<'_>) -> Option<Value> {
        let updates = self.on_success_update_email.iter().flatten();
        let update: BTreeMap<Id, &Map<String, Value>> =
            updates.filter_map(|(id, patch)| Some((emails.email_id(id)?, patch))).collect();
        let destroys = self.on_success_destroy_email.iter().flatten();
        let destroy: Vec<Id> = destroys.filter_map(|id| emails.email_id(id)).collect();
        (!update.is_empty() || !destroy.is_empty())
            .then(|| json!({ "accountId": account_id, "update": update, "destroy": destroy }))
    }
}

/// §7.5: what a submission is created from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSubmission {
    identity_id: Id,
    email_id: Id,
    #[serde(default)]
    envelope: Option<Envelope>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    mail_from: EnvelopeAddress,
    rcpt_to: Vec<EnvelopeAddress>,
}

#[derive(Debug, Deserialize)]
struct EnvelopeAddress {
    email: String,
}

fn create(caller: &mut Caller<'_>, account_id: &str, object: Value) -> Result<Value, SetError> {
    let new: NewSubmission =
        serde_json::from_value(object).map_err(|error| SetError::shape(&error))?;
    let email_id = caller.resolved(&new.email_id).to_owned();
    let now = caller.now;
    let account = caller.store.account_mut(caller.user, account_id).ok_or_else(not_found)?;
    let identity = account
        .identities
        .get(&new.identity_id)
        .ok_or(SetError::property("identityId", "there is no such Identity"))?;
    let email = account
        .emails()
        .get(&email_id)
        .ok_or(SetError::property("emailId", "there is no such Email"))?;
    let (mail_from, rcpt_to) = match new.envelope {
        Some(envelope) => (
            envelope.mail_from.email,
            envelope.rcpt_to.into_iter().map(|to| to.email.to_ascii_lowercase()).collect(),
        ),
        None => (identity.email.clone(), recipients(email)),
    };
    if rcpt_to.is_empty() {
        return Err(SetErrorKind::NoRecipients.into());
    }
    let to: Vec<Value> = rcpt_to.iter().map(|email| json!({ "email": email })).collect();
    let raw = email.raw.clone();
    let submission = EmailSubmission {
        identity_id: new.identity_id,
        thread_id: email.thread_id.clone(),
        email_id,
        envelope: json!({ "mailFrom": { "email": mail_from }, "rcptTo": to }),
        send_at: now,
        undo_status: "final",
        delivery_status: None,
        dsn_blob_ids: [],
        mdn_blob_ids: [],
    };
    let id = account.submissions.create(submission);
    caller.store.send(&rcpt_to, &raw, now);
    Ok(json!({ "id": id, "sendAt": now, "undoStatus": "final" }))
}

/// §7: the `rcptTo` that follows from the message when no envelope is given.
fn recipients(email: &Email) -> BTreeSet<String> {
    ["to", "cc", "bcc"]
        .into_iter()
        .flat_map(|name| email.message.addresses(name).unwrap_or_default())
        .map(|address| address.email.to_ascii_lowercase())
        .collect()
}
