//! What push services may never be (RFC 8620 §8.6; hostile.md X6): ourselves and our neighbours.

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
    let upstreams = config.upstream.addresses.iter().filter_map(|address| match &address.target {
        UpstreamTarget::Tcp(host, _) => Some(host.as_str()),
        UpstreamTarget::Unix(_) => None,
    });
    let Policy { own_addresses, own_hosts, neighbours, .. } = &mut policy;
    upstreams.chain(config.redis.hosts()).for_each(|host| bar(host, own_addresses, neighbours));
    // What it resolves to may be a balancer's, before push services as well.
    let public = config.downstream.public_url.as_ref().and_then(http::Uri::host);
    public.into_iter().for_each(|host| bar(host, own_addresses, own_hosts));
    policy
}

/// Adds an address, or a name as URLs of clients have it.
fn bar(host: &str, addresses: &mut Vec<IpAddr>, names: &mut Vec<String>) {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(address) => addresses.push(address),
        Err(_) => names.push(bare.trim_end_matches('.').to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UpstreamAddress;
    use crate::config::secret::Secret;
    use crate::push::target::address::{Denied, is_allowed};
    use crate::push::target::url::{Reason, Target};

    fn listen(text: &str) -> Listen {
        Listen::parse(text).unwrap()
    }

    fn upstream(host: &str) -> UpstreamAddress {
        let target = UpstreamTarget::Tcp(host.to_owned(), 8080);
        UpstreamAddress { tls: false, target, authority: format!("{host}:8080") }
    }

    /// A setting of each kind, each of an address of its own, in a network that is open.
    fn config() -> Config {
        let mut config = Config::default();
        config.downstream.listen = vec![listen("10.0.0.1:1"), listen("[2a00::2]:2")];
        config.downstream.public_url = Some("https://Mail.Example".parse().unwrap());
        config.admin.listen = Some(listen("10.0.0.3:3"));
        config.admin.probes = Some(listen("10.0.0.4:4"));
        config.notify.http.listen = Some(listen("10.0.0.5:5"));
        config.upstream.addresses =
            ["10.0.0.6", "[2a00::7]", "JMAP.svc.example."].map(upstream).into();
        config.push.allow_networks = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        config
    }

    fn with_redis(url: &str) -> Policy {
        let mut config = config();
        config.redis.url = Some(Secret::new(url.to_owned()));
        policy(&config)
    }

    /// P16, X6.
    #[test]
    fn every_address_that_is_configured_is_barred_and_nothing_opens_it() {
        let policy = with_redis("redis://user:p%40ss@10.0.0.8:6379/1");
        let own =
            ["10.0.0.1", "2a00::2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "2a00::7"];
        for address in own.into_iter().chain(["10.0.0.8"]) {
            assert_eq!(
                is_allowed(address.parse().unwrap(), &policy),
                Err(Denied::Own),
                "{address}"
            );
        }
        assert_eq!(is_allowed("10.0.0.9".parse().unwrap(), &policy), Ok(()));
    }

    /// P16, X9.
    #[test]
    fn every_name_that_is_configured_is_barred() {
        let policy = with_redis("rediss://Redis.example");
        for name in ["mail.example", "MAIL.example", "jmap.svc.example", "redis.example"] {
            let parsed = Target::parse(&format!("https://{name}/x"), &policy);
            assert_eq!(parsed, Err(Reason::Host), "{name}");
        }
        assert!(Target::parse("https://push.mail.example/x", &policy).is_ok());
        assert_eq!(policy.neighbours, ["jmap.svc.example", "redis.example"], "X6: looked up");
    }

    /// X6.
    #[test]
    fn all_sentinels_are_barred() {
        let hosts = "A.example:26379,b.example,10.0.0.8:26379,[2a00::9]:26379";
        let policy = with_redis(&format!("rediss+sentinel://:p,w@{hosts}/main/2"));
        assert_eq!(policy.neighbours, ["jmap.svc.example", "a.example", "b.example"]);
        for address in ["10.0.0.8", "2a00::9"] {
            assert_eq!(
                is_allowed(address.parse().unwrap(), &policy),
                Err(Denied::Own),
                "{address}"
            );
        }
        assert_eq!(with_redis("redis+unix:///run/redis.sock").neighbours, ["jmap.svc.example"]);
    }

    #[test]
    fn sockets_and_every_interface_bar_no_address() {
        let mut config = Config::default();
        config.downstream.listen =
            vec![listen("unix:/run/x"), listen("0.0.0.0:1"), listen("[::]:1")];
        config.upstream.addresses = Vec::new();
        (config.admin.listen, config.admin.probes, config.notify.http.listen) = (None, None, None);
        assert_eq!(policy(&config).own_addresses, Vec::<IpAddr>::new());
    }
}
