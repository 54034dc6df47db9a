//! permessage-deflate (RFC 7692), as a client sends it and as it is sent to one.

use super::*;

#[track_caller]
fn inflated(frames: &[Vec<u8>]) -> Result<Vec<Incoming>, CloseCode> {
    let read = Read::whole(DEFLATE, &frames.concat());
    read.fault.map_or(Ok(read.incoming), |fault| Err(fault.code))
}

#[test]
fn the_examples_of_the_rfc_are_inflated() {
    // RFC 7692 §7.2.3.1, .3 (not compressed), .4 (a last block), .5 (two blocks); .6 is empty.
    let examples: [&[u8]; 4] = [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ];
    for example in examples {
        let frames = [frame(FIN | RSV1 | TEXT, example)];
        assert_eq!(inflated(&frames), Ok(vec![said("Hello")]), "{example:02x?}");
    }
    assert_eq!(inflated(&[frame(FIN | RSV1 | TEXT, &[0])]), Ok(vec![said("")]));
}

#[test]
fn a_compressed_message_comes_in_fragments() {
    // RFC 7692 §7.2.3.1: RSV1 is on the first frame alone.
    let frames = [
        frame(RSV1 | TEXT, &[0xf2, 0x48, 0xcd]),
        frame(FIN | PING, b""),
        frame(FIN | CONTINUE, &[0xc9, 0xc9, 0x07, 0x00]),
    ];
    assert_eq!(inflated(&frames), Ok(vec![Incoming::Ping(Bytes::new()), said("Hello")]));
}

#[test]
fn a_message_may_be_plain_though_compression_was_agreed_to() {
    assert_eq!(inflated(&[frame(FIN | TEXT, b"Hello")]), Ok(vec![said("Hello")]));
}

#[test]
fn each_message_is_inflated_by_itself() {
    let message = frame(FIN | RSV1 | BINARY, &compress(b"Hello"));
    let hello = Incoming::Binary(Bytes::from_static(b"Hello"));
    assert_eq!(inflated(&[message.clone(), message]), Ok(vec![hello.clone(), hello]));
}

#[test]
fn rsv1_on_any_other_frame_is_a_fault() {
    let hello = compress(b"Hello");
    let wrong = [
        vec![frame(RSV1 | TEXT, &hello[..2]), frame(FIN | RSV1 | CONTINUE, &hello[2..])],
        vec![frame(FIN | RSV1 | PING, b"")],
        vec![frame(FIN | RSV1 | CLOSE, b"")],
    ];
    for frames in wrong {
        assert_eq!(inflated(&frames), Err(CloseCode::Protocol));
    }
}

#[test]
fn corrupt_data_is_a_fault() {
    let hello = compress(b"Hello");
    for wrong in [&b"\xff\xff\xff\xff"[..], b"", &hello[..hello.len() - 2]] {
        let frames = [frame(FIN | RSV1 | TEXT, wrong)];
        assert_eq!(inflated(&frames), Err(CloseCode::Invalid), "{wrong:02x?}");
    }
}

#[test]
fn what_inflates_to_no_utf8_is_no_text() {
    let wrong = compress(b"\xed\xa0\x80");
    assert_eq!(inflated(&[frame(FIN | RSV1 | TEXT, &wrong)]), Err(CloseCode::Invalid));
    assert!(inflated(&[frame(FIN | RSV1 | BINARY, &wrong)]).is_ok());
}

#[test]
fn a_bomb_is_not_inflated_beyond_the_limit() {
    let limits = Limits { message: 10_000, fragments: 10 };
    for (size, fits) in [(10_000, true), (10_001, false), (8 << 20, false)] {
        let message = frame(FIN | RSV1 | BINARY, &compress(&vec![0; size]));
        let read = Read::from(Decoder::new(DEFLATE), &limits, [&message[..]]);
        let code = read.fault.map(|fault| fault.code);
        assert_eq!(code, (!fits).then_some(CloseCode::Size), "{size} bytes");
        assert_eq!(read.incoming.len(), usize::from(fits));
    }
}

/// Empty blocks of fixed codes, ten bits each, and the end of a message: the dearest way to say
/// nothing. `last`: each ends a stream, and is padded to two bytes.
fn empty_blocks(count: usize, last: bool) -> Vec<u8> {
    if last {
        return [[0x03, 0].repeat(count), vec![0]].concat();
    }
    // Four of them are five bytes.
    let four = [0b0000_0010, 0b0000_1000, 0b0010_0000, 0b1000_0000, 0];
    [four.repeat(count / 4), vec![0]].concat()
}

#[test]
fn a_message_is_not_inflated_block_by_block_without_end() {
    for last in [false, true] {
        let some = inflated(&[frame(FIN | RSV1 | TEXT, &empty_blocks(900, last))]);
        assert_eq!(some, Ok(vec![said("")]));
        let many = inflated(&[frame(FIN | RSV1 | TEXT, &empty_blocks(100_000, last))]);
        assert_eq!(many, Err(CloseCode::Size));
    }
}

#[test]
fn a_sender_may_flush_often() {
    let mut state = Compress::new(Compression::default(), false);
    let mut sent = Vec::with_capacity(1 << 20);
    let message = "what is said, ".repeat(50_000);
    for part in message.as_bytes().chunks(100) {
        state.compress_vec(part, &mut sent, FlushCompress::Sync).expect("deflated");
    }
    sent.truncate(sent.len() - 4);
    assert_eq!(inflated(&[frame(FIN | RSV1 | TEXT, &sent)]), Ok(vec![said(&message)]));
}

#[test]
fn a_long_message_is_sent_compressed_if_that_was_agreed_to() {
    let message = "a StateChange, ".repeat(10_000);
    let sent = text_deflated(message.as_bytes(), DEFLATE);
    assert_eq!(sent[0], FIN | RSV1 | TEXT);
    assert!(sent.len() < message.len() / 50);
    assert_eq!(text_deflated(message.as_bytes(), None), text(message.as_bytes()));
}

#[test]
fn what_would_not_get_shorter_is_sent_plain() {
    let short = [b'x'; MIN_DEFLATE - 1];
    assert_eq!(text_deflated(&short, DEFLATE), text(&short));
    let noise: Vec<u8> =
        (0..5000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let noise = compress(&noise);
    assert_eq!(binary_deflated(&noise, DEFLATE), binary(&noise));
}

#[test]
fn what_is_longer_than_the_client_looks_back_is_sent_plain() {
    let deflate = Some(Deflate { server_max_window_bits: 9 });
    for (length, first) in [(511, FIN | RSV1 | TEXT), (512, FIN | TEXT)] {
        assert_eq!(text_deflated(&vec![b'x'; length], deflate)[0], first, "{length}");
    }
}
