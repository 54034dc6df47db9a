//! Emails (RFC 8621 §4).
//!
//! Not here: `Email/parse`, `SearchSnippet/get`, and creating an Email from a `bodyStructure` or
//! with attachments (a client can import such a message instead).

use serde_json::Value;

use super::error::MethodError;
use super::standard::{self, ChangesArguments};
use super::{Caller, parse};

pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod property;
pub(crate) mod query;
pub(crate) mod set;

/// `Email/changes` (§4.3).
pub(crate) fn changes(caller: &mut Caller<'_>, arguments: Value) -> Result<Value, MethodError> {
    let arguments: ChangesArguments = parse(arguments)?;
    standard::changes(&arguments, caller.account(&arguments.account_id)?.emails())
}
