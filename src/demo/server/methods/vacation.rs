//! The `VacationResponse` (RFC 8621 §8): kept and shown, but nobody is answered.

use serde_json::{Map, Value};

use super::error::{MethodError, SetError, SetErrorKind};
use super::standard::{self, GetArguments, SetArguments, SetResponse, not_found};
use super::{Caller, parse, patch, with_id};
use crate::demo::server::store::account::{Account, SINGLETON};

const PROPERTIES: [&str; 6] =
    ["isEnabled", "fromDate", "toDate", "subject", "textBody", "htmlBody"];

/// `VacationResponse/get` (§8.1).
pub(crate) fn get(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: GetArguments = parse(arguments)?;
    let account = caller.account(&arguments.account_id)?;
    standard::get(&arguments, &account.vacation, &PROPERTIES, |id, response| with_id(id, response))
}

/// `VacationResponse/set` (§8.2): only updates.
pub(crate) fn set(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments = SetArguments::parse(arguments)?;
    let account = caller.writable(&arguments.account_id)?;
    let old_state = account.vacation.state();
    arguments.expect_state(&old_state)?;
    let mut response = SetResponse::new(&arguments.account_id, old_state);
    for (creation_id, _) in arguments.create.unwrap_or_default() {
        response.create(creation_id, Err(SetErrorKind::Singleton.into()));
    }
    for (id, patch) in arguments.update.unwrap_or_default() {
        let outcome = update(account, &id, patch);
        response.update(id, outcome);
    }
    for id in arguments.destroy.unwrap_or_default() {
        response.destroy(id, Err(SetErrorKind::Singleton.into()));
    }
    Ok(response.into_value(&account.vacation.state()))
}

fn update(account: &mut Account, id: &str, patch: Map<String, Value>) -> Result<(), SetError> {
    let vacation = account.vacation.get(id).filter(|_| id == SINGLETON).ok_or_else(not_found)?;
    let mut object = serde_json::to_value(vacation).map_err(|error| SetError::shape(&error))?;
    patch::apply(&mut object, patch)?;
    let changed = serde_json::from_value(object).map_err(|error| SetError::shape(&error))?;
    account.vacation.update(id, |record| *record = changed);
    Ok(())
}
