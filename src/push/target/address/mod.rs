//! Which addresses a push may be sent to (RFC 8620 §8.6; hostile.md X6, X7). Pure.
//!
//! What is not known to be of the internet is refused, and so is any address of a translation or a
//! tunnel: where it leads is decided elsewhere. An operator may open any of them; then the IPv4 address
//! inside is judged as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Policy;

#[cfg(test)]
mod tests;

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Tells a machine in a cloud its secrets; no setting opens it.
    #[error("an address of a cloud's metadata service")]
    Metadata,
    /// Ours, or the JMAP server's.
    #[error("an address of the proxy or of what is behind it")]
    Own,
    /// Not of the internet, and not opened by `push.allow_networks`.
    #[error("an address that is not of the internet")]
    Reserved,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(groups: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = groups;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// IPv4 that is not of the internet (IANA IPv4 Special-Purpose Address Registry, RFC 6890).
const RESERVED_V4: &[Ipv4Net] = &[
    v4(0, 0, 0, 0, 8),       // "this network"
    v4(10, 0, 0, 0, 8),      // private
    v4(100, 64, 0, 0, 10),   // carriers' NAT
    v4(127, 0, 0, 0, 8),     // loopback
    v4(169, 254, 0, 0, 16),  // link-local
    v4(172, 16, 0, 0, 12),   // private
    v4(192, 0, 0, 0, 24),    // protocol assignments
    v4(192, 0, 2, 0, 24),    // documentation
    v4(192, 88, 99, 0, 24),  // 6to4 relays
    v4(192, 168, 0, 0, 16),  // private
    v4(198, 18, 0, 0, 15),   // benchmarks
    v4(198, 51, 100, 0, 24), // documentation
    v4(203, 0, 113, 0, 24),  // documentation
    v4(224, 0, 0, 0, 4),     // multicast
    v4(240, 0, 0, 0, 4),     // reserved, broadcast
];

/// All IPv6 of the internet; the rest is loopback, translations, unique local, link-local, multicast or
/// not given out (IANA IPv6 Global Unicast Address Assignments).
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// NAT64's prefix for local use (RFC 8215).
const LOCAL_NAT64: Ipv6Net = v6([0x64, 0xff9b, 1, 0], 48);

/// What is not of the internet within it (IANA IPv6 Special-Purpose Address Registry).
const RESERVED_V6: &[Ipv6Net] = &[
    v6([0x2001, 0, 0, 0], 23), // protocol assignments: Teredo, benchmarks, ORCHID
    v6([0x2001, 0xdb8, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0], 16), // 6to4
    v6([0x3fff, 0, 0, 0], 20), // documentation
];

/// Metadata services, and what else clouds tell their machines secrets from.
const METADATA_V4: &[Ipv4Net] = &[
    v4(169, 254, 0, 0, 16), // nearly all clouds; AWS ECS and EKS have more than one
    v4(100, 100, 100, 200, 32), // Alibaba Cloud
    v4(168, 63, 129, 16, 32), // Azure WireServer
    v4(192, 0, 0, 192, 32), // Oracle Cloud Classic
];

const METADATA_V6: &[Ipv6Net] = &[
    v6([0xfd00, 0xec2, 0, 0], 32), // AWS: ::254, and ::23 in EKS
    v6([0xfd00, 0x42, 0, 0], 64),  // Scaleway: ::42
    v6([0xfd20, 0xce, 0, 0], 64),  // Google Cloud: ::254
    v6([0xfe80, 0, 0, 0], 10),     // link-local: OpenStack's fe80::a9fe:a9fe
];

/// Whether a push may be sent there.
///
/// # Errors
/// See [`Denied`].
pub fn is_allowed(address: IpAddr, policy: &Policy) -> Result<(), Denied> {
    let address = address.to_canonical();
    let inside = embedded(address);
    let inside = || inside.into_iter().flatten().map(IpAddr::V4);
    let all = || [address].into_iter().chain(inside());
    let is_own =
        |address: IpAddr| policy.own_addresses.iter().any(|own| own.to_canonical() == address);
    let is_closed = |address| is_reserved(address) && !is_opened(address, policy);
    if all().any(is_metadata) {
        Err(Denied::Metadata)
    } else if all().any(is_own) {
        Err(Denied::Own)
    } else if is_closed(address) || !is_local_nat64(address) && inside().any(is_closed) {
        Err(Denied::Reserved)
    } else {
        Ok(())
    }
}

/// Whether `push.allow_networks` has the address; each network may be written in either family's way.
#[must_use]
pub fn is_opened(address: IpAddr, policy: &Policy) -> bool {
    let (plain, mapped) = match address.to_canonical() {
        IpAddr::V4(plain) => (IpAddr::V4(plain), IpAddr::V6(plain.to_ipv6_mapped())),
        v6 => (v6, v6),
    };
    policy.allow_networks.iter().any(|open: &IpNet| open.contains(&plain) || open.contains(&mapped))
}

fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => METADATA_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => METADATA_V6.iter().any(|network| network.contains(&address)),
    }
}

fn is_reserved(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => RESERVED_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => {
            !GLOBAL_V6.contains(&address)
                || RESERVED_V6.iter().any(|network| network.contains(&address))
                || is_isatap(address)
        }
    }
}

/// Whether the interface identifier is one of ISATAP (RFC 5214 §6.1), whatever its network.
fn is_isatap(address: Ipv6Addr) -> bool {
    let [_, _, _, _, high, low, _, _] = address.segments();
    // The universal/local bit may be either.
    high & !0x0200 == 0 && low == 0x5efe
}

/// Whether a translator of the operator's own has it, which is there for private networks (RFC 8215):
/// who opens it opens them.
fn is_local_nat64(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if LOCAL_NAT64.contains(&address))
}

/// The IPv4 address that a translator or tunnel sends this one's packets to; two where that depends on
/// how the translator is set up.
fn embedded(address: IpAddr) -> [Option<Ipv4Addr>; 2] {
    let IpAddr::V6(address) = address else { return [None; 2] };
    let joined = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // IPv4-compatible (RFC 4291 §2.5.5.1); NAT64's well-known prefix (RFC 6052 §2.1).
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            [joined(high, low), None]
        }
        // NAT64's prefix for local use: of 96 bits, or of 48, where an octet in the middle is left out
        // (RFC 6052 §2.2).
        [0x64, 0xff9b, 1, first, second, third, high, low] => {
            let ([_, c], [d, _]) = (second.to_be_bytes(), third.to_be_bytes());
            [joined(high, low), joined(first, u16::from_be_bytes([c, d]))]
        }
        // 6to4 (RFC 3056 §2).
        [0x2002, high, low, ..] => [joined(high, low), None],
        // Teredo's server, and its client, whose bits are turned (RFC 4380 §4).
        [0x2001, 0, a, b, .., high, low] => [joined(!high, !low), joined(a, b)],
        [.., high, low] if is_isatap(address) => [joined(high, low), None],
        _ => [None; 2],
    }
}
