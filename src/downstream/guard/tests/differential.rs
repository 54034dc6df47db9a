//! hyper behind the guard sees exactly the requests the guard let pass, and never has to refuse one
//! by itself.

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::machine::pieces;
use super::payloads::PAYLOADS;
use super::reference::{LIMITS, Outcome, Seen, guard, requests};
use crate::downstream::guard::{GuardedIo, Rejection};

/// Sends `parts` to hyper behind a guard and waits until the connection has ended: the requests the
/// service saw whole, and the status of each answer.
async fn behind(parts: &[&[u8]]) -> (Vec<Seen>, Vec<StatusCode>) {
    let (client, server) = tokio::io::duplex(1024);
    let (io, handle) = GuardedIo::new(server, LIMITS);
    let all_seen = Mutex::new(Vec::new());
    let service = service_fn(async |request: Request<Incoming>| {
        if let Some(rejection) = handle.refusal(&request) {
            return Ok::<_, Infallible>(rejection.response());
        }
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return Ok(handle.rejection().map_or_else(|| answer(BROKEN_OFF), Rejection::response));
        };
        all_seen.lock().unwrap().push(Seen {
            method: head.method.to_string(),
            target: head.uri.to_string(),
            body: body.to_bytes().to_vec(),
            last: head.version == Version::HTTP_10,
        });
        Ok(answer(StatusCode::OK))
    });
    let (mut read, mut write) = tokio::io::split(client);
    let mut answers = Vec::new();
    let (_, _, all_read) = tokio::join!(
        // The client below ends its side before it has the answers.
        http1::Builder::new().half_close(true).serve_connection(io, service),
        async {
            for part in parts {
                if write.write_all(part).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            // Fails when the server was first to close.
            let _ = write.shutdown().await;
        },
        read.read_to_end(&mut answers),
    );
    all_read.unwrap();
    (all_seen.into_inner().unwrap(), statuses(&answers))
}

/// What the service answers when the client ends in the middle of a body.
const BROKEN_OFF: StatusCode = StatusCode::GONE;

fn answer(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// The status of each final answer in what the client read.
fn statuses(mut answers: &[u8]) -> Vec<StatusCode> {
    let mut all = Vec::new();
    while !answers.is_empty() {
        let len = answers.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(answers[..len].to_ascii_lowercase()).unwrap();
        let body_len: usize = head
            .split("\r\n")
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |value| value.parse().unwrap());
        let status: StatusCode = StatusCode::from_bytes(&answers[9..12]).unwrap();
        if !status.is_informational() {
            all.push(status);
        }
        answers = &answers[len + body_len..];
    }
    all
}

fn check(bytes: &[u8], parts: &[&[u8]]) {
    let Outcome { passed, heads, rejection } = guard([bytes]);
    let (mut expected, broken) = requests(&bytes[..passed]);
    assert_eq!(heads, expected.len() as u64 + u64::from(broken));
    let mut expected_statuses = vec![StatusCode::OK; expected.len()];
    let refused = rejection.map(Rejection::status);
    expected_statuses.extend(if broken { refused.or(Some(BROKEN_OFF)) } else { refused });
    if let Some(last) = expected.iter().position(|seen| seen.last) {
        expected.truncate(last + 1);
        expected_statuses.truncate(last + 1);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (seen, statuses) = runtime.block_on(behind(parts));
    assert_eq!(seen, expected);
    assert_eq!(statuses, expected_statuses);
}

#[test]
fn hyper_sees_of_every_payload_what_the_guard_let_pass() {
    for (name, bytes, _) in PAYLOADS {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for parts in [&[*bytes][..], &[first, second]] {
            let outcome = std::panic::catch_unwind(|| check(bytes, parts));
            assert!(outcome.is_ok(), "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn hyper_sees_exactly_what_the_guard_let_pass(bytes in pieces(), cut in 1..80_usize) {
        check(&bytes, &bytes.chunks(cut).collect::<Vec<_>>());
    }
}
