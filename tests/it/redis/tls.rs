//! TLS to Redis: a relay that ends it stands before the server.

use jmap_push_proxy::notify::ear::Ear;
use jmap_push_proxy::notify::queue::queue;
use jmap_push_proxy::notify::{self, Event};
use jmap_push_proxy::telemetry::metrics::Metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::rig::{Rig, publish, settings};
use crate::support::certificate::Ca;
use crate::support::redis::Redis;

/// Ends TLS and passes on to a port. Ends when dropped.
struct Relay {
    port: u16,
    accepting: JoinHandle<()>,
}

impl Relay {
    async fn to(target: u16, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        #[expect(clippy::disallowed_methods, reason = "ends with the relay")]
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // A client that does not believe the certificate goes away.
                    let Ok(mut client) = acceptor.accept(socket).await else { return };
                    let mut server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, accepting }
    }

    fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[tokio::test]
async fn a_private_authority_is_believed_where_it_is_named() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let ca = Ca::new();
    let relay = Relay::to(redis.port(), ca.server(&[])).await;
    let mut settings = settings(&relay.url());
    settings.ca_file = Some(ca.file().to_owned());
    let mut rig = Rig::start(&settings);
    assert_eq!(rig.next().await, Event::Gap);
    rig.well().await;
    publish(&redis, "alice");
    rig.notice_of("alice").await;
    rig.end().await;
}

#[tokio::test]
async fn a_strange_authority_is_named_once() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let (ca, strange) = (Ca::new(), Ca::new());
    let relay = Relay::to(redis.port(), strange.server(&[])).await;
    let mut settings = settings(&relay.url());
    settings.ca_file = Some(ca.file().to_owned());
    let rig = Rig::start(&settings);
    let trouble = rig.trouble("TLS fails: invalid peer certificate: UnknownIssuer").await;
    assert_eq!(trouble.reason.matches("certificate").count(), 1, "{trouble:?}");
    assert!(trouble.remedy.contains("redis.ca_file"), "{trouble:?}");
    rig.end().await;
}

#[test]
fn a_file_without_a_certificate_is_refused_by_name() {
    let (outbox, _inbox) = queue(Metrics::default());
    let mut settings = settings("rediss://127.0.0.1");
    for (file, why) in [("Cargo.toml", "find a certificate"), ("no/such/file", "read")] {
        settings.ca_file = Some(file.into());
        let source = notify::redis::source(
            &settings,
            Ear::new(outbox.clone(), Metrics::default()),
            Default::default(),
            &Metrics::default(),
        );
        let error = source.unwrap_err().to_string();
        assert_eq!(error, format!("{why} in redis.ca_file {file}").replace("read in", "read"));
    }
}
