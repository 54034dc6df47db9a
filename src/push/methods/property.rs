//! How the properties of a `PushSubscription` (RFC 8620 §7.2, P3) are read off the wire and written on it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::subscription::{EncodedKeys, Subscription};
use super::{Limits, Terms};
use crate::jmap::date::UtcDate;
use crate::jmap::id::{DataType, MAX_ID_BYTES};

/// What `/get` returns: all but `url` and `keys` (P7).
pub(super) const READABLE: [&str; 5] =
    ["id", "deviceClientId", "verificationCode", "expires", "types"];

/// Never returned.
pub(super) const SECRET: [&str; 2] = ["url", "keys"];

/// Longest URL: push services give out a few hundred letters.
const MOST_URL_BYTES: usize = 2048;

/// Types one subscription may name: more than are registered.
const MOST_TYPES: usize = 100;

/// `deviceClientId`.
pub(super) fn device_client_id(value: &Value) -> Result<Box<str>, &'static str> {
    let text = value.as_str().ok_or("a string")?;
    let sound = !text.is_empty() && text.len() <= MAX_ID_BYTES;
    let sound = sound && !text.chars().any(char::is_control);
    if sound { Ok(text.into()) } else { Err("1 to 255 octets without control characters") }
}

/// `url`, checked by `check`.
pub(super) fn url(
    value: &Value,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<&str, String> {
    let url = value.as_str().ok_or("a string")?;
    if url.len() > MOST_URL_BYTES {
        return Err("no more than 2048 octets".to_owned());
    }
    check(url).map(|()| url)
}

/// `keys`: padding is tolerated (protocol.md §5.4.9), and not kept.
pub(super) fn keys(
    value: &Value,
    are_keys: impl Fn(&str, &str) -> bool,
) -> Result<Option<EncodedKeys>, &'static str> {
    const SHAPE: &str = "null, or an object with p256dh (a point of P-256) and auth (16 octets)";
    if value.is_null() {
        return Ok(None);
    }
    let members = value.as_object().filter(|members| members.len() == 2).ok_or(SHAPE)?;
    let text = |name| members.get(name)?.as_str().map(|text| text.trim_end_matches('='));
    let (p256dh, auth) = text("p256dh").zip(text("auth")).ok_or(SHAPE)?;
    if !are_keys(p256dh, auth) {
        return Err(SHAPE);
    }
    Ok(Some(EncodedKeys { p256dh: p256dh.to_owned(), auth: auth.to_owned() }))
}

/// `expires`: the latest there may be for `null`, no later for any other (P6).
pub(super) fn expires(
    value: &Value,
    limits: &Limits,
    now: UtcDate,
) -> Result<UtcDate, &'static str> {
    let latest = limits.latest(now);
    if value.is_null() {
        return Ok(latest);
    }
    let asked = value.as_str().and_then(UtcDate::parse).ok_or("null, or a UTCDate")?;
    if asked > now { Ok(asked.min(latest)) } else { Err("a time to come") }
}

/// `types`: `null` is all of them, `[]` none.
pub(super) fn types(value: &Value) -> Result<Option<Arc<[DataType]>>, &'static str> {
    const SHAPE: &str = "null, or a list of up to 100 names of data types";
    if value.is_null() {
        return Ok(None);
    }
    let names = value.as_array().filter(|names| names.len() <= MOST_TYPES).ok_or(SHAPE)?;
    let mut types = Vec::with_capacity(names.len());
    for name in names {
        let name = name.as_str().and_then(DataType::parse).ok_or(SHAPE)?;
        if types.contains(&name) {
            return Err("each name once");
        }
        types.push(name);
    }
    Ok(Some(types.into()))
}

/// Those of [`READABLE`] that are among `wanted`, and `id` (§5.1).
pub(super) fn written(
    subscription: &Subscription,
    terms: &Terms<'_>,
    wanted: impl Fn(&str) -> bool,
) -> Value {
    let mut object = Map::new();
    for name in READABLE.into_iter().filter(|name| *name == "id" || wanted(name)) {
        object.insert(name.to_owned(), value(subscription, terms, name));
    }
    Value::Object(object)
}

fn value(subscription: &Subscription, terms: &Terms<'_>, name: &str) -> Value {
    match name {
        "id" => json!(subscription.id.to_string()),
        "deviceClientId" => json!(subscription.device_client_id),
        // The client's once it has shown it (§7.2.3 has it so): before, it would give away what only
        // whoever reads the URL's messages may know (P9).
        "verificationCode" if subscription.is_verified => {
            let secrets = subscription.secrets(terms.vault);
            json!(secrets.as_ref().map(|secrets| secrets.verification_code.as_str()))
        }
        "expires" => json!(subscription.expires),
        "types" => {
            let types = subscription.types.as_deref();
            json!(types.map(|types| types.iter().map(DataType::as_str).collect::<Vec<_>>()))
        }
        _ => Value::Null,
    }
}
