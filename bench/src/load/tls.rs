//! Event streams over TLS: what each costs the server while it is idle (M4).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::http::Target;
use crate::process::Server;
use crate::streams::per_stream;

/// How long a server may settle before it is looked at.
const SETTLE: Duration = Duration::from_secs(3);

/// See [`crate::Load::Tls`].
#[derive(Debug, clap::Args)]
pub(crate) struct Tls {
    /// Where streams are opened: `http://` and a numeric address, all the same.
    #[arg(long)]
    url: Target,
    /// Header lines of every request.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// The server's certificate, for `localhost`.
    #[arg(long)]
    certificate: PathBuf,
    /// How many streams.
    #[arg(long)]
    streams: usize,
    #[command(flatten)]
    server: Server,
}

impl Tls {
    pub(crate) async fn run(self) -> io::Result<()> {
        let connector = self.connector()?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let request = self.url.request("GET", &self.headers, "");
        let before = self.server.memory()?;
        let mut open = Vec::new();
        for n in 0..self.streams {
            let stream = self.url.connect(n, None).await?;
            let mut stream = connector.connect(name.clone(), stream).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut first = [0; 512];
            let read = stream.read(&mut first).await?;
            if !first[..read].starts_with(b"HTTP/1.1 200") {
                return Err(io::Error::other(String::from_utf8_lossy(&first[..read]).into_owned()));
            }
            open.push(stream);
        }
        sleep(SETTLE).await;
        per_stream("idle", self.server.memory()?, before, self.streams);
        Ok(())
    }

    fn connector(&self) -> io::Result<TlsConnector> {
        let mut roots = rustls::RootCertStore::empty();
        let certificate =
            CertificateDer::from_pem_file(&self.certificate).map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
