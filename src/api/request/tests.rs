//! Requests as clients and as attackers write them.

use super::*;
use crate::jmap::capability::{OWN, VAPID};

fn names(body: &str) -> Option<Vec<String>> {
    let request = Request::scan(body.as_bytes())?;
    Some(request.calls.into_iter().map(|call| call.name.into_owned()).collect())
}

fn with_calls(calls: &str) -> String {
    format!(r#"{{"using":["urn:ietf:params:jmap:core"],"methodCalls":[{calls}]}}"#)
}

/// protocol.md §5.4.1: an escaped name does not slip by.
#[test]
fn method_names_are_decoded() {
    let body = with_calls(r#"["\u0050ush\u0053ubscription\/set",{},"c"]"#);
    assert_eq!(names(&body).unwrap(), ["PushSubscription/set"]);
    let body = with_calls(r#"["Core/echo",{},"c"]"#).replace("methodCalls", r"m\u0065thodCalls");
    assert_eq!(names(&body).unwrap(), ["Core/echo"]);
}

#[test]
fn calls_that_only_read_do_not_change_anything() {
    for (name, may_change) in [
        ("Email/get", false),
        ("Email/query", false),
        ("Email/changes", false),
        ("Email/queryChanges", false),
        ("Core/echo", false),
        ("Email/set", true),
        ("Email/import", true),
        ("Email/copy", true),
        ("Email/parse", false),
        ("MDN/send", true),
        ("get", true),
    ] {
        let body = with_calls(&format!(r#"["Email/get",{{}},"a"],["{name}",{{}},"b"]"#));
        let expected = if may_change { Changes::Any } else { Changes::Nothing };
        assert_eq!(Request::scan(body.as_bytes()).unwrap().changes(), expected, "{name}");
    }
}

#[test]
fn each_account_that_may_change_is_named_once() {
    let calls = r##"["Email/get",{"accountId":"read","list":[{"accountId":"inner"}]},"0"],
           ["Email/copy",{"fromAccountId":"\u0061","accountId":"b","create":{}},"1"],
           ["Email/set",{"accountId":"b"},"2"],["Email/get",{"#accountId":{"resultOf":"0"}},"3"]"##;
    let body = with_calls(calls);
    let request = Request::scan(body.as_bytes()).unwrap();
    let named = ["b", "a"].map(|id| AccountId::parse(id).unwrap());
    assert_eq!(request.changes(), Changes::Accounts(named.into()));
    assert_eq!(request.calls.len(), 4);
    assert_eq!(request.calls[1].call_id, "1");
}

/// One call whose account cannot be told may change any, whatever the others name.
#[test]
fn a_change_to_an_account_that_cannot_be_told_may_be_to_any() {
    for arguments in [
        r##"{"#accountId":{"resultOf":"0"}}"##,
        r#"{"accountId":7}"#,
        r#"{"accountId":{"a":[[]]}}"#,
    ] {
        let calls =
            format!(r#"["Email/set",{{"accountId":"a"}},"0"],["Email/set",{arguments},"1"]"#);
        let body = with_calls(&calls);
        assert_eq!(Request::scan(body.as_bytes()).unwrap().changes(), Changes::Any, "{arguments}");
    }
}

#[test]
fn what_is_not_a_request_is_not_read() {
    for bad in [
        "",
        "[]",
        "{}",
        r#"[[["Email/get",{},"c"]]]"#,
        r#"{"methodCalls":{}}"#,
        r#"{"methodCalls":[["Email/get",{}]]}"#,
        r#"{"methodCalls":[["Email/get",{},"c",1]]}"#,
        r#"{"methodCalls":[["Email/get",["a"],"c"]]}"#,
        r#"{"methodCalls":[["Email/get",{},7]]}"#,
        r#"{"methodCalls":[["\ud800/get",{},"c"]]}"#,
        "{\"methodCalls\":[]}\0",
        "\u{feff}{\"methodCalls\":[]}",
        r#"{"methodCalls":[]} {}"#,
        r#"{"methodCalls":[],"methodCalls":[]}"#,
        r#"{"methodCalls":[["Email/get",{"accountId":"a","accountId":"b"},"c"]]}"#,
    ] {
        assert_eq!(names(bad), None, "{bad}");
    }
    assert_eq!(Request::scan(b"{\"methodCalls\":[[\"\xff\",{},\"c\"]]}"), None);
    assert_eq!(names(r#"{"methodCalls":[]}"#), Some(vec![]));
}

/// B7: depth 100,000, 10 MB keys and a million calls cost neither stack nor memory.
#[test]
fn json_bombs_do_no_harm() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = with_calls(&format!(r#"["Email/get",{{"x":{deep},"accountId":{deep}}},"c"]"#));
    assert_eq!(names(&body).unwrap(), ["Email/get"]);
    let body = with_calls(&format!(r#"["Email/get",{{"{}":1e400}},"c"]"#, "k".repeat(10_000_000)));
    assert_eq!(names(&body).unwrap(), ["Email/get"]);
    let call = r#"["Email/get",{},"c"]"#;
    assert!(names(&with_calls(&vec![call; MAX_CALLS].join(","))).is_some());
    assert_eq!(names(&with_calls(&vec![call; 1_000_000].join(","))), None);
}

#[test]
fn our_own_capabilities_go_no_further_and_nothing_else_changes() {
    for (named, sent) in [
        (r#"["urn:a", "urn:ietf:params:jmap:websocket","urn:b"]"#, r#"["urn:a","urn:b"]"#),
        (r#"["urn:ietf:params:jmap:w\u0065bsocket"]"#, "[]"),
    ] {
        let body = using(named);
        assert!(Request::scan(body.as_bytes()).unwrap().may_use_own);
        let edited = without_capabilities(body.as_bytes(), OWN).unwrap();
        assert_eq!(edited, using(sent));
    }
    let plain = using(r#"["urn:ietf:params:jmap:core"]"#);
    assert!(!Request::scan(plain.as_bytes()).unwrap().may_use_own);
    let body = using(r#"["urn:ietf:params:jmap:websocket"]"#);
    assert_eq!(without_capabilities(body.as_bytes(), &[VAPID]), None, "it is upstream's");
    for other in [using(r#"["urn:\u0061"]"#), using("3"), plain] {
        assert_eq!(without_capabilities(other.as_bytes(), OWN), None);
    }
}

fn using(using: &str) -> String {
    format!(r#"{{ "using" : {using}, "methodCalls":[ ],"x":1.50}}"#)
}
