//! Whatever is sealed for a user agent is opened by it, and nothing else is (RFC 8291; hostile.md X12).
#![no_main]

use jmap_push_proxy::push::encrypt::{Keys, MAX_PLAINTEXT, seal};

#[path = "../../src/push/encrypt/tests/receiver.rs"]
mod receiver;

libfuzzer_sys::fuzz_target!(|input: ([u8; 32], [u8; 16], u16, &[u8], &str)| {
    let (private, auth, at, plaintext, text) = input;
    let _ = Keys::parse(text, text);
    let Some(agent) = receiver::UserAgent::with(&private, auth) else { return };
    let _ = agent.open(plaintext);
    let keys = Keys::new(agent.public, agent.auth).unwrap();
    let Ok(mut body) = seal(&keys, plaintext) else {
        assert!(plaintext.len() > MAX_PLAINTEXT);
        return;
    };
    assert!(body.len() <= 4096 && agent.open(&body).as_deref() == Some(plaintext));
    // Octets of `rs` may differ without harm.
    let at = usize::from(at) % body.len();
    body[at] ^= 1;
    assert!((16..20).contains(&at) || agent.open(&body).is_none());
});
