//! API requests (RFC 8620 §3.3 to §3.7): from the body of one to the body of its response.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::date::UtcDate;
use super::methods::error::MethodError;
use super::methods::{self, CAPABILITIES, Caller, Invocation};
use super::session::{MAX_CALLS, MAX_REQUEST};
use super::store::{Id, Store};
use crate::jmap::problem::Problem;
use crate::jmap::reference::{self, ResultReference};

/// §3.3.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    using: Vec<String>,
    method_calls: Vec<(String, Box<RawValue>, String)>,
    #[serde(default)]
    created_ids: Option<BTreeMap<Id, Id>>,
}

/// Answers a request.
///
/// # Errors
/// The request-level errors of §3.6.1; nothing has changed then.
pub(super) fn answer(
    store: &mut Store,
    user: &str,
    body: &[u8],
    now: UtcDate,
) -> Result<Value, Problem> {
    let request = read(body)?;
    let tells_created_ids = request.created_ids.is_some();
    let mut caller = Caller {
        store,
        user,
        created_ids: request.created_ids.unwrap_or_default(),
        now,
        implicit: Vec::new(),
    };
    let mut responses: Vec<Invocation> = Vec::new();
    for (name, arguments, call_id) in request.method_calls {
        match resolved(&arguments, &responses) {
            Ok(arguments) => {
                let arguments = Value::Object(arguments);
                let answers =
                    methods::call(&mut caller, &request.using, &name, arguments, &call_id);
                responses.extend(answers);
            }
            Err(error) => {
                let error = error.to_value();
                responses.push((Cow::Borrowed("error"), error, call_id));
            }
        }
    }
    let mut response = json!({
        "methodResponses": responses,
        "sessionState": caller.store.session_state(),
    });
    if tells_created_ids && let Value::Object(members) = &mut response {
        members.insert("createdIds".to_owned(), json!(caller.created_ids));
    }
    Ok(response)
}

/// The arguments with what they refer to in the place of all `#argument`s.
fn resolved(
    arguments: &RawValue,
    responses: &[Invocation],
) -> Result<Map<String, Value>, MethodError> {
    let follow = |reference: Result<ResultReference<'_>, reference::Error>| {
        let reference = reference?;
        // §3.7: "Find the first response with a method call id identical to the resultOf"; then its
        // name must match, so an `error` fails.
        let (_, result, _) = responses
            .iter()
            .find(|(_, _, id)| *id == reference.result_of)
            .filter(|(name, ..)| *name == reference.name)
            .ok_or(reference::Error::NoSuchResult)?;
        reference.follow(&result.to_string()).map(Some)
    };
    let resolved = reference::resolve(arguments.get(), follow)?;
    let arguments = resolved.as_deref().unwrap_or(arguments.get());
    serde_json::from_str(arguments).map_err(MethodError::Arguments)
}

fn read(body: &[u8]) -> Result<Request, Problem> {
    if body.len() > MAX_REQUEST {
        return Err(Problem::limit(400, "maxSizeRequest", "the request is too large"));
    }
    let request: Request = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            Problem::not_request(format!("the body is not a Request object: {error}"))
        } else {
            Problem::not_json("the body is not JSON")
        }
    })?;
    if request.method_calls.len() > MAX_CALLS {
        return Err(Problem::limit(400, "maxCallsInRequest", "too many method calls"));
    }
    match request.using.iter().find(|urn| !CAPABILITIES.contains(&urn.as_str())) {
        Some(unknown) => {
            let detail = format!("the server does not have the capability {unknown}");
            let kind = "urn:ietf:params:jmap:error:unknownCapability".into();
            Err(Problem { kind, ..Problem::new(400, detail) })
        }
        None => Ok(request),
    }
}
