//! Addresses that do not go together: listeners that meet, an upstream that is the proxy itself.

use std::net::IpAddr;

use super::reader::Reader;
use super::{Config, Listen, UpstreamAddress, UpstreamTarget};

/// Listeners must not meet each other, nor upstream be one of them.
pub(super) fn check(reader: &mut Reader<'_>, config: &Config) {
    let doors: Vec<(&'static str, &Listen)> = config
        .downstream
        .listen
        .iter()
        .map(|listen| ("downstream.listen", listen))
        .chain(config.admin.listen.iter().map(|listen| ("admin.listen", listen)))
        .chain(config.admin.probes.iter().map(|listen| ("admin.probes", listen)))
        .chain(config.notify.http.listen.iter().map(|listen| ("notify.http.listen", listen)))
        .collect();
    for (index, (key, listen)) in doors.iter().enumerate() {
        let earlier = doors.iter().take(index).find(|(_, other)| meet(listen, other));
        if let Some((other, _)) = earlier {
            reader.conflict(other, key, "each listener needs an address of its own");
        }
        if config.upstream.addresses.iter().any(|address| leads_to(address, listen)) {
            reader.conflict(key, "upstream.url", "the proxy would be its own upstream");
        }
    }
}

/// Whether two listeners cannot both be opened.
fn meet(a: &Listen, b: &Listen) -> bool {
    match (a, b) {
        (Listen::Unix(a), Listen::Unix(b)) => a == b,
        (Listen::Tcp(a), Listen::Tcp(b)) => {
            let same_ip = a.ip() == b.ip()
                || (a.is_ipv4() == b.is_ipv4()
                    && (a.ip().is_unspecified() || b.ip().is_unspecified()));
            a.port() == b.port() && a.port() != 0 && same_ip
        }
        _ => false,
    }
}

/// Whether an upstream address certainly ends at a listener of ours.
fn leads_to(address: &UpstreamAddress, listen: &Listen) -> bool {
    match (&address.target, listen) {
        (UpstreamTarget::Unix(path), Listen::Unix(own)) => path == own,
        (UpstreamTarget::Tcp(host, port), Listen::Tcp(own)) => {
            let ip = if host == "localhost" {
                Some(IpAddr::from([127, 0, 0, 1]))
            } else {
                host.parse().ok()
            };
            let same =
                |ip: IpAddr| ip == own.ip() || (ip.is_loopback() && own.ip().is_unspecified());
            *port == own.port() && ip.is_some_and(same)
        }
        _ => false,
    }
}
