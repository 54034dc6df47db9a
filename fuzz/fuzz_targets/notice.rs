//! Bytes from a Redis channel or stream, read as a notification (hostile.md B11, B12).
#![no_main]

use jmap_push_proxy::notify::message::{MAX_ACCOUNTS, MAX_TYPES, Notice, Who};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(notice) = Notice::parse(bytes) else { return };
    match notice.who {
        Who::Accounts(ids) => assert!((1..=MAX_ACCOUNTS).contains(&ids.len())),
        Who::User(user) => assert!(!user.is_empty()),
    }
    assert!(notice.changed.len() <= MAX_TYPES);
    assert!(notice.types.unwrap_or_default().len() <= 2 * MAX_TYPES);
});
