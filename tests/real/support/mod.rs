//! What the tests stand on: the program under test, the parts around it, and clients of its own
//! make, which share no code with the program.

use std::thread;
use std::time::Duration;

pub(crate) use client::Client;
pub(crate) use listener::Listener;
pub(crate) use parts::{Clients, Cyrus, Dovecot, Nginx, Redis};
pub(crate) use proxy::Proxy;
pub(crate) use push_service::PushService;

pub(crate) mod client;
pub(crate) mod event_source;
pub(crate) mod http;
pub(crate) mod jmap;
pub(crate) mod listener;
pub(crate) mod mail;
pub(crate) mod parts;
pub(crate) mod proxy;
pub(crate) mod push_service;
pub(crate) mod web_socket;

/// How long a thing that must happen may take on a busy machine. Nothing waits this long unless it
/// fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The passage of time, as a test sees it.
#[expect(clippy::disallowed_types, reason = "these tests have no runtime and no clock to pause")]
pub(crate) type Instant = std::time::Instant;

/// Asks again and again for something that cannot be waited for, until it is there.
///
/// # Panics
///
/// When [`PATIENCE`] is over, with what `ask` said last.
pub(crate) fn eventually<T, E: std::fmt::Debug>(
    what: &str,
    mut ask: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("{what}: not after 20 s: {seen:?}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
