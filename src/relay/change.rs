//! Reads what upstream's push says (RFC 8620 §7.1, RFC 8887 §4.3.5). Pure.
//!
//! Lenient where that costs nothing: what cannot be read of a `StateChange` is a hint, what is none is
//! passed over, since servers push other things, too.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::hub::Claim;
use crate::jmap::id::{AccountId, DataType, State};

/// The pseudo type that says "a mail was delivered" (RFC 8621 §1.5). What upstream counts it by is
/// upstream's affair: we tell the `Email` state at which a delivery was seen, as ever.
const EMAIL_DELIVERY: &str = "EmailDelivery";

/// Nobody who is asked for [`super::template::PING`] may grant so many seconds (§7.3), so they are
/// milliseconds, as Stalwart says.
const MILLISECONDS: f64 = 1000.0;

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// A `StateChange`, by account.
    Changes(Vec<Claim>),
    /// Something else.
    Other,
    /// What should be a `StateChange` and cannot be read.
    Unreadable,
}

#[derive(Deserialize)]
struct Object {
    #[serde(rename = "@type")]
    kind: Option<Value>,
    changed: Option<Value>,
}

/// Reads the data of an event, or a message. `is_named`: it came as a `StateChange`, so that anything
/// else is a mistake.
#[must_use]
pub fn read(json: &[u8], is_named: bool) -> Push {
    let other = if is_named { Push::Unreadable } else { Push::Other };
    let Ok(Object { kind, changed }) = serde_json::from_slice(json) else { return other };
    match (kind, changed) {
        (Some(Value::String(kind)), _) if kind != "StateChange" => Push::Other,
        (_, Some(changed)) => {
            type Changed = BTreeMap<String, BTreeMap<String, Value>>;
            serde_json::from_value::<Changed>(changed).map_or(Push::Unreadable, |changed| {
                Push::Changes(changed.into_iter().filter_map(claim).collect())
            })
        }
        _ => other,
    }
}

/// What is told of one account; ids and names of no valid form mean nothing to anybody.
fn claim((account, types): (String, BTreeMap<String, Value>)) -> Option<Claim> {
    let account = AccountId::parse(&account)?;
    let mut claim = Claim { account, states: Vec::new(), types: Vec::new(), delivery: false };
    for (name, state) in types {
        let Some(name) = DataType::parse(&name) else { continue };
        match state.as_str().and_then(State::parse) {
            _ if name.as_str() == EMAIL_DELIVERY => claim.delivery = true,
            Some(state) => claim.states.push((name, state)),
            None => claim.types.push(name),
        }
    }
    Some(claim)
}

/// The `pushState` of a message (RFC 8887 §4.3.5.1).
#[must_use]
pub fn push_state(json: &[u8]) -> Option<Box<str>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Stated {
        push_state: Box<str>,
    }
    serde_json::from_slice::<Stated>(json).ok().map(|stated| stated.push_state)
}

/// Whether a message says that what was sent is refused (RFC 8887 §4.3.4).
#[must_use]
pub fn is_error(json: &[u8]) -> bool {
    serde_json::from_slice::<Object>(json)
        .is_ok_and(|object| object.kind.is_some_and(|kind| kind == "RequestError"))
}

/// The interval that the data of a ping tells.
#[must_use]
pub fn interval(json: &[u8]) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Ping {
        interval: f64,
    }
    let Ping { interval } = serde_json::from_slice(json).ok()?;
    let seconds = if interval >= MILLISECONDS { interval / 1000.0 } else { interval };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Vec<Claim> {
        match read(json.as_bytes(), true) {
            Push::Changes(claims) => claims,
            other => panic!("{other:?}: {json}"),
        }
    }

    #[test]
    fn a_change_is_read() {
        let claims = claims(
            r#"{"@type":"StateChange","pushState":"x","changed":{"a":{"Email":"e1","EmailDelivery":"d"},"b":{"Label":"1"}}}"#,
        );
        let [a, b] = &claims[..] else { panic!("{claims:?}") };
        assert_eq!((a.account.as_str(), a.delivery, a.types.len()), ("a", true, 0));
        assert_eq!(a.states, [(DataType::parse("Email").unwrap(), State::parse("e1").unwrap())]);
        assert_eq!((b.account.as_str(), b.delivery, b.states.len()), ("b", false, 1));
    }

    #[test]
    fn a_state_that_is_none_is_a_hint() {
        let long = "x".repeat(2000);
        let json =
            format!(r#"{{"changed":{{"a":{{"Email":null,"Mailbox":7,"Thread":"{long}"}}}}}}"#);
        let claims = claims(&json);
        assert_eq!((claims[0].states.len(), claims[0].types.len()), (0, 3));
    }

    #[test]
    fn names_of_no_form_are_passed_over() {
        let claims = claims(r#"{"changed":{"":{"Email":"1"},"a":{"E-Mail":"1","":"2"}}}"#);
        assert_eq!(claims.len(), 1);
        assert!(claims[0].states.is_empty() && claims[0].types.is_empty());
    }

    #[test]
    fn other_pushes_are_no_mistakes() {
        for json in [r#"{"@type":"CalendarAlert","changed":3}"#, r#"{"@type":"EmailPush"}"#] {
            assert_eq!(read(json.as_bytes(), true), Push::Other);
        }
        for json in ["{}", "", "hello", "[]", r#"{"@type":"StateChange"}"#] {
            assert_eq!(read(json.as_bytes(), true), Push::Unreadable, "{json}");
            assert_eq!(read(json.as_bytes(), false), Push::Other, "{json}");
        }
        for json in [r#"{"changed":[]}"#, r#"{"changed":{"a":null}}"#] {
            assert_eq!(read(json.as_bytes(), false), Push::Unreadable, "{json}");
        }
    }

    #[test]
    fn the_interval_of_a_ping_may_be_told_in_milliseconds() {
        let told = |json: &str| interval(json.as_bytes());
        assert_eq!(told(r#"{"interval":30}"#), Some(Duration::from_secs(30)));
        assert_eq!(told(r#"{"@type":"Ping","interval":30000}"#), Some(Duration::from_secs(30)));
        for json in ["{}", "", "30", r#"{"interval":"30"}"#, r#"{"interval":-1}"#] {
            assert_eq!(told(json), None, "{json}");
        }
    }
}
