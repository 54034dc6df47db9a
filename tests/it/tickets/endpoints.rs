//! Where tickets are given out and revoked, and how clients find it.

use http::{Method, header};
use jmap_push_proxy::config::UpstreamPush;
use serde_json::json;

use super::*;

const CAPABILITY: &str = "com:linagora:params:jmap:ws:ticket";

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn a_ticket_comes_with_what_linagoras_clients_read() {
    let rig = started(|_| {}).await;
    let response = from_page(&rig, "POST", TICKETS, "alice").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let given = json_of(&response);
    assert_eq!(given["clientAddress"], "127.0.0.1");
    assert_eq!(given["username"], "alice");
    let [generated, valid] = ["generatedOn", "validUntil"].map(|name| {
        let date = given[name].as_str().unwrap();
        assert!(date.len() == "2026-11-22T08:00:00Z".len() && date.ends_with('Z'), "{date}");
        date.to_owned()
    });
    // Both of one form: text order is that of time.
    assert!(generated < valid, "{given}");
    assert_eq!(given.as_object().unwrap().len(), 5);
    rig.end().await;
}

#[tokio::test]
async fn the_session_says_where_and_its_state_that_it_does() {
    let public = |config: &mut Config| {
        config.downstream.public_url = Some("https://mail.example".parse().unwrap());
    };
    let mut states = Vec::new();
    for is_on in [true, false] {
        let rig = started(|config| {
            public(config);
            config.auth.tickets.take_if(|_| !is_on);
        })
        .await;
        let session = json_of(&rig.ask("GET", SESSION, "alice").await);
        let endpoint = "https://mail.example/jmap/ws/ticket";
        let told = json!({ "generationEndpoint": endpoint, "revocationEndpoint": endpoint });
        let expected = is_on.then_some(&told);
        assert_eq!(session["capabilities"].get(CAPABILITY), expected);
        let account = &session["accounts"][account_of("alice")];
        assert_eq!(account["accountCapabilities"].get(CAPABILITY), expected);
        states.push(session["state"].clone());
        rig.end().await;
    }
    assert_ne!(states[0], states[1]);
}

#[tokio::test]
async fn where_upstreams_push_passes_through_tickets_are_its_own() {
    let rig = started(|config| config.upstream.push = UpstreamPush::Passthrough).await;
    let session = json_of(&rig.ask("GET", SESSION, "alice").await);
    assert_eq!(session["capabilities"].get(CAPABILITY), None);
    assert_eq!(rig.ask("POST", TICKETS, "alice").await.status(), 404);
    rig.ask("GET", "/jmap/ws?ticket=its-own", "alice").await;
    assert_eq!(rig.upstream.last("/jmap/ws?ticket=its-own").method, Method::GET);
    rig.end().await;
}

#[tokio::test]
async fn a_revoked_ticket_opens_nothing() {
    let rig = started(|_| {}).await;
    let (used, unused) = (ticket(&rig, "alice").await, ticket(&rig, "alice").await);
    open(&rig, &used, &[]).await;
    for ticket in [used, unused] {
        let path = format!("{TICKETS}/{ticket}");
        for user in ["alice", "alice"] {
            let revoked = from_page(&rig, "DELETE", &path, user).await;
            assert_eq!(revoked.status(), 204);
            assert_eq!(revoked.headers()["access-control-allow-origin"], PAGE);
            assert!(revoked.body().is_empty());
        }
        assert_eq!(status(&rig, &url(&ticket), &[]).await, 401);
    }
    rig.end().await;
}

#[tokio::test]
async fn nobody_revokes_anothers_ticket() {
    let rig = started(|_| {}).await;
    let ticket = ticket(&rig, "alice").await;
    let path = format!("{TICKETS}/{ticket}");
    assert_eq!(from_page(&rig, "DELETE", &path, "bob").await.status(), 403);
    assert_eq!(from_page(&rig, "DELETE", &path, "nobody").await.status(), 401);
    assert_eq!(from_page(&rig, "DELETE", &format!("{TICKETS}/x"), "alice").await.status(), 403);
    open(&rig, &ticket, &[]).await;
    rig.end().await;
}

#[tokio::test]
async fn who_is_nobody_gets_no_ticket() {
    let rig = started(|_| {}).await;
    let refused = from_page(&rig, "POST", TICKETS, "nobody").await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"mail\"");
    rig.end().await;
}

#[tokio::test]
async fn a_credential_that_no_url_could_hold_is_told_so() {
    let rig = started(|_| {}).await;
    let mut request = asking("POST", TICKETS, "alice");
    let cookie = format!("a={}", "x".repeat(6000));
    request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
    let refused = exchange(rig.address, request).await.unwrap();
    assert_eq!(refused.status(), 431);
    assert!(json_of(&refused)["detail"].as_str().unwrap().contains("too long for a ticket"));
    rig.end().await;
}

#[tokio::test]
async fn a_listed_page_may_ask_and_any_other_may_not() {
    let rig = started(|_| {}).await;
    for (path, method) in [(TICKETS, "POST"), ("/jmap/ws/ticket/x", "DELETE")] {
        for (page, is_allowed) in [(PAGE, true), ("https://other.example", false)] {
            let mut preflight = asking("OPTIONS", path, "alice");
            preflight.headers_mut().remove(header::AUTHORIZATION);
            preflight.headers_mut().insert(header::ORIGIN, page.parse().unwrap());
            let wanted = method.parse().unwrap();
            preflight.headers_mut().insert(header::ACCESS_CONTROL_REQUEST_METHOD, wanted);
            let answer = exchange(rig.address, preflight).await.unwrap();
            assert_eq!(answer.status(), 204);
            let allowed = answer.headers().get("access-control-allow-origin");
            assert_eq!(allowed.is_some(), is_allowed, "{path} {page}");
            if is_allowed {
                let list = |name| answer.headers()[name].to_str().unwrap();
                assert!(list("access-control-allow-headers").contains("Authorization"));
                assert!(list("access-control-allow-methods").contains(method));
            }
        }
        let mut foreign = asking(method, path, "alice");
        foreign.headers_mut().insert(header::ORIGIN, "https://other.example".parse().unwrap());
        let refused = exchange(rig.address, foreign).await.unwrap();
        assert_eq!(refused.status(), 403);
        assert!(!refused.headers().contains_key("access-control-allow-origin"));
    }
    assert!(rig.upstream.seen().is_empty(), "nobody was asked");
    rig.end().await;
}

#[tokio::test]
async fn other_methods_are_named_the_right_one() {
    let rig = started(|_| {}).await;
    for (path, allowed, others) in [
        (TICKETS, "POST", ["GET", "DELETE", "OPTIONS"]),
        ("/jmap/ws/ticket/", "POST", ["GET", "PUT", "HEAD"]),
        ("/jmap/ws/ticket/x", "DELETE", ["GET", "POST", "OPTIONS"]),
    ] {
        for method in others {
            let answer = rig.ask(method, path, "alice").await;
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["allow"]),
                (405, &allowed.parse().unwrap())
            );
        }
    }
    rig.end().await;
}
