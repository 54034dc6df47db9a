//! Who the client is and where it thinks it is, as proxies tell each other (RFC 7239, and
//! `X-Forwarded-*` as everybody does it).
//!
//! Both are read from trusted peers only and written for upstream so that they agree. Where a peer
//! sends both, `Forwarded` wins; what it leaves out, `X-Forwarded-*` may say. Each proxy adds to the
//! end, so the end is to be believed and the beginning may be the client's own invention: the client is
//! the last node that is no trusted proxy.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use ipnet::IpNet;

use super::headers::append;

/// How the names of the family begin.
pub(super) const X_FORWARDED: &str = "x-forwarded-";
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The client's side of one request.
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
        self.address.is_none_or(|peer| self.trusts(peer))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// Where the client thinks it is, and who it is. `host` is the request's authority.
    #[must_use]
    pub fn origin(&self, headers: &HeaderMap, host: &str) -> Origin {
        let believed = if self.is_trusted() { self.believed(headers) } else { Element::default() };
        let own = if self.tls { "https" } else { "http" };
        Origin {
            client: believed.node.or(self.address),
            scheme: believed.scheme.unwrap_or(own),
            authority: believed.authority.unwrap_or_else(|| host.to_owned()),
        }
    }

    /// What is believed of a trusted peer's headers.
    fn believed(&self, headers: &HeaderMap) -> Element {
        let told = elements(headers).and_then(|told| self.outermost(told)).unwrap_or_default();
        let first = |name: &HeaderName| first_element(headers, name);
        Element {
            node: told.node.or_else(|| self.outermost(older_nodes(headers))?.node),
            scheme: told.scheme.or_else(|| first(&X_FORWARDED_PROTO).and_then(scheme)),
            authority: told.authority.or_else(|| first(&X_FORWARDED_HOST).and_then(authority)),
        }
    }

    /// The last element that is not about a trusted proxy, or else the first.
    fn outermost(&self, mut elements: Vec<Element>) -> Option<Element> {
        let is_proxy = |element: &Element| element.node.is_some_and(|node| self.trusts(node));
        let at = elements.iter().rposition(|element| !is_proxy(element)).unwrap_or(0);
        (at < elements.len()).then(|| elements.swap_remove(at))
    }

    /// Writes `X-Forwarded-*` and `Forwarded` for upstream: continued from a trusted peer's, in place
    /// of anybody else's.
    pub fn write_forwarded(&self, headers: &mut HeaderMap, origin: &Origin) {
        let before = if self.is_trusted() { agree(headers, origin) } else { clear(headers) };
        let peer = self.address.map(|address| address.to_canonical());
        for element in before.forwarded.into_iter().chain([element(peer, origin)]) {
            append(headers, FORWARDED, &element);
        }
        for node in before.nodes.into_iter().chain(peer) {
            append(headers, X_FORWARDED_FOR, &node.to_string());
        }
        for (name, value) in
            [(X_FORWARDED_PROTO, origin.scheme), (X_FORWARDED_HOST, &*origin.authority)]
        {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// What one header lacks of what the other says.
#[derive(Default)]
struct Missing {
    forwarded: Vec<String>,
    nodes: Vec<IpAddr>,
}

/// Removes what a stranger says.
fn clear(headers: &mut HeaderMap) -> Missing {
    let is_forged = |name: &&HeaderName| {
        name.as_str().starts_with(X_FORWARDED) || **name == FORWARDED || **name == X_REAL_IP
    };
    let forged: Vec<HeaderName> = headers.keys().filter(is_forged).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
    Missing::default()
}

/// Removes of a trusted peer's two lists the one that gives way, and says what is to stand there.
fn agree(headers: &mut HeaderMap, origin: &Origin) -> Missing {
    if let Some(elements) = elements(headers) {
        headers.remove(X_FORWARDED_FOR);
        let nodes = elements.into_iter().filter_map(|element| element.node).collect();
        return Missing { nodes, ..Missing::default() };
    }
    // Malformed, if there is one.
    headers.remove(FORWARDED);
    let nodes = older_nodes(headers).into_iter().filter_map(|element| element.node);
    let elements = nodes.map(|node| match origin.client {
        Some(client) if client == node => element(Some(node), origin),
        _ => format!("for={}", identifier(Some(node))),
    });
    Missing { forwarded: elements.collect(), ..Missing::default() }
}

/// A forwarded-element about `node`.
fn element(node: Option<IpAddr>, Origin { scheme, authority, .. }: &Origin) -> String {
    format!("for={};host=\"{authority}\";proto={scheme}", identifier(node))
}

/// RFC 7239 §6.
fn identifier(node: Option<IpAddr>) -> String {
    match node {
        Some(IpAddr::V6(v6)) => format!("\"[{v6}]\""),
        Some(IpAddr::V4(v4)) => v4.to_string(),
        None => "unknown".to_owned(),
    }
}

/// A forwarded-element, as far as it is of use.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    /// `for`; `None` also for `unknown` and made-up names.
    node: Option<IpAddr>,
    /// `proto`.
    scheme: Option<&'static str>,
    /// `host`.
    authority: Option<String>,
}

/// The elements of `Forwarded` (RFC 7239 §4); `None` when there is none, or it is malformed.
fn elements(headers: &HeaderMap) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    for value in headers.get_all(FORWARDED) {
        let mut rest = value.to_str().ok()?.trim_start();
        while !rest.is_empty() {
            // Empty elements are to be passed over (RFC 9110 §5.6.1.2).
            if !rest.starts_with(',') {
                let element;
                (element, rest) = read_element(rest)?;
                elements.push(element);
            }
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
    }
    (!elements.is_empty()).then_some(elements)
}

/// Reads up to a comma or the end, and gives what is left.
fn read_element(text: &str) -> Option<(Element, &str)> {
    let (mut element, mut seen) = (Element::default(), Vec::new());
    let mut rest = text;
    loop {
        let (name, behind) = rest.split_once('=')?;
        let name = name.trim_start().to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return None;
        }
        let (value, behind) = read_value(behind)?;
        match &*name {
            "for" => element.node = node(&value),
            "proto" => element.scheme = scheme(&value),
            "host" => element.authority = authority(&value),
            _ => {}
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        let behind = behind.trim_start();
        if behind.is_empty() || behind.starts_with(',') {
            return Some((element, behind));
        }
        rest = behind.strip_prefix(';')?;
    }
}

/// A token or quoted-string, and what is behind it. Of an unquoted value everything is taken that ends
/// none: addresses with a colon are met without quotes.
fn read_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return (!value.is_empty()).then(|| (value.to_owned(), behind));
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, letter) in quoted.char_indices() {
        match letter {
            _ if escaped => {
                value.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, quoted.split_at(at + 1).1)),
            _ => value.push(letter),
        }
    }
    None
}

/// `X-Forwarded-For`; entries that are no addresses are passed over.
fn older_nodes(headers: &HeaderMap) -> Vec<Element> {
    let values = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let nodes = values.flat_map(|value| value.split(',')).filter_map(|entry| node(entry.trim()));
    nodes.map(|node| Element { node: Some(node), ..Element::default() }).collect()
}

fn first_element<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split(',').next().map(str::trim).filter(|first| !first.is_empty())
}

/// An address, with or without brackets and port.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    bare.parse().ok().or_else(with_port)
}

fn scheme(text: &str) -> Option<&'static str> {
    ["https", "http"].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme))
}

/// A host with or without a port, and nothing that would mean something in a URL or a header.
fn authority(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    let sound = text.parse::<Authority>().is_ok_and(|authority| !authority.host().is_empty());
    (sound && text.bytes().all(plain)).then(|| text.to_owned())
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
    fn elements_are_read_as_the_grammar_has_them() {
        let told = |value| elements(&map(&[("forwarded", value)]));
        let found =
            told("For=\"[2001:db8::1]:80\" ;PROTO=http;by=_x, for=unknown;host=\"a\\.b:1\"")
                .unwrap();
        assert_eq!(found[0].node, Some("2001:db8::1".parse().unwrap()));
        assert_eq!(found[0].scheme, Some("http"));
        assert_eq!((found[1].node, found[1].authority.as_deref()), (None, Some("a.b:1")));
        for malformed in
            ["", ",", "for", "for=", "for=a b", "for=\"a", ";for=a", "for=a;;proto=http"]
        {
            assert_eq!(told(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn the_client_is_the_last_node_that_is_no_trusted_proxy() {
        let trusted = ["192.0.2.0/24".parse().unwrap()];
        let peer = Peer { trusted: &trusted, ..stranger() };
        for (list, client) in [
            ("198.51.100.9", [198, 51, 100, 9]),
            ("6.6.6.6, 198.51.100.9, 192.0.2.1", [198, 51, 100, 9]),
            ("192.0.2.1, 192.0.2.2:80", [192, 0, 2, 1]),
            ("unknown", [192, 0, 2, 7]),
        ] {
            let origin = peer.origin(&map(&[("x-forwarded-for", list)]), "mail.example");
            assert_eq!(origin.client, Some(client.into()), "{list}");
        }
    }
}
