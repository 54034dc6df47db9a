//! What is pushed, as WebSocket frames (RFC 8887 §4.3.5; RFC 6455 §5). Each is encoded once for all
//! connections that get the same.

use bytes::Bytes;

use super::wire::{self, CloseCode, Deflate};
use crate::hub::{Codec, Pending};

/// For connections that agreed on no compression.
pub static PLAIN: Codec = Codec { state: |pending| wire::text(&state_change(pending)), ..COMMON };

/// For those whose clients inflate whatever fits into the usual window.
pub static DEFLATED: Codec =
    Codec { state: |pending| wire::text_deflated(&state_change(pending), Some(USUAL)), ..COMMON };

/// What all connections have.
const COMMON: Codec = Codec {
    state: |_| Bytes::new(),
    keep_alive: || wire::ping(b""),
    ping: |_| wire::ping(b""),
    come_back: |_| wire::close(CloseCode::Away, "connect again"),
    revoked: || wire::close(CloseCode::Policy, "the credentials are no longer accepted"),
    end: Bytes::new,
};

/// The window that an inflater has unless its client says otherwise (RFC 7692 §7.1.2).
const USUAL: Deflate = Deflate { server_max_window_bits: 15 };

/// The codec of a connection that agreed on this. A `StateChange` is small: for the rare client with a
/// small window it is not compressed, so that all others can share theirs.
#[must_use]
pub fn codec(deflate: Option<Deflate>) -> &'static Codec {
    if deflate == Some(USUAL) { &DEFLATED } else { &PLAIN }
}

/// A `StateChange` with everything pending, `pushState` the resume token (W11).
fn state_change(pending: &Pending<'_>) -> Vec<u8> {
    serde_json::to_vec(&pending.state_change_with_token()).unwrap_or_default()
}
