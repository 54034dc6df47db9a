//! What a full parse with `serde_json` finds in a Response, to hold the scanner against.
//!
//! Read by the property tests and, through `#[path]`, by `fuzz/`: it takes the names it needs from
//! the module it stands in.

use serde_json::Value;

use super::{AccountId, Method, MethodError, MethodResponse, Observed, Scanner, State, Verdict};

/// Scans `document` cut at the offsets `cuts`; the verdict, and where `sessionState` ends.
pub(super) fn scan(document: &[u8], cuts: &[usize]) -> (Verdict, Option<usize>) {
    let mut scanner = Scanner::new();
    let mut session_state_end = None;
    let mut begin = 0;
    for end in cuts.iter().copied().chain([document.len()]) {
        let end = end.clamp(begin, document.len());
        if let Some(at) = scanner.feed(&document[begin..end]) {
            assert_eq!(session_state_end, None, "reported once");
            session_state_end = Some(begin + at);
        }
        begin = end;
    }
    (scanner.finish(), session_state_end)
}

/// Panics if the scanner says anything about `document` that a full parse does not confirm.
pub(super) fn check(document: &[u8], cuts: &[usize]) {
    let (verdict, session_state_end) = scan(document, cuts);
    assert_eq!(scan(document, &[]), (verdict.clone(), session_state_end), "chunks do not matter");
    let Ok(value) = serde_json::from_slice::<Value>(document) else { return };
    let all = full_parse(&value);
    match verdict {
        Verdict::Complete(observed) => {
            assert_eq!(observed, all);
            check_suffix(document, session_state_end, value);
        }
        Verdict::Unknown(observed) => assert_part(&observed, &all),
    }
}

/// Everything the scanner is to find, if nothing is in doubt.
pub(super) fn full_parse(document: &Value) -> Observed {
    let mut observed = Observed {
        session_state: document["sessionState"].as_str().and_then(State::parse),
        ..Observed::default()
    };
    for invocation in document["methodResponses"].as_array().into_iter().flatten() {
        let Some([Value::String(name), Value::Object(arguments), Value::String(call_id)]) =
            invocation.as_array().map(Vec::as_slice)
        else {
            continue;
        };
        let text = |key: &str| arguments.get(key).and_then(Value::as_str);
        let state = |key: &str| text(key).and_then(State::parse);
        let short = |text: &str| (text.len() <= 255).then(|| Box::from(text));
        if name == "error" {
            let kind = text("type").and_then(short);
            observed.errors.push(MethodError { kind, call_id: short(call_id) });
        } else if let Some((data_type, method)) = Method::parse(name) {
            observed.responses.push(MethodResponse {
                data_type,
                method,
                call_id: short(call_id),
                account_id: text("accountId").and_then(AccountId::parse),
                state: state("state"),
                old_state: state("oldState"),
                new_state: state("newState"),
                has_more_changes: arguments.get("hasMoreChanges").and_then(Value::as_bool),
                created_is_empty: arguments.get("created").and_then(|created| match created {
                    Value::Array(list) => Some(list.is_empty()),
                    Value::Object(map) => Some(map.is_empty()),
                    Value::Null => Some(true),
                    _ => None,
                }),
            });
        }
    }
    observed
}

/// A suffix put where the scanner says changes `sessionState` and nothing else.
fn check_suffix(document: &[u8], session_state_end: Option<usize>, mut value: Value) {
    let session_state = value.get_mut("sessionState").filter(|state| state.is_string());
    assert_eq!(session_state_end.is_some(), session_state.is_some());
    let (Some(at), Some(session_state)) = (session_state_end, session_state) else { return };
    *session_state = format!("{}-suffix", session_state.as_str().unwrap_or_default()).into();
    let edited = [&document[..at], b"-suffix", &document[at..]].concat();
    assert_eq!(serde_json::from_slice::<Value>(&edited).ok(), Some(value));
}

/// Each thing in `part` is in `all`, in the same order; members may be missing.
fn assert_part(part: &Observed, all: &Observed) {
    assert!(is_part(&part.session_state, &all.session_state), "{part:?} {all:?}");
    let mut errors = all.errors.iter();
    for error in &part.errors {
        let is_there = |other: &MethodError| {
            is_part(&error.kind, &other.kind) && is_part(&error.call_id, &other.call_id)
        };
        assert!(errors.any(is_there), "{error:?} is not in {all:?}");
    }
    let mut responses = all.responses.iter();
    for response in &part.responses {
        let is_there = |other: &MethodResponse| {
            (&response.data_type, response.method) == (&other.data_type, other.method)
                && is_part(&response.call_id, &other.call_id)
                && is_part(&response.account_id, &other.account_id)
                && is_part(&response.state, &other.state)
                && is_part(&response.old_state, &other.old_state)
                && is_part(&response.new_state, &other.new_state)
                && is_part(&response.has_more_changes, &other.has_more_changes)
                && is_part(&response.created_is_empty, &other.created_is_empty)
        };
        assert!(responses.any(is_there), "{response:?} is not in {all:?}");
    }
}

fn is_part<T: PartialEq>(part: &Option<T>, all: &Option<T>) -> bool {
    part.is_none() || part == all
}
