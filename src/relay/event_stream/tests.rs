//! Event streams as servers send them, and as nobody should (hostile.md B).

use proptest::prelude::*;

use super::*;

/// What these parts say, one after the other.
fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Said>, Option<String>) {
    let mut decoder = Decoder::default();
    let mut said = Vec::new();
    for mut part in parts {
        while let Some(next) = decoder.next(&mut part) {
            said.push(next);
        }
        assert!(part.is_empty());
    }
    (said, decoder.last_id().map(str::to_owned))
}

fn all(text: &str) -> Vec<Said> {
    read([text.as_bytes()]).0
}

fn event(kind: Kind, data: &str) -> Said {
    Said::Event(Event { kind, data: data.into() })
}

#[test]
fn an_event_ends_with_an_empty_line() {
    assert_eq!(all("event: state\ndata: {}\n\n"), [event(Kind::State, "{}")]);
    assert_eq!(all("event: state\ndata: {}\n"), []);
    assert_eq!(
        all("event: state\n\ndata: a\n\n"),
        [event(Kind::Unnamed, "a")],
        "no data, no event"
    );
}

#[test]
fn every_line_end_is_one() {
    let expected = [event(Kind::Ping, "1\n2"), event(Kind::Unnamed, "")];
    for end in ["\n", "\r", "\r\n"] {
        let text = "event: ping\ndata: 1\ndata: 2\n\ndata\n\n".replace('\n', end);
        assert_eq!(all(&text), expected, "{end:?}");
    }
}

#[test]
fn a_mark_at_the_start_is_no_part_of_the_first_name() {
    assert_eq!(all("\u{feff}data: a\n\n"), [event(Kind::Unnamed, "a")]);
    assert_eq!(all("data: a\n\n\u{feff}data: b\n\n"), [event(Kind::Unnamed, "a")]);
}

#[test]
fn one_space_behind_the_colon_is_no_part_of_the_value() {
    assert_eq!(all("data:a\ndata:  b\ndata: c:d \n\n"), [event(Kind::Unnamed, "a\n b\nc:d ")]);
}

#[test]
fn unknown_fields_and_names_are_no_harm() {
    let text = "foo: bar\nevent: calendarAlert\ndata: 1\nDATA: 2\n data: 3\n\n";
    assert_eq!(all(text), [event(Kind::Other, "1")]);
}

#[test]
fn a_comment_and_a_time_to_wait_are_told() {
    let text = ": ping\nretry: 1500\nretry: -1\nretry: 1e3\nretry:\n:\n";
    assert_eq!(all(text), [Said::Comment, Said::Retry(Duration::from_millis(1500)), Said::Comment]);
}

#[test]
fn an_id_counts_once_its_event_is_complete() {
    let id = |text: &str| read([text.as_bytes()]).1;
    assert_eq!(id("id: 7\ndata: a\n\n").as_deref(), Some("7"));
    assert_eq!(id("id: 7\n\n").as_deref(), Some("7"), "without data, too");
    assert_eq!(id("id: 7\n\nid: 8\ndata: b\n").as_deref(), Some("7"));
    assert_eq!(id("id: 7\n\nid: 8\0\ndata: b\n\n").as_deref(), Some("7"));
    assert_eq!(id("id: 7\n\nid\ndata: b\n\n"), None, "taken back");
    assert_eq!(id(&format!("id: {}\n\n", "x".repeat(MOST_ID + 1))), None);
}

#[test]
fn what_is_too_long_is_said_once_and_what_follows_is_read() {
    let after = [Said::TooLong, event(Kind::State, "b")];
    let line = "x".repeat(MOST + 1);
    assert_eq!(all(&format!("data: {line}\n\nevent: state\ndata: b\n\n")), after);
    let lines = format!("data: {}\n", "x".repeat(1000)).repeat(MOST / 1000);
    assert_eq!(all(&format!("event: state\n{lines}{lines}\nevent: state\ndata: b\n\n")), after);
}

#[test]
fn what_is_held_is_bounded_and_nothing_is_held_between_events() {
    let mut decoder = Decoder::default();
    for _ in 0..100 {
        assert_eq!(decoder.next(&mut &vec![b'x'; MOST / 3][..]), None);
        assert!(decoder.held() <= 4 * MOST, "{}", decoder.held());
    }
    assert_eq!(decoder.next(&mut &b"\n\n"[..]), Some(Said::TooLong));
    assert_eq!(decoder.held(), 0);
    assert!(decoder.next(&mut &b"data: a\n\n"[..]).is_some());
    assert_eq!(decoder.held(), 0);
}

/// Streams with much in them that matters.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just("\n\n"),
        Just("data: {\"a\":1}"),
        Just("data"),
        Just("event: state\n"),
        Just("event:ping\r"),
        Just("id: 5"),
        Just("id:\0"),
        Just("retry: 10\n"),
        Just(":"),
        Just(" "),
        Just("\u{feff}"),
    ];
    prop_oneof![
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #[test]
    fn pieces_say_what_the_whole_says(stream in stream(), cuts in prop::collection::vec(1usize..7, 1..20)) {
        let whole = read([&stream[..]]);
        let (mut parts, mut rest) = (Vec::new(), &stream[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, left) = rest.split_at((*cut).min(rest.len()));
            parts.push(part);
            rest = left;
        }
        prop_assert_eq!(read(parts), whole);
    }

    #[test]
    fn what_was_encoded_is_read(data in "[^\r\n]{0,40}", id in "[!-~]{0,20}", end in "\n|\r|\r\n") {
        let text = format!("event: state{end}data: {data}{end}id: {id}{end}{end}");
        let (said, last) = read([text.as_bytes()]);
        prop_assert_eq!(said, [event(Kind::State, &data)]);
        prop_assert_eq!(last.unwrap_or_default(), id);
    }
}
