//! TLS 1.3 for connections of the load.

use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The certificate of a server, for `localhost`; read from the file of that name.
#[derive(Debug, Clone)]
pub(crate) struct Certificate(Arc<ClientConfig>);

impl FromStr for Certificate {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let mut roots = rustls::RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(Path::new(path));
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // As many clients as connections: none comes back.
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }
}

impl Certificate {
    /// TLS on a connection.
    pub(crate) async fn handshake(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }
}
