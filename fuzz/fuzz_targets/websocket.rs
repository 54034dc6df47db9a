//! The bytes of a WebSocket client (hostile.md B8, B9): no panic, little memory, and the same messages
//! whole as in parts.
#![no_main]

use jmap_push_proxy::websocket::wire::{Decoder, Deflate, Fault, Incoming, Limits};

const LIMITS: Limits = Limits { message: 1000, fragments: 4 };

libfuzzer_sys::fuzz_target!(|input: (u8, bool, &[u8])| {
    let (cut, compressed, bytes) = input;
    let deflate = compressed.then_some(Deflate { server_max_window_bits: 15 });
    let whole = read(deflate, [bytes]);
    assert_eq!(read(deflate, bytes.chunks(usize::from(cut).max(1))), whole);
    for incoming in &whole.0 {
        match incoming {
            Incoming::Text(text) => {
                assert!(text.len() <= LIMITS.message && str::from_utf8(text).is_ok());
            }
            Incoming::Binary(bytes) => assert!(bytes.len() <= LIMITS.message),
            Incoming::Ping(payload) => assert!(payload.len() <= 125),
            Incoming::Pong | Incoming::Close(_) => {}
        }
    }
});

/// What comes of these parts, and what stops it.
fn read<'a>(
    deflate: Option<Deflate>,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Incoming>, Option<Fault>) {
    let mut decoder = Decoder::new(deflate);
    let (mut read, mut stopped) = (Vec::new(), None);
    for mut part in parts {
        loop {
            let next = decoder.next(&mut part, &LIMITS);
            assert!(decoder.held() <= LIMITS.message + 512);
            match next {
                Ok(Some(incoming)) => read.push(incoming),
                Ok(None) => break,
                Err(fault) => assert_eq!(stopped.replace(fault), None),
            }
        }
        assert!(part.is_empty());
    }
    (read, stopped)
}
