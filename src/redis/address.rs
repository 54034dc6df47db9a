//! Where Redis is: `redis.url` understood, and turned into a client at each connect.
//!
//! Names are resolved and Sentinels asked anew each time, so that a Redis that moved is found
//! (hostile.md F6, F22).

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates,
    TlsMode,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config;

use super::fault::{Fault, Step};

/// Why `redis.url` cannot be used. None of these shows the URL: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A scheme we do not speak.
    #[error(
        "redis.url must begin with redis://, rediss://, redis+unix://, redis+sentinel:// or \
         rediss+sentinel://"
    )]
    Scheme,
    /// The crate cannot read it.
    #[error("redis.url is not of the form redis://[[user]:password@]host[:port][/database]")]
    Malformed(#[source] redis::RedisError),
    /// A Sentinel URL that cannot be read.
    #[error(
        "redis.url is not of the form \
         redis+sentinel://[[user]:password@]host:port[,host:port…]/service[/database]"
    )]
    Sentinel,
    /// `#insecure`.
    #[error("redis.url ends in #insecure: TLS without checking the certificate is not offered")]
    Insecure,
    /// `redis.ca_file` cannot be read.
    #[error("read redis.ca_file {path}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// `redis.ca_file` holds no certificate that can be used.
    #[error("find a certificate in redis.ca_file {0}")]
    NoCertificate(PathBuf),
    /// Neither a channel nor a stream.
    #[error("redis.url is set, but redis.channel and redis.stream are both empty")]
    NothingToRead,
}

/// A checked `redis.url` with the password from wherever it was set.
pub struct Address {
    target: Target,
    shown: String,
    tls: bool,
}

enum Target {
    Server(Box<Client>),
    Sentinel(Box<SentinelClient>),
}

impl Address {
    /// Reads `redis.url`, and `redis.password`, which wins over the one in the URL.
    ///
    /// # Errors
    /// When the URL is not one of the documented forms.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, Error> {
        Self::with_roots(url, password, None)
    }

    fn with_roots(
        url: &str,
        password: Option<&str>,
        roots: Option<TlsCertificates>,
    ) -> Result<Self, Error> {
        if url.ends_with("#insecure") {
            return Err(Error::Insecure);
        }
        let (scheme, rest) = url.split_once("://").ok_or(Error::Scheme)?;
        match scheme {
            "redis" | "redis+unix" => Self::server(scheme, url, password, None),
            "rediss" => Self::server(scheme, url, password, roots),
            "redis+sentinel" => Self::sentinel(scheme, rest, password, None),
            "rediss+sentinel" => Self::sentinel(scheme, rest, password, roots),
            _ => Err(Error::Scheme),
        }
    }

    fn server(
        scheme: &str,
        url: &str,
        password: Option<&str>,
        roots: Option<TlsCertificates>,
    ) -> Result<Self, Error> {
        let info = read(url, password).map_err(Error::Malformed)?;
        let shown = format!("{scheme}://{}", info.addr());
        let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let client = match roots {
            None => Client::open(info),
            Some(roots) => Client::build_with_tls(info, roots),
        };
        let client = client.map_err(Error::Malformed)?;
        Ok(Self { target: Target::Server(Box::new(client)), shown, tls })
    }

    /// Each host is read as a URL of its own, so that user, password and database are decoded the
    /// same way everywhere.
    fn sentinel(
        scheme: &str,
        rest: &str,
        password: Option<&str>,
        roots: Option<TlsCertificates>,
    ) -> Result<Self, Error> {
        let tls = scheme == "rediss+sentinel";
        let node_scheme = if tls { "rediss" } else { "redis" };
        let (authority, path) = rest.split_once('/').ok_or(Error::Sentinel)?;
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let at = if user.is_empty() { "" } else { "@" };
        let (service, database) = path.split_once('/').unwrap_or((path, ""));
        if service.is_empty() {
            return Err(Error::Sentinel);
        }
        let nodes = hosts
            .split(',')
            .map(|host| read(&format!("{node_scheme}://{user}{at}{host}/{database}"), password))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Error::Sentinel)?;
        let settings = nodes.first().ok_or(Error::Sentinel)?.redis_settings().clone();
        let addresses = nodes.into_iter().map(|node| node.addr().clone());
        let tls_roots = tls.then_some(roots);
        let client = sentinel_client(addresses, service, &settings, tls_roots)
            .map_err(|_| Error::Sentinel)?;
        let shown = format!("{scheme}://{hosts}/{service}");
        Ok(Self { target: Target::Sentinel(Box::new(client)), shown, tls })
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// A client for the server that is to be connected to now.
    pub(super) async fn client(&mut self, timeout: Duration) -> Result<Client, Fault> {
        match &mut self.target {
            Target::Server(client) => Ok(Client::clone(client)),
            Target::Sentinel(sentinel) => {
                match tokio::time::timeout(timeout, sentinel.async_get_client()).await {
                    Ok(answer) => {
                        answer.map_err(|error| Fault::of(Step::Sentinel, &error, self.tls))
                    }
                    Err(_) => Err(Fault::Slow { step: Step::Sentinel }),
                }
            }
        }
    }
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.shown).finish()
    }
}

/// The settings of one server: RESP3 always (push messages need it), small writes not held back.
fn read(url: &str, password: Option<&str>) -> redis::RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    let mut settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3)
        // What `CLIENT LIST` shows (Redis 7.2 and later).
        .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    Ok(info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// User, password and database are those of the Redis servers; Sentinels are asked without. `tls`
/// says with which roots TLS is spoken to both, if it is.
fn sentinel_client(
    addresses: impl Iterator<Item = ConnectionAddr>,
    service: &str,
    settings: &redis::RedisConnectionInfo,
    tls: Option<Option<TlsCertificates>>,
) -> redis::RedisResult<SentinelClient> {
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?
        .set_client_to_redis_protocol(ProtocolVersion::RESP3)
        .set_client_to_redis_tcp_settings(TcpSettings::default().set_nodelay(true))
        .set_client_to_redis_db(settings.db());
    if let Some(user) = settings.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = settings.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(roots) = tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        if let Some(roots) = roots {
            builder = builder
                .set_client_to_sentinel_certificates(roots.clone())
                .set_client_to_redis_certificates(roots);
        }
    }
    builder.build()
}

impl TryFrom<&config::Redis> for Address {
    type Error = Error;

    /// An absent URL counts as one that is malformed: callers look for it first.
    fn try_from(settings: &config::Redis) -> Result<Self, Error> {
        if settings.channel.is_empty() && settings.stream.is_empty() {
            return Err(Error::NothingToRead);
        }
        let url = settings.url.as_ref().map_or("", |url| url.expose());
        let password = settings.password.as_ref().map(|password| password.expose());
        let roots = settings.ca_file.as_deref().map(roots).transpose()?;
        Self::with_roots(url, password, roots)
    }
}

/// The certificates in a PEM file, each looked at: the crate would believe nobody if there was none.
fn roots(path: &Path) -> Result<TlsCertificates, Error> {
    let wrong = |source| Error::CaFile { path: path.to_owned(), source };
    let pem = std::fs::read(path).map_err(wrong)?;
    let mut store = rustls::RootCertStore::empty();
    let sound = CertificateDer::pem_slice_iter(&pem)
        .all(|certificate| certificate.is_ok_and(|certificate| store.add(certificate).is_ok()));
    if !sound || store.is_empty() {
        return Err(Error::NoCertificate(path.to_owned()));
    }
    Ok(TlsCertificates { client_tls: None, root_cert: Some(pem) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        Address::parse(url, None).unwrap_or_else(|error| panic!("{url}: {error}")).to_string()
    }

    fn info(url: &str, password: Option<&str>) -> ConnectionInfo {
        match Address::parse(url, password).unwrap().target {
            Target::Server(client) => client.get_connection_info().clone(),
            Target::Sentinel(_) => panic!("{url} is a Sentinel"),
        }
    }

    #[test]
    fn every_documented_form_is_understood_and_shown_without_secrets() {
        for (url, expected) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://user:p%40ss@r.example:7000/3", "redis://r.example:7000"),
            ("rediss://:secret@r.example", "rediss://r.example:6379"),
            ("redis+unix:///run/redis.sock?db=2&pass=secret", "redis+unix:///run/redis.sock"),
            (
                "redis+sentinel://:secret@a:26379,b:26380/main/2",
                "redis+sentinel://a:26379,b:26380/main",
            ),
            ("rediss+sentinel://[::1]:26379/main", "rediss+sentinel://[::1]:26379/main"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn user_password_and_database_are_decoded_and_the_separate_password_wins() {
        let settings = info("redis://user:p%40ss@r.example/3", None);
        assert_eq!(settings.redis_settings().username(), Some("user"));
        assert_eq!(settings.redis_settings().password(), Some("p@ss"));
        assert_eq!(settings.redis_settings().db(), 3);
        let settings = info("redis://user:old@r.example", Some("new"));
        assert_eq!(settings.redis_settings().password(), Some("new"));
    }

    #[test]
    fn what_cannot_work_is_refused_without_repeating_it() {
        for url in [
            "",
            "localhost:6379",
            "http://localhost",
            "redis+cluster://a:1,b:2",
            "redis://:hunter2@",
            "redis://:hunter2@host/not-a-number",
            "rediss://:hunter2@host/#insecure",
            "redis+sentinel://:hunter2@a:26379",
            "redis+sentinel://:hunter2@a:26379/",
            "redis+sentinel://:hunter2@a:port/main",
        ] {
            let error = Address::parse(url, None).expect_err(url);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
