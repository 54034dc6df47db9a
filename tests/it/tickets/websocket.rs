//! What a browser's script can do to open a WebSocket (RFC 8887): a ticket, a subprotocol, a cookie.

use serde_json::json;
use tokio::net::TcpStream;

use super::*;
use crate::support::upstream::API;
use crate::support::ws::{WEBSOCKET, Ws};

/// Opens one as a browser does for a page; the status that refuses it.
async fn opened(rig: &Rig, path: &str, headers: &[(&str, &str)]) -> Result<Ws, u16> {
    let socket = Box::new(TcpStream::connect(rig.address).await.unwrap());
    let opened = Ws::try_open_over(socket, rig.address, path, headers).await;
    opened.map_err(|refused| refused.status().as_u16())
}

fn with(ticket: &str) -> String {
    format!("{WEBSOCKET}?ticket={ticket}")
}

#[tokio::test]
async fn a_ticket_opens_one_websocket_from_another_origin() {
    let rig = started(|_| {}).await;
    let ticket = ticket(&rig, "alice").await;
    let page = [("origin", PAGE), ("cookie", "ambient=1")];
    let mut ws = opened(&rig, &with(&ticket), &page).await.unwrap();
    ws.enable(json!({})).await;
    let new = rig.change("alice", "Email").await;
    ws.told(&account_of("alice"), "Email", &new).await;
    let account = account_of("alice");
    ws.request("1", &json!([["Email/get", { "accountId": account, "ids": [] }, "0"]])).await;
    rig.upstream.asked(API, 2).await;
    let seen = rig.upstream.last(API);
    assert_eq!(seen.headers[header::AUTHORIZATION], "Bearer alice");
    assert!(!seen.path.contains("ticket"), "{seen:?}");
    assert_eq!(opened(&rig, &with(&ticket), &page).await.err(), Some(401));
    assert_eq!(status(&rig, &url(&ticket), &[]).await, 401, "nor an event source");
    rig.end().await;
}

#[tokio::test]
async fn a_grant_is_never_for_a_websocket() {
    let rig = started(|_| {}).await;
    let ticket = ticket(&rig, "alice").await;
    open(&rig, &ticket, &[]).await;
    assert_eq!(opened(&rig, &with(&ticket), &[]).await.err(), Some(401));
    assert_eq!(status(&rig, &url(&ticket), &[]).await, 200, "which the grant outlives");
    rig.end().await;
}

#[tokio::test]
async fn a_token_among_the_subprotocols_signs_in_and_is_not_answered() {
    for is_on in [true, false] {
        let rig = started(|config| config.auth.bearer_subprotocol = is_on).await;
        // "alice".
        let offered = ("sec-websocket-protocol", "jmap, bearer.YWxpY2U");
        let answer = opened(&rig, WEBSOCKET, &[offered, ("origin", PAGE)]).await;
        match answer {
            Ok(ws) => assert!(is_on && ws.headers["sec-websocket-protocol"] == "jmap"),
            Err(status) => assert_eq!((is_on, status), (false, 401)),
        }
        rig.end().await;
    }
}

#[tokio::test]
async fn a_cookie_alone_opens_a_websocket_only_for_pages_that_may() {
    let rig = started(|_| {}).await;
    let own = format!("http://{}", rig.address);
    let cookie = ("cookie", "session=1");
    let refused = |origin| {
        let headers: Vec<_> = [cookie].into_iter().chain(origin).collect();
        let rig = &rig;
        async move { opened(rig, WEBSOCKET, &headers).await.err() }
    };
    assert_eq!(refused(None).await, Some(403));
    assert_eq!(refused(Some(("origin", "https://other.example"))).await, Some(403));
    assert_eq!(rig.upstream.times_asked(SESSION), 0, "nobody was asked");
    // This upstream knows no cookies: that it was asked is what counts.
    for (times, page) in [(1, PAGE), (2, &own)] {
        assert_eq!(refused(Some(("origin", page))).await, Some(401));
        assert_eq!(rig.upstream.times_asked(SESSION), times);
    }
    rig.end().await;
}
