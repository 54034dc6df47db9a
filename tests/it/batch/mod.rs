//! Requests that call `PushSubscription` and others (RFC 8620 §5.8; A5, A6, A7, A8, A9, A10): answered partly by the
//! proxy, partly upstream. The method called is one that no version of the proxy has.

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Response;
use http_body_util::Full;
use jmap_push_proxy::config::PushMode;
use serde_json::{Value, json};

use crate::support::http::exchange;
use crate::support::rig::{Rig, call, setting};
use crate::support::upstream::{API, Fault, SESSION, account_of};
use crate::support::ws::Ws;

async fn rig() -> Rig {
    Rig::start(|config| config.push.mode = PushMode::Own).await
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

/// A call of ours.
fn ours(id: &str) -> Value {
    json!(["PushSubscription/none", {}, id])
}

fn echo(id: &str) -> Value {
    json!(["Core/echo", { "word": id }, id])
}

fn set(id: &str) -> Value {
    let mut call = setting(&account_of("alice"), "Email")[0].take();
    call[2] = id.into();
    call
}

async fn post(rig: &Rig, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut request = call("alice", &json!([]));
    *request.body_mut() = Full::new(body.into());
    exchange(rig.address, request).await.unwrap()
}

/// The type of each error, or the name of the response.
fn kinds(response: &Value) -> Vec<&str> {
    let responses = response["methodResponses"].as_array().unwrap().iter();
    responses.map(|it| it[1]["type"].as_str().unwrap_or(it[0].as_str().unwrap())).collect()
}

/// What the API was asked: the names of the calls of each request.
fn asked(rig: &Rig) -> Vec<Vec<String>> {
    let seen = rig.upstream.seen().into_iter().filter(|seen| seen.path == API);
    seen.map(|seen| {
        let request: Value = serde_json::from_slice(&seen.body).unwrap();
        let calls = request["methodCalls"].as_array().unwrap().iter();
        calls.map(|call| call[0].as_str().unwrap().to_owned()).collect()
    })
    .collect()
}

#[tokio::test]
async fn calls_of_ours_are_answered_between_those_of_upstream() {
    let rig = rig().await;
    let session = json_of(&rig.ask("GET", SESSION, "alice").await);
    let calls = json!([echo("a"), echo("b"), ours("p"), echo("c")]);
    let response = rig.call("alice", &calls).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    let response = json_of(&response);
    assert_eq!(kinds(&response), ["Core/echo", "Core/echo", "unknownMethod", "Core/echo"]);
    assert_eq!(response["methodResponses"][2][2], "p");
    assert_eq!(response["methodResponses"][3], echo("c"));
    assert_eq!(response["sessionState"], session["state"]);
    assert_eq!(response.get("createdIds"), None);
    assert_eq!(asked(&rig), [vec!["Core/echo", "Core/echo"], vec!["Core/echo"]]);
    rig.end().await;
}

#[tokio::test]
async fn a_web_socket_is_answered_the_same() {
    let rig = rig().await;
    let calls = json!([ours("p"), echo("a"), ours("q")]);
    let by_http = json_of(&rig.call("alice", &calls).await);
    let mut ws = Ws::open(&rig, "alice").await;
    ws.request("r", &calls).await;
    let mut response = ws.next().await.unwrap();
    let members = response.as_object_mut().unwrap();
    assert_eq!(members.remove("@type"), Some("Response".into()));
    assert_eq!(members.remove("requestId"), Some("r".into()));
    assert_eq!(response, by_http);
    rig.end().await;
}

#[tokio::test]
async fn a_request_of_ours_alone_is_authenticated_and_has_a_session_state() {
    let rig = rig().await;
    let response = json_of(&rig.call("alice", &json!([ours("p")])).await);
    assert_eq!(kinds(&response), ["unknownMethod"]);
    assert!(response["sessionState"].as_str().unwrap().starts_with("session-1-p"));
    assert_eq!(asked(&rig), [["Core/echo"]]);
    let response = rig.call("nobody", &json!([ours("p")])).await;
    assert_eq!((response.status().as_u16(), &**response.body()), (401, &b"who are you?"[..]));
    assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"mail\"");
    rig.end().await;
}

/// The figure of issue 5: no request beyond those that upstream's calls need.
#[tokio::test]
async fn one_call_of_ours_before_others_costs_upstream_no_request() {
    let rig = rig().await;
    rig.ask("GET", SESSION, "alice").await;
    rig.call("alice", &json!([ours("p"), echo("a"), echo("b")])).await;
    assert_eq!(asked(&rig), [["Core/echo", "Core/echo"]]);
    rig.end().await;
}

#[tokio::test]
async fn an_escaped_name_is_a_name_and_a_compressed_body_a_body() {
    let rig = rig().await;
    let body = r#"{"using":["urn:ietf:params:jmap:core"],"methodCalls":[["\u0050ushSubscription\/none",{},"p"]]}"#;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut encoder, body.as_bytes()).unwrap();
    // Nobody knows who this is when the body comes.
    let mut request = call("bob", &json!([]));
    *request.body_mut() = Full::from(encoder.finish().unwrap());
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let response = exchange(rig.address, request).await.unwrap();
    assert_eq!(kinds(&json_of(&response)), ["unknownMethod"]);
    let seen = rig.upstream.last(API);
    assert!(!seen.headers.contains_key("content-encoding"));
    assert_eq!(asked(&rig), [["Core/echo"]]);
    rig.end().await;
}

#[tokio::test]
async fn states_in_a_part_are_told_to_streams() {
    let rig = rig().await;
    let mut stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let response = json_of(&rig.call("alice", &json!([ours("p"), set("s"), ours("q")])).await);
    let new = response["methodResponses"][1][1]["newState"].as_str().unwrap();
    stream.told(&account_of("alice"), "Email", new).await;
    rig.end().await;
}

#[tokio::test]
async fn a_first_part_that_fails_is_passed_on_and_a_later_one_told_by_call() {
    let rig = rig().await;
    let calls = json!([set("a"), ours("p"), echo("b")]);
    rig.upstream.fail("Email/set", Fault::Status(418), 1);
    let response = rig.call("alice", &calls).await;
    assert_eq!((response.status().as_u16(), &**response.body()), (418, &b"out of order"[..]));
    let calls = json!([echo("a"), ours("p"), set("b"), ours("q"), echo("c")]);
    for (fault, expected) in [
        (Fault::Status(503), ["serverUnavailable", "Core/echo"]),
        (Fault::Status(400), ["serverFail", "Core/echo"]),
        (Fault::Status(500), ["serverPartialFail", "Core/echo"]),
        (Fault::Truncate, ["serverPartialFail", "serverUnavailable"]),
        (Fault::Close, ["serverPartialFail", "serverUnavailable"]),
    ] {
        let shown = format!("{fault:?}");
        rig.upstream.fail("Email/set", fault, 1);
        let before = rig.upstream.times_asked("Email/set");
        let response = rig.call("alice", &calls).await;
        assert_eq!(response.status(), 200, "{shown}");
        let [b, c] = expected;
        let all = ["Core/echo", "unknownMethod", b, "unknownMethod", c];
        assert_eq!(kinds(&json_of(&response)), all, "{shown}");
        assert_eq!(rig.upstream.times_asked("Email/set"), before + 1, "{shown}: replayed");
        rig.upstream.heal();
    }
    rig.end().await;
}

#[tokio::test]
async fn more_calls_than_upstream_allows_are_refused_before_any_is_made() {
    let rig = rig().await;
    let mut calls = vec![echo("a"); 16];
    calls.push(ours("p"));
    let response = rig.call("alice", &json!(calls)).await;
    let problem = json_of(&response);
    assert_eq!((response.status().as_u16(), &problem["limit"]), (400, &json!("maxCallsInRequest")));
    assert_eq!(asked(&rig), Vec::<Vec<String>>::new());
    rig.end().await;
}

/// Protocol.md §5.4.1: an upstream that has the type itself would make something of it.
#[tokio::test]
async fn what_cannot_be_read_and_may_call_ours_never_reaches_upstream() {
    let rig = rig().await;
    rig.ask("GET", SESSION, "alice").await;
    let using = r#""using":["urn:ietf:params:jmap:core"]"#;
    let ours = r#"["PushSubscription/none",{},"p"]"#;
    let many = r#"["Core/echo",{},"e"],"#.repeat(1024);
    for (body, limit) in [
        (format!(r#"{{{using},"methodCalls":[],"methodCalls":[{ours}]}}"#), Value::Null),
        (format!(r#"{{{using},"methodCalls":[[],{ours}]}}"#), Value::Null),
        (format!(r#"{{{using},"methodCalls":[{many}{ours}]}}"#), json!("maxCallsInRequest")),
    ] {
        let response = post(&rig, body.clone()).await;
        let problem = json_of(&response);
        assert_eq!((response.status().as_u16(), &problem["limit"]), (400, &limit), "{problem}");
        let mut ws = Ws::open(&rig, "alice").await;
        ws.send(body.replacen('{', r#"{"@type":"Request","id":"r","#, 1)).await;
        let error = ws.next_of("RequestError").await;
        assert_eq!((&error["type"], &error["limit"]), (&problem["type"], &limit), "{error}");
    }
    assert_eq!(asked(&rig), Vec::<Vec<String>>::new());
    // A member that is there twice in a call of upstream's is upstream's to judge.
    let twice = r#"["Core/echo",{"accountId":"a","accountId":"b"},"e"]"#;
    let body = format!(r#"{{{using},"methodCalls":[{twice},{ours}]}}"#);
    let response = json_of(&post(&rig, body).await);
    assert_eq!(kinds(&response), ["Core/echo", "unknownMethod"]);
    assert_eq!(asked(&rig), [["Core/echo"]]);
    rig.end().await;
}
