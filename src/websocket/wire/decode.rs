//! Frames and messages from a client, or from a server (RFC 6455 §5). Says what came; what to answer is
//! the caller's affair.

use std::io::{Cursor, Write as _};

use bytes::Bytes;
use thiserror::Error;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::MAX_CONTROL;
use super::deflate::Deflate;
use super::message::{Kind, Message, Payload};

/// What came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// A text message: valid UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// To be answered by a pong with the same payload (RFC 6455 §5.5.3).
    Ping(Bytes),
    /// An answer to a ping, or unasked for.
    Pong,
    /// The last frame, with its code if it has one. To be answered by a close frame unless one was
    /// sent (RFC 6455 §5.5.1).
    Close(Option<CloseCode>),
}

/// Why the connection must be failed (RFC 6455 §7.1.7): what goes into the close frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{reason} ({code})")]
pub struct Fault {
    /// 1002, 1007 or 1009.
    pub code: CloseCode,
    /// A few words of ASCII.
    pub reason: &'static str,
}

impl Fault {
    pub(super) const TOO_BIG: Self = Self::size("message too big");
    pub(super) const NOT_UTF8: Self = Self::invalid("text is not UTF-8");
    pub(super) const CORRUPT: Self = Self::invalid("compressed data is corrupt");

    const fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::Protocol, reason }
    }

    const fn invalid(reason: &'static str) -> Self {
        Self { code: CloseCode::Invalid, reason }
    }

    pub(super) const fn size(reason: &'static str) -> Self {
        Self { code: CloseCode::Size, reason }
    }
}

/// What a message may cost (hostile.md B8, B9).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one message, as sent and inflated.
    pub message: usize,
    /// Frames of one message.
    pub fragments: usize,
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Masks all it sends.
    Client { deflate: bool },
    /// Masks nothing (RFC 6455 §5.1), and was offered no compression.
    Server,
}

/// Reads what the other side sends. Between messages it holds nothing on the heap.
#[derive(Debug)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    peer: Peer,
    ended: bool,
}

impl Decoder {
    /// A decoder of what a client sends whose handshake agreed to `deflate`.
    #[must_use]
    pub fn new(deflate: Option<Deflate>) -> Self {
        Self { partial: None, peer: Peer::Client { deflate: deflate.is_some() }, ended: false }
    }

    /// A decoder of what a server sends.
    #[must_use]
    pub fn of_server() -> Self {
        Self { partial: None, peer: Peer::Server, ended: false }
    }

    /// Reads on, up to the next thing that came. `bytes` is advanced by what was used; `None`, when
    /// more is needed, leaves nothing of it, so that the caller's buffer is free. After a close or a
    /// fault everything is swallowed.
    ///
    /// # Errors
    /// The other side broke the protocol or a limit; the connection must be failed.
    pub fn next(&mut self, bytes: &mut &[u8], limits: &Limits) -> Result<Option<Incoming>, Fault> {
        if self.ended {
            *bytes = &[];
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let partial = self.partial.get_or_insert_default();
        let read = partial.read(bytes, self.peer, limits);
        self.ended = matches!(read, Err(_) | Ok(Some(Incoming::Close(_))));
        if self.ended || partial.is_idle() {
            self.partial = None;
        }
        read
    }

    /// Bytes on the heap, for a frame or message that has not wholly arrived: the limit of a message
    /// and a few hundred at most, and 0 when idle.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.held())
    }
}

/// What has come of frames and a message that are not complete.
#[derive(Debug, Default)]
struct Partial {
    head: Head,
    /// The frame whose header has been read, and whose payload has not.
    frame: Option<Frame>,
    /// That payload, if it is a control frame: it may come between the frames of `message`.
    control: Payload,
    message: Option<Message>,
}

impl Partial {
    fn is_idle(&self) -> bool {
        self.head.len == 0 && self.frame.is_none() && self.message.is_none()
    }

    fn held(&self) -> usize {
        self.control.held() + self.message.as_ref().map_or(0, Message::held)
    }

    fn read(
        &mut self,
        bytes: &mut &[u8],
        peer: Peer,
        limits: &Limits,
    ) -> Result<Option<Incoming>, Fault> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.head.read(bytes)? {
                    Some((header, length)) => self.admit(&header, length, peer, limits)?,
                    None => return Ok(None),
                },
            };
            self.take(&mut frame, bytes, limits)?;
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(incoming) = self.finish(&frame, limits)? {
                return Ok(Some(incoming));
            }
        }
    }

    /// The frame that a header announces, if there may be such a frame here.
    fn admit(
        &mut self,
        header: &FrameHeader,
        length: u64,
        peer: Peer,
        limits: &Limits,
    ) -> Result<Frame, Fault> {
        let mask = match (peer, header.mask) {
            (Peer::Client { .. }, Some(mask)) => mask,
            (Peer::Client { .. }, None) => return Err(Fault::protocol("frame is not masked")),
            (Peer::Server, None) => [0; 4],
            (Peer::Server, Some(_)) => return Err(Fault::protocol("frame is masked")),
        };
        let deflate = peer == Peer::Client { deflate: true };
        // RSV1 marks the first frame of a compressed message (RFC 7692 §6).
        let starts = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        if header.rsv2 || header.rsv3 || header.rsv1 && !(starts && deflate) {
            return Err(Fault::protocol("reserved bit is set"));
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                return Err(Fault::protocol("control frame is fragmented"));
            }
            OpCode::Control(_) if length > MAX_CONTROL as u64 => {
                return Err(Fault::protocol("control frame is too long"));
            }
            OpCode::Control(_) => {}
            OpCode::Data(data) => {
                self.message_of(data, header.rsv1)?.admit(length, limits)?;
            }
        }
        // A message that was admitted, and a control frame, are no longer than a usize can say.
        let left = usize::try_from(length).map_err(|_| Fault::TOO_BIG)?;
        Ok(Frame { opcode: header.opcode, is_final: header.is_final, mask, left })
    }

    /// The message that a data frame starts or continues (RFC 6455 §5.4).
    fn message_of(&mut self, data: Data, compressed: bool) -> Result<&mut Message, Fault> {
        match (data, self.message.is_some()) {
            (Data::Text | Data::Binary, true) => {
                return Err(Fault::protocol("message within a message"));
            }
            (Data::Text, false) => self.message = Some(Message::new(Kind::Text, compressed)),
            (Data::Binary, false) => self.message = Some(Message::new(Kind::Binary, compressed)),
            (Data::Continue, _) => {}
            (Data::Reserved(_), _) => return Err(RESERVED_OPCODE),
        }
        self.message.as_mut().ok_or(Fault::protocol("nothing to continue"))
    }

    /// Takes what there is of a frame's payload.
    fn take(&mut self, frame: &mut Frame, bytes: &mut &[u8], limits: &Limits) -> Result<(), Fault> {
        let (payload, rest) = bytes.split_at(bytes.len().min(frame.left));
        *bytes = rest;
        frame.left -= payload.len();
        match (&mut self.message, frame.opcode) {
            (Some(message), OpCode::Data(_)) => {
                // The last frame tells how much will come; before it there is only the limit.
                let beyond = limits.message.saturating_sub(message.len() + payload.len());
                let to_come = if frame.is_final { frame.left } else { beyond };
                message.append(payload, &mut frame.mask, to_come)
            }
            _ => {
                self.control.append(payload, &mut frame.mask, frame.left);
                Ok(())
            }
        }
    }

    /// What a frame completes.
    fn finish(&mut self, frame: &Frame, limits: &Limits) -> Result<Option<Incoming>, Fault> {
        let control = match frame.opcode {
            OpCode::Data(_) if !frame.is_final => return Ok(None),
            OpCode::Data(_) => {
                return self.message.take().map(|message| message.finish(limits)).transpose();
            }
            OpCode::Control(control) => control,
        };
        let Payload(payload) = std::mem::take(&mut self.control);
        Ok(Some(match control {
            Control::Ping => Incoming::Ping(payload.into()),
            Control::Pong => Incoming::Pong,
            Control::Close => Incoming::Close(close_code(&payload)?),
            Control::Reserved(_) => return Err(RESERVED_OPCODE),
        }))
    }
}

const RESERVED_OPCODE: Fault = Fault::protocol("reserved opcode");

/// A frame whose header has been read.
#[derive(Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    /// Turned to the next byte of the payload.
    mask: [u8; 4],
    /// Bytes of the payload that have not come.
    left: usize,
}

/// A frame header as it arrives (RFC 6455 §5.2).
#[derive(Debug, Default)]
struct Head {
    bytes: [u8; Head::MAX],
    len: usize,
}

impl Head {
    const MAX: usize = 14;

    /// The header and the length of the payload, if all of it is there. Takes no byte after it.
    fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<(FrameHeader, u64)>, Fault> {
        let mut free = self.bytes.get_mut(self.len..).unwrap_or_default();
        // Writing to a slice takes what there is room for, and cannot fail.
        let copied = free.write(bytes).unwrap_or_default();
        let known = self.len + copied;
        let mut cursor = Cursor::new(self.bytes.get(..known).unwrap_or_default());
        // Fails for one thing only.
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| RESERVED_OPCODE)?;
        let Some((header, length)) = parsed else {
            self.len = known;
            *bytes = bytes.get(copied..).unwrap_or_default();
            return Ok(None);
        };
        let size = header.len(length);
        if cursor.position() != size as u64 {
            return Err(Fault::protocol("length is not written in the fewest bytes"));
        }
        *bytes = bytes.get(size.saturating_sub(self.len)..).unwrap_or_default();
        self.len = 0;
        Ok(Some((header, length)))
    }
}

/// The code of a close frame, if there is one (RFC 6455 §5.5.1, §7.4).
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let empty = payload.is_empty();
        return if empty { Ok(None) } else { Err(Fault::protocol("half a close code")) };
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    if !code.is_allowed() {
        return Err(Fault::protocol("close code is not allowed"));
    }
    str::from_utf8(reason).map_err(|_| Fault::invalid("close reason is not UTF-8"))?;
    Ok(Some(code))
}
