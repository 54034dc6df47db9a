//! Accepting clients' connections, and how many at a time (hostile.md F15).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Connections;
use super::dispatch::{Connection, Room};
use super::tls::Certificate;
use crate::drain::Phase;
use crate::http::listener::Listener;
use crate::http::socket::Socket;

/// A pause after the process has run out of descriptors, instead of spinning.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the drain begins. When `room` is used up: no more are accepted, and
/// the kernel's backlog makes clients wait.
pub async fn serve(
    listener: Listener,
    connections: Arc<Connections>,
    certificate: Option<Arc<Certificate>>,
    room: Arc<Semaphore>,
) {
    let mut starved = false;
    let draining = connections.drain.clone();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = draining.reached(Phase::Draining) => return,
        };
        let (socket, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !starved {
                    tracing::error!(%error, "cannot accept connections: raise the descriptor limit, or lower limits.connections");
                }
                starved = true;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        starved = false;
        let (connections, certificate) = (Arc::clone(&connections), certificate.clone());
        draining.spawn(async move {
            let Some(socket) = handshake(socket, certificate.as_deref(), &connections).await else {
                return;
            };
            let tls = matches!(socket, Socket::Tls(_));
            let peer = peer.map(|peer| peer.ip().to_canonical());
            let connection = Connection { peer, tls, guard: None, room: Room::default() };
            connections.serve(socket, connection, permit).await;
        });
    }
}

async fn accept(
    listener: &Listener,
    room: &Arc<Semaphore>,
) -> io::Result<(Socket, Option<SocketAddr>, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    Ok((socket, peer, permit))
}

async fn handshake(
    socket: Socket,
    certificate: Option<&Certificate>,
    connections: &Connections,
) -> Option<Socket> {
    // A Unix socket stays plain: whoever can open it is on this machine.
    let (certificate, tcp) = match (certificate, socket) {
        (Some(certificate), Socket::Tcp(tcp)) => (certificate, tcp),
        (_, socket) => return Some(socket),
    };
    let limit = connections.dispatch.config.downstream.header_timeout;
    match tokio::time::timeout(limit, certificate.acceptor().accept(tcp)).await {
        Ok(Ok(stream)) => Some(Socket::Tls(Box::new(stream.into()))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}
