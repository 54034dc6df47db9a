//! The ways into the fake upstream: TCP or a Unix socket, plain or TLS, HTTP/1.1 or HTTP/2.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jmap_push_proxy::config::{UpstreamAddress, UpstreamTarget};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{Inner, answer};

/// See the module.
pub(crate) enum Door {
    /// HTTP/1.1.
    Plain,
    /// HTTP/2 by prior knowledge, and nothing else.
    Http2,
    /// TLS; HTTP/2 where ALPN has come to it.
    Tls(TlsAcceptor),
    /// HTTP/1.1 on a Unix socket.
    Unix(PathBuf),
}

impl Door {
    /// Listens; gives where, and the task that accepts.
    pub(super) async fn open(
        self,
        inner: Arc<Mutex<Inner>>,
    ) -> (SocketAddr, UpstreamAddress, JoinHandle<()>) {
        if let Self::Unix(path) = self {
            let listener = UnixListener::bind(&path).unwrap();
            let target = UpstreamTarget::Unix(path);
            let configured = UpstreamAddress { tls: false, target, authority: "localhost".into() };
            #[expect(clippy::disallowed_methods, reason = "ends with the server")]
            let accepting = tokio::spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((socket, _)) = listener.accept().await {
                    connections.spawn(serve(socket, false, Arc::clone(&inner)));
                }
            });
            return (SocketAddr::from(([0; 4], 0)), configured, accepting);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let configured = UpstreamAddress {
            tls: matches!(self, Self::Tls(_)),
            target: UpstreamTarget::Tcp(address.ip().to_string(), address.port()),
            authority: address.to_string(),
        };
        #[expect(clippy::disallowed_methods, reason = "ends with the server")]
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let inner = Arc::clone(&inner);
                match &self {
                    Self::Plain | Self::Unix(_) => connections.spawn(serve(socket, false, inner)),
                    Self::Http2 => connections.spawn(serve(socket, true, inner)),
                    Self::Tls(acceptor) => {
                        let acceptor = acceptor.clone();
                        connections.spawn(async move {
                            let Ok(socket) = acceptor.accept(socket).await else { return };
                            let http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
                            serve(socket, http2, inner).await;
                        })
                    }
                };
            }
        });
        (address, configured, accepting)
    }
}

async fn serve<S>(socket: S, http2: bool, inner: Arc<Mutex<Inner>>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shared = Arc::clone(&inner);
    let service = service_fn(move |request| {
        let inner = Arc::clone(&shared);
        async move { answer(&inner, request).await }
    });
    // A client that goes away is none of our business.
    if http2 {
        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = http.serve_connection(TokioIo::new(socket), service).await;
    } else {
        let http = hyper::server::conn::http1::Builder::new();
        let _ = http.serve_connection(TokioIo::new(socket), service).with_upgrades().await;
    }
}
