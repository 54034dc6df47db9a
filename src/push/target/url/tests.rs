//! URLs as clients may send them (hostile.md X9).

use proptest::prelude::*;

use super::*;

fn parse(url: &str) -> Result<Target, Reason> {
    Target::parse(url, &Policy::default())
}

#[test]
fn urls_of_push_services_are_accepted_as_they_are() {
    for url in [
        "https://fcm.googleapis.com/fcm/send/d61c5u920dw:APA91bEmnw8utjDYCqSRplFMVCz_x7mX-g",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABfAL4Oa-Q~7A==",
        "https://web.push.apple.com/QGxvcmVtL2lwc3Vt?a=%2F%3D&b[]=1",
        "https://db5p.notify.windows.com/w/?token=BQYAAAB%2bYx",
        "https://xn--bcher-kva.example/push",
        "https://ntfy.example/upABCD?up=1",
        "https://8.8.8.8/push",
        "https://[2606:4700:4700::1111]/push",
        "https://8.8.8.8.example/",
        "https://_push.example/",
        "https://a.example/a//b/;x=1,!$&'()*+@:~",
    ] {
        let target = parse(url).unwrap_or_else(|reason| panic!("{url}: {reason}"));
        assert_eq!(target.expose(), url);
        let path = target.uri().unwrap().into_parts().path_and_query.unwrap();
        assert_eq!(format!("{}{path}", target.origin()), url);
    }
}

#[test]
fn origin_and_host_are_those_of_the_canonical_url() {
    let policy = Policy { ports: vec![443, 8443], ..Policy::default() };
    for (url, origin, host) in [
        ("https://Push.Example:443/a?b", "https://push.example", "push.example"),
        ("HTTPS://push.example:8443/a", "https://push.example:8443", "push.example"),
        ("https://push.example", "https://push.example", "push.example"),
        ("https://push.example?q", "https://push.example", "push.example"),
        ("https://[2A00:0::1]:8443/", "https://[2a00::1]:8443", "2a00::1"),
        ("https://0x8.8.2056/", "https://8.8.8.8", "8.8.8.8"),
    ] {
        let target = Target::parse(url, &policy).unwrap();
        assert_eq!((target.origin(), target.host_key()), (origin, host), "{url}");
    }
}

#[test]
fn anything_but_https_is_refused() {
    for url in ["http://push.example/", "ftp://push.example/", "wss://a.example/", "data:,x"] {
        assert_eq!(parse(url), Err(Reason::Scheme), "{url}");
    }
}

#[test]
fn credentials_and_fragments_are_refused() {
    for url in ["https://user:pass@push.example/", "https://@push.example/", "https://u@8.8.8.8"] {
        assert_eq!(parse(url), Err(Reason::Userinfo), "{url}");
    }
    for url in ["https://push.example/#a", "https://push.example#", "https://a.example#@b.example"]
    {
        assert_eq!(parse(url), Err(Reason::Fragment), "{url}");
    }
}

#[test]
fn what_parsers_disagree_on_is_refused() {
    for url in [
        "",
        "push.example",
        "//push.example/",
        "https:push.example",
        "https:/push.example",
        "https:///push.example",
        "https://",
        "https:///",
        "https://?a",
        "https://:443/",
        "https:\\\\push.example",
        "https://push.example\\@127.0.0.1/",
        " https://push.example",
        "https://push.example/ ",
        "https://push.example/\n",
        "ht\ntps://push.example/",
        "https://push\t.example/",
        "https://push.example/\0",
        "https://push.example%00.a.example/",
        "https://push.example/%00",
        "https://127.0.0.1%23.example/",
        "https://%31.1.1.1/",
        "https://push.example:/",
        "https://push.example:x/",
        "https://push.example:65536/",
        "https://[::1/",
        "https://[::ffff:8.8.8.8%25eth0]/",
        "https://[8.8.8.8]/",
        "https://push.example/é",
        "https://push.example/\u{202e}",
        "https://pus h.example/",
        "https://p\u{0430}ypal.example/",
        "https://１２７.0.0.1/",
        "https://push。example/",
        "https://ﬀ.example/",
        "https://999.1.1.1/",
        "https://1.2.3.4.5/",
        "https://0x/x|y",
    ] {
        assert!(matches!(parse(url), Err(Reason::Malformed)), "{url:?}: {:?}", parse(url));
    }
}

#[test]
fn every_spelling_of_an_address_is_judged_as_that_address() {
    let (own, meta) = (Denied::Reserved, Denied::Metadata);
    for (host, denied) in [
        ("127.0.0.1", own),
        ("127.1", own),
        ("127.0.1", own),
        ("0x7f.1", own),
        ("0177.0.0.1", own),
        ("2130706433", own),
        ("0x7f000001", own),
        ("017700000001", own),
        ("0", own),
        ("0x0", own),
        ("0X7F.0X1", own),
        ("127.0.0.1.", own),
        ("2852039166", meta),
        ("0xa9fea9fe", meta),
        ("169.254.43518", meta),
        ("0251.0376.0251.0376", meta),
        ("10.0.0.1", own),
        ("[::1]", own),
        ("[::]", own),
        ("[::ffff:7f00:1]", own),
        ("[::ffff:127.0.0.1]", own),
        ("[::7f00:1]", own),
        ("[0:0:0:0:0:ffff:a9fe:a9fe]", meta),
        ("[64:ff9b::a9fe:a9fe]", meta),
        ("[fe80::1]", meta),
        ("[fd00:ec2::254]", meta),
        ("255.255.255.255", own),
        ("168.63.129.16", meta),
    ] {
        assert_eq!(parse(&format!("https://{host}/")), Err(Reason::Address(denied)), "{host}");
    }
}

#[test]
fn a_name_is_one_of_hosts_without_a_dot_at_its_end() {
    let long = format!("https://{}.example/", "a".repeat(64));
    let longer = format!("https://{}example/", "a.".repeat(124));
    for url in [
        "https://push.example./",
        "https://push..example/",
        "https://.push.example/",
        "https://-push.example/",
        "https://push-.example/",
        "https://pu*sh.example/",
        "https://./",
        &long,
        &longer,
    ] {
        assert!(
            matches!(parse(url), Err(Reason::Host | Reason::Malformed)),
            "{url}: {:?}",
            parse(url)
        );
    }
    assert!(parse(&format!("https://{}.example/", "a".repeat(63))).is_ok());
}

#[test]
fn ports_are_those_of_the_policy() {
    for port in [0, 22, 25, 80, 6379, 8443, 65535] {
        assert_eq!(parse(&format!("https://push.example:{port}/")), Err(Reason::Port), "{port}");
    }
    let policy = Policy { ports: vec![8443], ..Policy::default() };
    assert!(Target::parse("https://push.example:8443/", &policy).is_ok());
    assert_eq!(Target::parse("https://push.example/", &policy), Err(Reason::Port));
}

#[test]
fn our_own_name_is_refused_in_any_case() {
    let policy = Policy { own_hosts: vec!["jmap.example".into()], ..Policy::default() };
    for url in ["https://jmap.example/", "https://JMAP.Example/jmap/", "https://jmap.example./"] {
        assert_eq!(Target::parse(url, &policy), Err(Reason::Host), "{url}");
    }
    assert!(Target::parse("https://a.jmap.example/", &policy).is_ok());
}

#[test]
fn the_longest_url_is_of_2048_letters() {
    let url = format!("https://push.example/{}", "a".repeat(MOST_LETTERS - 21));
    assert_eq!(parse(&url).unwrap().expose().len(), MOST_LETTERS);
    assert_eq!(parse(&(url + "a")), Err(Reason::TooLong));
}

#[test]
fn debug_shows_scheme_and_host_only() {
    let target = parse("https://push.example/secret?token=secret").unwrap();
    assert_eq!(format!("{target:?}"), "Target(https://push.example)");
}

proptest! {
    #[test]
    fn what_is_accepted_leads_where_the_policy_allows(
        url in r"(https://)?[a-z0-9.:@\[\]%xX/?#\\_-]{0,40}",
    ) {
        if let Ok(target) = parse(&url) {
            let uri = target.uri().unwrap();
            prop_assert_eq!(uri.scheme_str(), Some("https"));
            prop_assert_eq!(uri.host().unwrap().trim_matches(['[', ']']), target.host_key());
            prop_assert_eq!(uri.port_u16().unwrap_or(443), 443);
            prop_assert_eq!(parse(target.expose()), Ok(target));
        }
    }

    #[test]
    fn no_text_panics(url in "\\PC{0,60}") {
        let _ = parse(&url);
        let _ = parse(&format!("https://{url}"));
    }
}
