//! Threads (RFC 8621 §3).

use serde_json::Value;

use super::error::MethodError;
use super::standard::{self, ChangesArguments, GetArguments};
use super::{Caller, parse, with_id};

/// `Thread/get` (§3.1).
pub(crate) fn get(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: GetArguments = parse(arguments)?;
    let account = caller.account(&arguments.account_id)?;
    standard::get(&arguments, account.threads(), &["emailIds"], |id, thread| with_id(id, thread))
}

/// `Thread/changes` (§3.2).
pub(crate) fn changes(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: ChangesArguments = parse(arguments)?;
    standard::changes(&arguments, caller.account(&arguments.account_id)?.threads())
}
