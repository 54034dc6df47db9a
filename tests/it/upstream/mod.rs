//! The proxy's way to upstream (architecture D4): every kind of address, several of them, and what
//! clients are told when it fails.

mod addresses;
mod doors;
mod failures;
mod push;
mod room;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use jmap_push_proxy::config::UpstreamAddress;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::http::asking;
use crate::support::rig::address_of;

/// A server that accepts and never says or reads anything, and how many connections it has.
struct Mute {
    address: UpstreamAddress,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Mute {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = address_of(listener.local_addr().unwrap());
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        #[expect(clippy::disallowed_methods, reason = "ends with the server")]
        let accepting = tokio::spawn(async move {
            let mut sockets = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                sockets.spawn(async move {
                    let _socket = socket;
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { address, connections, accepting }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// As an https address: no handshake ever ends.
    fn tls(&self) -> UpstreamAddress {
        UpstreamAddress { tls: true, ..self.address.clone() }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An address where nobody listens.
async fn deserted() -> UpstreamAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    address_of(listener.local_addr().unwrap())
}

/// An upload (§6.1).
fn upload(user: &str, bytes: Vec<u8>) -> Request<Full<Bytes>> {
    let mut request = asking("POST", "/jmap/upload/a/", user);
    *request.body_mut() = Full::from(bytes);
    request
}

/// What a problem document says.
fn problem(response: &Response<Bytes>) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(problem["status"], response.status().as_u16());
    problem
}
