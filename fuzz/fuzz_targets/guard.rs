//! The bytes of an HTTP/1 connection, read by the guard (hostile.md B1, B12): no panic, and the same
//! verdict whole as in parts.
#![no_main]

use jmap_push_proxy::clock::Moment;
use jmap_push_proxy::downstream::guard::{Guard, Limits, Rejection};

const LIMITS: Limits = Limits { head_bytes: 512, headers: 8 };

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    assert_eq!(verdict(bytes.chunks(usize::from(cut).max(1))), verdict([bytes]));
});

/// How many bytes and heads pass, and what stops them.
fn verdict<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (usize, u64, Option<Rejection>) {
    let mut guard = Guard::new(LIMITS, Moment(0));
    let (mut held, mut passed, mut rejection) = (Vec::new(), 0, None);
    for part in parts {
        held.extend_from_slice(part);
        loop {
            match guard.inspect(&held, Moment(0)) {
                Ok(0) => break,
                Ok(len) => {
                    assert!(len <= held.len());
                    held.drain(..len);
                    passed += len;
                }
                Err(reason) => {
                    rejection = Some(reason);
                    break;
                }
            }
        }
    }
    (passed, guard.heads(), rejection)
}
