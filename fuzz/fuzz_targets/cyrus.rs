//! Bytes from the socket of Cyrus' events (hostile.md B11).
#![no_main]

use jmap_push_proxy::notify::cyrus::event::{Counted, Rights, parse};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The message alone, too: NULs are rarely where they must be.
    let framed = [b"\0EVENT\0\0\0\x000\0", bytes, b"\0"].concat();
    for datagram in [bytes, &framed] {
        let Ok(Some(change)) = parse(datagram) else { continue };
        assert!(!change.accounts.is_empty() || change.rights != Rights::Nobody);
        assert!(change.counted == Counted::Not || change.accounts.len() == 1);
        for (place, account) in change.accounts.iter().enumerate() {
            assert!(!change.accounts[..place].contains(account));
        }
    }
});
