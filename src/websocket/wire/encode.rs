//! Frames to a client (RFC 6455 §5): unmasked, one for each message; and what makes them frames to a
//! server.

use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::MAX_CONTROL;
use super::deflate::Deflate;
use super::mask::unmask;

/// Bytes of a server's frame header at most (RFC 6455 §5.2).
const MAX_HEADER: usize = 10;

/// A text message. `payload` must be UTF-8.
#[must_use]
pub fn text(payload: &[u8]) -> Bytes {
    frame(OpCode::Data(Data::Text), payload)
}

/// A binary message.
#[must_use]
pub fn binary(payload: &[u8]) -> Bytes {
    frame(OpCode::Data(Data::Binary), payload)
}

/// A text message, compressed if that was agreed to and makes it shorter. `payload` must be UTF-8.
#[must_use]
pub fn text_deflated(payload: &[u8], deflate: Option<Deflate>) -> Bytes {
    deflated(Data::Text, payload, deflate).unwrap_or_else(|| text(payload))
}

/// A binary message, compressed if that was agreed to and makes it shorter.
#[must_use]
pub fn binary_deflated(payload: &[u8], deflate: Option<Deflate>) -> Bytes {
    deflated(Data::Binary, payload, deflate).unwrap_or_else(|| binary(payload))
}

/// A ping. Of `payload` goes what fits, 125 bytes.
#[must_use]
pub fn ping(payload: &[u8]) -> Bytes {
    control(Control::Ping, payload)
}

/// The answer to a ping with this payload.
#[must_use]
pub fn pong(payload: &[u8]) -> Bytes {
    control(Control::Pong, payload)
}

/// A close frame. Of `reason` goes what fits, 123 bytes of whole characters.
#[must_use]
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    let most = MAX_CONTROL - size_of::<u16>();
    let end = (0..=most).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or_default();
    let reason = reason.get(..end.min(reason.len())).unwrap_or(reason);
    let payload = [&u16::from(code).to_be_bytes(), reason.as_bytes()].concat();
    control(Control::Close, &payload)
}

/// The same frame as a client sends it (RFC 6455 §5.3). Nobody may be able to foretell `mask`.
#[must_use]
pub fn masked(frame: &[u8], mask: [u8; 4]) -> Bytes {
    let size = match frame.get(1) {
        Some(126) => 4,
        Some(127) => MAX_HEADER,
        _ => 2,
    };
    let (header, payload) = frame.split_at_checked(size).unwrap_or((frame, &[]));
    let mut masked = [header, &mask, payload].concat();
    if let Some(length) = masked.get_mut(1) {
        *length |= 0x80;
    }
    let payload = masked.get_mut(size + mask.len()..).unwrap_or_default();
    // To mask and to unmask is the same.
    unmask(payload, &mut mask.clone());
    masked.into()
}

fn control(control: Control, payload: &[u8]) -> Bytes {
    frame(OpCode::Control(control), payload.get(..MAX_CONTROL).unwrap_or(payload))
}

fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let length = payload.len() as u64;
    let mut frame = Vec::with_capacity(header.len(length) + payload.len());
    // Writing to a Vec cannot fail.
    let _ = header.format(length, &mut frame);
    frame.extend_from_slice(payload);
    frame.into()
}

fn deflated(data: Data, payload: &[u8], deflate: Option<Deflate>) -> Option<Bytes> {
    let mut frame = deflate?.compress(payload, MAX_HEADER)?;
    let length = (frame.len() - MAX_HEADER) as u64;
    let header = FrameHeader { opcode: OpCode::Data(data), rsv1: true, ..FrameHeader::default() };
    // The header ends where the payload begins.
    let start = MAX_HEADER - header.len(length);
    header.format(length, &mut frame.get_mut(start..MAX_HEADER)?).ok()?;
    Some(Bytes::from(frame).split_off(start))
}
