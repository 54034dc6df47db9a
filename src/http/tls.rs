//! TLS as a client of servers elsewhere (RFC 8446): whom to believe, what to speak.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with certificates cannot be read.
    #[error("read {setting} {path}")]
    CaFile {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// Neither the system nor the file has a certificate to trust.
    #[error("find a CA certificate: set {0}, or SSL_CERT_FILE to the system's bundle")]
    NoRoots(&'static str),
    /// rustls refuses the settings.
    #[error("set up TLS")]
    Rustls(#[from] rustls::Error),
}

/// The system's CA certificates and those of a PEM file that `setting` names.
///
/// # Errors
/// See [`Error`].
pub fn roots(ca_file: Option<&Path>, setting: &'static str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    // A certificate of the system's that cannot be read is no reason not to trust the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let wrong = |source| Error::CaFile { setting, path: path.to_owned(), source };
        for certificate in CertificateDer::pem_file_iter(path).map_err(wrong)? {
            roots.add(certificate.map_err(wrong)?)?;
        }
    }
    if roots.is_empty() { Err(Error::NoRoots(setting)) } else { Ok(roots) }
}

/// Settings that believe these certificates and offer these protocols by ALPN (RFC 7301), best first.
///
/// # Errors
/// When rustls refuses them.
pub fn client_config(
    roots: RootCertStore,
    protocols: &[&str],
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}
