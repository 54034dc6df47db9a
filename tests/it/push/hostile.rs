//! Push services that mean harm or are broken (hostile.md X8).

use std::time::Duration;

use http::StatusCode;
use jmap_push_proxy::push::target::outcome::Unreachable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::*;

const CREATED: Outcome = Outcome::Accepted(StatusCode::CREATED);
const BROKEN: Outcome = Outcome::Unreachable(Unreachable::Broken);
const LATE: Outcome = Outcome::Unreachable(Unreachable::Timeout);

/// Pushes to a receiver that does this after it has read the request; `timeout` as given.
async fn pushed<F>(
    timeout: Duration,
    then: impl Fn(receiver::Accepted) -> F + Clone + Send + Sync + 'static,
) -> Outcome
where
    F: Future<Output = ()> + Send + 'static,
{
    let ca = Ca::new();
    let receiver = Receiver::tls(&ca, move |mut accepted| {
        let then = then.clone();
        async move {
            accepted.request().await;
            then(accepted).await;
        }
    })
    .await;
    let limits = Limits { timeout, ..LIMITS };
    Pusher::with(receiver.address.port(), &ca, limits).push(NAME).await
}

const SOON: Duration = Duration::from_millis(500);

/// X8. How much is read of it: `post`'s own tests.
#[tokio::test]
async fn a_length_of_a_terabyte_allocates_nothing_and_closes_the_connection() {
    let (tell, mut gone) = mpsc::channel(1);
    let outcome = pushed(LIMITS.timeout, move |mut accepted| {
        let tell = tell.clone();
        async move {
            accepted.send("HTTP/1.1 201 Created\r\ncontent-length: 1000000000000\r\n\r\n").await;
            accepted.send(vec![b'x'; 8192]).await;
            accepted.gone().await;
            tell.send(()).await.unwrap();
        }
    })
    .await;
    assert_eq!(outcome, CREATED);
    within("the connection is closed", gone.recv()).await.unwrap();
}

/// X8. How much is read of it: `post`'s own tests.
#[tokio::test]
async fn an_endless_body_closes_the_connection() {
    let (tell, mut told) = mpsc::channel(1);
    let outcome = pushed(LIMITS.timeout, move |mut accepted| {
        let tell = tell.clone();
        async move {
            accepted.send("HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n").await;
            let chunk = [&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n"].concat();
            while accepted.send(&chunk).await {}
            tell.send(()).await.unwrap();
        }
    })
    .await;
    assert_eq!(outcome, CREATED);
    within("the connection is closed", told.recv()).await.unwrap();
}

#[tokio::test]
async fn a_body_that_drips_does_not_delay_what_came_of_the_push() {
    let outcome = pushed(LIMITS.timeout, |mut accepted| async move {
        accepted.send("HTTP/1.1 404 Gone\r\ncontent-length: 4000\r\n\r\n").await;
        while accepted.send("x").await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let started = tokio::time::Instant::now();
    assert_eq!(outcome.await, Outcome::Gone(StatusCode::NOT_FOUND));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_head_that_drips_is_out_of_time() {
    let outcome = pushed(SOON, |mut accepted| async move {
        for letter in "HTTP/1.1 201 Created\r\nx-long: ".chars().chain(std::iter::repeat('x')) {
            if !accepted.send([u8::try_from(letter).unwrap()]).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(outcome.await, LATE);
}

#[tokio::test]
async fn silence_is_out_of_time() {
    let outcome = pushed(SOON, |mut accepted| async move { accepted.gone().await });
    assert_eq!(outcome.await, LATE);
}

#[tokio::test]
async fn an_interim_response_is_passed_over_and_endless_ones_are_out_of_time() {
    let outcome = pushed(LIMITS.timeout, |mut accepted| async move {
        accepted.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n").await;
        accepted.send("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
    });
    assert_eq!(outcome.await, CREATED);
    let outcome = pushed(SOON, |mut accepted| async move {
        while accepted.send("HTTP/1.1 100 Continue\r\n\r\n").await {}
    });
    assert_eq!(outcome.await, LATE);
}

#[tokio::test]
async fn a_head_of_many_or_long_headers_is_refused() {
    let outcome = pushed(LIMITS.timeout, |mut accepted| async move {
        accepted.send("HTTP/1.1 201 Created\r\nx-long: ").await;
        while accepted.send([b'x'; 1024]).await {}
    });
    assert_eq!(outcome.await, BROKEN);
    let outcome = pushed(LIMITS.timeout, |mut accepted| async move {
        let many = "a: b\r\n".repeat(200);
        accepted.send(format!("HTTP/1.1 201 Created\r\n{many}content-length: 0\r\n\r\n")).await;
        accepted.gone().await;
    });
    assert_eq!(outcome.await, BROKEN);
}

#[tokio::test]
async fn what_is_no_http_breaks_the_push() {
    for answer in ["", "220 mail.example ESMTP\r\n", "HTTP/1.1 banana\r\n\r\n", "HTTP/1.1 20"] {
        let outcome = pushed(LIMITS.timeout, move |mut accepted| async move {
            accepted.send(answer).await;
        });
        assert_eq!(outcome.await, BROKEN, "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_tls_is_told_apart() {
    let ca = Ca::new();
    let receiver = Receiver::tcp("127.0.0.1:0", |mut tcp| async move {
        let _ = tcp.read(&mut [0; 512]).await;
        let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let outcome = Pusher::to(&receiver, &ca).push(NAME).await;
    assert_eq!(outcome, Outcome::Unreachable(Unreachable::Tls));
}

/// X8: "conn 5 s", whatever a push may take.
#[tokio::test]
async fn a_handshake_that_never_ends_is_out_of_time() {
    let ca = Ca::new();
    let receiver = Receiver::tcp("127.0.0.1:0", |mut tcp| async move {
        while tcp.read(&mut [0; 512]).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let limits = Limits { timeout: Duration::from_secs(3600), ..LIMITS };
    let started = tokio::time::Instant::now();
    assert_eq!(Pusher::with(receiver.address.port(), &ca, limits).push(NAME).await, LATE);
    assert!(started.elapsed() >= Duration::from_secs(5), "no sooner either");
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Pushes to a server of HTTP/2 that sends these octets once it has been sent a request, and then reads on.
async fn pushed_by_http2(then: impl Fn() -> Vec<u8> + Clone + Send + 'static) -> Outcome {
    let ca = Ca::new();
    let acceptor = ca.server_called(&[NAME], &["h2"]);
    let receiver = Receiver::tcp("127.0.0.1:0", move |tcp| {
        let (acceptor, then) = (acceptor.clone(), then.clone());
        async move {
            let mut stream = acceptor.accept(tcp).await.unwrap();
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            let mut head = [0; 9];
            while stream.read_exact(&mut head).await.is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(length).unwrap()];
                if stream.read_exact(&mut payload).await.is_err() {
                    return;
                }
                if head[3] == HEADERS && stream.write_all(&then()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    Pusher::to(&receiver, &ca).push(NAME).await
}

/// X8, RFC 9113 §6.4: not what the push service might have meant by it, and not LATE.
#[tokio::test]
async fn a_stream_of_http2_that_is_reset_breaks_the_push() {
    const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];
    let outcome = pushed_by_http2(|| frame(RST_STREAM, 0, 1, &INTERNAL_ERROR)).await;
    assert_eq!(outcome, BROKEN);
}

/// X8, RFC 9113 §6.8: it has not looked at our request, and will not.
#[tokio::test]
async fn a_connection_of_http2_that_is_going_away_breaks_the_push() {
    const ENHANCE_YOUR_CALM: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 11];
    let outcome = pushed_by_http2(|| frame(GOAWAY, 0, 0, &ENHANCE_YOUR_CALM)).await;
    assert_eq!(outcome, BROKEN);
}

/// X8: `:status: 201`, and `a: xx…` again and again, none of it in a table (RFC 7541 §6.2.2).
#[tokio::test]
async fn a_head_of_http2_that_is_too_long_breaks_the_push() {
    let field = [&[0, 1, b'a', 100][..], &[b'x'; 100]].concat();
    let with = |fields: usize| {
        let status = [&[0x08, 3][..], b"201"].concat();
        let block = [status, field.repeat(fields)].concat();
        let mut frames = Vec::new();
        let chunks: Vec<&[u8]> = block.chunks(10_000).collect();
        for (number, chunk) in chunks.iter().enumerate() {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            let flags = if number + 1 == chunks.len() { END_HEADERS } else { 0 };
            frames.extend(frame(kind, flags, 1, chunk));
        }
        // An empty DATA frame ends the stream.
        frames.extend(frame(0, 1, 1, &[]));
        frames
    };
    let short = with(10);
    assert_eq!(pushed_by_http2(move || short.clone()).await, CREATED);
    // Between 8 KiB, as RFC 9113 §6.5.2 counts, and the 16 KiB that hyper takes by itself.
    let long = with(80);
    assert_eq!(pushed_by_http2(move || long.clone()).await, BROKEN);
}

/// X8.
#[tokio::test]
async fn a_connection_of_http2_that_ends_breaks_the_push() {
    let ca = Ca::new();
    // What comes after the preface is a frame of no connection that could go on (RFC 9113 §4.2).
    let acceptor = ca.server_called(&[NAME], &["h2"]);
    let receiver = Receiver::tcp("127.0.0.1:0", move |tcp| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(tcp).await.unwrap();
            let _ = stream.write_all(&[0xff; 64]).await;
            while stream.read(&mut [0; 512]).await.is_ok_and(|count| count > 0) {}
        }
    })
    .await;
    assert_eq!(Pusher::to(&receiver, &ca).push(NAME).await, BROKEN);
}
