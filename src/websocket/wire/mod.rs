//! The WebSocket protocol itself (RFC 6455), and permessage-deflate (RFC 7692): bytes in, messages
//! out, and the other way round. Pure; what the messages say is not looked at.
//!
//! ```text
//!  Sec-WebSocket-Extensions ─► negotiate ─► Deflate ──┬──────────────┐
//!                                                     ▼              ▼
//!                                 bytes read ─► decode: Decoder    encode ─► bytes to write
//!                                                     │              ▲
//!                                   Text, Ping, Close ▼              │ text, pong, close
//! ```
//!
//! A connection owns a [`Decoder`] and nothing else: no buffer for input, because a decoder keeps what
//! it cannot use yet, and no window for compression, because no context is taken over. Why not the
//! message layer of a library: docs/decisions/websocket-codec.md.

pub use decode::{Decoder, Fault, Incoming, Limits};
pub use deflate::{Deflate, MIN_DEFLATE};
pub use encode::{binary, binary_deflated, close, masked, ping, pong, text, text_deflated};
pub use negotiate::negotiate;
pub use tungstenite::protocol::frame::coding::CloseCode;

mod decode;
mod deflate;
mod encode;
mod mask;
mod message;
mod negotiate;

#[cfg(test)]
mod tests;

/// Bytes of a control frame's payload at most (RFC 6455 §5.5).
const MAX_CONTROL: usize = 125;
