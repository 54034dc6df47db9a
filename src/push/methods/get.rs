//! `PushSubscription/get` (RFC 8620 §7.2.1, P5, P7, protocol.md §5.4.9): §5.1 without `accountId` and `state`.

use serde_json::{Map, Value, json};

use super::error::MethodError;
use super::property::{READABLE, SECRET, written};
use super::{Terms, find};
use crate::push::subscription::Subscription;

/// The response's arguments. `owned` are the subscriptions bound to the caller's credential.
///
/// # Errors
/// See [`MethodError`].
pub fn get(
    arguments: &Map<String, Value>,
    owned: &[&Subscription],
    terms: &Terms<'_>,
) -> Result<Value, MethodError> {
    // §3.6.2: an unknown argument is an invalid one; `accountId` is none of this method's.
    if let Some(unknown) = arguments.keys().find(|name| !["ids", "properties"].contains(&&***name))
    {
        return Err(MethodError::argument(unknown, "no argument of PushSubscription/get"));
    }
    let properties = properties(arguments)?;
    let wanted = |name: &str| properties.as_ref().is_none_or(|wanted| wanted.contains(&name));
    let Some(ids) = strings(arguments, "ids", "null, or a list of ids")? else {
        let live: Vec<_> = owned.iter().filter(|it| it.is_live(terms.now)).collect();
        if live.len() > terms.limits.objects_in_get {
            return Err(MethodError::RequestTooLarge);
        }
        let list: Vec<_> = live.into_iter().map(|it| written(it, terms, wanted)).collect();
        return Ok(json!({ "list": list, "notFound": [] }));
    };
    if ids.len() > terms.limits.objects_in_get {
        return Err(MethodError::RequestTooLarge);
    }
    let (mut list, mut not_found, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        // §5.1: "If an identical id is included more than once in the request, the server MUST only
        // include it once".
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        match find(owned, terms.now, id) {
            Some(subscription) => list.push(written(subscription, terms, wanted)),
            None => not_found.push(id),
        }
    }
    Ok(json!({ "list": list, "notFound": not_found }))
}

fn properties(arguments: &Map<String, Value>) -> Result<Option<Vec<&str>>, MethodError> {
    let wanted = strings(arguments, "properties", "null, or a list of names of properties")?;
    let names = || wanted.iter().flatten();
    if names().any(|name| SECRET.contains(name)) {
        return Err(MethodError::Forbidden);
    }
    match names().find(|name| !READABLE.contains(name)) {
        Some(_) => Err(MethodError::argument("properties", "names of properties of this type")),
        None => Ok(wanted),
    }
}

/// A list of strings; `None` when it is `null` or absent.
fn strings<'a>(
    arguments: &'a Map<String, Value>,
    name: &str,
    expected: &'static str,
) -> Result<Option<Vec<&'a str>>, MethodError> {
    let strings = match arguments.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    strings.map(Some).ok_or_else(|| MethodError::argument(name, expected))
}
