//! TLS in the tests: certificates of their own, and clients that trust them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jmap_push_proxy::config::TlsFiles;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::scratch::scratch;
use super::wait::within;

/// The name every certificate is for.
const NAME: &str = "localhost";

/// A certificate and its key in files, which go when this goes.
pub(crate) struct Certified {
    folder: PathBuf,
    pub(crate) files: TlsFiles,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Certified {
    /// A new certificate, signed by itself.
    pub(crate) fn new() -> Self {
        let folder = scratch();
        let files =
            TlsFiles { cert_file: folder.join("cert.pem"), key_file: folder.join("key.pem") };
        let mut certified = Self { folder, files, certificate: Vec::new().into() };
        certified.renew();
        certified
    }

    /// Another certificate takes the place of this one, in the same files.
    pub(crate) fn renew(&mut self) {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        std::fs::write(&self.files.key_file, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(&self.files.cert_file, made.cert.pem()).unwrap();
        self.certificate = made.cert.der().clone();
    }

    /// A client that trusts this certificate alone and offers these protocols.
    pub(crate) fn client(&self, alpn: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    /// Shakes hands with a proxy.
    pub(crate) async fn connect(&self, to: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(to).await.unwrap();
        self.connect_over(socket, alpn).await.unwrap()
    }

    /// The same over a socket that is set up already.
    pub(crate) async fn connect_over<S>(
        &self,
        socket: S,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(NAME).unwrap();
        within("TLS handshake", self.client(alpn).connect(name, socket)).await
    }
}

impl Drop for Certified {
    fn drop(&mut self) {
        // What cannot be removed is small and in the system's place for such.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
