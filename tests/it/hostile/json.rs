//! What is hidden in JSON, wherever it comes from: B7, B10, B11.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::Full;
use jmap_push_proxy::config::PushMode;
use jmap_push_proxy::config::secret::Secret;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::json;
use serde_json::value::RawValue;

use crate::support::http::{asking, exchange};
use crate::support::ledger::settle;
use crate::support::redis::Redis;
use crate::support::rig::{EVENT_SOURCE, Rig};
use crate::support::sse::EventStream;
use crate::support::upstream::{API, Canned, Frames, account_of};
use crate::support::wait::until;
use crate::support::ws::Ws;

/// Everything, until closed, without pings.
const ALL: &str = "types=*&closeafter=no&ping=0";

/// Texts that a parser may choke on; what they call is a method of this type.
fn bombs(data_type: &str) -> Vec<(&'static str, Vec<u8>)> {
    let calls = |inside: &str| {
        format!("{{\"using\":[],\"methodCalls\":[[\"{data_type}/set\",{inside},\"0\"]]}}")
            .into_bytes()
    };
    let deep = |count: usize| "[".repeat(count) + &"]".repeat(count);
    let many = vec![format!("[\"{data_type}/get\",{{}},\"0\"]"); 40_000].join(",");
    let no_utf8 = calls("{\"x\":\"??\"}");
    let no_utf8 = no_utf8.iter().map(|octet| if *octet == b'?' { 0xff } else { *octet }).collect();
    vec![
        ("depth 100 000", calls(&deep(100_000))),
        ("depth without an end", "[".repeat(100_000).into_bytes()),
        ("a name of 500 KB", calls(&format!("{{\"{}\":1}}", "n".repeat(500_000)))),
        (
            "doubled names",
            calls("{\"accountId\":\"a\",\"accountId\":\"b\",\"accountId\":\"a-alice\"}"),
        ),
        (
            "numbers over all bounds",
            calls("{\"x\":1e400,\"y\":-1e-400,\"z\":1234567890123456789012345}"),
        ),
        ("half a surrogate pair", calls("{\"accountId\":\"\\ud800\"}")),
        ("no UTF-8", no_utf8),
        ("a byte order mark", [b"\xef\xbb\xbf".to_vec(), calls("{}")].concat()),
        ("NUL", [calls("{}"), vec![0]].concat()),
        ("something after the end", [calls("{}"), b"{}".to_vec()].concat()),
        ("40 000 calls", format!("{{\"using\":[],\"methodCalls\":[{many}]}}").into_bytes()),
        ("nothing", b" ".to_vec()),
    ]
}

async fn post(rig: &Rig, body: Vec<u8>) -> Response<Bytes> {
    let mut request = asking("POST", API, "alice");
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = Full::from(body);
    exchange(rig.address, request).await.unwrap()
}

/// B7: whatever a client sends as an API request reaches upstream byte for byte, for upstream to
/// judge.
#[tokio::test]
async fn json_bombs_of_clients_pass_to_upstream_byte_for_byte() {
    for mode in [PushMode::Off, PushMode::Own] {
        let rig = Rig::start(|config| config.push.mode = mode).await;
        let mut stream = rig.events("alice", ALL).await;
        rig.upstream.answer(API, Canned { status: 400, ..Canned::default() });
        for (name, bomb) in bombs("Email") {
            assert_eq!(post(&rig, bomb.clone()).await.status(), 400, "{name}");
            let seen = rig.upstream.seen();
            let came = seen.iter().any(|seen| seen.body == bomb);
            assert!(came, "{name} reached upstream changed: {mode:?}");
        }
        is_well(rig, &mut stream).await;
    }
}

/// B7, where the bomb is in a call that is ours: it is answered, and nothing of it goes further that
/// anybody could take for a request.
#[tokio::test]
async fn json_bombs_in_calls_of_ours_end_here() {
    let rig = Rig::start(|config| config.push.mode = PushMode::Own).await;
    let mut stream = rig.events("alice", ALL).await;
    for (name, bomb) in bombs("PushSubscription") {
        rig.upstream.answer(API, Canned { status: 418, ..Canned::default() });
        let is_json = serde_json::from_slice::<&RawValue>(&bomb).is_ok();
        let status = post(&rig, bomb.clone()).await.status();
        // Either it is refused here, or upstream, asked by an echo whether it knows who this is, does that.
        assert!([400, 418].contains(&status.as_u16()), "{name}: {status}");
        let came = rig.upstream.seen().iter().any(|seen| seen.body == bomb);
        assert!(!(came && is_json), "{name} reached upstream");
        rig.upstream.forget_answer(API);
        let Ok(text) = String::from_utf8(bomb) else { continue };
        let mut ws = Ws::open(&rig, "alice").await;
        ws.send(text.replacen('{', r#"{"@type":"Request","id":"r","#, 1)).await;
        let answer = ws.next().await.unwrap_or_else(|end| panic!("{name}: {end:?}"));
        let kind = answer["@type"].as_str();
        assert!(matches!(kind, Some("Response" | "RequestError")), "{name}: {answer}");
    }
    let calls_ours = |body: &[u8]| {
        let is_json = serde_json::from_slice::<&RawValue>(body).is_ok();
        is_json && body.windows(16).any(|part| part == b"PushSubscription")
    };
    assert!(!rig.upstream.seen().iter().any(|seen| calls_ours(&seen.body)));
    is_well(rig, &mut stream).await;
}

/// What is changed now is told as ever.
async fn is_well(rig: Rig, stream: &mut EventStream) {
    rig.upstream.forget_answer(API);
    let new = rig.change("alice", "Email").await;
    stream.told(&account_of("alice"), "Email", &new).await;
    rig.end().await;
}

/// B7: the same as an answer of upstream: the client is given it as it is, and the tap survives.
#[tokio::test]
async fn json_bombs_of_upstream_pass_to_the_client_byte_for_byte() {
    let rig = Rig::start(|config| config.push.mode = PushMode::Own).await;
    let mut stream = rig.events("alice", ALL).await;
    for (name, bomb) in bombs("Email") {
        let text = String::from_utf8_lossy(&bomb).replace("methodCalls", "methodResponses");
        let bomb = if std::str::from_utf8(&bomb).is_ok() { text.into_bytes() } else { bomb };
        let json = ("content-type", "application/json");
        let body = Frames::of(bomb.clone());
        rig.upstream
            .answer(API, Canned { status: 200, headers: vec![json], body, ..Canned::default() });
        let answer = post(&rig, b"{\"using\":[],\"methodCalls\":[]}".to_vec()).await;
        assert_eq!(answer.status(), 200, "{name}");
        assert!(answer.body()[..] == bomb[..], "{name} reached the client changed");
    }
    is_well(rig, &mut stream).await;
}

/// B7, as upstream's answer to the part of a request that is its own.
#[tokio::test]
async fn json_bombs_of_upstream_in_a_batch_are_told_as_what_they_are() {
    let rig = Rig::start(|config| config.push.mode = PushMode::Own).await;
    let mut stream = rig.events("alice", ALL).await;
    let calls = json!([["Email/set", {}, "0"], ["PushSubscription/get", { "ids": [] }, "p"]]);
    for (name, bomb) in bombs("Email") {
        let bomb = match String::from_utf8(bomb) {
            Ok(text) => text.replace("methodCalls", "methodResponses").into_bytes(),
            Err(error) => error.into_bytes(),
        };
        let json = ("content-type", "application/json");
        let body = Frames::of(bomb.clone());
        rig.upstream
            .answer(API, Canned { status: 200, headers: vec![json], body, ..Canned::default() });
        let answer = rig.call("alice", &calls).await;
        assert_eq!(answer.status(), 200, "{name}");
        // The first part's answer is that to the whole where it is no Response.
        let is_whole = answer.body().windows(16).any(|part| part == b"PushSubscription");
        assert!(is_whole || answer.body()[..] == bomb[..], "{name}");
    }
    is_well(rig, &mut stream).await;
}

/// B10: a state is opaque, and may look like an event. The client here reads strictly.
#[tokio::test]
async fn a_state_that_looks_like_an_event_is_a_state() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = rig.events("alice", ALL).await;
    // The states before it are known: this one is news.
    let new = rig.change("alice", "Email").await;
    let account = account_of("alice");
    stream.told(&account, "Email", &new).await;
    let states = [
        "1\n\nevent: state\ndata: {\"@type\":\"StateChange\",\"changed\":{}}\n\n",
        "2\r\rid: forged\r\r",
        "3\r\n:\r\n",
        "4\u{2028}\u{2029}\u{85}\u{feff}",
        "5\u{0}\u{1}\u{7f}",
        "6\"}},\"x\":{\"y\":{\"Email\":\"z",
        "7\\",
        "8\u{1f4e7}\u{e9}",
    ];
    let mut old = new;
    for state in states {
        let arguments = json!({ "accountId": account, "oldState": old, "newState": state });
        let answer = json!({ "methodResponses": [["Email/set", arguments, "0"]] });
        let json = ("content-type", "application/json");
        let body = Frames::of(answer.to_string());
        rig.upstream
            .answer(API, Canned { status: 200, headers: vec![json], body, ..Canned::default() });
        rig.call("alice", &json!([["Email/set", { "accountId": account }, "0"]])).await;
        stream.told(&account, "Email", state).await;
        state.clone_into(&mut old);
    }
    assert!(stream.log.states().all(|(told, ..)| told == account), "{:?}", stream.log);
    rig.end().await;
}

/// B10: names of types and accounts that are none, from upstream and from the client itself.
#[tokio::test]
async fn a_name_that_looks_like_a_field_is_no_name() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.mail(|mail| mail.share("alice", "a\nid: forged"));
    let mut stream = rig.events("alice", ALL).await;
    for name in ["Email\ndata: x", "Email\r", "\u{2028}", "E\u{0}", "a b", ""] {
        let account = account_of("alice");
        for (account, name) in [(account.as_str(), name), ("a\nid: forged", "Email")] {
            let arguments = json!({ "accountId": account, "oldState": "1", "newState": "2" });
            let method = format!("{name}/set");
            let answer = json!({ "methodResponses": [[method, arguments, "0"]] });
            let json = ("content-type", "application/json");
            let body = Frames::of(answer.to_string());
            rig.upstream.answer(
                API,
                Canned { status: 200, headers: vec![json], body, ..Canned::default() },
            );
            rig.call("alice", &json!([[method, { "accountId": account }, "0"]])).await;
        }
    }
    rig.upstream.forget_answer(API);
    let new = rig.change("alice", "Email").await;
    stream.told(&account_of("alice"), "Email", &new).await;
    for (account, data_type, _) in stream.log.states() {
        assert!(!account.contains("forged") && data_type.chars().all(char::is_alphanumeric));
    }
    for types in ["Email%0Adata:%20x", "Email%0D", "%E2%80%A8", "E%00", "a%20b"] {
        let path = format!("{EVENT_SOURCE}?types={types}&closeafter=no&ping=0");
        assert_eq!(rig.ask("GET", &path, "alice").await.status(), 400, "{types}");
    }
    rig.end().await;
}

/// B11: what is published by anybody who can reach Redis.
#[tokio::test]
async fn rubbish_and_strangers_in_redis_tell_nobody_anything() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let url = redis.url();
    let rig = Rig::start(|config| config.redis.url = Some(Secret::new(url))).await;
    until("link to Redis", || match rig.metrics.redis_up.get() {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    let mut stream = rig.events("alice", ALL).await;
    let publish = |message: &[u8]| {
        let file = redis.dir().join("message");
        std::fs::write(&file, message).unwrap();
        let mut cli = redis.client(&["-x", "PUBLISH", "jmap-push:changes"]);
        assert!(cli.stdin(std::fs::File::open(&file).unwrap()).output().unwrap().status.success());
    };
    let mut random: StdRng = rand::SeedableRng::seed_from_u64(11);
    for length in 1..50 {
        publish(&(0..length * 7).map(|_| random.random()).collect::<Vec<u8>>());
    }
    publish(&vec![b'['; 10 << 20]);
    publish(br#"{"accountId":"a-nobody","changed":{"Email":"7"}}"#);
    publish(br#"{"accountId":"a-bob","changed":{"Email":"7"}}"#);
    publish(br#"{"user":"nobody","types":["Email"]}"#);
    // A state from outside is a hint: nothing is told that upstream does not confirm.
    publish(br#"{"accountId":"a-alice","changed":{"Email":"forged"}}"#);
    until("rubbish counted", || match rig.metrics.notices_bad.get() {
        50 => Ok(()),
        other => Err(other),
    })
    .await;

    rig.upstream.deliver("alice");
    publish(br#"{"accountId":"a-alice","types":["Email"]}"#);
    let account = account_of("alice");
    let state = rig.upstream.mail(|mail| mail.state(&account, "Email"));
    stream.told(&account, "Email", &state).await;
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}
