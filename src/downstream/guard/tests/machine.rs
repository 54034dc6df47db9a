//! The pure machine: verdicts, limits, cuts, moments.

use proptest::prelude::*;

use super::payloads::PAYLOADS;
use super::reference::{LIMITS, Outcome, guard};
use crate::clock::Moment;
use crate::downstream::guard::{Guard, Rejection, State};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn every_payload_gets_its_verdict() {
    for (name, bytes, verdict) in PAYLOADS {
        let Outcome { passed, heads, rejection } = guard([*bytes]);
        match verdict {
            Ok(requests) => {
                assert_eq!((heads, rejection), (*requests, None), "{name}");
                assert_eq!(passed, bytes.len(), "{name}");
            }
            Err(reason) => assert_eq!(rejection, Some(*reason), "{name}"),
        }
    }
}

#[test]
fn payload_names_are_unique_and_many() {
    let names: std::collections::HashSet<_> = PAYLOADS.iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), PAYLOADS.len());
    assert!(names.len() >= 60);
}

#[test]
fn the_verdict_is_the_same_wherever_the_bytes_are_cut() {
    for (name, bytes, _) in PAYLOADS {
        let whole = guard([*bytes]);
        for at in 0..=bytes.len() {
            let (first, second) = bytes.split_at(at);
            assert_eq!(guard([first, second]), whole, "{name} cut at {at}");
        }
        assert_eq!(guard(bytes.chunks(1)), whole, "{name} byte by byte");
    }
}

#[test]
fn nothing_of_a_refused_head_passes_and_all_before_it_does() {
    for (name, bytes, verdict) in PAYLOADS {
        let together = [GET, bytes].concat();
        let outcome = guard([together.as_slice()]);
        let alone = guard([*bytes]);
        assert_eq!(outcome.passed, GET.len() + alone.passed, "{name}");
        assert_eq!(outcome.rejection, verdict.err(), "{name}");
    }
}

#[test]
fn a_refusal_stands_whatever_follows() {
    let mut guard = Guard::new(LIMITS, Moment(0));
    assert_eq!(guard.inspect(b"\n", Moment(0)), Err(Rejection::BareLf));
    assert_eq!(guard.inspect(GET, Moment(0)), Err(Rejection::BareLf));
    guard.refuse(Rejection::HeadTimeout);
    assert_eq!(guard.become_opaque(), Err(Rejection::BareLf));
}

/// A head of exactly `len` bytes.
fn head_of(len: usize) -> Vec<u8> {
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    head.resize(len - 4, b'x');
    head.extend_from_slice(b"\r\n\r\n");
    head
}

#[test]
fn a_head_as_long_as_the_limit_passes_and_one_byte_more_is_431() {
    for parts in [99, 1000, usize::MAX] {
        let fits = head_of(LIMITS.head_bytes);
        assert_eq!(guard(fits.chunks(parts)).rejection, None);
        let long = head_of(LIMITS.head_bytes + 1);
        assert_eq!(guard(long.chunks(parts)).rejection, Some(Rejection::HeadTooLarge));
    }
    assert_eq!(Rejection::HeadTooLarge.status(), 431);
}

#[test]
fn an_endless_request_line_is_refused_at_the_limit() {
    let mut guard = Guard::new(LIMITS, Moment(0));
    let line = [b"GET /".as_slice(), &vec![b'a'; LIMITS.head_bytes - 5]].concat();
    assert_eq!(guard.inspect(&line[..line.len() - 1], Moment(0)), Ok(0));
    assert_eq!(guard.inspect(&line, Moment(0)), Err(Rejection::HeadTooLarge));
}

#[test]
fn a_field_more_than_the_limit_is_431() {
    for (fields, rejection) in [(99, None), (100, Some(Rejection::TooManyFields))] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(fields));
        assert_eq!(guard([head.as_bytes()]).rejection, rejection);
        let trailers = "X: y\r\n".repeat(fields + 1);
        let body = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}\r\n"
        );
        assert_eq!(guard([body.as_bytes()]).rejection, rejection);
    }
}

#[test]
fn chunk_extensions_are_bounded_in_a_line_and_in_all() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let line = format!("{head}1;{}\r\na\r\n0\r\n\r\n", "x".repeat(1024));
    assert_eq!(guard([line.as_bytes()]).rejection, Some(Rejection::ChunkExtension));
    let many = format!("{head}{}0\r\n\r\n", format!("1;{}\r\na\r\n", "x".repeat(999)).repeat(9));
    assert_eq!(guard([many.as_bytes()]).rejection, Some(Rejection::ChunkExtension));
    let some = format!("{head}{}0\r\n\r\n", format!("1;{}\r\na\r\n", "x".repeat(999)).repeat(8));
    assert_eq!(guard([some.as_bytes()]).rejection, None);
}

#[test]
fn trailers_are_bounded() {
    let body = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: {}\r\n\r\n",
        "y".repeat(8 * 1024)
    );
    assert_eq!(guard([body.as_bytes()]).rejection, Some(Rejection::TrailersTooLarge));
}

#[test]
fn a_body_larger_than_memory_is_followed_to_its_end() {
    let mut guard = Guard::new(LIMITS, Moment(0));
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n";
    assert_eq!(guard.inspect(head, Moment(0)), Ok(head.len()));
    assert_eq!(guard.inspect(&[0; 4096], Moment(0)), Ok(4096));
    assert_eq!(guard.state(), State::Body);
}

#[test]
fn a_head_starts_with_its_first_byte_and_the_connection_idles_after_the_last_of_a_body() {
    let mut guard = Guard::new(LIMITS, Moment(1));
    assert_eq!(guard.state(), State::Idle { since: Moment(1) });
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    let head_len = request.len() - 2;
    assert_eq!(guard.inspect(&request[..1], Moment(2)), Ok(0));
    assert_eq!(guard.inspect(&request[..20], Moment(3)), Ok(0));
    assert_eq!(guard.state(), State::Head { started: Moment(2) });
    assert_eq!(guard.inspect(&request[..head_len], Moment(4)), Ok(head_len));
    assert_eq!(guard.state(), State::Body);
    assert_eq!(guard.inspect(b"a", Moment(5)), Ok(1));
    assert_eq!(guard.state(), State::Body);
    assert_eq!(guard.inspect(b"b", Moment(6)), Ok(1));
    assert_eq!(guard.state(), State::Idle { since: Moment(6) });
    assert_eq!(guard.heads(), 1);
}

#[test]
fn an_empty_line_in_front_counts_as_the_start_of_a_head() {
    let mut guard = Guard::new(LIMITS, Moment(0));
    assert_eq!(guard.inspect(b"\r\n", Moment(7)), Ok(0));
    assert_eq!(guard.state(), State::Head { started: Moment(7) });
}

#[test]
fn nothing_is_looked_at_once_opaque() {
    let mut guard = Guard::new(LIMITS, Moment(0));
    assert_eq!(guard.become_opaque(), Ok(()));
    assert_eq!(guard.inspect(b"\x00\n\x81\x05", Moment(0)), Ok(4));
    assert_eq!(guard.state(), State::Opaque);
}

#[test]
fn a_refusal_says_whether_the_head_had_passed() {
    let mut guard = Guard::new(LIMITS, Moment(0));
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(guard.inspect(head, Moment(0)), Ok(head.len()));
    guard.refuse(Rejection::BodyTimeout);
    let rejection = Rejection::BodyTimeout;
    assert_eq!(guard.state(), State::Refused { rejection, in_body: true });
    assert_eq!(guard.inspect(b"ab", Moment(0)), Err(rejection));
}

/// Bytes near the grammar: pieces of requests in any order, with random bytes between.
pub(super) fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::sample::select(PAYLOADS).prop_map(|(_, bytes, _)| bytes.to_vec()),
        2 => proptest::sample::select(
            [
                "GET ", "POST ", "/", "/a?b", " HTTP/1.1", "\r\n", "\r", "\n", "\r\n\r\n", ":", " ",
                "Host: a\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n",
                "3\r\nabc\r\n", "ffffffffffffffff\r\n", ";x", "X: y\r\n", "\t", "http://a",
            ]
            .as_slice(),
        )
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        guard([bytes.as_slice()]);
    }

    #[test]
    fn cuts_never_change_the_verdict(bytes in pieces(), cuts in proptest::collection::vec(1..50_usize, 1..40)) {
        let mut rest = bytes.as_slice();
        let mut parts = Vec::new();
        for cut in cuts.iter().cycle().take(bytes.len()) {
            let (part, after) = rest.split_at((*cut).min(rest.len()));
            parts.push(part);
            rest = after;
        }
        prop_assert_eq!(guard(parts), guard([bytes.as_slice()]));
    }
}
