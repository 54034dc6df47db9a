//! JMAP over WebSocket (RFC 8887) from outside, by a client whose WebSocket is others' work.
//!
//! What the RFC demands (protocol.md W1-W13), and where it is held to. Apache James promises of its own
//! server what stands in its `WebSocketContract`; where that agrees with the RFC it is among these.
//!
//! | | |
//! |---|---|
//! | W1 the capability | [`the_session_says_where_the_websocket_is`] |
//! | W2 credentials hold for the connection | [`a_handshake_must_be_authenticated`], [`life`] |
//! | W3 HTTP/1.1 and HTTP/2 | [`http2`] |
//! | W4 the subprotocol | [`the_subprotocol_must_be_offered_and_is_answered`] |
//! | W5 text, in pieces or whole | [`a_binary_message_ends_the_connection`], [`hostile`] |
//! | W6 side by side, within the user's limit | [`requests`] |
//! | W7, W8 responses and errors name their request | [`requests`], `websocket/message/tests.rs` |
//! | W9, W10 enable, again, disable, again | [`push`] |
//! | W11 `pushState` | [`push`] |
//! | W12 compression, Origin | [`hostile`], [`life`], `tests/real/autobahn` |
//! | W13 uploads and downloads go by HTTP | nothing here to go by |

use serde_json::json;
use tungstenite::Message;

use crate::support::rig::Rig;
use crate::support::ws::{End, Ws};

mod hostile;
mod http2;
mod life;
mod push;
mod requests;

#[tokio::test]
async fn a_handshake_must_be_authenticated() {
    let rig = Rig::start(|_| {}).await;
    let refused = Ws::try_open(rig.address, &[]).await.err().unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"mail\"");
    rig.end().await;
}

#[tokio::test]
async fn the_subprotocol_must_be_offered_and_is_answered() {
    let rig = Rig::start(|_| {}).await;
    let bearer = ("authorization", "Bearer alice");
    let other = [bearer, ("sec-websocket-protocol", "chat")];
    let refused = Ws::try_open(rig.address, &other).await.err().unwrap();
    assert_eq!(refused.status(), 400);
    let both = [bearer, ("sec-websocket-protocol", "chat, jmap")];
    // The client checks that one of its own was chosen.
    let ws = Ws::try_open(rig.address, &both).await.ok().unwrap();
    assert_eq!(ws.headers["sec-websocket-protocol"], "jmap");
    rig.end().await;
}

#[tokio::test]
async fn the_session_says_where_the_websocket_is() {
    let rig = Rig::start(|_| {}).await;
    let response = rig.ask("GET", "/.well-known/jmap", "alice").await;
    let session: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        session["capabilities"]["urn:ietf:params:jmap:websocket"],
        json!({ "url": format!("ws://{}/jmap/ws/", rig.address), "supportsPush": true })
    );
    rig.end().await;
}

#[tokio::test]
async fn a_binary_message_ends_the_connection() {
    let rig = Rig::start(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    let binary = Message::Binary(vec![1].into());
    ws.send_message(binary).await;
    assert_eq!(ws.end().await, End::Closed(1003));
    rig.end().await;
}

#[tokio::test]
async fn a_refused_credential_ends_the_connection_by_policy() {
    let rig = Rig::start(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    rig.upstream.mail(|mail| mail.refuse("alice"));
    ws.request("1", &json!([["Core/echo", {}, "c"]])).await;
    assert_eq!(ws.end().await, End::Closed(1008));
    rig.end().await;
}

#[tokio::test]
async fn a_connection_that_drains_goes_away() {
    let rig = Rig::start(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    ws.enable(json!({})).await;
    let (end, ()) = tokio::join!(ws.end(), rig.drain());
    assert_eq!(end, End::Closed(1001));
}

#[tokio::test]
async fn both_paths_lead_to_it_and_what_is_no_websocket_is_told() {
    let rig = Rig::start(|_| {}).await;
    for path in ["/jmap/ws", "/jmap/ws/"] {
        let response = rig.ask("GET", path, "alice").await;
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()["upgrade"], "websocket");
    }
    assert_eq!(rig.ask("POST", "/jmap/ws/", "alice").await.status(), 405);
    rig.end().await;
}
