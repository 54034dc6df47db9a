//! Frames to a client, byte for byte.

use super::*;

#[test]
fn the_examples_of_the_rfc_are_written() {
    // RFC 6455 §5.7.
    assert_eq!(text(b"Hello")[..], [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!(ping(b"Hello")[..], [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!(pong(b"Hello")[..2], [0x8a, 0x05]);
    assert_eq!(binary(&[7; 256])[..4], [0x82, 0x7e, 0x01, 0x00]);
    assert_eq!(binary(&[7; 65536])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn a_close_has_its_code_and_reason() {
    assert_eq!(close(CloseCode::Size, "big")[..], *b"\x88\x05\x03\xf1big");
    assert_eq!(close(CloseCode::Normal, "")[..], *b"\x88\x02\x03\xe8");
}

#[test]
fn a_control_frame_is_cut_to_what_it_may_have() {
    assert_eq!(pong(&[b'x'; 200]).len(), 2 + 125);
    // 61 characters of two bytes; half of another would fit.
    assert_eq!(close(CloseCode::Normal, &"ü".repeat(100)).len(), 2 + 2 + 122);
}

#[test]
fn a_compressed_frame_has_a_header_of_the_size_it_needs() {
    for (count, size) in [(26, 2), (2000, 4), (100_000, 10)] {
        let number = |n: u32| format!("{:10}", n.wrapping_mul(2_654_435_761) >> 20);
        let numbers: String = (0..count).map(number).collect();
        let sent = text_deflated(numbers.as_bytes(), DEFLATE);
        assert_eq!(header(&sent), (FIN | RSV1 | TEXT, size));
        let inflated = deflate::inflate(&sent[size..], numbers.len());
        assert_eq!(inflated.as_deref(), Ok(numbers.as_bytes()));
    }
}

#[test]
fn what_a_client_sends_is_what_a_server_reads() {
    for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
        let payload = "x".repeat(length);
        let sent = masked(&text(payload.as_bytes()), [1, 2, 3, 4]);
        assert_eq!(Read::whole(None, &sent).incoming, [said(&payload)]);
    }
    let sent = masked(&pong(b"a"), [5, 6, 7, 8]);
    assert_eq!(Read::whole(None, &sent).incoming, [Incoming::Pong]);
}

#[test]
fn what_a_server_sends_is_read_and_must_not_be_masked() {
    let read = |bytes: &[u8]| Read::from(Decoder::of_server(), &LIMITS, bytes.chunks(3));
    let sent = [text(b"hello"), ping(b"a"), close(CloseCode::Normal, "")].concat();
    let expected =
        [said("hello"), Incoming::Ping(b"a"[..].into()), Incoming::Close(Some(CloseCode::Normal))];
    assert_eq!(read(&sent).incoming, expected);
    // RFC 6455 §5.1: "A client MUST close a connection if it detects a masked frame."
    let fault = read(&masked(&text(b"hello"), [1, 2, 3, 4])).fault.expect("a fault");
    assert_eq!(fault.reason, "frame is masked");
}
