//! Opening connections to one upstream address: TCP or Unix socket, with or without TLS.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::room::{Full, Places};
use crate::config::{UpstreamAddress, UpstreamHttp, UpstreamTarget};
use crate::http::placed::Placed;
use crate::http::socket::Socket;
use crate::http::tls;

/// Why TLS towards upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The settings are of no use.
    #[error(transparent)]
    Settings(#[from] tls::Error),
    /// The host is not a DNS name or IP address.
    #[error("use {0:?} as a TLS server name")]
    ServerName(String),
}

/// TLS settings for an https upstream: the system's CA certificates and `ca_file`'s.
pub(super) fn tls_config(
    ca_file: Option<&PathBuf>,
    http: UpstreamHttp,
) -> Result<rustls::ClientConfig, TlsError> {
    let protocols: &[&str] = match http {
        UpstreamHttp::Auto => &["h2", "http/1.1"],
        UpstreamHttp::Http1 => &["http/1.1"],
        UpstreamHttp::Http2 => &["h2"],
    };
    let roots = tls::roots(ca_file.map(PathBuf::as_path), "upstream.ca_file")?;
    tls::client_config(roots, protocols).map_err(|error| tls::Error::from(error).into())
}

/// Connects to one address whatever the URI says: the URI is the pool's key only.
#[derive(Clone)]
pub(super) struct Connector {
    target: Arc<UpstreamTarget>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    places: Places,
}

impl Connector {
    pub(super) fn new(
        address: &UpstreamAddress,
        tls: Option<&Arc<rustls::ClientConfig>>,
        timeout: Duration,
        places: Places,
    ) -> Result<Self, TlsError> {
        let host = match &address.target {
            UpstreamTarget::Tcp(host, _) => host.trim_matches(['[', ']']).to_owned(),
            UpstreamTarget::Unix(_) => address.authority.clone(),
        };
        let tls = match tls.filter(|_| address.tls) {
            None => None,
            Some(config) => {
                let name =
                    ServerName::try_from(host.clone()).map_err(|_| TlsError::ServerName(host))?;
                Some((TlsConnector::from(Arc::clone(config)), name))
            }
        };
        Ok(Self { target: Arc::new(address.target.clone()), tls, timeout, places })
    }

    async fn connect(self) -> io::Result<Placed> {
        let taken = tokio::time::timeout(self.timeout, self.places.take()).await;
        let place = taken.ok().flatten().ok_or_else(|| io::Error::other(Full))?;
        let socket = self.open().await?;
        Ok(Placed { socket, place, is_kept: true })
    }

    async fn open(self) -> io::Result<Socket> {
        let connecting = async {
            let tcp = match &*self.target {
                UpstreamTarget::Unix(path) => {
                    return Ok::<_, io::Error>(Socket::Unix(UnixStream::connect(path).await?));
                }
                UpstreamTarget::Tcp(host, port) => {
                    TcpStream::connect((host.trim_matches(['[', ']']), *port)).await?
                }
            };
            tcp.set_nodelay(true)?;
            let Some((connector, name)) = self.tls else { return Ok(Socket::Tcp(tcp)) };
            let stream = connector.connect(name, tcp).await?;
            Ok(Socket::Tls(Box::new(stream.into())))
        };
        let late = |_| {
            io::Error::new(io::ErrorKind::TimedOut, format!("no connection in {:?}", self.timeout))
        };
        tokio::time::timeout(self.timeout, connecting).await.map_err(late)?
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Placed>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Placed>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.clone().connect();
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}
