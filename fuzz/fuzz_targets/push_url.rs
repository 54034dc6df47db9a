//! URLs and addresses that pushes are to go to (hostile.md X6, X9): no panic, and whatever is accepted
//! leads where the policy allows, read by another parser too.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jmap_push_proxy::push::target::Policy;
use jmap_push_proxy::push::target::address::{Denied, is_allowed};
use jmap_push_proxy::push::target::url::Target;

libfuzzer_sys::fuzz_target!(|input: (&str, [u8; 16])| {
    let (text, octets) = input;
    for url in [text, &format!("https://{text}"), &format!("https://{text}/")] {
        url_is_judged(url);
    }
    let v6 = Ipv6Addr::from(octets);
    let [a, b, c, d, ..] = octets;
    for address in [IpAddr::V6(v6), IpAddr::V4(Ipv4Addr::new(a, b, c, d))] {
        address_is_judged(address);
    }
});

fn url_is_judged(url: &str) {
    let policy = Policy::default();
    let Ok(target) = Target::parse(url, &policy) else { return };
    let uri: http::Uri = target.expose().parse().unwrap();
    let host = uri.host().unwrap().trim_matches(['[', ']']);
    assert_eq!((uri.scheme_str(), uri.port_u16().unwrap_or(443)), (Some("https"), 443));
    assert_eq!(host, target.host_key());
    assert!(!host.ends_with('.') && host.is_ascii());
    if let Ok(address) = host.parse() {
        assert_eq!(is_allowed(address, &policy), Ok(()));
    }
    // What is kept is read as the same when it is taken out again.
    assert_eq!(Target::parse(target.expose(), &policy), Ok(target));
}

fn address_is_judged(address: IpAddr) {
    let closed = is_allowed(address, &Policy::default());
    let everything = ["0.0.0.0/0", "::/0"].map(|network| network.parse().unwrap());
    let open = Policy { allow_networks: everything.into(), ..Policy::default() };
    // Opening everything opens all but metadata services.
    assert_ne!(is_allowed(address, &open), Err(Denied::Reserved));
    assert_eq!(is_allowed(address, &open).is_err(), closed == Err(Denied::Metadata));
    let own = Policy { own_addresses: vec![address], ..open };
    assert!(is_allowed(address, &own).is_err());
    if let IpAddr::V4(v4) = address {
        let mapped = IpAddr::V6(v4.to_ipv6_mapped());
        assert_eq!(is_allowed(mapped, &Policy::default()), closed);
    }
}
