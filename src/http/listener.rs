//! Binding addresses and accepting connections there, for every door of ours.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::{TcpListener, UnixListener};

use super::socket::Socket;
use crate::config::Listen;

/// Connections the kernel holds while we are busy; it takes less if `net.core.somaxconn` is less.
const BACKLOG: i32 = 4096;

/// Bytes the kernel holds for a client beyond what is on its way. It would hold megabytes, and say that
/// there is room again only when a third of them has gone: a slow reader would look like one that reads
/// nothing (`downstream.write_timeout`).
const UNSENT: u32 = 128 * 1024;

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

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    // A socket file that nobody answers at is left over from a process that was killed.
    if std::os::unix::net::UnixStream::connect(path).is_err() && is_socket(path) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Who may come is for the folder to say: the process' umask would leave it to its own user.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Whether a socket lies there, with somebody behind it or nobody.
#[must_use]
pub fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}
