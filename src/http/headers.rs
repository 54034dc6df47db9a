//! What happens to headers on their way through (RFC 9110 §7.6, RFC 7239; hostile.md X14).
//!
//! Everything not named here passes unchanged; the golden list is tests/it/transparency/headers.rs.

use std::net::IpAddr;

use http::header::{
    CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use ipnet::IpNet;

/// Headers that speak of one connection only (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authenticate"),
];

/// Headers a client may not have removed by naming them in `Connection`: upstream's picture of who
/// asks depends on them.
const PROTECTED: [&str; 9] = [
    "authorization",
    "cookie",
    "host",
    "content-length",
    "content-type",
    "forwarded",
    "via",
    "origin",
    "expect",
];

const X_FORWARDED: &str = "x-forwarded-";
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Removes what concerns one connection only, including what `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            .filter(|name| !is_protected(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn is_protected(name: &HeaderName) -> bool {
    PROTECTED.contains(&name.as_str()) || name.as_str().starts_with(X_FORWARDED)
}

/// Removes from an upstream response what would mislead the client: hop-by-hop headers, and
/// `Alt-Svc`, which sends clients round the proxy (Cyrus announces its own port with it).
pub fn clean_response(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.remove(http::header::ALT_SVC);
}

/// Removes from a request what concerns one connection only; keeps `TE: trailers` (RFC 9110 §10.1.4).
pub fn clean_request(headers: &mut HeaderMap) {
    let trailers = headers.get_all(TE).iter().any(|te| te.as_bytes() == b"trailers");
    let announced = headers.remove(TRAILER);
    strip_hop_by_hop(headers);
    // Answered here, once upstream's connection stands (RFC 9110 §10.1.1).
    headers.remove(EXPECT);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    if let Some(announced) = announced {
        headers.insert(TRAILER, announced);
    }
}

/// Makes one `Cookie` of those an HTTP/2 client has split for compression (RFC 9113 §8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let whole = crumbs.fold([first, second].join(&b"; "[..]), |mut whole, crumb| {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb);
        whole
    });
    // Whole values joined by a separator make a value.
    if let Ok(whole) = HeaderValue::from_bytes(&whole) {
        headers.insert(COOKIE, whole);
    }
}

/// The client's side of one request, as `Forwarded` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Address of the client: the peer's, or what a trusted proxy says. `None` on a Unix socket.
    pub client: Option<IpAddr>,
    /// `https` or `http`, as the client sees it.
    pub scheme: &'static str,
    /// Host and port, as the client sees them.
    pub authority: String,
}

/// What is known of the connection a request came on.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// Address, `None` on a Unix socket (which only a local, hence trusted, process can open).
    pub address: Option<IpAddr>,
    /// Whether we ended TLS.
    pub tls: bool,
    /// `downstream.trusted_proxies`.
    pub trusted: &'a [IpNet],
}

impl Peer<'_> {
    /// Whether its `Forwarded` and `X-Forwarded-*` are believed.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.address.is_none_or(|peer| {
            let peer = peer.to_canonical();
            self.trusted.iter().any(|net| net.contains(&peer))
        })
    }

    /// Where the client thinks it is, and who it is. `host` is the request's authority.
    #[must_use]
    pub fn origin(&self, headers: &HeaderMap, host: &str) -> Origin {
        let believed =
            |name: &HeaderName| self.is_trusted().then(|| first_element(headers, name)).flatten();
        let scheme = match believed(&X_FORWARDED_PROTO) {
            Some("https") => "https",
            Some("http") => "http",
            _ if self.tls => "https",
            _ => "http",
        };
        let authority = believed(&X_FORWARDED_HOST).unwrap_or(host).to_owned();
        let client = believed(&X_FORWARDED_FOR).and_then(|ip| ip.parse().ok()).or(self.address);
        Origin { client, scheme, authority }
    }

    /// Writes `X-Forwarded-*` and `Forwarded` for upstream: appended to a trusted peer's, in place
    /// of anybody else's.
    pub fn write_forwarded(&self, headers: &mut HeaderMap, origin: &Origin) {
        if !self.is_trusted() {
            let forged: Vec<HeaderName> = headers
                .keys()
                .filter(|name| {
                    name.as_str().starts_with(X_FORWARDED)
                        || **name == FORWARDED
                        || **name == X_REAL_IP
                })
                .cloned()
                .collect();
            for name in forged {
                headers.remove(name);
            }
        }
        let Origin { scheme, authority, .. } = origin;
        let peer = self.address.map(|address| address.to_canonical());
        let forwarded_for = match peer {
            Some(IpAddr::V6(v6)) => format!("for=\"[{v6}]\""),
            Some(IpAddr::V4(v4)) => format!("for={v4}"),
            None => "for=unknown".to_owned(),
        };
        append(headers, FORWARDED, &format!("{forwarded_for};host=\"{authority}\";proto={scheme}"));
        if let Some(peer) = peer {
            append(headers, X_FORWARDED_FOR, &peer.to_string());
        }
        for (name, value) in [(X_FORWARDED_PROTO, *scheme), (X_FORWARDED_HOST, authority)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}

fn first_element<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split(',').next().map(str::trim).filter(|first| !first.is_empty())
}

/// Adds `element` to the end of a list header.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &str) {
    let mut list = Vec::new();
    for value in headers.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

/// The request came through ourselves already: forwarding it would loop (RFC 9110 §7.6.3, 508).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request has passed this proxy already")]
pub struct Loop;

/// Adds our name to `Via`.
///
/// # Errors
/// [`Loop`] when it is there already.
pub fn write_via(headers: &mut HeaderMap, version: http::Version, name: &str) -> Result<(), Loop> {
    for value in headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok()) {
        let ours = |hop: &str| hop.split_whitespace().nth(1) == Some(name);
        if value.split(',').any(ours) {
            return Err(Loop);
        }
    }
    let version = match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2.0",
        _ => "1.1",
    };
    append(headers, VIA, &format!("{version} {name}"));
    Ok(())
}

/// The authority of a request: `:authority` or absolute form first, else `Host`.
#[must_use]
pub fn authority<B>(request: &http::Request<B>) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    request.headers().get(HOST)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn stranger() -> Peer<'static> {
        Peer { address: Some([192, 0, 2, 7].into()), tls: false, trusted: &[] }
    }

    #[test]
    fn headers_named_by_connection_go_but_not_those_upstream_relies_on() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Hop, Authorization, X-Forwarded-For"),
            ("x-hop", "1"),
            ("authorization", "Basic x"),
            ("x-forwarded-for", "1.2.3.4"),
        ]);
        clean_request(&mut headers);
        assert!(!headers.contains_key("x-hop") && !headers.contains_key(CONNECTION));
        assert!(headers.contains_key("authorization") && headers.contains_key("x-forwarded-for"));
    }

    #[test]
    fn upstreams_way_round_the_proxy_is_closed() {
        let mut headers =
            map(&[("connection", "Upgrade"), ("upgrade", "h2c"), ("alt-svc", "h2c=\":1\"")]);
        clean_response(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn a_strangers_forwarding_headers_are_replaced() {
        let mut headers = map(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-prefix", "/evil"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
        ]);
        let peer = stranger();
        let origin = peer.origin(&headers, "mail.example");
        peer.write_forwarded(&mut headers, &origin);
        assert_eq!(origin.client, peer.address);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["forwarded"], "for=192.0.2.7;host=\"mail.example\";proto=http");
        assert!(!headers.contains_key("x-real-ip") && !headers.contains_key("x-forwarded-prefix"));
    }

    #[test]
    fn a_trusted_proxys_word_is_kept_and_continued() {
        let trusted = ["192.0.2.0/24".parse().unwrap()];
        let peer = Peer { trusted: &trusted, ..stranger() };
        let mut headers = map(&[
            ("x-forwarded-for", "198.51.100.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "mail.example"),
        ]);
        let origin = peer.origin(&headers, "10.0.0.1");
        assert_eq!((origin.scheme, origin.authority.as_str()), ("https", "mail.example"));
        peer.write_forwarded(&mut headers, &origin);
        assert_eq!(headers["x-forwarded-for"], "198.51.100.9, 192.0.2.7");
        assert_eq!(headers["x-forwarded-proto"], "https");
    }

    #[test]
    fn a_request_that_passed_us_is_a_loop() {
        let mut headers = map(&[("via", "1.1 front, 1.1 proxy-a (x)")]);
        assert_eq!(write_via(&mut headers, http::Version::HTTP_11, "proxy-a"), Err(Loop));
        assert_eq!(write_via(&mut headers, http::Version::HTTP_2, "proxy-b"), Ok(()));
        assert_eq!(headers[VIA], "1.1 front, 1.1 proxy-a (x), 2.0 proxy-b");
    }
}
