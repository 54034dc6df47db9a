//! What a probe asks, by capabilities, wishes and quarantine.

use serde_json::{Value, json};

use super::*;

const MAIL: &str = "urn:ietf:params:jmap:mail";
const SUBMISSION: &str = "urn:ietf:params:jmap:submission";
const VENDOR: &str = "https://example.com/apis/masked-email";

fn subject(capabilities: &[&str], types: &[&str]) -> Subject {
    Subject {
        capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
        types: types.iter().filter_map(|name| DataType::parse(name)).collect(),
        delivery_since: None,
        limits: CoreLimits::default(),
        principal: PrincipalId(1),
    }
}

fn types(subject: &Subject) -> Vec<String> {
    subject.asked().iter().map(ToString::to_string).collect()
}

fn body(subject: &Subject) -> Value {
    let account = AccountId::parse("alice").unwrap();
    serde_json::from_slice(&request(&account, subject, subject.asked()).body).unwrap()
}

#[test]
fn a_probe_asks_get_with_no_ids_for_each_wanted_type() {
    let subject = subject(&[MAIL, SUBMISSION], &["Mailbox", "Identity"]);
    assert_eq!(
        body(&subject),
        json!({
            "using": [CORE, MAIL, SUBMISSION],
            "methodCalls": [
                ["Mailbox/get", {"accountId": "alice", "ids": []}, "Mailbox"],
                ["Identity/get", {"accountId": "alice", "ids": []}, "Identity"],
            ],
        })
    );
}

#[test]
fn capabilities_that_bring_nothing_asked_are_not_used() {
    let subject = subject(&[MAIL, SUBMISSION, VENDOR], &["Email"]);
    assert_eq!(body(&subject)["using"], json!([CORE, MAIL]));
}

#[test]
fn email_delivery_asks_what_was_created_since_the_known_state_after_the_state() {
    let mut subject = subject(&[MAIL], &["Email"]);
    subject.delivery_since = State::parse("s1");
    assert_eq!(
        body(&subject),
        json!({
            "using": [CORE, MAIL],
            "methodCalls": [
                ["Email/get", {"accountId": "alice", "ids": []}, "Email"],
                [
                    "Email/changes",
                    {"accountId": "alice", "sinceState": "s1", "maxChanges": 50},
                    "EmailDelivery",
                ],
            ],
        })
    );
}

#[test]
fn a_session_that_allows_no_call_is_still_asked_one_at_a_time() {
    let mut subject = subject(&[MAIL], &["Email"]);
    subject.limits.max_calls_in_request = Some(0);
    assert_eq!(subject.calls(), 1);
    subject.limits.max_calls_in_request = None;
    assert_eq!(subject.calls(), DEFAULT_CALLS);
}

#[test]
fn ids_and_states_that_need_escaping_are_escaped() {
    let mut subject = subject(&[MAIL], &["Email"]);
    subject.delivery_since = State::parse("a\"b\\c");
    let account = AccountId::parse("o\"neil").unwrap();
    let body = request(&account, &subject, subject.asked()).body;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["methodCalls"][1][1]["sinceState"], "a\"b\\c");
    assert_eq!(body["methodCalls"][1][1]["accountId"], "o\"neil");
}

#[test]
fn capabilities_offer_the_types_of_the_table() {
    let capabilities = [MAIL, VENDOR, SUBMISSION].map(String::from);
    let offered: Vec<_> = offered(&capabilities).iter().map(ToString::to_string).collect();
    assert_eq!(offered, ["Mailbox", "Email", "Thread", "Identity", "EmailSubmission"]);
}

#[test]
fn a_type_of_unknown_origin_is_asked_with_all_capabilities_of_the_account() {
    let subject = subject(&[MAIL, VENDOR], &["MaskedEmail"]);
    let body = body(&subject);
    assert_eq!(body["using"], json!([VENDOR, CORE, MAIL]));
    assert_eq!(body["methodCalls"][0][0], "MaskedEmail/get");
}

#[test]
fn a_type_is_asked_once_and_in_the_order_given() {
    assert_eq!(types(&subject(&[MAIL], &["Thread", "Email", "Thread"])), ["Thread", "Email"]);
}

#[test]
fn types_without_a_state_are_never_asked() {
    // RFC 8621 §1.5: EmailDelivery has no methods.
    assert!(types(&subject(&[MAIL], &STATELESS)).is_empty());
}

#[test]
fn email_delivery_is_not_asked_without_email() {
    let mut subject = subject(&[MAIL], &["Mailbox"]);
    subject.delivery_since = State::parse("s1");
    assert_eq!(types(&subject), ["Mailbox"]);
}

#[test]
fn a_refused_capability_takes_its_types_along() {
    let mut subject = subject(&[MAIL, SUBMISSION], &["Email", "Identity", "MaskedEmail"]);
    subject.retain_capabilities(|capability| capability != MAIL);
    assert_eq!(types(&subject), ["Identity", "MaskedEmail"]);
    assert_eq!(body(&subject)["using"], json!([CORE, SUBMISSION]));
}

#[test]
fn the_number_of_types_is_bounded() {
    let names: Vec<_> = (0..500).map(|n| format!("Type{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(types(&subject(&[MAIL], &names)).len(), MAX_TYPES);
}
