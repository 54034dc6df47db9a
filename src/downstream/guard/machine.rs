//! Follows the messages of one HTTP/1 connection through the raw bytes a client sends (RFC 9112).
//!
//! Pure: no clock, no socket, no buffer of its own.

use crate::clock::Moment;

use super::body::{self, Chunks};
use super::head::{self, Framing, Head};
use super::rejection::Rejection;

/// How much of a head is taken (B5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one head, an empty line before it and the one after it included.
    pub head_bytes: usize,
    /// Header fields of one head, and trailer fields of one body. hyper must take as many
    /// (`max_headers`; 100 unless told).
    pub headers: usize,
}

/// Where a connection stands, for timers and for taking it from hyper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Between messages.
    Idle {
        /// When the last message, or the connection, came to this. The response may still be due.
        since: Moment,
    },
    /// In a head.
    Head {
        /// When its first byte came.
        started: Moment,
    },
    /// In a body.
    Body,
    /// No longer HTTP/1: nothing is looked at.
    Opaque,
    /// Nothing is taken any more.
    Refused {
        /// The rule broken.
        rejection: Rejection,
        /// Whether the message broke in its body, so that its head has reached hyper.
        in_body: bool,
    },
}

#[derive(Debug)]
enum Phase {
    Idle(Moment),
    Head(Head),
    Length(u64),
    Chunked(Chunks),
    Opaque,
    Refused { rejection: Rejection, in_body: bool },
}

/// Follows one connection; it keeps counts and positions, not bytes.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    phase: Phase,
    heads: u64,
}

impl Guard {
    /// A connection of which nothing has come.
    #[must_use]
    pub fn new(limits: Limits, now: Moment) -> Self {
        Self { limits, phase: Phase::Idle(now), heads: 0 }
    }

    /// Where the connection stands.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Idle(since) => State::Idle { since: *since },
            Phase::Head(head) => State::Head { started: head.started },
            Phase::Length(_) | Phase::Chunked(_) => State::Body,
            Phase::Opaque => State::Opaque,
            Phase::Refused { rejection, in_body } => {
                State::Refused { rejection: *rejection, in_body: *in_body }
            }
        }
    }

    /// How many heads have passed.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Judges what has come and not passed: says how many bytes from the front may pass now, one head
    /// or one part of a body. Call it again with the rest until it says zero; then with the same rest
    /// and more behind it.
    ///
    /// # Errors
    ///
    /// The rule broken, from then on at every call. What passed before stays passed.
    pub fn inspect(&mut self, bytes: &[u8], now: Moment) -> Result<usize, Rejection> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let step = match &mut self.phase {
            Phase::Idle(_) => {
                let mut head = Head::new(now);
                let step = head.read(bytes, self.limits);
                if let Ok(head::Progress::Partial) = step {
                    self.phase = Phase::Head(head);
                }
                step
            }
            Phase::Head(head) => head.read(bytes, self.limits),
            _ => return self.inspect_body(bytes, now),
        };
        match step {
            Ok(head::Progress::Partial) => Ok(0),
            Ok(head::Progress::Complete { len, framing }) => {
                self.heads += 1;
                self.phase = match framing {
                    Framing::Empty => Phase::Idle(now),
                    Framing::Length(left) => Phase::Length(left),
                    Framing::Chunked => Phase::Chunked(Chunks::new()),
                };
                Ok(len)
            }
            Err(rejection) => {
                self.phase = Phase::Refused { rejection, in_body: false };
                Err(rejection)
            }
        }
    }

    fn inspect_body(&mut self, bytes: &[u8], now: Moment) -> Result<usize, Rejection> {
        let (passed, end) = match &mut self.phase {
            Phase::Length(left) => {
                let come = bytes.len();
                let taken = usize::try_from(*left).map_or(come, |left| left.min(come));
                // Never more than `left`, so never saturates.
                *left = left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX));
                (taken, *left == 0)
            }
            Phase::Chunked(chunks) => match chunks.read(bytes, self.limits.headers) {
                Ok(body::Progress::More(taken)) => (taken, false),
                Ok(body::Progress::End(taken)) => (taken, true),
                Err(rejection) => {
                    self.phase = Phase::Refused { rejection, in_body: true };
                    return Err(rejection);
                }
            },
            Phase::Refused { rejection, .. } => return Err(*rejection),
            // The first two never get here.
            Phase::Idle(_) | Phase::Head(_) | Phase::Opaque => (bytes.len(), false),
        };
        if end {
            self.phase = Phase::Idle(now);
        }
        Ok(passed)
    }

    /// Refuses what comes from here on for a reason that is not in the bytes, such as time. The first
    /// refusal stands.
    pub fn refuse(&mut self, rejection: Rejection) {
        let in_body = match self.phase {
            Phase::Refused { .. } | Phase::Opaque => return,
            Phase::Length(_) | Phase::Chunked(_) => true,
            Phase::Idle(_) | Phase::Head(_) => false,
        };
        self.phase = Phase::Refused { rejection, in_body };
    }

    /// Stops looking: the connection no longer speaks HTTP/1 (after 101, or taken from hyper).
    ///
    /// # Errors
    ///
    /// What the client sent after the request has been refused already: no upgrade, answer this.
    pub fn become_opaque(&mut self) -> Result<(), Rejection> {
        if let Phase::Refused { rejection, .. } = self.phase {
            return Err(rejection);
        }
        self.phase = Phase::Opaque;
        Ok(())
    }
}
