//! What the answers to a probe say, of every shape a server gave or may give.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::jmap::id::AccountId;
use crate::jmap::session::CoreLimits;
use crate::probe::plan::{Subject, request as plan_request};
use crate::state::fact::PrincipalId;

const VENDOR: &str = "https://example.com/apis/masked-email";

fn request(types: &[&str]) -> Request {
    let types: Vec<_> = types.iter().filter_map(|name| DataType::parse(name)).collect();
    let subject = Subject {
        capabilities: ["urn:ietf:params:jmap:mail".to_owned(), VENDOR.to_owned()].into(),
        types: types.clone(),
        delivery_since: State::parse("s0"),
        limits: CoreLimits::default(),
        principal: PrincipalId(1),
    };
    plan_request(&AccountId::parse("alice").unwrap(), &subject, types)
}

fn reply(status: u16, body: &Value) -> Result<Reply, Lost> {
    let status = StatusCode::from_u16(status).unwrap();
    Ok(Reply { status, retry_after: None, body: body.to_string().into(), is_as_user: true })
}

fn responses(types: &[&str], method_responses: &Value) -> Answered {
    let body = json!({"methodResponses": method_responses, "sessionState": "c7"});
    match read(&request(types), reply(200, &body)) {
        Answer::Answered(answered) => answered,
        other => panic!("{other:?}"),
    }
}

fn answers(types: &[&str], method_responses: &Value) -> Vec<ProbeAnswer> {
    responses(types, method_responses).types.into_iter().map(|(_, answer)| answer).collect()
}

fn state(text: &str) -> ProbeAnswer {
    ProbeAnswer::State(State::parse(text).unwrap())
}

#[test]
fn each_type_has_the_state_of_its_own_response() {
    let said = json!([
        ["Thread/get", {"accountId": "alice", "state": "t1", "list": [], "notFound": []}, "Thread"],
        ["Email/get", {"accountId": "alice", "state": "e1", "list": [], "notFound": []}, "Email"],
    ]);
    let answered = responses(&["Email", "Thread"], &said);
    let named: Vec<_> =
        answered.types.iter().map(|(name, answer)| (name.as_str(), answer.clone())).collect();
    assert_eq!(named, [("Email", state("e1")), ("Thread", state("t1"))]);
    assert_eq!(answered.session_state.as_deref(), Some("c7"));
    assert!(answered.is_useful());
}

#[test]
fn a_type_without_a_response_has_failed() {
    let said = json!([["Email/get", {"accountId": "alice", "state": "e1"}, "Email"]]);
    assert_eq!(answers(&["Email", "Thread"], &said), [state("e1"), ProbeAnswer::Failed]);
}

#[test]
fn the_state_of_another_account_is_no_answer() {
    let said = json!([["Email/get", {"accountId": "bob", "state": "e1"}, "Email"]]);
    assert_eq!(answers(&["Email"], &said), [ProbeAnswer::Failed]);
}

#[test]
fn a_response_of_another_method_under_the_same_call_id_is_skipped() {
    // §3.4: a method may return several responses.
    let said = json!([
        ["Email/set", {"accountId": "alice", "newState": "x", "state": "x"}, "Email"],
        ["Email/get", {"accountId": "alice", "state": "e1"}, "Email"],
    ]);
    assert_eq!(answers(&["Email"], &said), [state("e1")]);
}

#[test]
fn a_state_that_is_no_string_or_too_long_is_no_answer() {
    for bad in [json!(7), json!(null), json!("x".repeat(MAX_STATE_BYTES + 1))] {
        let said = json!([["Email/get", {"accountId": "alice", "state": bad}, "Email"]]);
        assert_eq!(answers(&["Email"], &said), [ProbeAnswer::Failed]);
    }
}

#[test]
fn an_unknown_method_is_told_apart_from_a_failure() {
    let said = json!([
        ["error", {"type": "unknownMethod"}, "Email"],
        ["error", {"type": "serverFail", "description": "no"}, "Thread"],
    ]);
    let answered = responses(&["Email", "Thread"], &said);
    assert_eq!(answered.unknown, [DataType::parse("Email").unwrap()]);
    let kinds: Vec<_> = answered.types.into_iter().map(|(_, answer)| answer).collect();
    assert_eq!(kinds, [ProbeAnswer::UnknownMethod, ProbeAnswer::Failed]);
}

#[test]
fn errors_about_the_account_are_told() {
    for (kind, error) in [
        ("accountNotFound", AccountError::NotFound),
        ("forbidden", AccountError::Forbidden),
        ("accountNotSupportedByMethod", AccountError::NotSupported),
    ] {
        let answered = responses(&["Email"], &json!([["error", {"type": kind}, "Email"]]));
        assert_eq!(answered.account_errors, [(DataType::parse("Email").unwrap(), error)]);
        assert!(!answered.is_useful());
    }
}

#[test]
fn delivery_is_told_by_what_was_created() {
    for (created, delivered) in [(json!([]), false), (json!(["m1", "m2"]), true)] {
        let said = json!([
            ["Email/get", {"accountId": "alice", "state": "e1"}, "Email"],
            [
                "Email/changes",
                {
                    "accountId": "alice", "oldState": "s0", "newState": "e1",
                    "hasMoreChanges": false, "created": created, "updated": ["m0"], "destroyed": [],
                },
                "EmailDelivery",
            ],
        ]);
        let answered = responses(&["Email", "EmailDelivery"], &said);
        assert_eq!(answered.delivery, Some(delivered));
        assert_eq!(answered.types.len(), 1, "EmailDelivery has no state of its own here");
    }
}

#[test]
fn delivery_that_cannot_be_excluded_is_told() {
    for said in [
        json!(["error", {"type": "cannotCalculateChanges"}, "EmailDelivery"]),
        json!(["Email/changes", {"accountId": "alice", "hasMoreChanges": true, "created": []}, "EmailDelivery"]),
    ] {
        assert_eq!(responses(&["EmailDelivery"], &json!([said])).delivery, Some(true));
    }
}

#[test]
fn a_failed_changes_call_says_nothing_of_delivery() {
    for kind in ["serverFail", "unknownMethod", "forbidden"] {
        let said = json!([["error", {"type": kind}, "EmailDelivery"]]);
        assert_eq!(responses(&["EmailDelivery"], &said).delivery, None);
    }
}

#[test]
fn a_server_that_lists_everything_is_read_all_the_same() {
    let list: Vec<_> = (0..100).map(|n| json!({"id": n, "state": "no", "x": [{}]})).collect();
    let said = json!([["Email/get", {"list": list, "state": "e1", "accountId": "alice"}, "Email"]]);
    assert_eq!(answers(&["Email"], &said), [state("e1")]);
}

#[test]
fn what_is_not_a_response_object_is_broken() {
    for body in ["", "<html>", "[]", "{\"methodResponses\":[[\"Email/get\",{\"sta", "{}", "null"] {
        let reply = Reply {
            status: StatusCode::OK,
            retry_after: None,
            body: body.into(),
            is_as_user: true,
        };
        assert_eq!(read(&request(&["Email"]), Ok(reply)), Answer::Broken, "{body}");
    }
}

#[test]
fn a_reply_beyond_the_limit_is_broken() {
    let filler = " ".repeat(MAX_REPLY_BYTES);
    let body = format!("{{\"methodResponses\":[]{filler}}}");
    let reply =
        Reply { status: StatusCode::OK, retry_after: None, body: body.into(), is_as_user: true };
    assert_eq!(read(&request(&["Email"]), Ok(reply)), Answer::Broken);
}

#[test]
fn only_a_connection_that_never_was_is_not_blamed_on_the_types() {
    let read = |lost| read(&request(&["Email"]), Err(lost));
    assert_eq!(read(Lost::Unreachable), Answer::Unreachable);
    for lost in [Lost::Closed, Lost::TimedOut, Lost::TooLarge] {
        assert_eq!(read(lost), Answer::Broken);
    }
}

#[test]
fn statuses_are_sorted_by_what_follows_from_them() {
    let refused = |status| match read(&request(&["Email"]), reply(status, &json!({}))) {
        Answer::Refused(refusal) => Some(refusal),
        Answer::Broken => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(401), Some(Refusal::Unauthorized));
    assert_eq!(refused(403), Some(Refusal::Forbidden));
    assert_eq!(refused(429), Some(Refusal::Limited(None)));
    assert_eq!(refused(404), Some(Refusal::Status(StatusCode::NOT_FOUND)));
    assert_eq!(refused(301), Some(Refusal::Status(StatusCode::MOVED_PERMANENTLY)));
    for broken in [500, 502, 503, 504] {
        assert_eq!(refused(broken), None);
    }
}

#[test]
fn retry_after_makes_503_a_limit() {
    let patience = Some(Duration::from_secs(7));
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let reply = Reply { status, retry_after: patience, body: Bytes::new(), is_as_user: true };
    let answer = read(&request(&["Email"]), Ok(reply));
    assert_eq!(answer, Answer::Refused(Refusal::Limited(patience)));
}

#[test]
fn a_limit_problem_is_a_limit() {
    // §3.6.1 `limit`
    let body =
        json!({"type": "urn:ietf:params:jmap:error:limit", "limit": "maxConcurrentRequests"});
    let answer = read(&request(&["Email"]), reply(400, &body));
    assert_eq!(answer, Answer::Refused(Refusal::Limited(None)));
}

#[test]
fn an_unknown_capability_is_named_if_upstream_names_it() {
    let kind = "urn:ietf:params:jmap:error:unknownCapability";
    let named = json!({"type": kind, "detail": format!("do not know '{VENDOR}'")});
    let unnamed = json!({"type": kind, "detail": "what?"});
    let read = |body| read(&request(&["MaskedEmail"]), reply(400, body));
    let capability = Some(VENDOR.to_owned());
    assert_eq!(read(&named), Answer::Refused(Refusal::UnknownCapability(capability)));
    assert_eq!(read(&unnamed), Answer::Refused(Refusal::UnknownCapability(None)));
}

proptest! {
    #[test]
    fn no_reply_makes_the_reader_fail(status in 100_u16..600, body in prop::collection::vec(any::<u8>(), 0..300)) {
        let status = StatusCode::from_u16(status).unwrap();
        let reply = Reply { status, retry_after: None, body: body.into(), is_as_user: true };
        let _ = read(&request(&["Email", "EmailDelivery"]), Ok(reply));
    }

    #[test]
    fn a_reply_cut_anywhere_is_broken_and_never_half_believed(cut in 0_usize..1000) {
        let body = json!({"methodResponses": [
            ["Email/get", {"accountId": "alice", "state": "e1"}, "Email"],
            ["Thread/get", {"accountId": "alice", "state": "t1"}, "Thread"],
        ], "sessionState": "0"}).to_string();
        let cut = cut % body.len();
        let reply =
            Reply { status: StatusCode::OK, retry_after: None, body: body.as_bytes()[..cut].to_vec().into(), is_as_user: true };
        prop_assert_eq!(read(&request(&["Email", "Thread"]), Ok(reply)), Answer::Broken);
    }
}
