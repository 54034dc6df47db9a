//! Reads a Response (§3.4) while it streams by, in chunks of any size, in constant memory.
//!
//! At the five levels that matter (the document, the Response object, `methodResponses`, one
//! invocation, its arguments) it is a strict JSON reader. Everything deeper, and every argument that
//! tells nothing about states, is got over unread ([`Skip`]). It does not judge what it finds:
//! that is for [`super::observed::facts`].
//!
//! **Invariant:** of a document that is valid JSON nothing is reported that a full parse would not
//! find in it. Where readers may differ, as with members that are there twice, the member is left out
//! and the verdict is [`Verdict::Unknown`].

use std::mem;

use super::invocation::{Argument, Element, Invocation};
use super::observed::{Observed, Verdict};
use super::skip::Skip;
use super::text::{Literal, Token};
use crate::jmap::id::State;

/// Most method responses and errors kept of one Response. When full: the further ones are not read,
/// the verdict is unknown, `sessionState` is still found.
pub const MAX_RESPONSES: usize = 256;

/// The scanner of one response body.
#[derive(Debug)]
pub struct Scanner {
    step: Step,
    level: Level,
    /// What the value to come, or being read, is.
    slot: Slot,
    token: Token,
    invocation: Invocation,
    has_responses: bool,
    has_session_state: bool,
    doubt: bool,
    observed: Observed,
}

/// What may come next.
#[derive(Debug)]
enum Step {
    Value,
    ElementOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    CommaOrEnd,
    /// The first byte in a container of which it matters whether it is empty.
    InsideOrEnd(Skip),
    InKey,
    InString,
    InLiteral,
    InNested(Skip),
    /// White space up to the end of the document.
    End,
    /// Not JSON: nothing is read any more.
    Lost,
}

/// The container we are in. Deeper ones are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Document,
    Response,
    MethodResponses,
    Invocation,
    Arguments,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Response,
    MethodResponses,
    SessionState,
    Invocation,
    Element(Element),
    Argument(Argument),
    Other,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            step: Step::Value,
            level: Level::Document,
            slot: Slot::Response,
            token: Token::default(),
            invocation: Invocation::default(),
            has_responses: false,
            has_session_state: false,
            doubt: false,
            observed: Observed::default(),
        }
    }

    /// Reads the next chunk. When the string `sessionState` of the Response object ends in it: the
    /// offset in this chunk of its closing quote, which is where a suffix can be put in. Given once
    /// at most: were there a second `sessionState` (§1.5 forbids it), it would stay as it is.
    pub fn feed(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut session_state_end = None;
        let mut at = 0;
        while let Some(rest) = chunk.get(at..)
            && let Some(first) = rest.first()
        {
            let used = match &mut self.step {
                Step::InNested(skip) => skip.feed(rest).inspect(|_| self.end_value()),
                Step::InString => self.token.feed_string(rest).inspect(|used| {
                    if self.end_string() {
                        session_state_end = Some(at + used - 1);
                    }
                }),
                Step::InKey => self.token.feed_string(rest).inspect(|_| self.end_key()),
                Step::InLiteral => self.token.feed_literal(rest).inspect(|_| self.end_literal()),
                Step::Lost => None,
                _ => Some(self.read(*first)),
            };
            let Some(used) = used else { break };
            at += used;
        }
        session_state_end
    }

    /// What the response told.
    #[must_use]
    pub fn finish(self) -> Verdict {
        if matches!(self.step, Step::End) && self.has_responses && !self.doubt {
            Verdict::Complete(self.observed)
        } else {
            Verdict::Unknown(self.observed)
        }
    }

    /// Reads a byte between two tokens. The bytes that took: none if the byte is looked at again.
    fn read(&mut self, byte: u8) -> usize {
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            return 1;
        }
        let in_array = matches!(self.level, Level::MethodResponses | Level::Invocation);
        match (mem::replace(&mut self.step, Step::Lost), byte) {
            (Step::KeyOrEnd, b'}') | (Step::ElementOrEnd, b']') => self.end_container(),
            (Step::CommaOrEnd, b'}') if !in_array => self.end_container(),
            (Step::CommaOrEnd, b']') if in_array => self.end_container(),
            (Step::CommaOrEnd, b',') => self.step = if in_array { Step::Value } else { Step::Key },
            (Step::KeyOrEnd | Step::Key, b'"') => {
                self.token.begin(byte);
                self.step = Step::InKey;
            }
            (Step::Colon, b':') => self.step = Step::Value,
            (Step::Value | Step::ElementOrEnd, _) => self.begin_value(byte),
            (Step::InsideOrEnd(skip), _) => {
                self.invocation.set_flag(Argument::Created, Some(skip.is_closed_by(byte)));
                self.step = Step::InNested(skip);
                return 0;
            }
            _ => {}
        }
        1
    }

    fn begin_value(&mut self, byte: u8) {
        self.begin_element(byte);
        self.step = match (byte, self.slot) {
            (b'{', Slot::Response) => self.enter(Level::Response, Step::KeyOrEnd),
            (b'[', Slot::MethodResponses) => self.enter(Level::MethodResponses, Step::ElementOrEnd),
            (b'[', Slot::Invocation) => {
                self.invocation = Invocation::default();
                self.enter(Level::Invocation, Step::ElementOrEnd)
            }
            (b'{', Slot::Element(Element::Arguments)) if self.invocation.is_of_interest() => {
                self.enter(Level::Arguments, Step::KeyOrEnd)
            }
            (b'{', Slot::Argument(Argument::Created)) => Step::InsideOrEnd(Skip::object()),
            (b'[', Slot::Argument(Argument::Created)) => Step::InsideOrEnd(Skip::array()),
            (_, Slot::Response | Slot::MethodResponses | Slot::Invocation) => {
                self.doubt = true;
                self.begin_other(byte)
            }
            _ => self.begin_other(byte),
        };
    }

    /// A value of which the inside does not matter, or that has none.
    fn begin_other(&mut self, byte: u8) -> Step {
        match byte {
            b'{' => Step::InNested(Skip::object()),
            b'[' => Step::InNested(Skip::array()),
            b'"' => {
                self.token.begin(byte);
                Step::InString
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.token.begin(byte);
                Step::InLiteral
            }
            _ => Step::Lost,
        }
    }

    /// In an array, says what the value is that begins.
    fn begin_element(&mut self, byte: u8) {
        match self.level {
            Level::MethodResponses => {
                let is_full = self.observed.len() >= MAX_RESPONSES;
                self.doubt |= is_full;
                self.slot = if is_full { Slot::Other } else { Slot::Invocation };
            }
            Level::Invocation => {
                self.slot = Slot::Element(self.invocation.begin_element(byte));
            }
            Level::Document | Level::Response | Level::Arguments => {}
        }
    }

    const fn enter(&mut self, level: Level, step: Step) -> Step {
        self.level = level;
        step
    }

    fn end_container(&mut self) {
        self.level = match self.level {
            Level::Arguments => Level::Invocation,
            Level::Invocation => {
                let invocation = mem::take(&mut self.invocation);
                self.doubt |= !invocation.end(&mut self.observed);
                Level::MethodResponses
            }
            Level::MethodResponses => Level::Response,
            Level::Response | Level::Document => Level::Document,
        };
        self.end_value();
    }

    fn end_value(&mut self) {
        self.step = if self.level == Level::Document { Step::End } else { Step::CommaOrEnd };
    }

    /// What comes after the name that was read. One that is too long to be kept is none of ours.
    fn end_key(&mut self) {
        self.step = Step::Colon;
        let key = self.token.decode();
        self.doubt |= key.is_none() && !self.token.is_cut();
        let key = key.unwrap_or_default();
        self.slot = match (self.level, &*key) {
            (Level::Response, "methodResponses") => Slot::MethodResponses,
            (Level::Response, "sessionState") => Slot::SessionState,
            (Level::Arguments, key) => {
                self.invocation.argument(key).map_or(Slot::Other, Slot::Argument)
            }
            _ => Slot::Other,
        };
        let is_repeated = match self.slot {
            Slot::MethodResponses => mem::replace(&mut self.has_responses, true),
            Slot::SessionState => mem::replace(&mut self.has_session_state, true),
            Slot::Argument(argument) => self.invocation.begin_argument(argument),
            _ => false,
        };
        if is_repeated {
            self.forget();
        }
    }

    /// Leaves out a member that is there twice: some readers take the first, some the last (§1.5).
    fn forget(&mut self) {
        self.doubt = true;
        match mem::replace(&mut self.slot, Slot::Other) {
            Slot::MethodResponses => {
                self.observed.responses.clear();
                self.observed.errors.clear();
            }
            Slot::SessionState => self.observed.session_state = None,
            Slot::Argument(argument) => {
                self.invocation.set_text(argument, None);
                self.invocation.set_flag(argument, None);
            }
            _ => {}
        }
    }

    /// Takes the string that was read. Whether it is `sessionState`.
    fn end_string(&mut self) -> bool {
        self.end_value();
        if self.slot == Slot::Other {
            return false;
        }
        let text = self.token.decode();
        self.doubt |= text.is_none() && !self.token.is_cut();
        let text = text.as_deref();
        match self.slot {
            Slot::Element(Element::Name) => self.invocation.set_name(text.unwrap_or_default()),
            Slot::Element(Element::CallId) => {
                if let Some(call_id) = text {
                    self.invocation.set_call_id(call_id);
                }
            }
            Slot::SessionState => {
                self.observed.session_state = text.and_then(State::parse);
                self.doubt |= self.observed.session_state.is_none();
                return true;
            }
            Slot::Argument(argument) => self.doubt |= !self.invocation.set_text(argument, text),
            _ => {}
        }
        false
    }

    fn end_literal(&mut self) {
        self.end_value();
        match (self.slot, self.token.literal()) {
            (_, None) => self.step = Step::Lost,
            (Slot::Argument(Argument::HasMoreChanges), Some(Literal::Bool(value))) => {
                self.invocation.set_flag(Argument::HasMoreChanges, Some(value));
            }
            (Slot::Argument(Argument::Created), Some(Literal::Null)) => {
                self.invocation.set_flag(Argument::Created, Some(true));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
