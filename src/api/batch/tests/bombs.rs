//! Requests that are none, or more than they seem (B7).

use super::*;

/// B7.
#[test]
fn what_is_no_request_is_refused_as_a_whole() {
    let calls = |calls: &str| format!(r#"{{"using":["{CORE}"],"methodCalls":{calls}}}"#);
    let push = r#"["PushSubscription/get",{},"p"]"#;
    let (json, request) = ("notJSON", "notRequest");
    let many = calls(&format!("[{}{push}]", "[\"a\",{},\"b\"],".repeat(1_000_000)));
    for (body, kind) in [
        (String::new(), json),
        ("{".into(), json),
        (format!("\u{feff}{}", calls("[]")), json),
        (calls(&format!("[{push}]\0")), json),
        (calls(&format!("[{push}]")) + "x", json),
        ("[]".into(), request),
        ("{}".into(), request),
        (calls("{}"), request),
        (calls("[[]]"), request),
        (calls(r#"[["PushSubscription/get",[],"p"]]"#), request),
        (calls(r#"[["PushSubscription/get",{},"p",1]]"#), request),
        (calls(r#"[["PushSubscription/get",{},"\ud800"]]"#), request),
        (calls(r#"[],"methodCalls":[]"#), request),
        (calls(r#"[],"usin\u0067":[]"#), request),
        (calls(r#"[],"createdIds":[]"#), request),
        (calls(r#"[],"createdIds":{"a":1}"#), request),
        (format!(r#"{{"using":["a",1],"methodCalls":[{push}]}}"#), request),
        (many, "limit"),
    ] {
        let problem = refused(body.as_bytes());
        let shown = body.get(..60).unwrap_or(&body);
        assert!(problem.kind.ends_with(kind) && problem.status == 400, "{shown}: {problem:?}");
    }
    assert!(refused(b"{\"using\":[],\"methodCalls\":[],\"a\":\"\xff\"}").kind.ends_with(json));
}

/// B7, protocol.md §5.4.1.
#[test]
fn what_the_scanner_cannot_read_is_ours_if_it_is_json_and_may_call_ours() {
    let calls = |calls: &str| format!(r#"{{"using":["{CORE}"],"methodCalls":[{calls}]}}"#);
    let push = r#"["PushSubscription/get",{},"p"]"#;
    let twice = r#"["Email/set",{"accountId":"a","accountId":"b","x":"PushSubscription/"},"0"]"#;
    for (body, is_ours) in [
        (calls(&format!("{twice},{push}")), true),
        (calls(&format!(r#"{twice},["PushSub\u0073cription\/get",{{}},"p"]"#)), true),
        (calls(&format!("[],{push}")), true),
        (calls(&format!("{}{push}", "[\"a\",{},\"b\"],".repeat(1024))), true),
        (calls(&format!(r#"{push}],"methodCalls":["#)), true),
        (calls(&format!(r#"{push}],"\ud800":["#)), true),
        (format!("[{push}]"), true),
        // It tells of it, in what is not called.
        (calls(twice), false),
        (calls("[]"), false),
        (calls(r#"["Email/set",["\u00e9"],"0"]"#), false),
        // Not JSON.
        (calls(&format!("{twice},{push}")) + "x", false),
        (calls(push).replace("],\"m", "]\"m"), false),
    ] {
        assert!(crate::api::Request::scan(body.as_bytes()).is_none(), "{body}");
        assert_eq!(may_call_own(body.as_bytes()), is_ours, "{body}");
    }
}

/// B7: whatever upstream would say of them, ours takes no such arguments.
#[test]
fn arguments_that_are_not_i_json_fail_their_call() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let long = format!(r#"{{"{}":1}}"#, "k".repeat(10 << 20));
    for (arguments, kind) in [
        (r#"{"a":1,"a":2}"#, "invalidArguments"),
        (r#"{"a":1e400}"#, "invalidArguments"),
        (r#"{"a":"\ud800"}"#, "invalidArguments"),
        (r##"{"a":1,"#a":1}"##, "invalidArguments"),
        (r##"{"#a":1}"##, "invalidResultReference"),
        (
            r##"{"#a":{"resultOf":"e","name":"Core/echo","path":"/deep"},"b":1}"##,
            "invalidArguments",
        ),
        (deep.as_str(), "invalidArguments"),
        (long.as_str(), "requestTooLarge"),
    ] {
        let calls =
            format!(r#"[["Core/echo",{{}},"e"],["\u0050ushSubscription/set",{arguments},"p"]]"#);
        let body = format!(r#"{{"using":["{CORE}"],"methodCalls":{calls}}}"#);
        let mut batch = Batch::new(body.as_bytes(), &terms(&|_| true)).unwrap();
        sent(&mut batch);
        let nested = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let response = format!(
            r#"{{"methodResponses":[["Core/echo",{{"deep":{nested}}},"e"]],"sessionState":"s"}}"#
        );
        batch.upstream(Ok(response.as_bytes()));
        // Too deep to be read with serde's own values.
        let Step::Done(response) = batch.step() else { panic!("{kind}") };
        assert!(str::from_utf8(&response).unwrap().contains(&format!("\"type\":\"{kind}\"")));
    }
}

/// A request may refer to one large result a thousand times.
#[test]
fn references_do_not_multiply_what_is_sent() {
    let reference = json!({ "resultOf": "e", "name": "Core/echo", "path": "/x" });
    let mut calls = vec![json!(["Core/echo", {}, "e"]), json!(["PushSubscription/get", {}, "p"])];
    calls.extend((0..12).map(|_| json!(["Core/echo", { "#x": reference }, "r"])));
    let mut batch = of(&json!(calls));
    sent(&mut batch);
    tell(&mut batch, &json!([["Core/echo", { "x": "x".repeat(8 << 20) }, "e"]]));
    own(&mut batch);
    batch.own(vec![("PushSubscription/get".into(), json!({}))], Vec::new());
    let Step::Upstream(body) = batch.step() else { panic!("some are sent") };
    assert!(body.len() < MOST_FOLLOWED);
    tell(&mut batch, &json!([]));
    let response = done(&mut batch);
    assert_eq!(kinds(&response).last(), Some(&"requestTooLarge"));
}
