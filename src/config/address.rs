//! Addresses, origins, paths and headers as settings write them.
//!
//! Pure; each function gives the typed value or what is wrong with the text.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};
use ipnet::IpNet;

use super::mistake::Fault;
use super::{Listen, UpstreamAddress, UpstreamTarget};

impl Listen {
    /// Reads an address in the form of `proxy.toml`; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        listen(text).ok()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            UpstreamTarget::Unix(path) => write!(f, "unix:{}", path.display()),
            UpstreamTarget::Tcp(..) if self.tls => write!(f, "https://{}", self.authority),
            UpstreamTarget::Tcp(..) => write!(f, "http://{}", self.authority),
        }
    }
}

/// Longest Unix socket path that `sockaddr_un` holds, its final zero not counted.
const SOCKET_PATH_MAX: usize = 107;

fn malformed<T>(what: &'static str, wanted: &'static str) -> Result<T, Fault> {
    Err(Fault::Malformed { what, wanted })
}

/// `127.0.0.1:8888`, `[::1]:8888`, `unix:/run/proxy.sock`.
pub(super) fn listen(text: &str) -> Result<Listen, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(Listen::Unix);
    }
    let wanted = "an IP address and a port, such as \"0.0.0.0:8888\" or \"[::1]:8888\", or \"unix:/run/proxy.sock\"";
    text.parse::<SocketAddr>()
        .map(Listen::Tcp)
        .or_else(|_| malformed("an address to listen at", wanted))
}

fn socket_path(path: &str) -> Result<PathBuf, Fault> {
    if !path.starts_with('/') || path.len() > SOCKET_PATH_MAX {
        let wanted = "an absolute path of at most 107 bytes, such as \"unix:/run/proxy.sock\"";
        return malformed("a Unix socket", wanted);
    }
    // `unix:///run/x` is what some write.
    Ok(PathBuf::from(format!("/{}", path.trim_start_matches('/'))))
}

/// `http://host:port`, `https://host`, `unix:/run/jmap.sock`.
pub(super) fn upstream(text: &str) -> Result<UpstreamAddress, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        let target = UpstreamTarget::Unix(socket_path(path)?);
        return Ok(UpstreamAddress { tls: false, target, authority: "localhost".to_owned() });
    }
    let what = "an address of a JMAP server";
    let (tls, authority) = web_origin(text).ok_or(Fault::Malformed {
        what,
        wanted: "\"http://host:port\", \"https://host\" or \"unix:/path\", without path or user",
    })?;
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(UpstreamAddress {
        tls,
        target: UpstreamTarget::Tcp(host, port),
        authority: authority.as_str().to_owned(),
    })
}

/// Scheme (whether it is https) and authority of a URL that is nothing but its origin.
fn web_origin(text: &str) -> Option<(bool, Authority)> {
    let parts = text.parse::<Uri>().ok()?.into_parts();
    let authority = parts.authority?;
    let path = parts.path_and_query.map_or(String::new(), |path| path.to_string());
    let sound = matches!(path.as_str(), "" | "/")
        && !text.contains('#')
        && !authority.as_str().contains('@')
        && !authority.host().is_empty()
        && authority.port_u16().is_some()
            == authority.as_str().trim_start_matches(authority.host()).starts_with(':');
    let tls = match parts.scheme? {
        scheme if scheme == Scheme::HTTPS => true,
        scheme if scheme == Scheme::HTTP => false,
        _ => return None,
    };
    sound.then_some((tls, authority))
}

/// `https://mail.example.org`.
pub(super) fn public_url(text: &str) -> Result<Uri, Fault> {
    let wanted = "scheme and host, with the port if it is unusual: \"https://mail.example.org\"";
    match web_origin(text).map(|_| text.trim_end_matches('/').parse()) {
        Some(Ok(uri)) => Ok(uri),
        _ => malformed("an origin", wanted),
    }
}

/// An origin exactly as browsers send it (RFC 6454 §6.1): lower case, no default port, no slash.
pub(super) fn origin(text: &str) -> Result<String, Fault> {
    let exact = web_origin(text).is_some_and(|(tls, authority)| {
        let default_port = if tls { 443 } else { 80 };
        authority.port_u16() != Some(default_port)
            && !text.ends_with('/')
            && !text.contains('*')
            && !text.contains(|c: char| c.is_ascii_uppercase())
    });
    if exact {
        return Ok(text.to_owned());
    }
    let wanted = "exactly what browsers send: \"https://webmail.example.org\", in lower case, no slash, no \"*\", no :443";
    malformed("an origin", wanted)
}

/// A path of ours or upstream's.
pub(super) fn path(text: &str) -> Result<String, Fault> {
    let sound = text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b));
    if sound { Ok(text.to_owned()) } else { malformed("a path", "begin with one slash; no query") }
}

/// `10.0.0.0/8`, or an address alone.
pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    let alone = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| alone())
        .or_else(|_| malformed("a network", "\"10.0.0.0/8\", \"fd00::/8\" or one address"))
}

/// `Name: value`.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), Fault> {
    let fault = || malformed("a header", "\"Name: value\"");
    let Some((name, value)) = text.split_once(':') else { return fault() };
    let (Ok(name), Ok(mut value)) = (name.parse(), value.trim().parse::<HeaderValue>()) else {
        return fault();
    };
    // Debug output does not show it.
    value.set_sensitive(true);
    Ok((name, value))
}

/// A pseudonym in `Via` (RFC 9110 §7.6.3): a token.
pub(super) fn via(text: &str) -> Result<String, Fault> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(token) {
        return Ok(text.to_owned());
    }
    malformed("a name for Via", "letters, digits, \"-\" and \".\", such as \"jmap-push-proxy\"")
}
