//! TLS towards clients: what is agreed on, and certificates that change while we run.

use std::time::Duration;

use jmap_push_proxy::telemetry::health::Part;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::http::{asking, exchange_over};
use crate::support::http2::Http2;
use crate::support::rig::{EVENT_SOURCE, Rig, call, setting};
use crate::support::sse::EventStream;
use crate::support::tls::Certified;
use crate::support::upstream::{Canned, account_of};
use crate::support::wait::{until, within};

async fn started() -> (Rig, Certified) {
    let certified = Certified::new();
    let rig = Rig::start(|config| config.downstream.tls = Some(certified.files.clone())).await;
    rig.upstream.answer("/x", Canned { status: 204, ..Canned::default() });
    (rig, certified)
}

#[tokio::test]
async fn the_protocol_is_the_best_that_both_know() {
    let (rig, certified) = started().await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = certified.connect(rig.address, offered).await;
        let spoken = stream.get_ref().1.alpn_protocol();
        assert_eq!(spoken, agreed.map(str::as_bytes), "{offered:?}");
        let response = if agreed == Some("h2") {
            let mut client = Http2::over(stream, rig.address, |_| {}).await;
            client.exchange(asking("GET", "/x", "alice")).await
        } else {
            Box::pin(exchange_over(stream, rig.address, asking("GET", "/x", "alice"))).await
        };
        assert_eq!(response.unwrap().status(), 204);
        assert_eq!(rig.upstream.last("/x").headers["x-forwarded-proto"], "https");
    }
    rig.end().await;
}

#[tokio::test]
async fn http2_is_not_agreed_on_when_it_is_off() {
    let certified = Certified::new();
    let rig = Rig::start(|config| {
        config.downstream.tls = Some(certified.files.clone());
        config.downstream.http2 = false;
    })
    .await;
    let stream = certified.connect(rig.address, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_shakes_no_hands_is_let_go() {
    let certified = Certified::new();
    let rig = Rig::start(|config| {
        config.downstream.tls = Some(certified.files.clone());
        config.downstream.header_timeout = Duration::from_secs(1);
    })
    .await;
    let mut silent = TcpStream::connect(rig.address).await.unwrap();
    silent.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut read = Vec::new();
    let _ = within("end", silent.read_to_end(&mut read)).await;
    rig.end().await;
}

#[tokio::test]
async fn an_event_stream_over_tls_is_told_of_changes() {
    let (rig, certified) = started().await;
    let client = certified.connect(rig.address, &["http/1.1"]).await;
    let target = format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=0");
    let headers = [("Authorization", "Bearer alice")];
    let mut stream = EventStream::open_over(Box::new(client), rig.address, &target, &headers).await;
    for _ in 0..3 {
        let calls = setting(&account_of("alice"), "Email");
        let other = certified.connect(rig.address, &["http/1.1"]).await;
        let calling = exchange_over(other, rig.address, call("alice", &calls));
        Box::pin(calling).await.unwrap();
        let new = rig.upstream.mail(|mail| mail.state(&account_of("alice"), "Email"));
        stream.told(&account_of("alice"), "Email", &new).await;
    }
    rig.end().await;
}

#[tokio::test]
async fn an_event_stream_over_tls_ends_as_a_whole_response() {
    let certified = Certified::new();
    let rig = Rig::start(|config| {
        config.downstream.tls = Some(certified.files.clone());
        config.drain.window = Duration::from_secs(3);
    })
    .await;
    let client = certified.connect(rig.address, &["http/1.1"]).await;
    let target = format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=0");
    let headers = [("Authorization", "Bearer alice")];
    let mut stream = EventStream::open_over(Box::new(client), rig.address, &target, &headers).await;
    let ending = async { assert!(stream.next().await.is_none()) };
    tokio::join!(rig.drain(), ending);
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_clients() {
    let (rig, mut certified) = started().await;
    let old = certified.certificate.clone();
    let stream = certified.connect(rig.address, &["h2"]).await;
    let mut open = Http2::over(stream, rig.address, |_| {}).await;
    certified.renew();
    within("new certificate", async { while presented(&rig, &certified).await.is_none() {} }).await;
    assert_ne!(presented(&rig, &certified).await.as_deref(), Some(&*old));
    // Who was there stays.
    assert_eq!(open.exchange(asking("GET", "/x", "alice")).await.unwrap().status(), 204);
    rig.end().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_leaves_the_old_one_and_says_why() {
    let (rig, certified) = started().await;
    let good = std::fs::read(&certified.files.cert_file).unwrap();
    let other = Certified::new();
    for (broken, reason) in [
        (b"no certificate at all".to_vec(), "cert.pem"),
        (std::fs::read(&other.files.cert_file).unwrap(), "with the key"),
    ] {
        std::fs::write(&certified.files.cert_file, broken).unwrap();
        let trouble = until("complaint", || match rig.troubles().remove(&Part::Certificate) {
            Some(trouble) if trouble.reason.contains(reason) => Ok(trouble),
            other => Err(other),
        })
        .await;
        assert!(trouble.remedy.contains("stays in use"), "{trouble:?}");
        assert!(presented(&rig, &certified).await.is_some());
    }
    std::fs::write(&certified.files.cert_file, good).unwrap();
    until("recovery", || match rig.troubles().remove(&Part::Certificate) {
        None => Ok(()),
        trouble => Err(trouble),
    })
    .await;
    assert!(presented(&rig, &certified).await.is_some());
    rig.end().await;
}

/// The certificate a new client is shown; `None` when it is not the one expected.
async fn presented(rig: &Rig, expected: &Certified) -> Option<Vec<u8>> {
    let socket = TcpStream::connect(rig.address).await.unwrap();
    let stream = expected.connect_over(socket, &["h2"]).await.ok()?;
    Some(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}
