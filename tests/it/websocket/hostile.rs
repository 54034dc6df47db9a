//! What clients do that no client should (hostile.md B8, B9, S1-S5): the right close code, bounded
//! memory, and no harm to others.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::rig::Rig;
use crate::support::upstream::{API, Canned, Fault, Frames, account_of};
use crate::support::wait::{until, within};
use crate::support::ws::{End, Ws, held};

fn echo(id: &str, word: &str) -> String {
    json!({
        "@type": "Request", "id": id, "using": ["urn:ietf:params:jmap:core"],
        "methodCalls": [["Core/echo", { "word": word }, "c"]],
    })
    .to_string()
}

/// A frame of a client, masked by zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..=125) => frame.push(0x80 | length.to_be_bytes()[1]),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A proxy with little patience, and a client that it owes more than the kernel keeps.
async fn owed_megabytes() -> (Rig, Ws) {
    let rig = Rig::start(|config| {
        config.websocket.write_timeout = Duration::from_secs(1);
        config.websocket.send_buffer = 4096;
    })
    .await;
    let mut ws = Ws::open(&rig, "alice").await;
    for n in 0..8 {
        ws.send(echo(&n.to_string(), &"x".repeat(1_000_000))).await;
    }
    (rig, ws)
}

/// How the connection ends after these bytes.
async fn end_after(rig: &Rig, bytes: &[u8]) -> End {
    let mut ws = Ws::open(rig, "alice").await;
    ws.carrier().write_all(bytes).await.unwrap();
    let end = ws.end().await;
    drop(ws);
    held(rig, 0).await;
    end
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_with_the_code_that_says_why() {
    let rig = Rig::start(|config| config.limits.request_size = 2048).await;
    rig.upstream.mail(|mail| mail.max_size_request = 2048);
    let unmasked = [0x81, 0x02, b'h', b'i'];
    for (bytes, code) in [
        (unmasked.to_vec(), 1002),
        (masked(0x83, b""), 1002),
        (masked(0xc1, b"hi"), 1002),
        (masked(0x80, b"hi"), 1002),
        (masked(0x89, &[0; 126]), 1002),
        (masked(0x09, b""), 1002),
        (masked(0x88, &[3]), 1002),
        (masked(0x88, &1005_u16.to_be_bytes()), 1002),
        (masked(0x81, b"\xff"), 1007),
        // Not whole, and wrong already.
        (masked(0x01, b"\xce\xba\xed\xa0\x80"), 1007),
        (masked(0x82, b"hi"), 1003),
        (masked(0x81, &[b' '; 2049]), 1009),
        // Only announced.
        (vec![0x81, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
    ] {
        assert_eq!(end_after(&rig, &bytes).await, End::Closed(code), "{bytes:?}");
    }
    rig.end().await;
}

#[tokio::test]
async fn a_message_in_pieces_is_one_and_a_million_pieces_are_none() {
    let rig = Rig::start(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    let text = echo("1", "in pieces");
    let (first, rest) = text.as_bytes().split_at(10);
    let frame = |data, opcode, fin| {
        Message::Frame(Frame::message(Vec::from(data), OpCode::Data(opcode), fin))
    };
    ws.send_message(frame(first, Data::Text, false)).await;
    ws.send_message(Message::Ping(vec![1].into())).await;
    ws.send_message(frame(rest, Data::Continue, true)).await;
    assert_eq!(ws.next().await.unwrap()["requestId"], "1");
    let mut pieces = masked(0x01, b"[");
    for _ in 0..2000 {
        pieces.extend(masked(0x00, b" "));
    }
    ws.carrier().write_all(&pieces).await.unwrap();
    assert!(matches!(ws.end().await, End::Closed(1008 | 1009)));
    rig.end().await;
}

/// S5: who does not read is not read from, and others do not notice.
#[tokio::test]
async fn a_client_that_asks_without_reading_is_stopped() {
    let rig = Rig::start(|_| {}).await;
    let mut flood = Ws::open(&rig, "alice").await;
    let request = masked(0x81, echo("f", &"x".repeat(10_000)).as_bytes());
    let mut sent = 0;
    // Until the kernel takes no more for a second: a client in its right mind would stop here.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_secs(1), flood.carrier().write_all(&request)).await
    {
        written.unwrap();
        sent += 1;
        assert!(sent < 10_000, "it is never stopped");
    }
    let asked = rig.upstream.seen().iter().filter(|seen| seen.path == API).count();
    assert!(asked < sent, "{asked} of {sent} were asked");
    let mut bob = Ws::open(&rig, "bob").await;
    bob.request("b", &json!([["Core/echo", {}, "c"]])).await;
    assert_eq!(bob.next().await.unwrap()["requestId"], "b");
    drop(flood);
    held(&rig, 1).await;
    rig.end().await;
}

/// S5: what came in one read waits as well.
#[tokio::test]
async fn no_more_requests_are_under_way_however_small_they_are() {
    let rig = Rig::start(|_| {}).await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail("Slow/get", Fault::Hold(Arc::clone(&gate)), u32::MAX);
    let mut ws = Ws::open(&rig, "alice").await;
    let request = r#"{"@type":"Request","using":[],"methodCalls":[["Slow/get",{},"c"]]}"#;
    let many = masked(0x81, request.as_bytes()).repeat(100);
    ws.carrier().write_all(&many).await.unwrap();
    // As many as the Session allows.
    rig.upstream.asked("Slow/get", 8).await;
    assert_eq!(rig.metrics.websocket_requests.get(), 32);
    gate.add_permits(100);
    for _ in 0..100 {
        assert_eq!(ws.next().await.unwrap()["@type"], "Response");
    }
    ws.synchronize().await;
    rig.end().await;
}

/// S1, S2: all that was missed is one message.
#[tokio::test]
async fn a_client_that_does_not_read_is_told_the_newest_once_it_does() {
    let rig = Rig::start(|config| {
        config.websocket.throttle = Duration::ZERO;
        config.websocket.send_buffer = 4096;
        config.websocket.write_timeout = Duration::from_secs(600);
    })
    .await;
    let account = account_of("alice");
    let mut slow = Ws::open(&rig, "alice").await;
    slow.enable(json!({ "dataTypes": ["Email"] })).await;
    let mut last = String::new();
    for _ in 0..300 {
        last = rig.change("alice", "Email").await;
    }
    slow.told(&account, "Email", &last).await;
    assert!(slow.is_silent().await);
    rig.end().await;
}

/// S4.
#[tokio::test]
async fn a_client_that_takes_nothing_of_a_response_is_closed() {
    let (rig, ws) = owed_megabytes().await;
    until("client that is given up", || match rig.metrics.slow_closed.get() {
        0 => Err(0),
        closed => Ok(closed),
    })
    .await;
    held(&rig, 0).await;
    drop(ws);
    rig.end().await;
}

/// B9: the filter flaps, and what stands in the end counts.
#[tokio::test]
async fn push_that_is_turned_on_and_off_leaves_nothing_behind() {
    let rig = Rig::start(|config| config.websocket.throttle = Duration::ZERO).await;
    let account = account_of("alice");
    let mut ws = Ws::open(&rig, "alice").await;
    for _ in 0..10 {
        ws.send(r#"{"@type":"WebSocketPushEnable","dataTypes":["Email"]}"#).await;
        ws.send(r#"{"@type":"WebSocketPushDisable"}"#).await;
        ws.send(r#"{"@type":"WebSocketPushEnable"}"#).await;
    }
    ws.synchronize().await;
    let new = rig.change("alice", "Mailbox").await;
    ws.told(&account, "Mailbox", &new).await;
    // Far fewer than the wishes: one look tells all of them.
    assert!(rig.upstream.times_asked("Mailbox/get") < 50);
    rig.end().await;
}

/// A client that leaves has its requests taken back, and what they changed looked for.
#[tokio::test]
async fn what_a_client_changed_and_did_not_wait_for_is_found() {
    let rig = Rig::start(|_| {}).await;
    let account = account_of("alice");
    let mut stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail("Email/set", Fault::Hold(Arc::clone(&gate)), 1);
    let mut ws = Ws::open(&rig, "alice").await;
    let calls = crate::support::rig::setting(&account, "Email");
    ws.request("1", &calls).await;
    rig.upstream.asked("Email/set", 1).await;
    drop(ws);
    held(&rig, 0).await;
    let state = rig.upstream.mail(|mail| mail.state(&account, "Email"));
    stream.told(&account, "Email", &state).await;
    rig.end().await;
}

/// Compressed by hand: `permessage-deflate` must be answered, bounded, and refused where it was not
/// agreed.
#[tokio::test]
async fn a_bomb_is_not_inflated() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.mail(|mail| mail.max_size_request = 100_000);
    let offered =
        [("authorization", "Bearer alice"), ("sec-websocket-extensions", "permessage-deflate")];
    let mut ws = Ws::try_open(rig.address, &offered).await.ok().unwrap();
    let answer = ws.headers["sec-websocket-extensions"].to_str().unwrap().to_owned();
    assert!(answer.contains("server_no_context_takeover"), "{answer}");
    assert!(answer.contains("client_no_context_takeover"), "{answer}");
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![b' '; 50_000_000]).unwrap();
    let bomb = encoder.finish().unwrap();
    ws.carrier().write_all(&masked(0xc1, &bomb)).await.unwrap();
    let mut answer = [0; 4];
    within("close frame", ws.carrier().read_exact(&mut answer)).await.unwrap();
    assert_eq!((answer[0], u16::from_be_bytes([answer[2], answer[3]])), (0x88, 1009));
    rig.end().await;
}

#[tokio::test]
async fn a_request_too_large_for_the_memory_of_all_is_refused_and_others_are_served() {
    let rig = Rig::start(|config| {
        config.limits.request_memory = 1 << 20;
        config.limits.request_size = 1 << 20;
    })
    .await;
    // Half a message each, that never come whole.
    let mut hogs = Vec::new();
    let mut ended = 0;
    for _ in 0..4 {
        let mut hog = Ws::open(&rig, "alice").await;
        let whole = masked(0x81, &[b' '; 900_000]);
        hog.carrier().write_all(whole.split_at(500_000).0).await.unwrap();
        hogs.push(hog);
    }
    for hog in &mut hogs[2..] {
        if let End::Closed(1013) = hog.end().await {
            ended += 1;
        }
    }
    assert!(ended > 0, "all of them found room");
    let mut bob = Ws::open(&rig, "bob").await;
    bob.request("b", &json!([["Core/echo", {}, "c"]])).await;
    assert_eq!(bob.next_of("Response").await["requestId"], Value::from("b"));
    rig.end().await;
}

/// Each wish costs the hub, and may cost upstream.
#[tokio::test]
async fn who_wishes_all_the_time_is_heard_once_a_second() {
    let rig = Rig::start(|_| {}).await;
    let mut ws = Ws::open(&rig, "alice").await;
    let began = tokio::time::Instant::now();
    for _ in 0..19 {
        ws.send(r#"{"@type":"WebSocketPushEnable"}"#).await;
        ws.send(r#"{"@type":"WebSocketPushDisable"}"#).await;
    }
    ws.synchronize().await;
    // Of 38 wishes 32 are taken at once.
    assert!(began.elapsed() > Duration::from_secs(4));
    rig.end().await;
}

/// What waits for one who does not read is held apart from what others ask.
#[tokio::test]
async fn responses_that_are_not_read_keep_nobody_from_asking() {
    let rig = Rig::start(|config| {
        (config.limits.request_memory, config.limits.request_size) = (1 << 20, 1 << 20);
        (config.websocket.memory, config.websocket.response_size) = (1 << 20, 1 << 20);
        config.websocket.send_buffer = 4096;
    })
    .await;
    let mut hogs = Vec::new();
    for _ in 0..4 {
        hogs.push(Ws::open(&rig, "alice").await);
    }
    let mut other = Ws::open(&rig, "bob").await;
    let body = json!({ "methodResponses": [], "sessionState": "x".repeat(400_000) }).to_string();
    let headers = vec![("content-type", "application/json")];
    let body = Frames::of(body);
    rig.upstream.answer(API, Canned { status: 200, headers, body, ..Canned::default() });
    for hog in &mut hogs {
        for n in 0..4 {
            hog.send(echo(&n.to_string(), "")).await;
        }
    }
    // Until there is no room any more.
    loop {
        other.send(echo("full", "")).await;
        let answer = other.next().await.unwrap();
        if answer["@type"] == "RequestError" {
            assert_eq!(answer["status"], 503);
            break;
        }
    }
    for _ in 0..10 {
        let calls = json!([["Core/echo", { "word": "x".repeat(100_000) }, "c"]]);
        assert_eq!(rig.call("bob", &calls).await.status(), 200);
    }
    rig.end().await;
}

/// S4: reading a little is not reading.
#[tokio::test]
async fn a_client_that_reads_next_to_nothing_is_closed() {
    let (rig, mut ws) = owed_megabytes().await;
    let mut little = [0; 512];
    // Its pace: some kilobytes a second.
    while rig.metrics.slow_closed.get() == 0 {
        within("bytes", ws.carrier().read_exact(&mut little)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(ws);
    held(&rig, 0).await;
    rig.end().await;
}
