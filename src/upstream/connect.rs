//! Opening connections to one upstream address: TCP or Unix socket, with or without TLS.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsConnector;

use super::room::{Full, Places};
use crate::config::{UpstreamAddress, UpstreamHttp, UpstreamTarget};
use crate::http::socket::Socket;

/// Why TLS towards upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `upstream.ca_file` cannot be read.
    #[error("read upstream.ca_file {path}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Neither the system nor `upstream.ca_file` has a certificate to trust.
    #[error("find a CA certificate: set upstream.ca_file, or SSL_CERT_FILE to the system's bundle")]
    NoRoots,
    /// The host is not a DNS name or IP address.
    #[error("use {0:?} as a TLS server name")]
    ServerName(String),
    /// rustls refuses the settings.
    #[error("set up TLS")]
    Rustls(#[from] rustls::Error),
}

/// TLS settings for an https upstream: the system's CA certificates and `ca_file`'s.
pub(super) fn tls_config(
    ca_file: Option<&PathBuf>,
    http: UpstreamHttp,
) -> Result<rustls::ClientConfig, TlsError> {
    let mut roots = rustls::RootCertStore::empty();
    // A certificate of the system's that cannot be read is no reason not to trust the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let wrong = |source| TlsError::CaFile { path: path.clone(), source };
        for certificate in CertificateDer::pem_file_iter(path).map_err(wrong)? {
            roots.add(certificate.map_err(wrong)?)?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match http {
        UpstreamHttp::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        UpstreamHttp::Http1 => vec![b"http/1.1".to_vec()],
        UpstreamHttp::Http2 => vec![b"h2".to_vec()],
    };
    Ok(config)
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
        Ok(Placed { socket, _place: place })
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

/// A connection and its place.
pub(super) struct Placed {
    socket: Socket,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Connection for Placed {
    fn connected(&self) -> Connected {
        self.socket.connected()
    }
}
