//! What HTTP/2 clients are served, by prior knowledge and over TLS: the same as all others.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::bulk::{self, Memory, Upload};
use crate::support::http::asking;
use crate::support::http2::Http2;
use crate::support::rig::{EVENT_SOURCE, Rig, call, setting};
use crate::support::sse::{Event, parse};
use crate::support::tls::Certified;
use crate::support::upstream::{API, Canned, Fault, Frames, account_of};
use crate::support::wait::within;

/// Everything, at once, for ever.
const ALL: &str = "types=*&closeafter=no&ping=0";

/// A proxy with and one without TLS, each with a client.
async fn both() -> [(Rig, Http2); 2] {
    let certified = Certified::new();
    let start = async |tls| {
        Rig::start(|config| {
            config.downstream.tls = tls;
            config.drain.window = Duration::from_secs(3);
        })
        .await
    };
    let (plain, secure) = (start(None).await, start(Some(certified.files.clone())).await);
    let stream = certified.connect(secure.address, &["h2", "http/1.1"]).await;
    let by_tls = Http2::over(stream, secure.address, |_| {}).await;
    let by_knowledge = Http2::connect(plain.address).await;
    [(plain, by_knowledge), (secure, by_tls)]
}

/// A client of the event source that reads a response's body.
struct Events {
    body: Incoming,
    unread: BytesMut,
}

impl Events {
    async fn open(client: &mut Http2, query: &str) -> Self {
        let target = format!("{EVENT_SOURCE}?{query}");
        let response = client.send(asking("GET", &target, "alice")).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        assert!(!response.headers().contains_key("transfer-encoding"));
        Self { body: response.into_body(), unread: BytesMut::new() }
    }

    /// The next event; `None` when the response has ended as a response ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            // Comments and `retry:` stand alone on their lines.
            while self.unread.starts_with(b":") || self.unread.starts_with(b"retry:") {
                let end = self.unread.iter().position(|byte| *byte == b'\n').unwrap();
                let _ = self.unread.split_to(end + 1);
            }
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                return Some(parse(&self.unread.split_to(end + 2).freeze()));
            }
            let frame = within("frame", self.body.frame()).await?.unwrap();
            self.unread.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}

#[tokio::test]
async fn an_api_request_is_answered() {
    for (rig, mut client) in Box::pin(both()).await {
        let calls = json!([["Email/get", { "accountId": account_of("alice"), "ids": [] }, "0"]]);
        let response = client.exchange(call("alice", &calls)).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        let answer: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(answer["methodResponses"][0][0], "Email/get");
        rig.end().await;
    }
}

#[tokio::test]
async fn answers_without_a_body_are_given_without_one() {
    for (rig, mut client) in Box::pin(both()).await {
        for (method, status, length) in
            [("HEAD", 200, Some("12345")), ("GET", 204, None), ("GET", 304, None)]
        {
            let headers = length.map(|length| ("content-length", length)).into_iter().collect();
            rig.upstream.answer("/x", Canned { status, headers, ..Canned::default() });
            let response = client.exchange(asking(method, "/x", "alice")).await.unwrap();
            assert_eq!(response.status(), status);
            let told = response.headers().get("content-length");
            assert_eq!(told.map(|told| told.to_str().unwrap()), length, "{method} {status}");
            assert!(response.body().is_empty());
        }
        rig.end().await;
    }
}

#[tokio::test]
async fn a_large_upload_streams_through() {
    for (rig, mut client) in Box::pin(both()).await {
        rig.upstream.answer("/upload", Canned { status: 201, ..Canned::default() });
        let memory = Memory::now();
        let request = Request::post("/upload").body(Upload::default()).unwrap();
        assert_eq!(client.exchange(request).await.unwrap().status(), 201);
        assert_eq!(rig.upstream.last("/upload").length, bulk::LENGTH);
        memory.has_hardly_grown();
        rig.end().await;
    }
}

#[tokio::test]
async fn a_large_download_streams_through() {
    for (rig, mut client) in Box::pin(both()).await {
        rig.upstream.answer("/download", bulk::download());
        let memory = Memory::now();
        let response = client.send(asking("GET", "/download", "alice")).await.unwrap();
        let length = within("body", bulk::length_of(response)).await.unwrap();
        assert_eq!(length, bulk::LENGTH);
        memory.has_hardly_grown();
        rig.end().await;
    }
}

#[tokio::test]
async fn an_event_source_is_told_of_changes_beside_other_requests() {
    for (rig, mut client) in Box::pin(both()).await {
        let mut events = Events::open(&mut client, ALL).await;
        for _ in 0..3 {
            // On the same connection.
            let request = call("alice", &setting(&account_of("alice"), "Email"));
            let answer = client.exchange(request).await.unwrap();
            let answer: Value = serde_json::from_slice(answer.body()).unwrap();
            let new = &answer["methodResponses"][0][1]["newState"];
            let changed = events.next().await.expect("an open stream").changed();
            assert_eq!(changed[&account_of("alice")]["Email"], new.as_str().unwrap());
        }
        rig.end().await;
    }
}

#[tokio::test]
async fn an_event_source_closes_after_one_event_and_the_connection_stays() {
    for (rig, mut client) in Box::pin(both()).await {
        let mut events = Events::open(&mut client, "types=*&closeafter=state&ping=0").await;
        client.exchange(call("alice", &setting(&account_of("alice"), "Email"))).await.unwrap();
        assert_eq!(events.next().await.unwrap().types(), ["Email"]);
        assert!(events.next().await.is_none(), "nothing but the end");
        rig.upstream.answer("/x", Canned { status: 204, ..Canned::default() });
        assert_eq!(client.exchange(asking("GET", "/x", "alice")).await.unwrap().status(), 204);
        rig.end().await;
    }
}

#[tokio::test]
async fn a_drain_says_goaway_ends_streams_and_finishes_requests() {
    for (rig, mut client) in Box::pin(both()).await {
        let gate = Arc::new(Semaphore::new(0));
        rig.upstream.fail("Email/set", Fault::Hold(Arc::clone(&gate)), 1);
        let mut events = Events::open(&mut client, ALL).await;
        rig.upstream.answer("/x", Canned { status: 204, ..Canned::default() });
        let mut request = call("alice", &setting(&account_of("alice"), "Email"));
        *request.uri_mut() = format!("http://{}{API}", rig.address).parse().unwrap();
        let under_way = client.start(request);
        rig.upstream.asked("Email/set", 1).await;
        let ending = async {
            // What the request under way changed may still be told; then the stream ends whole.
            while events.next().await.is_some() {}
            within("GOAWAY", async {
                while client.send(asking("GET", "/x", "alice")).await.is_ok() {}
            })
            .await;
            gate.add_permits(1);
            let answer = within("answer", under_way).await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.into_body().collect().await.unwrap();
            client.ended().await.unwrap();
        };
        tokio::join!(rig.drain(), ending);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_shown_as_whole() {
    for (rig, mut client) in Box::pin(both()).await {
        for headers in [vec![], vec![("content-length", "100")]] {
            let body = Frames::broken("half of it");
            rig.upstream.answer("/half", Canned { status: 200, headers, body, early: false });
            let answer = client.exchange(asking("GET", "/half", "alice")).await;
            assert!(answer.is_err(), "{answer:?}");
        }
        rig.end().await;
    }
}
