//! What is taken for a Session, and what is taken from it (RFC 8620 §2, architecture D6).

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use crate::support::http::{asking, exchange};
use crate::support::process::Process;
use crate::support::rig::{Rig, address_of};
use crate::support::upstream::{Canned, Frames, SESSION, Upstream};
use crate::support::wait::until;

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn canned(body: &Value) -> Canned {
    let headers = vec![("content-type", "application/json")];
    Canned { status: 200, headers, body: Frames::of(body.to_string()), ..Canned::default() }
}

/// A Session whose API is at this URL.
fn session(api: &str) -> Value {
    json!({
        "capabilities": { "urn:ietf:params:jmap:core": { "maxSizeRequest": 10_000_000 } },
        "accounts": {}, "primaryAccounts": {}, "username": "alice", "apiUrl": api,
        "downloadUrl": "https://second.example:8443/d/{accountId}/{blobId}?name={name}",
        "uploadUrl": "https://jmap.example/u/{accountId}/", "state": "1",
    })
}

#[tokio::test]
async fn every_name_of_upstreams_is_ours() {
    let rig = Rig::start(|config| {
        let mut second = address_of(([127, 0, 0, 1], 1).into());
        second.authority = "second.example:8443".into();
        config.upstream.addresses.push(second);
    })
    .await;
    let own = rig.address.to_string();
    rig.upstream.answer(SESSION, canned(&session("https://jmap.example:443/api/?v=1")));
    let told = json_of(&rig.ask("GET", SESSION, "alice").await);
    let expected = [
        ("apiUrl", "/api/?v=1"),
        ("downloadUrl", "/d/{accountId}/{blobId}?name={name}"),
        ("uploadUrl", "/u/{accountId}/"),
    ];
    for (name, path) in expected {
        assert_eq!(told[name], format!("http://{own}{path}"));
    }
    rig.end().await;
}

#[tokio::test]
async fn the_query_of_a_session_request_is_upstreams_to_read() {
    let rig = Rig::start(|_| {}).await;
    let path = format!("{SESSION}?tenant=a%2Fb&x");
    rig.upstream.answer(&path, canned(&session("api?tenant=a")));
    let told = json_of(&rig.ask("GET", &path, "alice").await);
    assert_eq!(told["apiUrl"], format!("http://{}/.well-known/api?tenant=a", rig.address));
    rig.end().await;
}

#[tokio::test]
async fn json_that_is_no_session_passes_as_it_is() {
    let rig = Rig::start(|_| {}).await;
    let whole = session("/jmap/");
    for member in ["capabilities", "accounts", "apiUrl"] {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().remove(member);
        rig.upstream.answer(SESSION, canned(&body));
        let response = rig.ask("GET", SESSION, "alice").await;
        assert_eq!(response.body(), &body.to_string(), "without {member}");
    }
    rig.end().await;
}

/// Asks for the Session, which is `body` at the end of a redirect; then for `body` where it is.
async fn behind_a_redirect(body: Canned) -> Response<Bytes> {
    let rig = Rig::start(|_| {}).await;
    let to = vec![("location", "/else")];
    rig.upstream.answer(
        SESSION,
        Canned { status: 301, headers: to, body: Frames::default(), ..Canned::default() },
    );
    rig.upstream.answer("/else", body);
    rig.ask("GET", SESSION, "alice").await;
    let mut session = session("/jmap/");
    session["state"] = json!("2");
    rig.upstream.answer("/else", canned(&session));
    let response = exchange(rig.address, asking("GET", "/else", "alice")).await.unwrap();
    rig.end().await;
    response
}

#[tokio::test]
async fn a_session_is_known_by_where_the_redirect_led() {
    let response = behind_a_redirect(canned(&session("/jmap/"))).await;
    assert!(json_of(&response)["eventSourceUrl"].is_string());
    let refusal =
        Canned { status: 401, headers: Vec::new(), body: Frames::of("who?"), ..Canned::default() };
    let response = behind_a_redirect(refusal).await;
    assert!(json_of(&response)["eventSourceUrl"].is_string());
}

#[tokio::test]
async fn where_a_redirect_leads_to_something_else_nothing_is_learnt() {
    let page = Canned {
        status: 200,
        headers: Vec::new(),
        body: Frames::of("<html>"),
        ..Canned::default()
    };
    let missing =
        Canned { status: 404, headers: Vec::new(), body: Frames::of("no"), ..Canned::default() };
    for other in [canned(&json!({ "apiUrl": "/x" })), page, missing] {
        let response = behind_a_redirect(other).await;
        assert_eq!(json_of(&response).get("eventSourceUrl"), None);
    }
}

#[tokio::test]
async fn a_limit_of_ours_that_is_lower_than_upstreams_is_told() {
    let rig = Rig::start(|config| config.limits.request_memory = 1_000_000).await;
    let told = json_of(&rig.ask("GET", SESSION, "alice").await);
    let core = &told["capabilities"]["urn:ietf:params:jmap:core"];
    assert_eq!(core["maxSizeRequest"], 1_000_000);
    assert_eq!(core["maxCallsInRequest"], 16);
    rig.end().await;
}

/// Nobody can know it before upstream says where its API is.
#[tokio::test]
async fn a_path_of_ours_that_hides_the_api_is_warned_of() {
    let upstream = Upstream::start().await;
    let proxy = Process::start(upstream.address, &[("WEBSOCKET__PATH", "/jmap/")]).await;
    exchange(proxy.address, asking("GET", SESSION, "alice")).await.unwrap();
    until("warning", || {
        let log = proxy.log.lock().unwrap().join("\n");
        if log.contains("websocket.path") { Ok(()) } else { Err(log) }
    })
    .await;
}
