//! API requests over a WebSocket (RFC 8887 §4.3.2-§4.3.4).

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::rig::{Rig, setting};
use crate::support::upstream::{API, Fault, account_of};
use crate::support::ws::Ws;

fn echo(word: &str) -> Value {
    json!([["Core/echo", { "word": word }, "c1"]])
}

#[tokio::test]
async fn a_request_is_answered_as_by_http() {
    let rig = Rig::start(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    ws.request("req-36", &echo("hello")).await;
    let mut response = ws.next().await.unwrap();
    let by_http = rig.call("alice", &echo("hello")).await;
    let mut expected: Value = serde_json::from_slice(by_http.body()).unwrap();
    expected["@type"] = "Response".into();
    expected["requestId"] = "req-36".into();
    assert_eq!(response, expected);
    // What is sent upstream is what a client sends by HTTP, with the same credentials.
    let seen = rig.upstream.seen();
    let [over_ws, over_http] = seen.last_chunk().unwrap();
    assert_eq!(over_ws.body, over_http.body);
    for name in ["authorization", "content-type", "host", "via", "x-forwarded-for"] {
        assert_eq!(over_ws.headers.get(name), over_http.headers.get(name), "{name}");
    }
    assert!(response["sessionState"].take().as_str().unwrap().contains("-p"));
    rig.end().await;
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_the_connection_goes_on() {
    let rig = Rig::start(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    for (text, id, kind) in [
        ("The quick brown fox", Value::Null, "notJSON"),
        (r#"{"id":"a","using":[],"methodCalls":[]}"#, "a".into(), "notRequest"),
        (r#"{"@type":42,"id":"b"}"#, "b".into(), "notRequest"),
        (r#"{"@type":"unknown","id":"c"}"#, "c".into(), "notRequest"),
        (r#"{"@type":"Response","id":"d"}"#, "d".into(), "notRequest"),
    ] {
        ws.send(text).await;
        let error = ws.next().await.unwrap();
        assert_eq!(error["@type"], "RequestError");
        assert_eq!(error["requestId"], id, "{text}");
        assert_eq!(error["type"], format!("urn:ietf:params:jmap:error:{kind}"));
        assert_eq!(error["status"], 400);
    }
    ws.request("e", &echo("still here")).await;
    assert_eq!(ws.next().await.unwrap()["requestId"], "e");
    rig.end().await;
}

#[tokio::test]
async fn upstreams_errors_are_request_errors() {
    let rig = Rig::start(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    rig.upstream.fail(API, Fault::Status(503), 1);
    ws.request("a", &echo("x")).await;
    let error = ws.next().await.unwrap();
    assert_eq!((&error["@type"], &error["requestId"]), (&"RequestError".into(), &"a".into()));
    assert_eq!(error["status"], 503);
    rig.upstream.fail(API, Fault::Close, 1);
    ws.request("b", &echo("x")).await;
    let error = ws.next().await.unwrap();
    assert_eq!((&error["requestId"], &error["status"]), (&"b".into(), &502.into()));
    rig.end().await;
}

#[tokio::test]
async fn requests_run_side_by_side_and_are_answered_as_they_are_done() {
    let rig = Rig::start(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail("Slow/get", Fault::Hold(Arc::clone(&gate)), 1);
    ws.request("slow", &json!([["Slow/get", {}, "c"]])).await;
    rig.upstream.asked("Slow/get", 1).await;
    ws.request("quick", &echo("x")).await;
    assert_eq!(ws.next().await.unwrap()["requestId"], "quick");
    gate.add_permits(1);
    assert_eq!(ws.next().await.unwrap()["requestId"], "slow");
    rig.end().await;
}

#[tokio::test]
async fn a_slow_request_holds_up_neither_push_nor_what_is_said_of_it() {
    let rig = Rig::start(|config| config.websocket.throttle = std::time::Duration::ZERO).await;
    let mut ws = Ws::open(&rig, "alice").await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail("Slow/get", Fault::Hold(Arc::clone(&gate)), 1);
    ws.request("slow", &json!([["Slow/get", {}, "c"]])).await;
    rig.upstream.asked("Slow/get", 1).await;
    ws.enable(json!({})).await;
    let new = rig.change("alice", "Email").await;
    ws.told(&account_of("alice"), "Email", &new).await;
    gate.add_permits(1);
    assert_eq!(ws.next_of("Response").await["requestId"], "slow");
    rig.end().await;
}

/// W6: over HTTP and all WebSockets, no more than upstream allows.
#[tokio::test]
async fn a_users_requests_together_are_no_more_than_upstream_allows() {
    let rig = Rig::start(|_| {}).await;
    let (mut one, mut other) = (Ws::open(&rig, "alice").await, Ws::open(&rig, "alice").await);
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail("Slow/get", Fault::Hold(Arc::clone(&gate)), u32::MAX);
    let slow = json!([["Slow/get", {}, "c"]]);
    // The Session says 8.
    for _ in 0..7 {
        one.request("1", &slow).await;
    }
    let mut by_http = Box::pin(rig.call("alice", &slow));
    tokio::select! {
        _ = &mut by_http => panic!("it is held"),
        () = rig.upstream.asked("Slow/get", 8) => {}
    }
    other.request("2", &slow).await;
    other.synchronize().await;
    let mut bob = Ws::open(&rig, "bob").await;
    bob.request("3", &slow).await;
    rig.upstream.asked("Slow/get", 9).await;
    let of_alice = |seen: &crate::support::upstream::Seen| {
        seen.path == API && seen.headers["authorization"] == "Bearer alice"
    };
    assert_eq!(rig.upstream.seen().iter().filter(|seen| of_alice(seen)).count(), 8);
    gate.add_permits(100);
    assert_eq!(by_http.await.status(), 200);
    assert_eq!(other.next().await.unwrap()["requestId"], "2");
    rig.end().await;
}

#[tokio::test]
async fn what_a_request_changes_is_pushed_to_all_and_known_capabilities_of_ours_go_no_further() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let mut ws = Ws::open(&rig, "alice").await;
    let request = json!({
        "@type": "Request", "id": "1",
        "using": ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:websocket"],
        "methodCalls": setting(&account_of("alice"), "Email"),
    });
    ws.send(request.to_string()).await;
    let response = ws.next_of("Response").await;
    let new = response["methodResponses"][0][1]["newState"].as_str().unwrap();
    stream.told(&account_of("alice"), "Email", new).await;
    let sent: Value = serde_json::from_slice(&rig.upstream.last(API).body).unwrap();
    assert_eq!(sent["using"], json!(["urn:ietf:params:jmap:core"]));
    assert!(sent.get("@type").is_none() && sent.get("id").is_none());
    rig.end().await;
}

#[tokio::test]
async fn an_echo_is_answered_here_if_the_operator_says_so() {
    let rig = Rig::start(|config| config.websocket.answer_echo = true).await;
    let mut ws = Ws::open(&rig, "alice").await;
    ws.request("1", &echo("x")).await;
    let here = ws.next().await.unwrap();
    assert_eq!(rig.upstream.times_asked("Core/echo"), 0);
    let by_http = rig.call("alice", &echo("x")).await;
    let upstream: Value = serde_json::from_slice(by_http.body()).unwrap();
    assert_eq!(here["methodResponses"], upstream["methodResponses"]);
    assert_eq!(here["sessionState"], upstream["sessionState"]);
    rig.end().await;
}

#[tokio::test]
async fn a_response_that_is_too_large_is_asked_for_by_http() {
    let rig = Rig::start(|config| config.websocket.response_size = 100).await;
    let mut ws = Ws::open(&rig, "alice").await;
    ws.request("1", &echo(&"x".repeat(200))).await;
    let error = ws.next().await.unwrap();
    assert_eq!((&error["requestId"], &error["status"]), (&"1".into(), &502.into()));
    assert!(error["detail"].as_str().unwrap().contains("by HTTP"), "{error}");
    rig.end().await;
}

/// By HTTP a request is edited for the same reason, and a digest of it is true no longer.
#[tokio::test]
async fn a_request_by_http_loses_our_capability_and_its_digest() {
    let rig = Rig::start(|_| {}).await;
    // The Session says which requests are the API's.
    rig.ask("GET", "/.well-known/jmap", "alice").await;
    let body = r#"{"using":["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:websocket"],"methodCalls":[["Core/echo",{},"c"]]}"#;
    let mut request = crate::support::rig::call("alice", &echo("x"));
    request.headers_mut().insert("content-digest", "sha-256=:x:".parse().unwrap());
    *request.body_mut() = body.into();
    let response = crate::support::http::exchange(rig.address, request).await.unwrap();
    assert_eq!(response.status(), 200);
    let seen = rig.upstream.last(API);
    assert!(!seen.headers.contains_key("content-digest"));
    let expected = body.replace(r#", "urn:ietf:params:jmap:websocket""#, "");
    assert_eq!(seen.body, expected.as_bytes());
    rig.end().await;
}
