//! Identities (RFC 8621 §6): one for each account, not to be changed.

use serde_json::Value;

use super::error::MethodError;
use super::standard::{self, ChangesArguments, GetArguments};
use super::{Caller, parse, with_id};

const PROPERTIES: [&str; 7] =
    ["name", "email", "replyTo", "bcc", "textSignature", "htmlSignature", "mayDelete"];

/// `Identity/get` (§6.1).
pub(crate) fn get(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: GetArguments = parse(arguments)?;
    let account = caller.account(&arguments.account_id)?;
    standard::get(&arguments, &account.identities, &PROPERTIES, |id, identity| {
        with_id(id, identity)
    })
}

/// `Identity/changes` (§6.2).
pub(crate) fn changes(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: ChangesArguments = parse(arguments)?;
    standard::changes(&arguments, &caller.account(&arguments.account_id)?.identities)
}
