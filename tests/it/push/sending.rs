//! What a push service gets, and what comes of its answers (RFC 8030 §5; P4, protocol.md §1.7; hostile.md X11).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use jmap_push_proxy::push::target::outcome::Unreachable;

use super::*;

#[tokio::test]
async fn a_push_is_one_post_with_all_its_headers() {
    let ca = Ca::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let receiver = Receiver::tls(&ca, move |mut accepted| {
        let told = Arc::clone(&told);
        async move {
            let request = accepted.request().await.unwrap();
            told.lock().unwrap().push(request);
            accepted.send("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let receiver = receiver.await;
    let outcome = Pusher::to(&receiver, &ca).push(NAME).await;
    assert_eq!(outcome, Outcome::Accepted(StatusCode::CREATED));
    let seen = seen.lock().unwrap().concat();
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    lines[1..].sort_unstable();
    let host = format!("host: {NAME}:{}", receiver.address.port());
    let expected = [
        "POST /up/secret?x=1 HTTP/1.1",
        "authorization: vapid t=secret, k=key",
        "content-encoding: aes128gcm",
        "content-length: 8",
        "content-type: application/json",
        &host,
        "topic: ________________________________",
        "ttl: 86400",
        "urgency: high",
        "user-agent: jmap-push-proxy",
    ];
    assert_eq!(lines, expected);
    assert_eq!(body, "\0sealed\u{fffd}");
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_sent() {
    let ca = Ca::new();
    let seen = Arc::new(Mutex::new(String::new()));
    let told = Arc::clone(&seen);
    let receiver = Receiver::tls(&ca, move |mut accepted| {
        let told = Arc::clone(&told);
        async move {
            *told.lock().unwrap() = accepted.request().await.unwrap();
            accepted.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    })
    .await;
    let pusher = Pusher::to(&receiver, &ca);
    let bare = Message {
        ttl: 0,
        urgency: Urgency::VeryLow,
        topic: None,
        is_encrypted: false,
        authorization: None,
        ..message()
    };
    let outcome = pusher.sender.post(&pusher.target(NAME), bare).await;
    assert_eq!(outcome, Outcome::Accepted(StatusCode::NO_CONTENT));
    let seen = seen.lock().unwrap();
    assert!(
        seen.contains("\r\nttl: 0\r\n") && seen.contains("\r\nurgency: very-low\r\n"),
        "{seen}"
    );
    for absent in ["topic", "content-encoding", "authorization", "cookie"] {
        assert!(!seen.contains(&format!("\r\n{absent}:")), "{seen}");
    }
}

#[tokio::test]
async fn http2_carries_many_pushes_over_one_connection() {
    let ca = Ca::new();
    let receiver = Receiver::http2(&ca, |_, request| async move {
        let headers = request.headers().clone();
        assert_eq!(
            (&headers["ttl"], &headers["urgency"]),
            (&"86400".parse().unwrap(), &"high".parse().unwrap())
        );
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, message().body);
        StatusCode::CREATED
    })
    .await;
    let pusher = Pusher::to(&receiver, &ca);
    assert_eq!(pusher.push(NAME).await, Outcome::Accepted(StatusCode::CREATED));
    let pushes = (0..50).map(|_| pusher.push(NAME));
    for outcome in futures_util::future::join_all(pushes).await {
        assert_eq!(outcome, Outcome::Accepted(StatusCode::CREATED));
    }
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn http1_keeps_its_connection_for_the_next_push() {
    let ca = Ca::new();
    let answer = "HTTP/1.1 201 Created\r\nset-cookie: a=b\r\ncontent-length: 4\r\n\r\nfine";
    let receiver = Receiver::answering(&ca, answer).await;
    let pusher = Pusher::to(&receiver, &ca);
    for _ in 0..5 {
        assert_eq!(pusher.push(NAME).await, Outcome::Accepted(StatusCode::CREATED));
    }
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn an_answer_becomes_an_outcome() {
    let ca = Ca::new();
    let slow = |seconds| Outcome::Slow { retry_after: Some(Duration::from_secs(seconds)) };
    for (answer, expected) in [
        ("HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n", slow(7)),
        ("HTTP/1.1 503 No\r\nretry-after: 99999999\r\ncontent-length: 0\r\n\r\n", slow(86_400)),
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", Outcome::Gone(StatusCode::GONE)),
        ("HTTP/1.1 413 Long\r\ncontent-length: 0\r\n\r\n", Outcome::TooLarge),
        (
            "HTTP/1.1 403 No\r\nconnection: close\r\n\r\nwhy",
            Outcome::Refused(StatusCode::FORBIDDEN),
        ),
        ("HTTP/1.0 500 No\r\n\r\n", Outcome::Failed(StatusCode::INTERNAL_SERVER_ERROR)),
    ] {
        let receiver = Receiver::tls(&ca, move |mut accepted| async move {
            accepted.request().await;
            accepted.send(answer).await;
        })
        .await;
        assert_eq!(Pusher::to(&receiver, &ca).push(NAME).await, expected, "{answer}");
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_leads_nowhere() {
    let ca = Ca::new();
    let canary = Receiver::tls_at("127.0.0.2:0", NAME, &ca, |_| async {}).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} There\r\nlocation: https://127.0.0.2:{}/\r\ncontent-length: 0\r\n\r\n",
            canary.address.port()
        );
        let receiver = Receiver::answering(&ca, answer.leak()).await;
        let expected = Outcome::Redirected(StatusCode::from_u16(status).unwrap());
        assert_eq!(Pusher::to(&receiver, &ca).push(NAME).await, expected);
    }
    assert_eq!(canary.accepted(), 0);
}

#[tokio::test]
async fn a_connection_that_went_dead_is_not_used_again() {
    let ca = Ca::new();
    let pushes = Arc::new(Mutex::new(0));
    let receiver = Receiver::http2(&ca, move |connection, _| {
        let count = {
            let mut pushes = pushes.lock().unwrap();
            *pushes += 1;
            *pushes
        };
        async move {
            if connection == 0 && count > 1 {
                std::future::pending::<()>().await;
            }
            StatusCode::CREATED
        }
    })
    .await;
    let limits = Limits { timeout: Duration::from_millis(500), ..LIMITS };
    let pusher = Pusher::with(receiver.address.port(), &ca, limits);
    assert_eq!(pusher.push(NAME).await, Outcome::Accepted(StatusCode::CREATED));
    assert_eq!(pusher.push(NAME).await, Outcome::Unreachable(Unreachable::Timeout));
    assert_eq!(pusher.push(NAME).await, Outcome::Accepted(StatusCode::CREATED));
    assert_eq!(receiver.accepted(), 2);
}
