//! Where clients connect: addresses, accepting, and how many at a time (hostile.md F15).

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Connections;
use super::dispatch::{Connection, Room};
use super::tls::Certificate;
use crate::config::Listen;
use crate::drain::Phase;
use crate::http::socket::Socket;

/// Connections the kernel holds while we are busy; it takes less if `net.core.somaxconn` is less.
const BACKLOG: i32 = 4096;

/// Bytes the kernel holds for a client beyond what is on its way. It would hold megabytes, and say that
/// there is room again only when a third of them has gone: a slow reader would look like one that reads
/// nothing (`downstream.write_timeout`).
const UNSENT: u32 = 128 * 1024;

/// A pause after the process has run out of descriptors, instead of spinning.
const PAUSE: Duration = Duration::from_millis(100);

/// An address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[error("listen at {address}")]
pub struct Error {
    address: String,
    #[source]
    source: io::Error,
}

/// A bound address.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket; its file goes with it.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds an address.
    ///
    /// # Errors
    /// When it is taken or not ours.
    pub fn bind(listen: &Listen) -> Result<Self, Error> {
        let bound = match listen {
            Listen::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            Listen::Unix(path) => bind_unix(path).map(|unix| Self::Unix(unix, path.clone())),
        };
        bound.map_err(|source| Error { address: listen.to_string(), source })
    }

    /// What it is bound to; the port is real where the settings say 0.
    #[must_use]
    pub fn address(&self) -> Listen {
        match self {
            // A bound socket has an address.
            Self::Tcp(tcp) => {
                Listen::Tcp(tcp.local_addr().unwrap_or(SocketAddr::from(([0; 4], 0))))
            }
            Self::Unix(_, path) => Listen::Unix(path.clone()),
        }
    }

    /// The next connection, and where it comes from.
    ///
    /// Cancel safety: a connection is either returned or stays with the kernel.
    ///
    /// # Errors
    /// As accept(2) says.
    pub async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(tcp) => {
                let (socket, peer) = tcp.accept().await?;
                socket.set_nodelay(true)?;
                SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT)?;
                Ok((Socket::Tcp(socket), Some(peer)))
            }
            Self::Unix(unix, _) => {
                let (socket, _) = unix.accept().await?;
                Ok((Socket::Unix(socket), None))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Gone already is as good.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn bind_unix(path: &PathBuf) -> io::Result<UnixListener> {
    // A socket file that nobody answers at is left over from a process that was killed.
    if std::os::unix::net::UnixStream::connect(path).is_err() && is_socket(path) {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

fn is_socket(path: &PathBuf) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

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
