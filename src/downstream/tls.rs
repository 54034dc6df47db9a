//! The certificate towards clients, read again when its files change (RFC 8620 §1.7, S1).
//!
//! A certificate that cannot be used leaves the old one in place: connections go on, health says so.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;
use crate::telemetry::health::{Health, Part};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or is not PEM.
    #[error("read {path}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// rustls refuses it: the key does not belong to the certificate, or is of an unknown kind.
    #[error("use the certificate with the key")]
    Use(#[from] rustls::Error),
}

/// The present certificate.
pub struct Certificate {
    files: TlsFiles,
    http2: bool,
    /// When the files changed last, as of the first time they were read.
    modified: Modified,
    acceptor: ArcSwap<ServerConfig>,
}

/// Of certificate and key.
type Modified = [Option<SystemTime>; 2];

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(files: TlsFiles, http2: bool) -> Result<Self, Error> {
        // First the times: a change meanwhile is then seen later.
        let modified = modified(&files);
        let acceptor = ArcSwap::from_pointee(server_config(&files, http2)?);
        Ok(Self { files, http2, modified, acceptor })
    }

    /// For one handshake.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.acceptor.load_full())
    }

    /// Looks after the files for as long as it is polled.
    pub async fn watch(&self, health: &Health) {
        let mut seen = self.modified;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = modified(&self.files);
            if now == seen {
                continue;
            }
            seen = now;
            match server_config(&self.files, self.http2) {
                Ok(config) => {
                    self.acceptor.store(Arc::new(config));
                    health.recover(Part::Certificate);
                    tracing::info!("the certificate has changed and is in use");
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error);
                    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                    health.degrade(
                        Part::Certificate,
                        format!("{error}{cause}"),
                        "mend the files; the certificate from before stays in use until then",
                    );
                }
            }
        }
    }
}

fn modified(files: &TlsFiles) -> Modified {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    [modified(&files.cert_file), modified(&files.key_file)]
}

fn server_config(files: &TlsFiles, http2: bool) -> Result<ServerConfig, Error> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        |source| Error::Read { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(wrong(&files.cert_file))?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(wrong(&files.key_file))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    if http2 {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}
