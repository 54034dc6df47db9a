//! Clients of HTTP/1.1 that do not take what they asked for (hostile.md B4, S3).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::bulk;
use crate::support::http::exchange_over;
use crate::support::rig::{EVENT_SOURCE, Rig, call};
use crate::support::sse::EventStream;
use crate::support::tls::Certified;
use crate::support::upstream::Broken;
use crate::support::wait::within;

const SECOND: Duration = Duration::from_secs(1);

/// Everything, at once, for ever.
const ALL: &str = "types=*&closeafter=no&ping=0";

/// A socket whose kernel takes little for a client that does not read.
fn narrow() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket
}

#[tokio::test]
async fn a_client_that_never_reads_its_response_is_given_up_and_upstream_told() {
    let certified = Certified::new();
    for tls in [false, true] {
        let rig = Rig::start(|config| {
            config.downstream.write_timeout = SECOND;
            config.downstream.tls = tls.then(|| certified.files.clone());
        })
        .await;
        rig.upstream.answer("/large", bulk::download());
        let socket = narrow().connect(rig.address).await.unwrap();
        let request = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
        if tls {
            let mut client = certified.connect_over(socket, &["http/1.1"]).await.unwrap();
            client.write_all(request).await.unwrap();
            rig.upstream.broken_off(&Broken::Download("/large".to_owned())).await;
        } else {
            let mut client = socket;
            client.write_all(request).await.unwrap();
            rig.upstream.broken_off(&Broken::Download("/large".to_owned())).await;
            // The response must not look whole.
            let mut read = Vec::new();
            let _ = within("end", client.read_to_end(&mut read)).await;
            assert!(!read.ends_with(b"0\r\n\r\n"));
        }
        rig.end().await;
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_reads_is_served_to_the_end() {
    let rig = Rig::start(|config| config.downstream.write_timeout = SECOND).await;
    rig.upstream.answer("/large", bulk::download());
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    let request = b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let began = tokio::time::Instant::now();
    let (mut length, mut part) = (0, vec![0; 64 << 10]);
    let mut tail = Vec::new();
    loop {
        let read = within("bytes", client.read(&mut part)).await.unwrap();
        if read == 0 {
            break;
        }
        length += read;
        tail = part[..read].to_vec();
        // Slower than the limit would allow for all of it, faster than it allows for a part.
        if began.elapsed() < 3 * SECOND {
            tokio::time::sleep(SECOND / 20).await;
        }
    }
    assert!(length > bulk::LENGTH, "{length}");
    assert!(tail.ends_with(b"0\r\n\r\n"));
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_pauses_does_not_make_upstream_look_silent() {
    let rig = Rig::start(|config| config.upstream.body_timeout = SECOND).await;
    rig.upstream.answer("/large", bulk::download());
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    let request = b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut read = vec![0; 64 << 10];
    let begun = client.read_exact(&mut read).await.unwrap();
    // Longer than upstream may be silent, which it is not.
    tokio::time::sleep(3 * SECOND / 2).await;
    within("end", client.read_to_end(&mut read)).await.unwrap();
    assert!(begun + read.len() > bulk::LENGTH, "{}", read.len());
    rig.end().await;
}

#[tokio::test]
async fn an_event_stream_over_tls_whose_client_stops_reading_is_closed() {
    let certified = Certified::new();
    let rig = Rig::start(|config| {
        config.downstream.tls = Some(certified.files.clone());
        config.event_source.send_buffer = 4096;
        config.event_source.write_timeout = SECOND;
    })
    .await;
    // Long ids make long events.
    let accounts: Vec<String> = (0..16).map(|n| format!("{n}-{}", "x".repeat(240))).collect();
    for account in &accounts {
        rig.upstream.mail(|mail| mail.share("alice", account));
    }
    let open = async |socket: TcpSocket| {
        let socket = socket.connect(rig.address).await.unwrap();
        let client = certified.connect_over(socket, &["http/1.1"]).await.unwrap();
        let target = format!("{EVENT_SOURCE}?{ALL}");
        let headers = [("Authorization", "Bearer alice")];
        EventStream::open_over(Box::new(client), rig.address, &target, &headers).await
    };
    let stalled = open(narrow()).await;
    let mut reader = open(TcpSocket::new_v4().unwrap()).await;
    let calls: Value = accounts
        .iter()
        .map(|id| json!(["Email/set", { "accountId": id, "update": {} }, "0"]))
        .collect();
    within("closed stream", async {
        while rig.metrics.slow_closed.get() == 0 {
            let client = certified.connect(rig.address, &["http/1.1"]).await;
            let calling = exchange_over(client, rig.address, call("alice", &calls));
            Box::pin(calling).await.unwrap();
            let last = rig.upstream.mail(|mail| mail.state(&accounts[15], "Email"));
            reader.told(&accounts[15], "Email", &last).await;
        }
    })
    .await;
    drop(stalled);
    rig.end().await;
}
