//! Where a push may go, and the way there (RFC 8620 §8.6, P16; hostile.md X6-X9): a URL is looked at
//! when a subscription is made, an address when it is dialled.

use std::net::IpAddr;

use ipnet::IpNet;

pub mod address;
pub mod connect;
mod neighbours;
pub mod outcome;
pub mod post;
pub mod url;

/// What an operator allows. The default is what a server on the internet wants, but for what is its
/// own.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Ports that URLs may name.
    pub ports: Vec<u16>,
    /// Networks that are open although they are nobody's on the internet, or this machine's. No metadata
    /// service, nothing of [`Policy::own_addresses`] and no address of [`Policy::neighbours`] is opened by
    /// them.
    pub allow_networks: Vec<IpNet>,
    /// Addresses that we, the JMAP server or Redis listen on.
    pub own_addresses: Vec<IpAddr>,
    /// Names under which clients know us, in lower case.
    pub own_hosts: Vec<String>,
    /// Names of the JMAP server and of Redis, in lower case. What they resolve to is judged as
    /// [`Policy::own_addresses`] are.
    pub neighbours: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ports: vec![443],
            allow_networks: Vec::new(),
            own_addresses: Vec::new(),
            own_hosts: Vec::new(),
            neighbours: Vec::new(),
        }
    }
}
