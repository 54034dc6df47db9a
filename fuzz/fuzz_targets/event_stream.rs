//! The bytes of an upstream's event source (RFC 8620 §7.3): no panic, bounded memory, the same events
//! whole as in parts, and whatever they say is read or refused.
#![no_main]

use jmap_push_proxy::relay::change;
use jmap_push_proxy::relay::event_stream::{Decoder, MOST, Said};

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = read([bytes]);
    assert_eq!(read(bytes.chunks(usize::from(cut).max(1))), whole);
    for said in &whole.0 {
        if let Said::Event(event) = said {
            assert!(event.data.len() <= MOST);
            let _ = (change::read(&event.data, true), change::interval(&event.data));
        }
    }
});

/// What these parts say, and the last id.
fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Said>, Option<String>) {
    let mut decoder = Decoder::default();
    let mut said = Vec::new();
    for mut part in parts {
        while let Some(next) = decoder.next(&mut part) {
            said.push(next);
        }
        assert!(part.is_empty() && decoder.held() <= 4 * MOST);
    }
    (said, decoder.last_id().map(str::to_owned))
}
