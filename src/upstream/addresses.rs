//! Which of several addresses serves a user: consistent hashing, so that one node's states stay in
//! order for one user, and few users move when an address comes or goes (architecture D4). The hashes
//! are fixed ones (Ketama's CRC-32): replicas whose `upstream.url` says the same agree.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use aws_lc_rs::digest::{SHA256, digest};
use pingora_ketama::{Bucket, Continuum};

use super::affinity::Affinity;
use crate::config::{UpstreamAddress, UpstreamTarget};

/// The ring over all addresses.
pub(super) struct Ring {
    continuum: Continuum,
    /// Index of the address behind each node of the continuum.
    nodes: Vec<SocketAddr>,
}

impl Ring {
    /// Places every address on the ring by what the operator wrote, not by where DNS leads.
    pub(super) fn new(addresses: &[UpstreamAddress]) -> Self {
        let nodes: Vec<SocketAddr> = addresses.iter().map(node).collect();
        let buckets: Vec<Bucket> = nodes.iter().map(|node| Bucket::new(*node, 1)).collect();
        Self { continuum: Continuum::new(&buckets), nodes }
    }

    /// Indices of the addresses in order of preference for `affinity`, each once.
    pub(super) fn order(&self, affinity: Affinity) -> impl Iterator<Item = usize> {
        let mut tried = vec![false; self.nodes.len()];
        let mut left = self.nodes.len();
        let mut point = self.continuum.node_idx(&affinity.0.to_le_bytes());
        std::iter::from_fn(move || {
            while left > 0 {
                let node = *self.continuum.get_addr(&mut point)?;
                let index = self.nodes.iter().position(|known| *known == node)?;
                let seen = tried.get_mut(index)?;
                if !std::mem::replace(seen, true) {
                    left -= 1;
                    return Some(index);
                }
            }
            None
        })
    }
}

/// The ring speaks of socket addresses; names and Unix sockets get one made from their hash.
fn node(address: &UpstreamAddress) -> SocketAddr {
    let name = match &address.target {
        UpstreamTarget::Tcp(host, port) => format!("{host}:{port}"),
        UpstreamTarget::Unix(path) => path.display().to_string(),
    };
    let hash = digest(&SHA256, name.as_bytes());
    let mut octets = [0; 16];
    octets.copy_from_slice(hash.as_ref().split_at(16).0);
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(octets)), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: u16) -> Vec<UpstreamAddress> {
        (0..count)
            .map(|n| UpstreamAddress {
                tls: false,
                target: UpstreamTarget::Tcp("jmap.example".into(), 8000 + n),
                authority: "jmap.example".into(),
            })
            .collect()
    }

    #[test]
    fn every_address_is_offered_once_and_the_first_is_stable() {
        let ring = Ring::new(&addresses(5));
        for user in 0..100 {
            let mut order: Vec<_> = ring.order(Affinity(user)).collect();
            assert_eq!(order, ring.order(Affinity(user)).collect::<Vec<_>>());
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn few_users_move_when_an_address_comes() {
        let (four, five) = (Ring::new(&addresses(4)), Ring::new(&addresses(5)));
        let moved = (0..1000)
            .filter(|user| four.order(Affinity(*user)).next() != five.order(Affinity(*user)).next())
            .count();
        assert!((100..350).contains(&moved), "{moved} of 1000 moved, 200 expected");
    }
}
