//! Every vector of hostile.md's SSRF table, with what lies just outside (X6).

use proptest::prelude::*;

use super::*;

fn judged(address: &str, policy: &Policy) -> Result<(), Denied> {
    is_allowed(address.parse().unwrap(), policy)
}

fn opening(networks: &[&str]) -> Policy {
    let allow_networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    Policy { allow_networks, ..Policy::default() }
}

/// Networks that are refused: first and last address, then what lies before and after where that is
/// allowed.
const NETWORKS: &[(&str, &str, &str, &str)] = &[
    ("0.0.0.0", "0.255.255.255", "", "1.0.0.0"),
    ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
    ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
    ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
    ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    ("192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
    ("192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
    ("192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"),
    ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
    ("198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
    ("198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"),
    ("203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"),
    ("224.0.0.0", "239.255.255.255", "223.255.255.255", ""),
    ("240.0.0.0", "255.255.255.255", "", ""),
    ("168.63.129.16", "168.63.129.16", "168.63.129.15", "168.63.129.17"),
    ("::", "::ffff:ffff", "", ""),
    ("64:ff9b::", "64:ff9b::ffff:ffff", "", ""),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "", ""),
    ("100::", "100::ffff:ffff:ffff:ffff", "", ""),
    ("::1", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "2000::"),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff::", "2001:200::"),
    ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff::", "2001:db9::"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:ffff::", "2003::"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff::", "3fff:1000::"),
    ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:ffff::", ""),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
];

#[test]
fn networks_that_are_not_of_the_internet_are_refused_from_their_first_to_their_last_address() {
    for (first, last, before, after) in NETWORKS {
        for address in [first, last] {
            assert!(judged(address, &Policy::default()).is_err(), "{address}");
        }
        for address in [before, after].into_iter().filter(|address| !address.is_empty()) {
            assert_eq!(judged(address, &Policy::default()), Ok(()), "{address}");
        }
    }
}

#[test]
fn addresses_of_the_internet_are_allowed() {
    let public = [
        "8.8.8.8",
        "1.1.1.1",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.1",
        "2606:4700:4700::1111",
        "2a00:1450:4001:830::200e",
        "::ffff:8.8.8.8",
    ];
    for address in public {
        assert_eq!(judged(address, &Policy::default()), Ok(()), "{address}");
    }
}

#[test]
fn an_ipv4_address_is_judged_in_whatever_it_is_wrapped() {
    let loopback = [
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1:7f00:0:100::",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2606:4700::5efe:7f00:1",
        "2606:4700::200:5efe:7f00:1",
    ];
    let all = opening(&["::/0"]);
    for address in loopback {
        assert_eq!(judged(address, &Policy::default()), Err(Denied::Reserved), "{address}");
        let own = Policy { own_addresses: vec!["127.0.0.1".parse().unwrap()], ..all.clone() };
        assert_eq!(judged(address, &own), Err(Denied::Own), "{address}");
    }
    // The network of a translator is opened, what must not be reached through it is not.
    let nat64 = opening(&["64:ff9b::/96"]);
    assert_eq!(judged("64:ff9b::808:808", &nat64), Ok(()));
    assert_eq!(judged("64:ff9b::7f00:1", &nat64), Err(Denied::Reserved));
}

#[test]
fn a_network_opened_by_the_operator_is_open_and_no_other() {
    let policy = opening(&["10.0.0.0/8", "fd12:3456::/32", "::ffff:192.168.1.0/120"]);
    let open = ["10.0.0.1", "::ffff:10.255.255.255", "fd12:3456::1", "192.168.1.7", "8.8.8.8"];
    for address in open {
        assert_eq!(judged(address, &policy), Ok(()), "{address}");
    }
    for address in ["127.0.0.1", "192.168.2.1", "fd12:3457::1", "::10.0.0.1", "2002:a00:1::"] {
        assert_eq!(judged(address, &policy), Err(Denied::Reserved), "{address}");
    }
}

#[test]
fn no_setting_opens_a_metadata_service() {
    let policy = opening(&["0.0.0.0/0", "::/0", "169.254.169.254/32", "fd00:ec2::254/128"]);
    let services = [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "169.254.42.42",
        "169.254.0.23",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd00:42::42",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001::5601:5601",
        "2606:4700::5efe:a9fe:a9fe",
        "::ffff:168.63.129.16",
        "64:ff9b::a83f:8110",
    ];
    for address in services {
        assert_eq!(judged(address, &policy), Err(Denied::Metadata), "{address}");
        assert!(judged(address, &Policy::default()).is_err(), "{address}");
    }
    for address in ["100.100.100.199", "192.0.0.193", "127.0.0.1", "fd00:ec3::254"] {
        assert_eq!(judged(address, &policy), Ok(()), "{address}");
    }
}

#[test]
fn what_is_our_own_is_refused_even_in_a_network_that_is_open() {
    let own_addresses = ["10.0.0.1", "8.8.8.8", "::ffff:10.0.0.2", "2a00::1"];
    let own_addresses = own_addresses.iter().map(|address| address.parse().unwrap()).collect();
    let policy = Policy { own_addresses, ..opening(&["10.0.0.0/8"]) };
    for address in ["10.0.0.1", "::ffff:10.0.0.1", "8.8.8.8", "10.0.0.2", "2a00::1"] {
        assert_eq!(judged(address, &policy), Err(Denied::Own), "{address}");
    }
    assert_eq!(judged("10.0.0.3", &policy), Ok(()));
}

proptest! {
    #[test]
    fn an_ipv4_address_and_its_mapped_form_are_judged_alike(address: Ipv4Addr) {
        let policy = opening(&["10.0.0.0/8", "::ffff:127.0.0.0/104"]);
        let mapped = IpAddr::V6(address.to_ipv6_mapped());
        prop_assert_eq!(is_allowed(mapped, &policy), is_allowed(IpAddr::V4(address), &policy));
    }

    #[test]
    fn whatever_is_opened_what_an_address_wraps_is_no_metadata_service(address: Ipv6Addr) {
        let policy = opening(&["::/0", "0.0.0.0/0"]);
        if is_allowed(IpAddr::V6(address), &policy).is_ok() {
            let octets = address.octets();
            prop_assert!(octets[..12] != [0; 12] || octets[12..14] != [169, 254]);
        }
    }
}
