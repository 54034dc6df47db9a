//! Events as bytes (RFC 8620 §7.3 on the `text/event-stream` format of the HTML standard).
//!
//! LF only, one space after the colon, `data` in one line, `event` before `data` before `id`
//! (T-SSE-4): clients are known that break on anything else. Nothing of what upstream says can end
//! a line: JSON escapes control characters, and a token is letters, digits, `-` and `_`.

use std::time::Duration;

use bytes::Bytes;

use crate::hub::{Codec, Pending};

/// HTTP/1.1: one chunk for each write (RFC 9112 §7.1; T-SSE-13).
pub static CHUNKED: Codec = Codec {
    state: |pending| chunk(&state_event(pending)),
    keep_alive: || Bytes::from_static(b"2\r\n:\n\r\n"),
    ping: |seconds| chunk(ping_event(seconds).as_bytes()),
    come_back: |after| chunk(retry(after).as_bytes()),
    revoked: Bytes::new,
    end: || Bytes::from_static(b"0\r\n\r\n"),
};

/// As they are: HTTP/2, where hyper frames, and HTTP/1.0, which ends with the connection.
pub static RAW: Codec = Codec {
    state: |pending| state_event(pending).into(),
    keep_alive: || Bytes::from_static(KEEP_ALIVE),
    ping: |seconds| ping_event(seconds).into(),
    come_back: |after| retry(after).into(),
    revoked: Bytes::new,
    end: Bytes::new,
};

/// A comment that keeps middleboxes awake. No blank line: a client is known that takes a comment and
/// a blank line for an empty event (T-SSE-4).
const KEEP_ALIVE: &[u8] = b":\n";

fn chunk(payload: &[u8]) -> Bytes {
    let mut chunk = format!("{:x}\r\n", payload.len()).into_bytes();
    chunk.reserve_exact(payload.len() + 2);
    chunk.extend_from_slice(payload);
    chunk.extend_from_slice(b"\r\n");
    chunk.into()
}

/// The `state` event: a `StateChange` (§7.1) with everything pending, `id` the resume token (P12).
fn state_event(pending: &Pending<'_>) -> Vec<u8> {
    let mut event = b"event: state\ndata: ".to_vec();
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(&mut event, &pending.state_change());
    event.extend_from_slice(b"\nid: ");
    event.extend_from_slice(pending.token.as_bytes());
    event.extend_from_slice(b"\n\n");
    event
}

/// The `ping` event: its data is exactly the interval in seconds, and it sets no id (P15).
fn ping_event(seconds: u32) -> String {
    format!("event: ping\ndata: {{\"interval\":{seconds}}}\n\n")
}

/// When to reconnect. No blank line here either.
fn retry(after: Duration) -> String {
    format!("retry: {}\n", after.as_millis())
}

/// The first bytes of a stream, which carry the response's head through buffering proxies.
#[must_use]
pub fn opening(come_back: Duration) -> Bytes {
    format!(":\n{}", retry(come_back)).into()
}
