//! The scanner against examples, against every chunk boundary, and against `serde_json`.

use proptest::prelude::*;

use super::*;
use crate::api::{Method, MethodError, MethodResponse};
use crate::jmap::id::{AccountId, MAX_STATE_BYTES};
use generate::{any_value, cuts, response};
use oracle::{check, scan};

mod generate;
mod oracle;

/// Every kind of response, members in unusual orders, brackets and quotes where they mean nothing.
const MIXED: &str = r#" {
  "createdIds": {"k": "]}\"["}, "methodResponses" : [
    ["Email\/get", {"list":[{"id":"a","x":[["]"],{"}":"\\\\"}]}], "st\u0061te":"s\u00e9\ud83d\ude001",
      "accountId":"u1","notFound":[],"queryState":"no", "deep":{"state":"inner","accountId":"u9"}},"c\"0"],
    ["Mailbox/changes",{"accountId":"u1","oldState":"m1","newState":"m2","hasMoreChanges": false,
      "created": [ "x" ], "updated":[]},"c1"],
    ["Thread/changes",{"accountId":"u1","oldState":"t1","newState":"t2","hasMoreChanges":true,
      "created": [ ]},"c1"],
    ["Email/query",{"accountId":"u1","queryState":"q","ids":["1"],"state":"not a state"},"c2"],
    ["Email/set",{"accountId":"u1","oldState":null,"newState":"e2","created":null,"total":-1.5e+3},"c3"],
    ["Core/echo",{"accountId":"u1","state":"the client says so"},"c4"],
    ["error",{"type":"serverPartialFail","description":"[{"},"c5"], ["error",{},"c6"],
    ["Email/copy",{"fromAccountId":"u1","accountId":"u2","newState":"e5","oldState":"e4","created":{"k":{}}},"c7"]
  ] ,"sessionState" :"S\\\"1" , "later":[[]], "n":1e400}
"#;

fn complete(document: &str) -> Observed {
    match scan(document.as_bytes(), &[]).0 {
        Verdict::Complete(observed) => observed,
        Verdict::Unknown(observed) => panic!("{document} is unknown: {observed:?}"),
    }
}

fn unknown(document: impl AsRef<[u8]>) -> Observed {
    let document = document.as_ref();
    match scan(document, &[]).0 {
        Verdict::Unknown(observed) => observed,
        Verdict::Complete(observed) => {
            panic!("{} is complete: {observed:?}", String::from_utf8_lossy(document))
        }
    }
}

/// A Response with one `Email/get` of these arguments.
fn email_get(arguments: &str) -> String {
    format!(r#"{{"methodResponses":[["Email/get",{{{arguments}}},"c"]],"sessionState":"S"}}"#)
}

fn state(text: &str) -> Option<State> {
    State::parse(text)
}

#[test]
fn each_response_that_carries_a_state_is_found_with_its_own_members() {
    let observed = complete(MIXED);
    let names: Vec<_> =
        observed.responses.iter().map(|r| (r.data_type.as_str(), r.method)).collect();
    assert_eq!(
        names,
        [
            ("Email", Method::Get),
            ("Mailbox", Method::Changes),
            ("Thread", Method::Changes),
            ("Email", Method::Set),
            ("Email", Method::Copy),
        ]
    );
    let [get, changes, more, set, copy] = observed.responses.as_slice() else { panic!() };
    assert_eq!((&get.state, get.call_id.as_deref()), (&state("sé😀1"), Some("c\"0")));
    assert_eq!(get.account_id.as_ref().map(AccountId::as_str), Some("u1"));
    assert_eq!((changes.has_more_changes, changes.created_is_empty), (Some(false), Some(false)));
    assert_eq!((more.has_more_changes, more.created_is_empty), (Some(true), Some(true)));
    assert_eq!((&set.old_state, &set.new_state), (&None, &state("e2")));
    assert_eq!(set.created_is_empty, Some(true));
    assert_eq!(copy.account_id.as_ref().map(AccountId::as_str), Some("u2"));
    assert_eq!(copy.created_is_empty, Some(false));
    assert_eq!(observed.session_state, state("S\\\"1"));
}

/// §3.6.2, A6: errors are facts of their own, with the call they belong to.
#[test]
fn method_errors_are_reported_with_their_call_id() {
    let errors = complete(MIXED).errors;
    let [partial, untyped] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(partial.kind.as_deref(), Some("serverPartialFail"));
    assert_eq!(partial.call_id.as_deref(), Some("c5"));
    assert!(partial.may_have_changed());
    assert_eq!((&untyped.kind, untyped.call_id.as_deref()), (&None, Some("c6")));
}

#[test]
fn any_chunk_boundary_gives_the_same() {
    let long =
        email_get(&format!(r#""list":[{}0],"state":"s""#, r#"{"a":"\\","b":["]"]},"#.repeat(20)));
    for document in [MIXED, &long, &email_get(r#""state":"\ud83d\ude00""#)] {
        let document = document.as_bytes();
        let whole = scan(document, &[]);
        for cut in 0..=document.len() {
            assert_eq!(scan(document, &[cut]), whole, "cut at {cut}");
            assert_eq!(scan(document, &[cut, cut + 1, cut + 70]), whole, "cut at {cut}");
        }
        let bytes: Vec<usize> = (0..document.len()).collect();
        assert_eq!(scan(document, &bytes), whole);
    }
}

/// D6: the suffix goes before the closing quote, in whichever chunk that is.
#[test]
fn the_end_of_the_session_state_is_reported_in_its_chunk() {
    let mut scanner = Scanner::new();
    assert_eq!(scanner.feed(br#"{"x":{"sessionState":"inner"},"sessionState":"a\""#), None);
    assert_eq!(scanner.feed(br#"b","methodResponses":[]}"#), Some(1));
    let Verdict::Complete(observed) = scanner.finish() else { panic!() };
    assert_eq!(observed.session_state, state("a\"b"));
}

#[test]
fn a_session_state_is_found_after_doubt_about_a_response() {
    let (verdict, end) = scan(br#"{"methodResponses":[7],"sessionState":"S"}"#, &[]);
    assert!(matches!(verdict, Verdict::Unknown(_)));
    assert_eq!(end, Some(40));
}

/// B7: a document that ends early, or goes on, or is no JSON, is never complete.
#[test]
fn what_is_not_one_whole_json_document_is_unknown() {
    let whole = email_get(r#""accountId":"a","state":"s""#);
    complete(&whole);
    for end in 0..whole.len() {
        unknown(whole.get(..end).unwrap());
    }
    for bad in [
        format!("\u{feff}{whole}"),
        format!("{whole}\0"),
        format!("\0{whole}"),
        format!("{whole}{whole}"),
        format!("{whole}x"),
        whole.replace(':', ";"),
        whole.replace("]],", "]],,"),
        whole.replace("]],", "]},"),
        whole.replace(r#""c"]"#, r#""c",]"#),
        whole.replace(r#""a","#, r#""a" "#),
        whole.replace(r#""a","#, "tru,"),
        whole.replace(r#""a","#, r#"'a',"#),
        whole.replace(r#""s"}"#, r#""s",}"#),
        whole.replace(r#""s""#, "\"s\n\""),
        whole.replace(r#""s""#, r#""\ud83d""#),
        whole.replace(r#""s""#, r#""\q""#),
    ] {
        unknown(bad);
    }
    for text in ["s", "state", "c", "Email/get", "sessionState"] {
        let mut not_utf8 = whole.clone().into_bytes();
        let at = whole.find(&format!("\"{text}\"")).unwrap();
        not_utf8[at + 1] = 0xff;
        unknown(not_utf8);
    }
}

#[test]
fn what_is_not_of_the_shape_of_a_response_is_unknown() {
    for bad in [
        "[]",
        "7",
        "\"methodResponses\"",
        "{}",
        r#"{"sessionState":"S"}"#,
        r#"{"methodResponses":{}}"#,
        r#"{"methodResponses":null}"#,
        r#"{"methodResponses":[{}]}"#,
        r#"{"methodResponses":["Email/get"]}"#,
        r#"{"methodResponses":[[]]}"#,
        r#"{"methodResponses":[["Email/get",{"state":"s"}]]}"#,
        r#"{"methodResponses":[["Email/get",{"state":"s"},"c","d"]]}"#,
        r#"{"methodResponses":[["Email/get",{"state":"s"},7]]}"#,
        r#"{"methodResponses":[["Email/get",["state","s"],"c"]]}"#,
        r#"{"methodResponses":[[["Email/get"],{"state":"s"},"c"]]}"#,
    ] {
        assert_eq!(unknown(bad).responses, [], "{bad}");
    }
}

/// §1.5 forbids it; which of the two a client takes is unknown.
#[test]
fn a_member_that_is_there_twice_is_left_out() {
    let observed =
        unknown(email_get(r#""accountId":"a","state":"1","st\u0061te":"2","state":"3""#));
    assert_eq!(observed.responses[0].state, None);
    assert!(observed.responses[0].account_id.is_some());
    assert_eq!(unknown(r#"{"sessionState":"a","sessionState":"b"}"#).session_state, None);
    let twice =
        r#"{"methodResponses":[["Email/get",{},"c"]],"methodResponses":[["error",{},"c"]]}"#;
    assert_eq!(unknown(twice).len(), 0);
}

#[test]
fn a_member_that_is_none_of_ours_may_be_there_twice() {
    complete(&email_get(r#""list":[],"list":[],"state":"s""#));
}

#[test]
fn strings_over_the_limits_are_not_kept() {
    let longest = "x".repeat(MAX_STATE_BYTES);
    let long = format!("{longest}x");
    let escaped = "\\u0078".repeat(MAX_STATE_BYTES);
    assert_eq!(unknown(email_get(&format!(r#""state":"{long}""#))).responses[0].state, None);
    let observed = complete(&email_get(&format!(r#""state":"{escaped}""#)));
    assert_eq!(observed.responses[0].state, state(&longest));
    unknown(email_get(&format!(r#""accountId":"{}""#, "x".repeat(256))));
    let call_id = r#"{"methodResponses":[["Email/get",{},"LONG"]]}"#.replace("LONG", &long);
    assert_eq!(complete(&call_id).responses[0].call_id, None);
}

/// B7: 10 MB strings and keys, depth 100,000, in constant memory.
#[test]
fn huge_input_is_got_over() {
    let huge = "k".repeat(10_000_000);
    let observed = complete(&email_get(&format!(r#""{huge}":1,"list":"{huge}","state":"s""#)));
    assert_eq!(observed.responses[0].state, state("s"));
    let deep = format!("{}{}", "[{\"a\":".repeat(100_000), "}]".repeat(100_000));
    let observed = complete(&email_get(&format!(r#""list":{deep},"state":"s""#)));
    assert_eq!(observed.responses[0].state, state("s"));
}

/// B7: a million method responses leave a bounded trace, and `sessionState` is still found.
#[test]
fn more_responses_than_are_kept_make_the_verdict_unknown() {
    let one = r#"["Email/get",{"state":"s"},"c"]"#;
    let many = vec![one; MAX_RESPONSES].join(",");
    let document = |list: &str| format!(r#"{{"methodResponses":[{list}],"sessionState":"S"}}"#);
    assert_eq!(complete(&document(&many)).responses.len(), MAX_RESPONSES);
    let observed = unknown(document(&format!("{many},{one}")));
    assert_eq!(observed.responses.len(), MAX_RESPONSES);
    assert_eq!(observed.session_state, state("S"));
}

#[test]
fn members_of_another_json_type_are_absent() {
    let observed = complete(&email_get(
        r#""accountId":1e400,"state":["s"],"oldState":{"a":"b"},"newState":null,"hasMoreChanges":"true","created":"[]""#,
    ));
    let response = &observed.responses[0];
    let name = (response.data_type.clone(), response.method, response.call_id.clone());
    assert_eq!(
        *response,
        MethodResponse { call_id: name.2, ..MethodResponse::new(name.0, name.1) }
    );
}

#[test]
fn method_names_that_carry_no_state_are_not_kept() {
    for name in [
        "Core/get",
        "Core/echo",
        "Blob/get",
        "Blob/copy",
        "PushSubscription/get",
        "SearchSnippet/get",
        "Email/query",
        "Email/queryChanges",
        "Email/parse",
        "Email",
        "/get",
        "Email/get/set",
        "a b/get",
    ] {
        let document = format!(r#"{{"methodResponses":[["{name}",{{"state":"s"}},"c"]]}}"#);
        assert_eq!(complete(&document).responses, [], "{name}");
    }
}

// === Property: the scanner agrees with a full parse ===

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_proper_response_is_read_as_by_a_full_parse(document in response(false), cuts in cuts()) {
        check(document.as_bytes(), &cuts);
        let value: serde_json::Value = serde_json::from_str(&document).unwrap();
        let is_complete = matches!(scan(document.as_bytes(), &[]).0, Verdict::Complete(_));
        prop_assert_eq!(is_complete, value.get("methodResponses").is_some());
    }

    #[test]
    fn nothing_is_said_of_repeated_members_that_a_full_parse_denies(document in response(true), cuts in cuts()) {
        check(document.as_bytes(), &cuts);
    }

    #[test]
    fn nothing_is_said_of_a_damaged_response_that_a_full_parse_denies(
        document in response(true), cuts in cuts(), at in any::<prop::sample::Index>(),
        damage in prop::sample::select(vec!["", "\"", "\\", "[", "]", "{", "}", ",", ":", "0", "\0"]),
    ) {
        let mut document = document.into_bytes();
        let at = at.index(document.len());
        document.splice(at..=at, damage.bytes());
        check(&document, &cuts);
    }

    #[test]
    fn any_value_is_skipped_to_its_end(value in any_value(), cuts in cuts()) {
        let document = email_get(&format!(r#""list":{value},"state":"s""#));
        check(document.as_bytes(), &cuts);
        prop_assert_eq!(&complete(&document).responses[0].state, &state("s"));
    }
}
