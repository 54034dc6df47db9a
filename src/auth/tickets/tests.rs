//! What a ticket is good for, at times that are passed in.

use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderName, HeaderValue};

use super::seal::TicketId;
use super::used::OwnTicket;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The present of these tests.
const NOW: Duration = Duration::from_secs(1_800_000_000);

fn key(text: &str) -> Key {
    Key::from_base64(&text.repeat(43)).unwrap()
}

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
}

fn ticket(address: Option<&str>) -> Ticket {
    let headers =
        headers(&[(AUTHORIZATION, "Bearer canary"), (COOKIE, "a=1; b=2"), (HOST, "mail.example")]);
    Ticket {
        issued: NOW,
        expires: NOW + MINUTE,
        address: address.map(|address| address.parse().unwrap()),
        owner: "alice@example.org".into(),
        credentials: Credentials::from_headers(&headers),
    }
}

fn written(credentials: &Credentials) -> HeaderMap {
    let mut headers = HeaderMap::new();
    credentials.write(&mut headers);
    headers
}

#[test]
fn a_ticket_holds_what_was_put_into_it() {
    let seal = Seal::new(&key("k"));
    for address in [None, Some("192.0.2.7"), Some("2001:db8::7")] {
        let sealed = seal.seal(&ticket(address)).unwrap();
        let is_safe = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        assert!(sealed.chars().all(is_safe), "{sealed}");
        let (_, opened) = seal.open(&sealed).unwrap();
        assert_eq!((opened.issued, opened.expires), (NOW, NOW + MINUTE));
        assert_eq!(opened.address, address.map(|address| address.parse().unwrap()));
        assert_eq!(opened.owner, "alice@example.org");
        let headers = written(&opened.credentials);
        assert_eq!(headers[AUTHORIZATION], "Bearer canary");
        assert_eq!(headers[COOKIE], "a=1; b=2");
        assert!(headers.values().all(HeaderValue::is_sensitive));
        assert!(!headers.contains_key(HOST), "a request names its own");
    }
}

#[test]
fn two_tickets_for_the_same_are_two() {
    let seal = Seal::new(&key("k"));
    let sealed = [(); 2].map(|()| seal.seal(&ticket(None)).unwrap());
    assert_ne!(sealed[0], sealed[1]);
    let [one, other] = sealed.map(|sealed| seal.open(&sealed).unwrap().0);
    assert_ne!(one, other);
}

#[test]
fn a_letter_changed_opens_nothing() {
    let seal = Seal::new(&key("k"));
    let sealed = seal.seal(&ticket(Some("192.0.2.7"))).unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(seal.open(&changed).is_none(), "{at}");
        assert!(seal.open(sealed.split_at(at).0).is_none(), "{at}");
    }
    for longer in [format!("{sealed}A"), format!("{sealed}="), format!("{sealed} ")] {
        assert!(seal.open(&longer).is_none());
    }
}

#[test]
fn another_key_opens_nothing() {
    let sealed = Seal::new(&key("k")).seal(&ticket(None)).unwrap();
    assert!(Seal::new(&key("k")).open(&sealed).is_some(), "every process with the key");
    assert!(Seal::new(&key("0")).open(&sealed).is_none());
    assert!(Seal::new(&Key::random()).open(&sealed).is_none());
}

#[test]
fn what_no_url_could_hold_is_not_sealed() {
    let seal = Seal::new(&key("k"));
    let with = |length: usize| {
        let headers = headers(&[(AUTHORIZATION, &"x".repeat(length))]);
        Ticket { credentials: Credentials::from_headers(&headers), ..ticket(None) }
    };
    let sealed = seal.seal(&with(5000)).unwrap();
    assert!(sealed.len() < 7168 && seal.open(&sealed).is_some());
    assert_eq!(seal.seal(&with(5400)).unwrap_err(), Unsealable::TooLarge);
}

fn id(number: u8) -> OwnTicket {
    of(0, number)
}

fn of(owner: u64, number: u8) -> OwnTicket {
    OwnTicket { owner, id: TicketId::of([number; 12]) }
}

#[test]
fn a_ticket_is_used_once() {
    let mut used = Used::default();
    assert!(used.claim(id(1), NOW + MINUTE, None, NOW));
    for later in [NOW, NOW + MINUTE / 2, NOW + MINUTE * 2] {
        assert!(!used.claim(id(1), NOW + MINUTE, None, later));
        assert!(
            !used.claim(id(1), NOW + MINUTE, Some(later + MINUTE), later),
            "nor by an event source"
        );
    }
    assert!(used.claim(id(2), NOW + MINUTE, None, NOW), "another is another");
}

#[test]
fn a_ticket_that_was_not_used_in_time_is_nobodys() {
    let mut used = Used::default();
    assert!(!used.claim(id(1), NOW, None, NOW));
    assert!(!used.claim(id(1), NOW, Some(NOW + MINUTE * 2), NOW + MINUTE));
    assert!(used.claim(id(1), NOW + Duration::from_millis(1), None, NOW));
}

#[test]
fn an_event_source_comes_back_until_its_grant_ends() {
    let mut used = Used::default();
    let hour = Some(NOW + MINUTE * 60);
    let expires = NOW + MINUTE;
    assert!(used.claim(id(1), expires, hour, NOW));
    for minutes in [0, 1, 59] {
        let later = NOW + MINUTE * minutes;
        assert!(used.claim(id(1), expires, hour, later), "{minutes}");
        assert!(!used.claim(id(1), expires, None, later), "never a WebSocket");
    }
    assert!(!used.claim(id(1), expires, hour, NOW + MINUTE * 60), "counted from the first use");
}

#[test]
fn a_grant_that_ends_before_its_ticket_expires_is_no_second_use() {
    let mut used = Used::with_room(1, 1);
    assert!(used.claim(id(1), NOW + MINUTE * 10, Some(NOW + MINUTE), NOW));
    let later = NOW + MINUTE * 2;
    assert!(!used.claim(id(2), later + MINUTE, None, later), "it is not forgotten");
    assert!(!used.claim(id(1), NOW + MINUTE * 10, Some(later + MINUTE), later));
}

#[test]
fn a_revoked_ticket_opens_nothing_whether_it_was_used_or_not() {
    let hour = Some(NOW + MINUTE * 60);
    for is_used in [false, true] {
        for minutes in [0, 2] {
            let (mut used, later) = (Used::default(), NOW + MINUTE * minutes);
            if is_used {
                assert!(used.claim(id(1), NOW + MINUTE, hour, NOW));
            }
            assert!(used.revoke(id(1), NOW + MINUTE, later));
            assert!(used.revoke(id(1), NOW + MINUTE, later), "twice is once");
            for grant in [None, hour] {
                assert!(!used.claim(id(1), NOW + MINUTE, grant, later));
            }
        }
    }
}

#[test]
fn a_full_table_gives_up_grants_and_never_a_use() {
    let mut used = Used::with_room(4, 4);
    for number in 0..4 {
        let grant = Some(NOW + MINUTE * (10 + u32::from(number)));
        assert!(used.claim(id(number), NOW + MINUTE, grant, NOW));
    }
    assert!(!used.claim(id(9), NOW + MINUTE, None, NOW), "any of them may still be used twice");
    assert!(!used.revoke(id(9), NOW + MINUTE, NOW));
    let later = NOW + MINUTE * 2;
    assert!(used.claim(id(9), later + MINUTE, None, later));
    let comes_back =
        |used: &mut Used, number| used.claim(id(number), NOW + MINUTE, Some(later + MINUTE), later);
    assert!(!comes_back(&mut used, 0), "the one that would have ended first");
    assert!((1..4).all(|number| comes_back(&mut used, number)));
    assert!(!used.claim(id(9), later + MINUTE, None, later));
}

#[test]
fn those_whose_time_is_over_make_room() {
    let mut used = Used::with_room(4, 4);
    for number in 0..4 {
        assert!(used.claim(id(number), NOW + MINUTE, None, NOW));
    }
    assert!(used.claim(id(9), NOW + MINUTE * 2, None, NOW + MINUTE));
}

#[test]
fn nobody_takes_more_than_a_share_of_the_room() {
    let mut used = Used::with_room(8, 2);
    let [alice, bob] = [1, 2];
    let hour = Some(NOW + MINUTE * 60);
    let grants = (0..6).map(|number| used.claim(of(alice, number), NOW + MINUTE, hour, NOW));
    assert_eq!(grants.filter(|is_good| *is_good).count(), 2, "a quarter");
    assert!(!used.revoke(of(alice, 9), NOW + MINUTE, NOW), "to revoke takes room as well");
    assert!(used.claim(of(bob, 0), NOW + MINUTE, hour, NOW));
    let later = NOW + MINUTE * 2;
    assert!(used.claim(of(alice, 7), later + MINUTE, None, later), "a grant of theirs makes room");
    let comes_back =
        |used: &mut Used, whose| used.claim(whose, NOW + MINUTE, Some(later + MINUTE), later);
    assert!(comes_back(&mut used, of(bob, 0)), "and none of another's");
    assert!(!comes_back(&mut used, of(alice, 0)));
}
