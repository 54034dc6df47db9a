//! `Email/set` (RFC 8621 §4.6).

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::demo::server::date::UtcDate;
use crate::demo::server::message::compose::Draft;
use crate::demo::server::message::header::Address;
use crate::demo::server::methods::error::{MethodError, SetError};
use crate::demo::server::methods::standard::{SetArguments, SetResponse, not_found};
use crate::demo::server::methods::{Caller, patch};
use crate::demo::server::store::Id;
use crate::demo::server::store::account::Account;
use crate::demo::server::store::record::Filing;

/// `Email/set`.
pub(crate) fn set(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments = SetArguments::parse(arguments)?;
    let old_state = caller.writable(&arguments.account_id)?.emails().state();
    arguments.expect_state(&old_state)?;
    let account_id = arguments.account_id;
    let mut response = SetResponse::new(&account_id, old_state);
    for (creation_id, mut object) in arguments.create.unwrap_or_default() {
        caller.resolve_keys(&mut object, "mailboxIds");
        let (message_id, now) = (caller.store.new_message_id(), caller.now);
        let outcome = create(caller.writable(&account_id)?, object, message_id, now);
        caller.remember(&creation_id, &outcome);
        response.create(creation_id, outcome);
    }
    for (id, patch) in arguments.update.unwrap_or_default() {
        let mut patch = Value::Object(patch);
        caller.resolve_keys(&mut patch, "mailboxIds");
        let real = caller.resolved(&id).to_owned();
        let outcome = update(caller.writable(&account_id)?, &real, patch);
        response.update(id, outcome);
    }
    let account = caller.writable(&account_id)?;
    for id in arguments.destroy.unwrap_or_default() {
        let outcome = account.destroy_email(&id).then_some(()).ok_or_else(not_found);
        response.destroy(id, outcome);
    }
    Ok(response.into_value(&account.emails().state()))
}

/// §4.6: what an Email may be created from here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewEmail {
    mailbox_ids: Value,
    #[serde(default)]
    keywords: Value,
    received_at: Option<UtcDate>,
    sent_at: Option<UtcDate>,
    message_id: Option<Vec<String>>,
    in_reply_to: Option<Vec<String>>,
    references: Option<Vec<String>>,
    from: Option<Vec<Address>>,
    to: Option<Vec<Address>>,
    cc: Option<Vec<Address>>,
    bcc: Option<Vec<Address>>,
    reply_to: Option<Vec<Address>>,
    subject: Option<String>,
    text_body: Option<[NewPart; 1]>,
    html_body: Option<[NewPart; 1]>,
    #[serde(default)]
    body_values: std::collections::BTreeMap<String, BodyValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewPart {
    part_id: String,
}

#[derive(Debug, Deserialize)]
struct BodyValue {
    value: String,
}

impl NewEmail {
    fn text(&self, parts: Option<&[NewPart; 1]>) -> Result<Option<String>, SetError> {
        let Some([part]) = parts else { return Ok(None) };
        let value = self.body_values.get(&part.part_id);
        let missing = || SetError::property("bodyValues", "a part has no value");
        value.map(|body| Some(body.value.clone())).ok_or_else(missing)
    }

    fn to_draft(&self, message_id: String, now: UtcDate) -> Result<Draft, SetError> {
        let given = self.message_id.as_ref().and_then(|ids| ids.first()).cloned();
        Ok(Draft {
            message_id: given.unwrap_or(message_id),
            sent_at: Some(self.sent_at.unwrap_or(now)),
            from: self.from.clone().unwrap_or_default(),
            reply_to: self.reply_to.clone().unwrap_or_default(),
            to: self.to.clone().unwrap_or_default(),
            cc: self.cc.clone().unwrap_or_default(),
            bcc: self.bcc.clone().unwrap_or_default(),
            in_reply_to: self.in_reply_to.clone().unwrap_or_default(),
            references: self.references.clone().unwrap_or_default(),
            subject: self.subject.clone(),
            text: self.text(self.text_body.as_ref())?,
            html: self.text(self.html_body.as_ref())?,
        })
    }
}

fn create(
    account: &mut Account,
    object: Value,
    message_id: String,
    now: UtcDate,
) -> Result<Value, SetError> {
    let new: NewEmail = serde_json::from_value(object).map_err(|error| SetError::shape(&error))?;
    let raw = Bytes::from(new.to_draft(message_id, now)?.to_bytes());
    let received_at = new.received_at.unwrap_or(now);
    let filing = read_filing(&new.mailbox_ids, &new.keywords)?;
    let id = account.add_email(raw, filing, received_at)?;
    Ok(created(account, &id))
}

/// The mutable properties, read from what a client sent.
pub(super) fn read_filing(mailbox_ids: &Value, keywords: &Value) -> Result<Filing, SetError> {
    let none = json!({});
    let keywords = if keywords.is_null() { &none } else { keywords };
    serde_json::from_value(json!({ "mailboxIds": mailbox_ids, "keywords": keywords }))
        .map_err(|error| SetError::shape(&error))
}

/// §4.6, §4.7, §4.8: what is told of an Email that came to be.
pub(super) fn created(account: &Account, id: &Id) -> Value {
    account.emails().get(id).map_or(Value::Null, |email| {
        json!({
            "id": id,
            "blobId": email.blob_id,
            "threadId": email.thread_id,
            "size": email.raw.len(),
        })
    })
}

fn update(account: &mut Account, id: &str, patch: Value) -> Result<(), SetError> {
    let email = account.emails().get(id).ok_or_else(not_found)?;
    let mut object =
        serde_json::to_value(&email.filing).map_err(|error| SetError::shape(&error))?;
    let patch: Map<String, Value> =
        serde_json::from_value(patch).map_err(|error| SetError::shape(&error))?;
    patch::apply(&mut object, patch)?;
    let filing = serde_json::from_value(object).map_err(|error| SetError::shape(&error))?;
    Ok(account.file_email(id, filing)?)
}
