//! What a WebSocket connection does with the bytes that come in (RFC 6455, RFC 8887). Pure: bytes in,
//! [`Output`]s out; who carries them out, and what is pushed, is [`super::connection`]'s.

use std::mem;

use bytes::Bytes;

use crate::websocket::message::PushEnable;
use crate::websocket::wire::{self, CloseCode, Decoder, Deflate, Fault, Incoming, Limits};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<R> {
    /// To be sent, in order.
    Frame(Bytes),
    /// To be sent behind what waits: the last frame.
    Close(Bytes),
    /// To be asked upstream.
    Call(R),
    /// Changes are to be pushed (W9), in place of what was pushed before.
    Push(PushEnable),
    /// No changes are to be pushed any more (W10).
    Silence,
}

/// A whole message.
#[derive(Debug)]
pub enum Heard {
    /// UTF-8.
    Text(Bytes),
    /// Anything.
    Binary(Bytes),
}

/// Bytes held of a message that comes after our close frame: enough for all but the largest.
const KEPT: usize = 1024;

/// See the module. Idle it holds no buffer.
#[derive(Debug)]
pub struct Machine {
    decoder: Decoder,
    deflate: Option<Deflate>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// Our close frame is out; the client's is to come (RFC 6455 §7.1.2).
    Closing,
    /// Nothing that comes matters any more.
    Closed,
}

impl Machine {
    /// A connection that has just been opened.
    #[must_use]
    pub fn new(deflate: Option<Deflate>) -> Self {
        Self { decoder: Decoder::new(deflate), deflate, stage: Stage::Open }
    }

    /// What was agreed to compress by.
    #[must_use]
    pub fn deflate(&self) -> Option<Deflate> {
        self.deflate
    }

    /// Reads on; `bytes` is advanced by what was used, and `hear` judges whole messages. `None` when
    /// more must come.
    pub fn receive<R>(
        &mut self,
        bytes: &mut &[u8],
        limits: &Limits,
        hear: impl Fn(Heard, Option<Deflate>) -> Output<R>,
    ) -> Option<Output<R>> {
        loop {
            if self.stage == Stage::Closed {
                *bytes = &[];
                return None;
            }
            let incoming = match self.decoder.next(bytes, limits) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => {
                    self.forgo();
                    return None;
                }
                Err(Fault { code, reason }) => {
                    // What follows cannot be told apart.
                    *bytes = &[];
                    let was_open = mem::replace(&mut self.stage, Stage::Closed) == Stage::Open;
                    return was_open.then(|| Output::Close(wire::close(code, reason)));
                }
            };
            let output = match (self.stage, incoming) {
                (Stage::Open, Incoming::Text(text)) => hear(Heard::Text(text), self.deflate),
                (Stage::Open, Incoming::Binary(data)) => hear(Heard::Binary(data), self.deflate),
                (Stage::Open, Incoming::Ping(payload)) => Output::Frame(wire::pong(&payload)),
                (Stage::Open, Incoming::Close(code)) => {
                    self.stage = Stage::Closed;
                    // RFC 6455 §5.5.1: the code it sent is sent back.
                    Output::Close(wire::close(code.unwrap_or(CloseCode::Normal), ""))
                }
                (_, Incoming::Close(_)) => {
                    self.stage = Stage::Closed;
                    continue;
                }
                _ => continue,
            };
            if matches!(output, Output::Close(_)) && self.stage == Stage::Open {
                self.stage = Stage::Closing;
            }
            return Some(output);
        }
    }

    /// A close frame of ours is out.
    pub fn close(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Closing;
            self.forgo();
        }
    }

    /// A message that comes after our close frame is of no use but for where it ends: a large one is not
    /// held for that, and so the client's close frame behind it is not found.
    fn forgo(&mut self) {
        if self.stage == Stage::Closing && self.held() > KEPT {
            (self.decoder, self.stage) = (Decoder::new(self.deflate), Stage::Closed);
        }
    }

    /// Whether messages are still taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether the client has closed, so that nothing is left to wait for.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Bytes held of a message that has not come whole.
    #[must_use]
    pub fn held(&self) -> usize {
        self.decoder.held()
    }
}

#[cfg(test)]
mod tests;
