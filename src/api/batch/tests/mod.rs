//! One behaviour each; and [`model`], which says what a server with `PushSubscription` would answer.

use proptest::prelude::*;
use serde_json::json;

use self::model::{CORE, FOO, OURS, Server};
use super::*;
use crate::jmap::capability::OWN;

mod bombs;
mod model;

const REFPLUS: &str = "urn:ietf:params:jmap:refplus";

fn terms<'a>(is_known: &'a dyn Fn(&str) -> bool) -> Terms<'a> {
    Terms { own: OWN, is_known, max_calls: Some(16), session_state: "last" }
}

fn batch(request: &Value) -> Batch {
    Batch::new(request.to_string().as_bytes(), &terms(&|_| true)).unwrap()
}

fn of(calls: &Value) -> Batch {
    batch(&json!({ "using": [CORE], "methodCalls": calls }))
}

/// The sub-request that is due.
fn sent(batch: &mut Batch) -> Value {
    match batch.step() {
        Step::Upstream(body) => serde_json::from_slice(&body).unwrap(),
        step => panic!("{step:?}"),
    }
}

fn own(batch: &mut Batch) -> OwnCall {
    match batch.step() {
        Step::Own(call) => call,
        step => panic!("{step:?}"),
    }
}

fn done(batch: &mut Batch) -> Value {
    match batch.step() {
        Step::Done(body) => serde_json::from_slice(&body).unwrap(),
        step => panic!("{step:?}"),
    }
}

fn tell(batch: &mut Batch, responses: &Value) {
    let response = json!({ "methodResponses": responses, "sessionState": "s" });
    batch.upstream(Ok(response.to_string().as_bytes()));
}

fn refused(body: &[u8]) -> Problem {
    Batch::new(body, &terms(&|_| true)).unwrap_err()
}

fn kinds(response: &Value) -> Vec<&str> {
    let responses = response["methodResponses"].as_array().unwrap().iter();
    responses.map(|it| it[1]["type"].as_str().unwrap_or(it[0].as_str().unwrap())).collect()
}

/// A8, protocol.md §5.4.2.
#[test]
fn runs_keep_their_bytes_and_their_order() {
    let body = r#" {"odd": 1.0e+2, "using":["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:websocket"],
        "methodCalls" : [["A/set",{"\u0061": 1.00},"a"] , [ "B/get", {}, "b" ],["PushSubscription\/get",{},"p"],
        ["C/get", {"x":"\ud800"},"c"]], "odd":"\u00e9"}"#;
    let mut batch = Batch::new(body.as_bytes(), &terms(&|_| true)).unwrap();
    let Step::Upstream(first) = batch.step() else { panic!("upstream comes first") };
    let expected = r#" {"odd": 1.0e+2, "using":["urn:ietf:params:jmap:core"],
        "methodCalls" : [["A/set",{"\u0061": 1.00},"a"],[ "B/get", {}, "b" ]],"createdIds":{}, "odd":"\u00e9"}"#;
    assert_eq!(str::from_utf8(&first).unwrap(), expected);
    batch.upstream(Ok(br#"{"sessionState":"s1","methodResponses":[["A/set",{"n": 1.00},"a"], ["B/get",{ },"b"]]}"#));
    assert_eq!(own(&mut batch).name, "PushSubscription/get");
    batch.own(vec![("PushSubscription/get".into(), json!({ "list": [] }))], Vec::new());
    let Step::Upstream(second) = batch.step() else { panic!("C is upstream's") };
    let second = str::from_utf8(&second).unwrap();
    assert!(
        second.contains(r#"[["C/get", {"x":"\ud800"},"c"]],"createdIds":{}, "odd""#),
        "{second}"
    );
    batch.upstream(Ok(
        br#"{"methodResponses":[["C/get",{},"c"]],"createdIds":{},"sessionState":"s2"}"#,
    ));
    let Step::Done(response) = batch.step() else { panic!("all is answered") };
    let expected = r#"{"methodResponses":[["A/set",{"n": 1.00},"a"],["B/get",{ },"b"],["PushSubscription/get",{"list":[]},"p"],["C/get",{},"c"]],"sessionState":"s2"}"#;
    assert_eq!(str::from_utf8(&response).unwrap(), expected);
}

/// Protocol.md §5.4.5.
#[test]
fn what_calls_ours_only_asks_upstream_first_all_the_same() {
    let mut batch = of(&json!([["PushSubscription/get", {}, "p"]]));
    assert_eq!(sent(&mut batch)["methodCalls"], json!([["Core/echo", {}, "0"]]));
    tell(&mut batch, &json!([["error", { "type": "unknownMethod" }, "0"]]));
    own(&mut batch);
    batch.own(vec![("PushSubscription/get".into(), json!({}))], Vec::new());
    let expected =
        json!({ "methodResponses": [["PushSubscription/get", {}, "p"]], "sessionState": "s" });
    assert_eq!(done(&mut batch), expected);
}

/// Protocol.md §5.4.8; §3.6.1 `unknownCapability` refuses the whole request, which is to be known before ours acts.
#[test]
fn upstream_is_asked_first_about_capabilities_that_its_session_does_not_list() {
    let calls = json!([["PushSubscription/set", {}, "p"], ["Core/echo", {}, "e"]]);
    let request = json!({ "using": [CORE, "urn:x"], "methodCalls": calls });
    let is_known = |urn: &str| urn == CORE;
    let mut batch = Batch::new(request.to_string().as_bytes(), &terms(&is_known)).unwrap();
    assert_eq!(sent(&mut batch)["using"], json!([CORE, "urn:x"]));
    batch.upstream(Err(Failed::Refused(400)));
    assert_eq!(batch.step(), Step::Pass);
    // What is known costs no question.
    own(&mut of(&calls));
}

#[test]
fn a_first_part_that_fails_is_the_answer() {
    for failed in [Failed::Unreachable, Failed::Busy, Failed::Broken, Failed::Unreadable] {
        let mut batch = of(&json!([["A/get", {}, "a"], ["PushSubscription/set", {}, "p"]]));
        sent(&mut batch);
        batch.upstream(Err(failed));
        assert_eq!(batch.step(), Step::Pass);
    }
    // The last two are what serde takes for a struct whose members are not named.
    for unreadable in [&b"<html>"[..], b"{", b"null", br#"[[],{},"s"]"#, b" [[],{}]"] {
        let mut batch = of(&json!([["A/get", {}, "a"], ["PushSubscription/set", {}, "p"]]));
        sent(&mut batch);
        batch.upstream(Ok(unreadable));
        assert_eq!(batch.step(), Step::Pass);
    }
}

/// A6, protocol.md §5.4.7; §3.6.2: `serverFail` says that nothing was changed.
#[test]
fn a_later_part_that_fails_is_told_call_by_call() {
    for (failed, expected) in [
        (Failed::Unreachable, ["serverUnavailable", "serverUnavailable"]),
        (Failed::Busy, ["serverUnavailable", "serverUnavailable"]),
        (Failed::Refused(400), ["serverFail", "serverFail"]),
        (Failed::Broken, ["serverPartialFail", "serverFail"]),
        (Failed::Unreadable, ["serverPartialFail", "serverFail"]),
    ] {
        let mut batch = of(&json!([
            ["PushSubscription/set", {}, "p"],
            ["A/set", {}, "a"],
            ["A/get", {}, "b"],
            ["PushSubscription/get", {}, "q"],
            ["A/get", {}, "c"],
        ]));
        own(&mut batch);
        batch.own(vec![("PushSubscription/set".into(), json!({}))], Vec::new());
        sent(&mut batch);
        batch.upstream(Err(failed));
        own(&mut batch);
        batch.own(vec![("PushSubscription/get".into(), json!({}))], Vec::new());
        // Of an upstream that is gone nobody asks for more.
        let is_gone = matches!(failed, Failed::Unreachable | Failed::Broken);
        if !is_gone {
            sent(&mut batch);
            tell(&mut batch, &json!([["A/get", {}, "c"]]));
        }
        let last = if is_gone { "serverUnavailable" } else { "A/get" };
        let response = done(&mut batch);
        let [a, b] = expected;
        let all = ["PushSubscription/set", a, b, "PushSubscription/get", last];
        assert_eq!(kinds(&response), all, "{failed:?}");
        assert_eq!(response["sessionState"], if is_gone { "last" } else { "s" });
        assert!(response["methodResponses"][1][1]["description"].is_string());
    }
}

#[test]
fn a_batch_whose_last_calls_cannot_be_sent_asks_for_the_session_state() {
    let reference = json!({ "resultOf": "p", "name": "X/get", "path": "" });
    let mut batch =
        of(&json!([["PushSubscription/get", {}, "p"], ["A/get", { "#ids": reference }, "a"]]));
    own(&mut batch);
    batch.own(vec![("PushSubscription/get".into(), json!({}))], Vec::new());
    assert_eq!(sent(&mut batch)["methodCalls"][0][0], "Core/echo");
    batch.upstream(Err(Failed::Busy));
    let response = done(&mut batch);
    assert_eq!(kinds(&response), ["PushSubscription/get", "invalidResultReference"]);
    assert_eq!(response["sessionState"], "last");
}

/// A10: upstream's calls go as one request, for only upstream knows what they refer to.
#[test]
fn enhanced_references_fail_calls_of_ours_only() {
    let calls = json!([
        ["PushSubscription/get", {}, "p"],
        ["A/set", {}, "a"],
        ["PushSubscription/set", {}, "q"],
        ["A/get", {}, "b"],
        ["PushSubscription/set", {}, "r"],
    ]);
    let mut batch = batch(&json!({ "using": [CORE, REFPLUS], "methodCalls": calls }));
    assert_eq!(sent(&mut batch)["methodCalls"], json!([["A/set", {}, "a"], ["A/get", {}, "b"]]));
    tell(&mut batch, &json!([["A/set", {}, "a"], ["A/get", {}, "a"], ["A/get", {}, "b"]]));
    let response = done(&mut batch);
    let ids: Vec<_> =
        response["methodResponses"].as_array().unwrap().iter().map(|it| &it[2]).collect();
    assert_eq!(ids, ["p", "a", "a", "q", "b", "r"]);
    let error = &response["methodResponses"][3];
    assert_eq!((&error[0], &error[1]["type"]), (&json!("error"), &json!("serverFail")));
    assert!(error[1]["description"].as_str().unwrap().contains(REFPLUS));
}

/// Protocol.md §5.4.4.
#[test]
fn limits_are_counted_on_the_original() {
    let calls = vec![json!(["PushSubscription/get", {}, "p"]); 17];
    let problem = refused(json!({ "using": [CORE], "methodCalls": calls }).to_string().as_bytes());
    assert_eq!((problem.status, problem.limit), (400, Some("maxCallsInRequest")));
}

/// A9, protocol.md §5.4.2.
#[test]
fn ids_of_ours_go_where_those_of_others_go() {
    let mut batch = batch(&json!({
        "using": [CORE],
        "createdIds": { "old": "o1" },
        "methodCalls": [
            ["PushSubscription/set", { "create": { "k": {} } }, "p"],
            ["A/set", { "create": { "m": {} } }, "a"],
            ["PushSubscription/set", { "update": { "#k": {}, "x": {} }, "destroy": ["#k", "#z"] }, "q"],
            ["PushSubscription/get", { "ids": ["#k", "#m"] }, "r"],
        ],
    }));
    own(&mut batch);
    batch.own(vec![("PushSubscription/set".into(), json!({}))], vec![("k".into(), "p1".into())]);
    assert_eq!(sent(&mut batch)["createdIds"], json!({ "k": "p1", "old": "o1" }));
    batch.upstream(Ok(br#"{"methodResponses":[],"createdIds":{"k":"p1","old":"o1","m":"a1"}}"#));
    own(&mut batch);
    batch.own(Vec::new(), Vec::new());
    own(&mut batch);
    let ids = ["k", "m", "old", "z"].map(|name| batch.created(name).map(str::to_owned));
    assert_eq!(ids, [Some("p1".into()), Some("a1".into()), Some("o1".into()), None]);
    batch.own(Vec::new(), Vec::new());
    sent(&mut batch);
    batch.upstream(Err(Failed::Broken));
    assert_eq!(done(&mut batch)["createdIds"], json!({ "k": "p1", "m": "a1", "old": "o1" }));
}

/// A9: the client need not want to be told of it.
#[test]
fn ours_know_what_upstream_created_before_them() {
    for ids in [r##"["#m"]"##, r#"["\u0023m"]"#] {
        let calls = format!(
            r#"[["A/set",{{"create":{{"m":{{}}}}}},"a"],["PushSubscription/get",{{"ids":{ids}}},"p"]]"#
        );
        let body = format!(r#"{{"using":["{CORE}"],"methodCalls":{calls}}}"#);
        let mut batch = Batch::new(body.as_bytes(), &terms(&|_| true)).unwrap();
        assert_eq!(sent(&mut batch)["createdIds"], json!({}));
        batch.upstream(Ok(br#"{"methodResponses":[],"createdIds":{"m":"a1"},"sessionState":"s"}"#));
        own(&mut batch);
        assert_eq!(batch.created("m"), Some("a1"));
        batch.own(Vec::new(), Vec::new());
        assert_eq!(done(&mut batch).get("createdIds"), None);
    }
}

fn identifier() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["0", "1", "2", "3", "4", "5"])
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Foo/get",
        "Foo/set",
        "Foo/none",
        "Core/echo",
        "PushSubscription/get",
        "PushSubscription/set",
        "PushSubscription/none",
    ])
}

fn an_id() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["f0", "p0", "#a", "#b", "#c", "#z", "x"])
}

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "/list/*/id",
        "/list/0/id",
        "/notFound",
        "/created/a/id",
        "/ids",
        "/destroyed",
        "/x/*",
    ])
}

fn arguments() -> impl Strategy<Value = Value> {
    let reference = (identifier(), name(), path());
    let reference = reference
        .prop_map(|(of, name, path)| json!({ "resultOf": of, "name": name, "path": path }));
    let reference = prop_oneof![9 => reference, 1 => Just(json!("0"))].boxed();
    let ids = prop::collection::vec(an_id(), 0..3).prop_map(|ids| json!(ids)).boxed();
    let create = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..3);
    let create = (create, an_id()).prop_map(|(names, like)| {
        names.into_iter().map(|name| (name.to_owned(), json!({ "like": like }))).collect::<Value>()
    });
    let update = an_id().prop_map(|id| json!({ id: { "n": 1 } }));
    let member = prop_oneof![
        3 => ids.clone().prop_map(|ids| ("ids", ids)),
        3 => reference.clone().prop_map(|it| ("#ids", it)),
        2 => reference.clone().prop_map(|it| ("#destroy", it)),
        1 => reference.prop_map(|it| ("#x", it)),
        3 => create.prop_map(|it| ("create", it)),
        1 => update.prop_map(|it| ("update", it)),
        1 => ids.prop_map(|it| ("destroy", it)),
    ];
    prop::collection::vec(member, 0..3).prop_map(|members| {
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    })
}

fn request() -> impl Strategy<Value = Value> {
    let calls = prop::collection::vec((name(), arguments(), identifier()), 1..9);
    let using = prop_oneof![
        8 => Just(vec![CORE, FOO]),
        3 => Just(vec![OURS, CORE, FOO]),
        1 => Just(vec![CORE]),
        1 => Just(vec![FOO]),
        1 => Just(vec![CORE, FOO, "urn:unknown"]),
    ];
    let created =
        prop::option::of(prop_oneof![Just(json!({})), Just(json!({ "z": "f0", "a": "old" })),]);
    (using, calls, created).prop_map(|(using, calls, created)| {
        let mut request = json!({ "using": using, "methodCalls": calls });
        if let Some(created) = created {
            request["createdIds"] = created;
        }
        request
    })
}

/// A7, protocol.md §5.4.3: what a client sees of a server without `PushSubscription` behind the split.
fn split(server: &mut Server, request: &Value, lists: bool) -> Result<Value, &'static str> {
    let is_known = |urn: &str| lists && [CORE, FOO].contains(&urn);
    let mut batch = Batch::new(request.to_string().as_bytes(), &terms(&is_known)).unwrap();
    let mut passed = Err("nothing");
    loop {
        match batch.step() {
            Step::Upstream(body) => {
                assert!(!str::from_utf8(&body).unwrap().contains("[\"PushSubscription/"));
                passed = server.answer(&body);
                match &passed {
                    Ok(response) => batch.upstream(Ok(response.to_string().as_bytes())),
                    Err(_) => batch.upstream(Err(Failed::Refused(400))),
                }
            }
            Step::Own(OwnCall { name, arguments, .. }) => {
                let mut created = ["a", "b", "c", "z"]
                    .into_iter()
                    .filter_map(|name| Some((name.to_owned(), batch.created(name)?.to_owned())))
                    .collect();
                let (name, arguments) = server.push(&name, &arguments, &mut created);
                batch.own(vec![(name, arguments)], created.into_iter().collect());
            }
            Step::Pass => return passed,
            Step::Done(body) => return Ok(serde_json::from_slice(&body).unwrap()),
        }
    }
}

fn without_descriptions(mut response: Value) -> Value {
    for response in response["methodResponses"].as_array_mut().unwrap() {
        if response[0] == "error" {
            response[1].as_object_mut().unwrap().remove("description");
        }
    }
    response
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_client_cannot_tell_the_split_from_a_server_that_has_it_all(request in request(), lists: bool) {
        let mut native = Server { is_native: true, ..Server::default() };
        let mut without = Server::default();
        let expected = native.answer(request.to_string().as_bytes());
        let found = split(&mut without, &request, lists).map(without_descriptions);
        prop_assert_eq!(found, expected);
        // No more requests than the alternation of calls makes necessary.
        let calls = request["methodCalls"].as_array().unwrap().len();
        prop_assert!(without.requests <= calls + 1);
    }

    /// B7: no bytes whatever make it panic, and what it sends upstream is JSON.
    #[test]
    fn any_bytes_are_refused_or_split(cut in 0_usize..400, byte: u8, request in request()) {
        let mut body = request.to_string().into_bytes();
        let at = cut % body.len();
        body[at] = byte;
        if let Ok(mut batch) = Batch::new(&body, &terms(&|_| true)) {
            loop {
                match batch.step() {
                    Step::Upstream(body) => {
                        serde_json::from_slice::<&RawValue>(&body).unwrap();
                        tell(&mut batch, &json!([["Foo/get", { "list": [] }, "0"]]));
                    }
                    Step::Own(_) => batch.own(vec![("error".into(), json!({}))], Vec::new()),
                    Step::Pass => break,
                    Step::Done(body) => {
                        serde_json::from_slice::<Value>(&body).unwrap();
                        break;
                    }
                }
            }
        }
    }
}
