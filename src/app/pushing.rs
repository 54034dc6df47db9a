//! What push services may never be (RFC 8620 §8.6): ourselves and our neighbours.

use std::net::IpAddr;

use crate::config::{Config, Listen, UpstreamTarget};
use crate::push::target::Policy;

/// What `[push]` allows, and what is our own.
pub(super) fn policy(config: &Config) -> Policy {
    let mut policy = Policy {
        ports: config.push.ports.clone(),
        allow_networks: config.push.allow_networks.clone(),
        ..Policy::default()
    };
    let doors = [&config.admin.listen, &config.admin.probes, &config.notify.http.listen];
    let listens = config.downstream.listen.iter().chain(doors.into_iter().flatten());
    policy.own_addresses.extend(listens.filter_map(|listen| match listen {
        Listen::Tcp(address) if !address.ip().is_unspecified() => Some(address.ip()),
        Listen::Tcp(_) | Listen::Unix(_) => None,
    }));
    for address in &config.upstream.addresses {
        if let UpstreamTarget::Tcp(host, _) = &address.target {
            add(&mut policy, host);
        }
    }
    if let Some(host) = config.downstream.public_url.as_ref().and_then(http::Uri::host) {
        add(&mut policy, host);
    }
    policy
}

fn add(policy: &mut Policy, host: &str) {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => policy.own_addresses.push(address),
        Err(_) => policy.own_hosts.push(host.to_ascii_lowercase()),
    }
}
