//! The wrapper around the stream: order of answers, time, flushing, handing over.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBuf, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;

use super::reference::LIMITS;
use crate::downstream::guard::{GuardedIo, Handle, Rejection, State, linger};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A client and the guarded other side of its connection.
fn pair() -> (DuplexStream, GuardedIo<DuplexStream>, Handle) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let (io, handle) = GuardedIo::new(server, LIMITS);
    (client, io, handle)
}

/// One read as hyper does it, with room for `room` bytes; `None` while pending.
async fn read_once(io: &mut GuardedIo<DuplexStream>, room: usize) -> Option<Vec<u8>> {
    std::future::poll_fn(|cx| {
        let mut bytes = vec![0; room];
        let mut buf = ReadBuf::new(&mut bytes);
        let ready = std::pin::Pin::new(&mut *io).poll_read(cx, buf.unfilled()).map(Result::unwrap);
        std::task::Poll::Ready(ready.is_ready().then(|| buf.filled().to_vec()))
    })
    .await
}

fn ok(body: &'static str) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from(body)))
}

#[tokio::test]
async fn a_refused_head_is_answered_after_the_requests_before_it() {
    let (mut client, io, handle) = pair();
    let go = Arc::new(Notify::new());
    let service = service_fn(async |request: Request<Incoming>| {
        if let Some(rejection) = handle.refusal(&request) {
            return Ok::<_, Infallible>(rejection.response());
        }
        go.notified().await;
        ok("first")
    });
    let both = [GET, b"GET / HTTP/1.1\nHost: a\r\n\r\n"].concat();
    client.write_all(&both).await.unwrap();
    let mut answers = String::new();
    let (served, ..) = tokio::join!(
        http1::Builder::new().serve_connection(io, service),
        async {
            // The connection has been polled: the second head is refused, the first request runs.
            while handle.rejection().is_none() {
                tokio::task::yield_now().await;
            }
            go.notify_one();
        },
        async { client.read_to_string(&mut answers).await.unwrap() },
    );
    served.unwrap();
    let (first, second) = answers.split_once("first").unwrap();
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    assert!(second.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answers}");
    assert!(second.contains("content-type: application/problem+json\r\n"), "{answers}");
    assert!(second.contains("connection: close\r\n"), "{answers}");
    assert!(second.contains(&Rejection::BareLf.to_string()), "{answers}");
}

#[tokio::test]
async fn a_refusal_by_time_is_answered_with_408() {
    let (mut client, io, handle) = pair();
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(handle.refusal(&request).map(Rejection::response).unwrap())
    });
    client.write_all(b"GET / HT").await.unwrap();
    let mut connection = std::pin::pin!(http1::Builder::new().serve_connection(io, service));
    assert!(futures_poll(connection.as_mut()).await.is_none());
    assert!(matches!(handle.state(), State::Head { .. }));
    assert!(handle.waiting_since().is_some());
    handle.refuse(Rejection::HeadTimeout);
    connection.await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

/// Polls once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_malformed_chunk_breaks_the_body_and_the_handler_knows_why() {
    let (mut client, io, handle) = pair();
    let service = service_fn(async |request: Request<Incoming>| {
        assert!(handle.refusal(&request).is_none());
        assert!(request.into_body().collect().await.is_err());
        Ok::<_, Infallible>(handle.rejection().unwrap().response())
    });
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n";
    client.write_all(request).await.unwrap();
    http1::Builder::new().serve_connection(io, service).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
}

#[tokio::test]
async fn a_trace_of_the_clients_own_making_never_reaches_the_service() {
    let (mut client, mut io, handle) = pair();
    client.write_all(b"TRACE /secret HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let given = String::from_utf8(read_once(&mut io, 8192).await.unwrap()).unwrap();
    assert!(given.starts_with("TRACE * HTTP/1.1\r\n"), "{given}");
    assert_eq!(handle.rejection(), Some(Rejection::MethodNotServed));
}

#[tokio::test]
async fn a_refused_connection_neither_reads_nor_ends() {
    let (mut client, mut io, _handle) = pair();
    client.write_all(b"\n").await.unwrap();
    assert!(read_once(&mut io, 8192).await.is_some());
    client.write_all(GET).await.unwrap();
    drop(client);
    assert_eq!(read_once(&mut io, 8192).await, None);
}

#[tokio::test]
async fn a_part_of_a_head_is_held_back_until_it_is_whole() {
    let (mut client, mut io, handle) = pair();
    for part in GET[..GET.len() - 1].chunks(5) {
        client.write_all(part).await.unwrap();
        assert_eq!(read_once(&mut io, 8192).await, None);
        assert!(matches!(handle.state(), State::Head { .. }));
    }
    client.write_all(b"\nGET").await.unwrap();
    assert_eq!(read_once(&mut io, 8192).await.unwrap(), GET);
    assert_eq!(read_once(&mut io, 8192).await, None);
    let (_, held) = io.into_inner();
    assert_eq!(held, b"GET");
}

#[tokio::test]
async fn a_held_head_larger_than_hypers_room_is_given_in_parts() {
    let (mut client, mut io, _handle) = pair();
    client.write_all(&GET[..20]).await.unwrap();
    assert_eq!(read_once(&mut io, 4096).await, None);
    client.write_all(&GET[20..]).await.unwrap();
    let mut given = Vec::new();
    while given.len() < GET.len() {
        let part = read_once(&mut io, 7).await.unwrap();
        assert!((1..=7).contains(&part.len()));
        given.extend(part);
    }
    assert_eq!(given, GET);
}

#[tokio::test]
async fn a_client_that_leaves_within_a_head_ends_the_connection() {
    let (mut client, mut io, _handle) = pair();
    client.write_all(b"GET /").await.unwrap();
    drop(client);
    assert_eq!(read_once(&mut io, 8192).await.unwrap(), b"");
}

#[tokio::test]
async fn everything_passes_once_opaque_what_was_held_first() {
    let (mut client, mut io, handle) = pair();
    client.write_all(&[GET, b"G"].concat()).await.unwrap();
    assert_eq!(read_once(&mut io, 8192).await.unwrap(), GET);
    assert_eq!(handle.become_opaque(), Ok(()));
    client.write_all(b"\x81\x00\n").await.unwrap();
    assert_eq!(read_once(&mut io, 8192).await.unwrap(), b"G");
    assert_eq!(read_once(&mut io, 8192).await.unwrap(), b"\x81\x00\n");
}

#[tokio::test]
async fn no_upgrade_after_a_refusal() {
    let (mut client, mut io, handle) = pair();
    client.write_all(&[GET, b"\x81\x05"].concat()).await.unwrap();
    assert_eq!(read_once(&mut io, 8192).await.unwrap(), GET);
    assert_eq!(handle.become_opaque(), Err(Rejection::Method));
}

#[tokio::test]
async fn a_request_read_to_its_end_with_nothing_after_it_can_be_told() {
    let (mut client, mut io, handle) = pair();
    client.write_all(GET).await.unwrap();
    read_once(&mut io, 8192).await.unwrap();
    assert!(matches!((handle.heads(), handle.state()), (1, State::Idle { .. })));
    client.write_all(GET).await.unwrap();
    read_once(&mut io, 8192).await.unwrap();
    assert!(matches!((handle.heads(), handle.state()), (2, State::Idle { .. })));
    client.write_all(b"G").await.unwrap();
    assert_eq!(read_once(&mut io, 8192).await, None);
    assert!(matches!((handle.heads(), handle.state()), (2, State::Head { .. })));
}

#[tokio::test]
async fn hyper_that_does_not_ask_is_not_waiting() {
    let (mut client, mut io, handle) = pair();
    assert_eq!(handle.waiting_since(), None);
    assert_eq!(read_once(&mut io, 8192).await, None);
    let since = handle.waiting_since();
    assert!(since.is_some());
    assert_eq!(read_once(&mut io, 8192).await, None);
    assert_eq!(handle.waiting_since(), since);
    client.write_all(GET).await.unwrap();
    read_once(&mut io, 8192).await.unwrap();
    assert_eq!(handle.waiting_since(), None);
}

#[tokio::test]
async fn flushes_count_only_what_the_stream_has_taken() {
    let (client, server) = tokio::io::duplex(4);
    let (mut io, handle) = GuardedIo::new(server, LIMITS);
    let mut connection = std::pin::pin!(async {
        let mut bytes = b"12345678".as_slice();
        while !bytes.is_empty() {
            let written =
                std::future::poll_fn(|cx| std::pin::Pin::new(&mut io).poll_write(cx, bytes))
                    .await
                    .unwrap();
            bytes = &bytes[written..];
        }
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut io).poll_flush(cx)).await.unwrap();
    });
    assert!(futures_poll(connection.as_mut()).await.is_none());
    assert_eq!(handle.flushes(), 0);
    let mut client = client;
    client.read_exact(&mut [0; 8][..4]).await.unwrap();
    connection.await;
    assert_eq!(handle.flushes(), 1);
}

/// Bodies much larger than every buffer, in both framings, one after the other.
#[tokio::test]
async fn large_bodies_pass_unchanged() {
    let (client, io, handle) = pair();
    let body: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut sent =
        format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    sent.extend_from_slice(&body);
    sent.extend_from_slice(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(70_001) {
        sent.extend_from_slice(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
        sent.extend_from_slice(chunk);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"0\r\n\r\n");
    let service = service_fn(async |request: Request<Incoming>| {
        let arrived = request.into_body().collect().await.unwrap().to_bytes();
        assert!(arrived == body, "{} bytes of {}", arrived.len(), body.len());
        ok("")
    });
    let (mut read, mut write) = tokio::io::split(client);
    let mut answers = String::new();
    let (served, ..) = tokio::join!(
        http1::Builder::new().half_close(true).serve_connection(io, service),
        async {
            for part in sent.chunks(40_009) {
                write.write_all(part).await.unwrap();
            }
            write.shutdown().await.unwrap();
        },
        async { read.read_to_string(&mut answers).await.unwrap() },
    );
    served.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
    assert!(matches!((handle.heads(), handle.state()), (2, State::Idle { .. })));
}

/// B5: the answer to a head far over the limit survives the bytes that were never read.
#[tokio::test]
async fn a_client_that_sends_a_megabyte_of_head_reads_431() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let (mut head, mut answer) = (b"GET / HTTP/1.1\r\nX: ".to_vec(), String::new());
        head.resize(1 << 20, b'x');
        let (_, read) = tokio::join!(write.write_all(&head), read.read_to_string(&mut answer));
        read.unwrap();
        answer
    };
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let (io, handle) = GuardedIo::new(stream, LIMITS);
        let service = service_fn(|request: Request<Incoming>| {
            let refusal = handle.refusal(&request).unwrap();
            std::future::ready(Ok::<_, Infallible>(refusal.response()))
        });
        let mut connection = http1::Builder::new().serve_connection(io, service);
        std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await.unwrap();
        let (stream, held) = connection.into_parts().io.into_inner();
        assert!(held.is_empty());
        linger(stream, Duration::from_secs(10)).await;
    };
    let (answer, ()) = tokio::join!(client, server);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}
