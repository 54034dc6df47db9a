//! What the proxy adds to JMAP: its URLs, its suffix, upstream's limits, answers to browsers.

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use jmap_push_proxy::config::PushMode;
use serde_json::{Value, json};

use crate::support::http::{asking, exchange};
use crate::support::rig::{EVENT_SOURCE, Rig, call};
use crate::support::upstream::{API, Fault, SESSION, account_of};

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn the_session_differs_in_its_urls_its_state_and_our_capabilities_only() {
    let rig = Rig::start(|_| {}).await;
    let direct = exchange(rig.upstream.address, asking("GET", SESSION, "alice")).await.unwrap();
    let (direct, mut proxied) =
        (json_of(&direct), json_of(&rig.ask("GET", SESSION, "alice").await));
    let origin = format!("http://{}", rig.address);
    for name in ["apiUrl", "downloadUrl", "uploadUrl"] {
        let expected = format!("{origin}{}", direct[name].as_str().unwrap());
        assert_eq!(proxied[name], expected);
        proxied[name] = direct[name].clone();
    }
    let added = proxied.as_object_mut().unwrap().remove("eventSourceUrl").unwrap();
    assert!(added.as_str().unwrap().starts_with(&format!("{origin}{EVENT_SOURCE}?")));
    let state = direct["state"].as_str().unwrap();
    assert!(proxied["state"].as_str().unwrap().starts_with(&format!("{state}-p")));
    proxied["state"] = direct["state"].clone();
    let endpoint = format!("{origin}/jmap/ws/ticket");
    for place in ["/capabilities", "/accounts/a-alice/accountCapabilities"] {
        let capabilities = proxied.pointer_mut(place).unwrap().as_object_mut().unwrap();
        let tickets = capabilities.remove("com:linagora:params:jmap:ws:ticket").unwrap();
        let endpoints = json!({ "generationEndpoint": endpoint, "revocationEndpoint": endpoint });
        assert_eq!(tickets, endpoints, "{place}");
        assert!(capabilities.remove("urn:ietf:params:jmap:websocket").is_some(), "{place}");
    }
    assert_eq!(direct, proxied);
    rig.end().await;
}

#[tokio::test]
async fn api_answers_bear_the_state_of_the_session() {
    let rig = Rig::start(|_| {}).await;
    let session = json_of(&rig.ask("GET", SESSION, "alice").await);
    let calls = json!([["Email/get", { "accountId": account_of("alice"), "ids": [] }, "0"]]);
    let direct = exchange(rig.upstream.address, call("alice", &calls)).await.unwrap();
    let proxied = rig.call("alice", &calls).await;
    assert_eq!(json_of(&proxied)["sessionState"], session["state"]);
    // Nothing else differs, byte for byte.
    let direct = std::str::from_utf8(direct.body()).unwrap().to_owned();
    let suffix = session["state"].as_str().unwrap().strip_prefix("session-1").unwrap();
    let expected = direct.replace("\"session-1\"", &format!("\"session-1{suffix}\""));
    assert_eq!(std::str::from_utf8(proxied.body()).unwrap(), expected);
    rig.end().await;
}

/// D5, whoever has PushSubscription: as long as none is called.
#[tokio::test]
async fn an_api_request_reaches_upstream_byte_for_byte() {
    for mode in [PushMode::Off, PushMode::Upstream, PushMode::Own, PushMode::Auto] {
        let rig = Rig::start(|config| config.push.mode = mode).await;
        rig.ask("GET", SESSION, "alice").await;
        for body in [
            "{ \"using\" : [],\n\t\"methodCalls\":[ ], \"odd\": 1.0e+2, \"odd\": \"\\u00e9é\" }",
            // It is spoken of, and not called.
            r#"{"using":[],"methodCalls":[["Email\/set",{"x":"PushSubscription/set"},"\u0050"]]}"#,
            // Ours cannot be read: upstream says why.
            r#"{"using":[],"methodCalls":[["PushSubscription/set",{},"0"]"#,
            r#"{"using":[],"methodCalls":[["Email/set",{"accountId":"a","accountId":"PushSubscription/set"},"0"]]}"#,
        ] {
            let mut request = call("alice", &json!([]));
            *request.body_mut() = http_body_util::Full::from(body);
            exchange(rig.address, request).await.unwrap();
            assert_eq!(rig.upstream.last(API).body, body.as_bytes(), "{mode:?}");
        }
        rig.end().await;
    }
}

#[tokio::test]
async fn a_challenge_passes_wherever_it_comes_from() {
    let rig = Rig::start(|_| {}).await;
    let event_source = format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=0");
    for path in [SESSION, "/elsewhere", &event_source] {
        let response = rig.ask("GET", path, "nobody").await;
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"mail\"");
        assert_eq!(response.body(), "who are you?");
    }
    let response = rig.call("nobody", &json!([])).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"mail\"");
    rig.end().await;
}

#[tokio::test]
async fn a_request_larger_than_upstream_allows_is_refused_by_its_limit() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.mail(|mail| mail.max_size_request = 2000);
    rig.ask("GET", SESSION, "alice").await;
    let response = rig.call("alice", &json!([["Core/echo", { "x": "y".repeat(2000) }, "0"]])).await;
    assert_eq!(response.status(), 413);
    let problem = json_of(&response);
    assert_eq!(problem["type"], "urn:ietf:params:jmap:error:limit");
    assert_eq!(problem["limit"], "maxSizeRequest");
    assert!(rig.upstream.seen().iter().all(|seen| seen.path != API));
    rig.end().await;
}

#[tokio::test]
async fn a_compressed_session_is_read_all_the_same() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.fail(SESSION, Fault::Encoding("gzip"), 1);
    let response = rig.ask("GET", SESSION, "alice").await;
    assert!(!response.headers().contains_key("content-encoding"));
    assert!(json_of(&response)["eventSourceUrl"].is_string());
    rig.end().await;
}

#[tokio::test]
async fn a_compressed_api_answer_is_read_all_the_same() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.fail("Email/set", Fault::Encoding("gzip"), 1);
    let mut stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let new = rig.change("alice", "Email").await;
    stream.told(&account_of("alice"), "Email", &new).await;
    rig.end().await;
}

#[tokio::test]
async fn a_preflight_is_answered_without_asking_upstream() {
    let origin = "https://webmail.example";
    let rig = Rig::start(|config| config.cors.origins = vec![origin.to_owned()]).await;
    let ask = async |method: &str, path: &str, more: HeaderMap| {
        let mut request = asking(method, path, "alice");
        request.headers_mut().extend(more);
        exchange(rig.address, request).await.unwrap()
    };
    let origins = HeaderMap::from_iter([(header::ORIGIN, origin.parse().unwrap())]);
    let mut preflight = origins.clone();
    preflight.insert(header::ACCESS_CONTROL_REQUEST_METHOD, "POST".parse().unwrap());
    for path in [SESSION, API, EVENT_SOURCE] {
        let response = ask("OPTIONS", path, preflight.clone()).await;
        assert_eq!(response.status(), 204, "{path}");
        assert_eq!(response.headers()["access-control-allow-origin"], origin);
        let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap();
        assert!(allowed.contains("Authorization") && allowed.contains("Last-Event-ID"));
    }
    assert!(rig.upstream.seen().is_empty());
    let response = ask("GET", SESSION, origins).await;
    assert_eq!(response.headers()["access-control-allow-origin"], origin);
    rig.end().await;
}
