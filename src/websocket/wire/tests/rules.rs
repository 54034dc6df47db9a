//! The rules of RFC 6455, one by one (hostile.md B8, B9).

use super::*;

#[track_caller]
fn breaks_protocol(frames: &[Vec<u8>]) {
    let fault = fault(frames);
    assert_eq!(fault.code, CloseCode::Protocol, "{fault}");
}

#[test]
fn a_text_is_read() {
    assert_eq!(read(&[frame(FIN | TEXT, "Grüße".as_bytes())]), [said("Grüße")]);
}

#[test]
fn a_binary_message_is_read() {
    let bytes = Bytes::from_static(&[0, 0xff]);
    assert_eq!(read(&[frame(FIN | BINARY, &bytes)]), [Incoming::Binary(bytes)]);
}

#[test]
fn each_form_of_length_is_read() {
    for length in [0, 1, 125, 126, 127, 65535, 65536] {
        let payload = "x".repeat(length);
        assert_eq!(read(&[frame(FIN | TEXT, payload.as_bytes())]), [said(&payload)]);
    }
}

#[test]
fn a_length_is_written_in_the_fewest_bytes() {
    // RFC 6455 §5.2.
    breaks_protocol(&[vec![FIN | TEXT, 0x80 | 126, 0, 125, 0, 0, 0, 0]]);
    breaks_protocol(&[vec![FIN | TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]]);
}

#[test]
fn fragments_are_one_message() {
    let frames = [frame(TEXT, b"a"), frame(CONTINUE, b""), frame(FIN | CONTINUE, b"b")];
    assert_eq!(read(&frames), [said("ab")]);
}

#[test]
fn control_frames_come_between_fragments() {
    let frames = [
        frame(TEXT, b"a"),
        frame(FIN | PING, b"?"),
        frame(FIN | PONG, b"!"),
        frame(FIN | CONTINUE, b"b"),
    ];
    assert_eq!(
        read(&frames),
        [Incoming::Ping(Bytes::from_static(b"?")), Incoming::Pong, said("ab")]
    );
}

#[test]
fn a_message_within_a_message_is_a_fault() {
    breaks_protocol(&[frame(TEXT, b"a"), frame(FIN | TEXT, b"b")]);
    breaks_protocol(&[frame(TEXT, b"a"), frame(FIN | BINARY, b"b")]);
}

#[test]
fn a_continuation_of_nothing_is_a_fault() {
    breaks_protocol(&[frame(FIN | CONTINUE, b"a")]);
    breaks_protocol(&[frame(FIN | TEXT, b"a"), frame(CONTINUE, b"b")]);
}

#[test]
fn a_frame_that_is_not_masked_is_a_fault() {
    breaks_protocol(&[text(b"a").to_vec()]);
    breaks_protocol(&[ping(b"").to_vec()]);
}

#[test]
fn a_reserved_bit_is_a_fault() {
    for bit in [0x10, 0x20, RSV1] {
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            breaks_protocol(&[frame(FIN | bit | opcode, b"")]);
        }
        breaks_protocol(&[frame(TEXT, b"a"), frame(FIN | bit | CONTINUE, b"b")]);
    }
}

#[test]
fn a_reserved_opcode_is_a_fault() {
    for opcode in (3..8).chain(11..16) {
        breaks_protocol(&[frame(FIN | opcode, b"")]);
    }
}

#[test]
fn a_control_frame_in_parts_is_a_fault() {
    breaks_protocol(&[frame(PING, b""), frame(FIN | CONTINUE, b"")]);
}

#[test]
fn a_control_frame_has_125_bytes_at_most() {
    let most = Bytes::from_static(&[b'x'; 125]);
    assert_eq!(read(&[frame(FIN | PING, &most)]), [Incoming::Ping(most)]);
    for opcode in [CLOSE, PING, PONG] {
        breaks_protocol(&[frame(FIN | opcode, &[b'x'; 126])]);
    }
}

#[test]
fn a_close_says_why_or_not() {
    assert_eq!(read(&[frame(FIN | CLOSE, b"")]), [Incoming::Close(None)]);
    let with_reason = [&1001u16.to_be_bytes()[..], b"bye"].concat();
    assert_eq!(read(&[frame(FIN | CLOSE, &with_reason)]), [Incoming::Close(Some(CloseCode::Away))]);
}

#[test]
fn half_a_close_code_is_a_fault() {
    breaks_protocol(&[frame(FIN | CLOSE, &[3])]);
}

#[test]
fn a_close_code_must_be_one_that_may_be_sent() {
    // RFC 6455 §7.4.
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        breaks_protocol(&[frame(FIN | CLOSE, &code.to_be_bytes())]);
    }
    for code in [1000u16, 1003, 1007, 1011, 1013, 3000, 3999, 4000, 4999] {
        let code_read = read(&[frame(FIN | CLOSE, &code.to_be_bytes())]);
        assert_eq!(code_read, [Incoming::Close(Some(CloseCode::from(code)))]);
    }
}

#[test]
fn a_close_reason_is_utf8() {
    let payload = [&1000u16.to_be_bytes()[..], b"\xce\xba\xe1"].concat();
    assert_eq!(fault(&[frame(FIN | CLOSE, &payload)]).code, CloseCode::Invalid);
}

#[test]
fn nothing_comes_after_a_close() {
    let frames = [frame(FIN | CLOSE, b""), frame(FIN | TEXT, b"a"), frame(FIN | 3, b"")];
    assert_eq!(read(&frames), [Incoming::Close(None)]);
}

#[test]
fn nothing_comes_after_a_fault() {
    let read = Read::whole(None, &[frame(FIN | 3, b""), frame(FIN | TEXT, b"a")].concat());
    assert_eq!(read.incoming, []);
}

#[test]
fn a_text_that_is_not_utf8_is_a_fault() {
    for wrong in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xce"] {
        assert_eq!(fault(&[frame(FIN | TEXT, wrong)]).code, CloseCode::Invalid, "{wrong:?}");
    }
}

#[test]
fn a_character_may_be_cut_between_fragments() {
    let frames = [frame(TEXT, b"\xf0\x9f"), frame(CONTINUE, b"\x98"), frame(FIN, b"\x80")];
    assert_eq!(read(&frames), [said("😀")]);
}

#[test]
fn a_text_fails_as_soon_as_it_cannot_become_utf8() {
    // The second byte says that it is beyond the last character; eight more are announced.
    let cut = frame(TEXT, b"\xf4\x90\x80\x80 and more");
    assert_eq!(fault(&[cut[..8].to_vec()]).code, CloseCode::Invalid);
}

#[test]
fn a_message_is_refused_when_its_header_announces_too_much() {
    let limits = Limits { message: 1000, fragments: 10 };
    let read = |bytes: &[u8]| Read::from(Decoder::new(None), &limits, [bytes]);
    let mask = [1, 2, 3, 4];

    assert_eq!(read(&announce(FIN | TEXT, 1000, mask)).fault, None);
    for length in [1001, u64::MAX] {
        let fault = read(&announce(FIN | TEXT, length, mask)).fault;
        assert_eq!(fault.map(|fault| fault.code), Some(CloseCode::Size));
    }
    let parts = [frame(TEXT, &[b'x'; 600]), announce(CONTINUE, 401, mask)].concat();
    assert_eq!(read(&parts).fault.map(|fault| fault.code), Some(CloseCode::Size));
}

#[test]
fn a_message_comes_in_so_many_fragments_and_no_more() {
    let limits = Limits { message: 1000, fragments: 3 };
    let read = |bytes: &[u8]| Read::from(Decoder::new(None), &limits, [bytes]);

    let (first, next, last) = (frame(TEXT, b"a"), frame(CONTINUE, b""), frame(FIN, b"b"));
    let three = [&first[..], &next, &last].concat();
    assert_eq!(read(&[&three[..], &three].concat()).incoming, [said("ab"), said("ab")]);
    let four = [&first[..], &next, &next, &last].concat();
    assert_eq!(read(&four).fault.map(|fault| fault.code), Some(CloseCode::Size));
}

#[test]
fn an_idle_decoder_is_small_and_holds_nothing() {
    assert!(size_of::<Decoder>() <= 16);
    let mut decoder = Decoder::new(DEFLATE);
    assert_eq!(decoder.held(), 0);

    let message = [frame(TEXT, &[b'x'; 500]), frame(FIN | PING, b"?"), frame(FIN, b"y")].concat();
    let (mut first, mut second) = message.split_at(300);
    assert_eq!(decoder.next(&mut first, &LIMITS), Ok(None));
    assert!(decoder.held() > 290);
    while decoder.next(&mut second, &LIMITS).expect("no fault").is_some() {}
    assert_eq!(decoder.held(), 0);
}

#[test]
fn memory_is_taken_for_what_has_come_and_not_for_what_is_announced() {
    let mut decoder = Decoder::new(None);
    let message = frame(FIN | BINARY, &vec![0; 1 << 20]);
    let mut arrived = 0;
    for mut chunk in message[..message.len() - 1].chunks(1000) {
        arrived += chunk.len();
        assert_eq!(decoder.next(&mut chunk, &LIMITS), Ok(None));
        assert!(decoder.held() <= 2 * arrived + 512, "{} for {arrived}", decoder.held());
    }
}
