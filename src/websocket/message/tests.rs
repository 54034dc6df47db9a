//! RFC 8887 §4.3, message by message.

use serde_json::{Value, json};

use super::*;

fn request(text: &str) -> Request {
    match read(text) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn enable(text: &str) -> PushEnable {
    match read(text) {
        Ok(Message::PushEnable(enable)) => enable,
        other => panic!("{other:?}"),
    }
}

fn refused(text: &str) -> (Option<String>, String) {
    let NotUnderstood { id, problem } = read(text).unwrap_err();
    assert_eq!(problem.status, 400);
    (id, problem.kind.rsplit(':').next().unwrap().to_owned())
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn a_request_goes_on_without_what_is_the_websockets() {
    let text = r#" {"@type":"Request","using":["a"], "id":"R\u0031","methodCalls":[["Core/echo",{"b":1.50},"c"]],"x y":null} "#;
    let Request { id, body } = request(text);
    assert_eq!(id.as_deref(), Some("R1"));
    assert_eq!(body, r#"{"using":["a"],"methodCalls":[["Core/echo",{"b":1.50},"c"]],"x y":null}"#);
    assert_eq!(request(r#"{"@type":"Request"}"#), Request { id: None, body: "{}".into() });
}

#[test]
fn types_that_are_absent_or_null_are_all_and_an_empty_list_is_none() {
    for all in ["", r#","dataTypes":null"#] {
        let enable = enable(&format!(r#"{{"@type":"WebSocketPushEnable"{all}}}"#));
        assert_eq!(enable, PushEnable { filter: TypeFilter::All, push_state: None });
    }
    let none = enable(r#"{"@type":"WebSocketPushEnable","dataTypes":[],"pushState":null}"#);
    assert!(none.filter.is_empty());
    let two = enable(
        r#"{"@type":"WebSocketPushEnable","dataTypes":["Email","Mail\u0062ox"],"pushState":"p"}"#,
    );
    let named = ["Email", "Mailbox"].map(|name| DataType::parse(name).unwrap());
    assert_eq!(two.filter, TypeFilter::only(named));
    assert_eq!(two.push_state.as_deref(), Some("p"));
    assert_eq!(read(r#"{"@type":"WebSocketPushDisable"}"#), Ok(Message::PushDisable));
}

#[test]
fn what_is_not_understood_is_answered_with_its_id_where_that_can_be_read() {
    let id = || Some("7".to_owned());
    for (text, expected) in [
        ("", (None, "notJSON")),
        ("{", (None, "notJSON")),
        (r#"{"@type":"Request","id":"7"} x"#, (None, "notJSON")),
        ("[]", (None, "notRequest")),
        ("1", (None, "notRequest")),
        ("{}", (None, "notRequest")),
        (r#"{"id":"7"}"#, (id(), "notRequest")),
        (r#"{"@type":"Nonsense","id":"7"}"#, (id(), "notRequest")),
        (r#"{"@type":3,"id":"7"}"#, (id(), "notRequest")),
        (r#"{"@type":"Request","@type":"Request","id":"7"}"#, (id(), "notRequest")),
        (r#"{"@type":"Request","id":7}"#, (None, "notRequest")),
        (r#"{"@type":"Request","id":"7","id":"8"}"#, (None, "notRequest")),
        (r#"{"@type":"WebSocketPushEnable","dataTypes":"Email"}"#, (None, "notRequest")),
        (r#"{"@type":"WebSocketPushEnable","dataTypes":[1],"id":"7"}"#, (id(), "notRequest")),
        (r#"{"@type":"WebSocketPushEnable","pushState":1}"#, (None, "notRequest")),
    ] {
        let (id, kind) = refused(text);
        assert_eq!((id, &*kind), expected, "{text}");
    }
    let long = format!(r#"{{"@type":"Request","id":"{}"}}"#, "x".repeat(MOST_ID_BYTES + 1));
    assert_eq!(refused(&long), (None, "notRequest".to_owned()));
}

#[test]
fn a_response_says_whose_it_is() {
    let with = |id, body: &[u8]| value(&response(id, body).unwrap());
    assert_eq!(
        with(Some("R\"1"), br#" {"methodResponses":[],"sessionState":"s"}"#),
        json!({ "@type": "Response", "requestId": "R\"1", "methodResponses": [], "sessionState": "s" })
    );
    assert_eq!(with(None, b"{ }"), json!({ "@type": "Response" }));
    for other in [&b""[..], b"[]", b"  ", b"{", b"<html>", b"{\"a\":\"\xff\"}"] {
        assert_eq!(response(None, other), None);
    }
}

#[test]
fn an_error_says_whose_it_is_or_null() {
    let ours = request_error(None, &Problem::limit(413, "maxSizeRequest", "too large"));
    assert_eq!(
        value(&ours),
        json!({
            "@type": "RequestError", "requestId": null, "type": "urn:ietf:params:jmap:error:limit",
            "status": 413, "detail": "too large", "limit": "maxSizeRequest",
        })
    );
    let theirs = br#"{"type":"urn:x","status":400,"requestId":"forged","more":[1]}"#;
    assert_eq!(
        value(&upstream_error(Some("a"), theirs).unwrap()),
        json!({ "@type": "RequestError", "requestId": "a", "type": "urn:x", "status": 400, "more": [1] })
    );
    for other in [&b"<html>"[..], b"{}", b"\xff", b"[]"] {
        assert_eq!(upstream_error(None, other), None);
    }
}

#[test]
fn only_a_plain_echo_is_answered_here() {
    const CORE: &str = crate::jmap::capability::CORE;
    let body = |using: &str, calls: &str, more: &str| {
        format!(r#"{{"using":[{using}],"methodCalls":[{calls}]{more}}}"#)
    };
    let core = format!("\"{CORE}\"");
    let call = r#"["Core/echo",{"a": 1.0},"c\u0030"]"#;
    let echoed = echo(&body(&core, call, ""), "s").unwrap();
    assert_eq!(echoed, r#"{"methodResponses":[["Core/echo",{"a": 1.0},"c0"]],"sessionState":"s"}"#);
    for other in [
        body("", call, ""),
        body(&core, "", ""),
        body("\"urn:x\"", call, ""),
        body(&core, call, r#","createdIds":{}"#),
        body(&core, r##"["Core/echo",{"#a":{}},"c"]"##, ""),
        body(&core, r#"["Core/echo",[],"c"]"#, ""),
        body(&core, &format!(r#"{call},["Email/get",{{}},"d"]"#), ""),
    ] {
        assert_eq!(echo(&other, "s"), None, "{other}");
    }
}
