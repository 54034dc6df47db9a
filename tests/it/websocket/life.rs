//! How long a WebSocket lives, and what ends it (RFC 6455 §5.5, §7; RFC 8887 §4.1).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tungstenite::Message;

use crate::support::rig::Rig;
use crate::support::tls::Certified;
use crate::support::upstream::{Fault, account_of};
use crate::support::wait::{until, within};
use crate::support::ws::{End, WEBSOCKET, Ws, held};

#[tokio::test]
async fn the_client_is_pinged_when_nothing_else_is_said() {
    let rig = Rig::start(|config| config.websocket.ping = Duration::from_secs(1)).await;
    let mut ws = Ws::open(&rig, "alice").await;
    // Each answered ping lets the connection live on.
    while ws.pings < 3 {
        ws.wait_for_ping().await;
    }
    ws.synchronize().await;
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_taken_for_gone() {
    let rig = Rig::start(|config| {
        config.websocket.ping = Duration::from_secs(1);
        config.websocket.pong_timeout = Duration::from_secs(1);
    })
    .await;
    // Nobody reads it, so nobody answers.
    let ws = Ws::open(&rig, "alice").await;
    until("client that is given up", || match rig.metrics.unanswered_closed.get() {
        0 => Err(0),
        given_up => Ok(given_up),
    })
    .await;
    held(&rig, 0).await;
    drop(ws);
    rig.end().await;
}

#[tokio::test]
async fn a_connection_without_push_ends_when_nothing_is_asked() {
    let rig = Rig::start(|config| {
        config.websocket.idle = Duration::from_secs(1);
        config.websocket.ping = Duration::ZERO;
    })
    .await;
    let mut idle = Ws::open(&rig, "alice").await;
    let mut pushed = Ws::open(&rig, "alice").await;
    pushed.enable(json!({})).await;
    assert_eq!(idle.end().await, End::Closed(1001));
    pushed.synchronize().await;
    pushed.disable().await;
    assert_eq!(pushed.end().await, End::Closed(1001));
    rig.end().await;
}

#[tokio::test]
async fn a_ping_asks_for_nothing() {
    let rig = Rig::start(|config| config.websocket.idle = Duration::from_secs(1)).await;
    let mut ws = Ws::open(&rig, "alice").await;
    let carrier = ws.carrier();
    within("end", async {
        let mut head = [0; 2];
        // Pongs without a payload, until a close frame comes.
        while head[0] != 0x88 {
            carrier.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.unwrap();
            carrier.read_exact(&mut head).await.unwrap();
        }
    })
    .await;
    drop(ws);
    rig.end().await;
}

#[tokio::test]
async fn a_connection_ends_at_its_age() {
    let rig = Rig::start(|config| config.websocket.max_age = Duration::from_secs(1)).await;
    let mut ws = Ws::open(&rig, "alice").await;
    ws.enable(json!({})).await;
    assert_eq!(ws.end().await, End::Closed(1001));
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_closes_is_answered_with_its_code_and_leaves_nothing() {
    let rig = Rig::start(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    ws.enable(json!({})).await;
    held(&rig, 1).await;
    let frame = tungstenite::protocol::CloseFrame { code: 4000.into(), reason: "bye".into() };
    ws.send_message(Message::Close(Some(frame))).await;
    assert_eq!(ws.end().await, End::Closed(4000));
    held(&rig, 0).await;
    rig.end().await;
}

/// W2.
#[tokio::test]
async fn a_credential_that_upstream_refuses_now_ends_a_connection_that_only_listens() {
    let rig = Rig::start(|config| config.auth.revalidate = Duration::from_secs(1)).await;
    let mut idle = Ws::open(&rig, "alice").await;
    let mut pushed = Ws::open(&rig, "alice").await;
    pushed.enable(json!({})).await;
    rig.upstream.mail(|mail| mail.refuse("alice"));
    assert_eq!(pushed.end().await, End::Closed(1008));
    assert_eq!(idle.end().await, End::Closed(1008));
    rig.end().await;
}

#[tokio::test]
async fn closes_are_spread_over_the_drain_window() {
    let rig = Rig::start(|config| config.drain.window = Duration::from_secs(2)).await;
    let mut all = Vec::new();
    for _ in 0..20 {
        let mut ws = Ws::open(&rig, "alice").await;
        ws.enable(json!({})).await;
        all.push(ws);
    }
    let ends = async {
        for ws in &mut all {
            assert_eq!(ws.end().await, End::Closed(1001));
        }
    };
    tokio::join!(ends, rig.drain());
}

/// Whether upstream did what it was asked the client would not know. It is told of changes meanwhile.
#[tokio::test]
async fn an_end_of_age_waits_for_requests_under_way() {
    let rig = Rig::start(|config| {
        config.websocket.max_age = Duration::from_secs(1);
        config.websocket.throttle = Duration::ZERO;
    })
    .await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail("Slow/get", Fault::Hold(Arc::clone(&gate)), 1);
    let mut ws = Ws::open(&rig, "alice").await;
    ws.enable(json!({})).await;
    ws.request("slow", &json!([["Slow/get", {}, "c"]])).await;
    rig.upstream.asked("Slow/get", 1).await;
    // Twice another's age is more than its own.
    for _ in 0..2 {
        assert_eq!(Ws::open(&rig, "bob").await.end().await, End::Closed(1001));
    }
    let new = rig.change("alice", "Email").await;
    ws.told(&account_of("alice"), "Email", &new).await;
    gate.add_permits(1);
    assert_eq!(ws.next_of("Response").await["requestId"], "slow");
    assert_eq!(ws.end().await, End::Closed(1001));
    rig.end().await;
}

/// The first of two is answered when the second is refused.
#[tokio::test]
async fn what_was_answered_is_said_before_a_credential_ends_the_connection() {
    let rig = Rig::start(|config| config.websocket.send_buffer = 4096).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let socket = Box::new(socket.connect(rig.address).await.unwrap());
    let bearer = [("authorization", "Bearer alice")];
    let mut ws = Ws::try_open_over(socket, rig.address, WEBSOCKET, &bearer).await.unwrap();
    // So much that it is not out when the others are done.
    ws.request("1", &json!([["Core/echo", { "x": "x".repeat(1 << 20) }, "c"]])).await;
    let mut said = vec![0];
    within("response that begins", ws.carrier().read_exact(&mut said)).await.unwrap();
    ws.request("2", &json!([["Core/echo", {}, "c"]])).await;
    rig.upstream.asked("Core/echo", 2).await;
    let looks = rig.upstream.sessions_of("alice");
    rig.upstream.mail(|mail| mail.refuse("alice"));
    ws.request("3", &json!([["Core/echo", {}, "c"]])).await;
    until("second look at the Session", || match rig.upstream.sessions_of("alice") - looks {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
    within("end", ws.carrier().read_to_end(&mut said)).await.unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(r#""requestId":"2""#));
    assert!(said.contains("\u{3}\u{fffd}the credentials"), "closed by 1008");
    rig.end().await;
}

#[tokio::test]
async fn a_user_has_only_so_many_streams_of_all_kinds() {
    let rig = Rig::start(|config| config.limits.streams_per_user = 2).await;
    let _stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let ws = Ws::open(&rig, "alice").await;
    let bearer = [("authorization", "Bearer alice")];
    let refused = Ws::try_open(rig.address, &bearer).await.err().unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    drop(ws);
    held(&rig, 0).await;
    assert!(Ws::try_open(rig.address, &bearer).await.is_ok());
    rig.end().await;
}

/// hostile.md X5, on both transports together.
#[tokio::test]
async fn who_guesses_here_is_stopped_there() {
    let rig = Rig::start(|config| {
        config.auth.failures = 2;
        config.downstream.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let client = ("x-forwarded-for", "203.0.113.7");
    for (guess, status) in [("a", 401), ("b", 401), ("c", 429)] {
        let guess = format!("Bearer {guess}");
        let refused = Ws::try_open(rig.address, &[("authorization", &guess), client]).await;
        assert_eq!(refused.err().unwrap().status(), status);
    }
    rig.end().await;
}

#[tokio::test]
async fn pages_of_other_origins_open_nothing() {
    let listed = "https://webmail.example";
    let rig = Rig::start(|config| config.cors.origins = vec![listed.parse().unwrap()]).await;
    let bearer = ("authorization", "Bearer alice");
    let own = format!("http://{}", rig.address);
    for (origin, status) in [
        (&*own, 101),
        (listed, 101),
        ("https://evil-webmail.example", 403),
        ("https://webmail.example.evil", 403),
        ("null", 403),
    ] {
        let opened = Ws::try_open(rig.address, &[bearer, ("origin", origin)]).await;
        assert_eq!(opened.err().map_or(101, |refused| refused.status().as_u16()), status);
    }
    rig.end().await;
}

#[tokio::test]
async fn over_tls_it_is_the_same() {
    let certified = Certified::new();
    let files = certified.files.clone();
    let rig = Rig::start(|config| config.downstream.tls = Some(files)).await;
    let tls = certified.connect(rig.address, &["http/1.1"]).await;
    let bearer = [("authorization", "Bearer alice")];
    let opened = Ws::try_open_over(Box::new(tls), rig.address, WEBSOCKET, &bearer).await;
    let mut ws = opened.ok().unwrap();
    ws.enable(json!({})).await;
    let account = account_of("alice");
    let new = rig.upstream.mail(|mail| mail.state(&account, "Email"));
    ws.told(&account, "Email", &new).await;
    rig.end().await;
}
