//! A TCP relay that can spoil the way between two parties without either closing it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const PASS: u8 = 0;
const FREEZE: u8 = 1;
const DEAFEN: u8 = 2;

/// Relays connections to one port; ends with its value.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    /// What happens to the connections open now. New ones pass.
    mode: Arc<AtomicU8>,
    current: tokio::sync::watch::Sender<Arc<AtomicU8>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Starts relaying to a port on loopback.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(AtomicU8::new(PASS));
        let (current, modes) = tokio::sync::watch::channel(Arc::clone(&mode));
        #[expect(clippy::disallowed_methods, reason = "ends with the relay")]
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let mode = Arc::clone(&modes.borrow());
                connections.spawn(relay(client, target, mode));
            }
        });
        Self { port, mode, current, accepting }
    }

    /// Where to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Nothing passes any more on the connections open now, and nobody is told.
    pub(crate) fn freeze(&mut self) {
        self.spoil(FREEZE);
    }

    /// Answers pass on the connections open now, but what is published on a heartbeat channel
    /// arrives under another name: to the subscriber it is as if it were not subscribed.
    pub(crate) fn deafen(&mut self) {
        self.spoil(DEAFEN);
    }

    fn spoil(&mut self, how: u8) {
        self.mode.store(how, Ordering::SeqCst);
        self.mode = Arc::new(AtomicU8::new(PASS));
        self.current.send_replace(Arc::clone(&self.mode));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(client: TcpStream, target: u16, mode: Arc<AtomicU8>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = carry(from_client, to_server, &mode, false) => {}
        () = carry(from_server, to_client, &mode, true) => {}
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mode: &AtomicU8,
    to_subscriber: bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let chunk = &mut buffer[..length];
        match mode.load(Ordering::SeqCst) {
            FREEZE => std::future::pending().await,
            DEAFEN if to_subscriber => rename(chunk),
            _ => {}
        }
        if to.write_all(chunk).await.is_err() {
            return;
        }
    }
}

fn rename(chunk: &mut [u8]) {
    let (name, other) = (b":heartbeat", b":HEARTBEAT");
    while let Some(at) = chunk.windows(name.len()).position(|window| window == name) {
        chunk[at..at + name.len()].copy_from_slice(other);
    }
}
