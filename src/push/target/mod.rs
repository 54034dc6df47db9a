//! Where a push may go, and the way there (RFC 8620 §8.6, P16; hostile.md X6-X9): a URL is looked at
//! when a subscription is made, an address when it is dialled.

use std::net::IpAddr;

use ipnet::IpNet;

pub mod address;
pub mod connect;
pub mod outcome;
pub mod post;
pub mod url;

/// What an operator allows. The default is what a server on the internet wants, but for what is its
/// own.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Ports that URLs may name.
    pub ports: Vec<u16>,
    /// Networks that are open although they are nobody's on the internet. No metadata service and
    /// nothing of [`Policy::own_addresses`] is opened by them.
    pub allow_networks: Vec<IpNet>,
    /// Addresses that we or the JMAP server listen on.
    pub own_addresses: Vec<IpAddr>,
    /// Names under which clients know us, in lower case.
    pub own_hosts: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ports: vec![443],
            allow_networks: Vec::new(),
            own_addresses: Vec::new(),
            own_hosts: Vec::new(),
        }
    }
}
