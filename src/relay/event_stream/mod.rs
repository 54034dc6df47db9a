//! Reads an event stream (HTML Standard §9.2.6), as RFC 8620 §7.3 has it sent: bytes in any pieces in,
//! what they say out. Pure. What the events mean is [`super::change`]'s work.
//!
//! Why no library: the ones there are keep whatever a server sends until its line ends.

use std::time::Duration;

/// Bytes of one event, or of one line, at most.
pub const MOST: usize = 1 << 20;

/// Bytes of an event's id that are kept; a longer one is none.
const MOST_ID: usize = 4096;

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An event with data.
    Event(Event),
    /// An event of more than [`MOST`] bytes, or with such a line, came to its end.
    TooLong,
    /// How long to wait before connecting again.
    Retry(Duration),
    /// A line that only shows that somebody is there.
    Comment,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// By its name.
    pub kind: Kind,
    /// All of its data.
    pub data: Vec<u8>,
}

/// The names of events that mean something to us (RFC 8620 §7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// `state`.
    State,
    /// `ping`.
    Ping,
    /// None, or `message`, which is the same.
    #[default]
    Unnamed,
    /// Any other.
    Other,
}

/// Reads one stream. Between events it holds nothing but the last id.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    /// The line, or a line of the event, was too long: the rest of it is dropped.
    is_line_long: bool,
    is_event_long: bool,
    /// A line ended by CR: LF right behind it belongs to that end.
    after_cr: bool,
    /// Anything but the start of the stream, where a byte order mark may be.
    begun: bool,
    kind: Kind,
    data: Vec<u8>,
    has_data: bool,
    id: Option<Box<str>>,
    last_id: Option<Box<str>>,
}

impl Decoder {
    /// Reads on, up to the next thing said. `bytes` is advanced by what was used; `None`, when more is
    /// needed, leaves nothing of it.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<Said> {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                *bytes = bytes.get(1..)?;
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.add(part);
            let Some((ends, rest)) = rest.split_first() else {
                *bytes = rest;
                return None;
            };
            *bytes = rest;
            self.after_cr = *ends == b'\r';
            if let Some(said) = self.end_line() {
                return Some(said);
            }
        }
        None
    }

    /// The id of the last whole event that had one, or the one before that (`Last-Event-ID`).
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref().filter(|id| !id.is_empty())
    }

    /// Bytes held for what is not complete: a line and an event, as vectors grow, so four times [`MOST`]
    /// at most.
    #[must_use]
    pub fn held(&self) -> usize {
        self.line.capacity() + self.data.capacity()
    }

    fn add(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > MOST {
            (self.line, self.is_line_long) = (Vec::new(), true);
        }
        if !self.is_line_long {
            self.line.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) -> Option<Said> {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_line_long) {
            (self.begun, self.is_event_long) = (true, true);
            return None;
        }
        if !std::mem::replace(&mut self.begun, true) && line.starts_with("\u{feff}".as_bytes()) {
            line.drain(..3);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"" if colon.is_none() => return self.dispatch(),
            b"" => return Some(Said::Comment),
            b"event" => {
                self.kind = match value {
                    b"state" => Kind::State,
                    b"ping" => Kind::Ping,
                    b"" | b"message" => Kind::Unnamed,
                    _ => Kind::Other,
                }
            }
            b"data" => self.add_data(value),
            b"id" if !value.contains(&0) => self.id = Some(id(value)),
            b"retry" => return retry(value).map(Said::Retry),
            _ => {}
        }
        None
    }

    fn add_data(&mut self, value: &[u8]) {
        if self.data.len() + value.len() >= MOST {
            (self.data, self.is_event_long) = (Vec::new(), true);
        }
        if self.is_event_long {
            return;
        }
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }

    /// An empty line: the event is complete.
    fn dispatch(&mut self) -> Option<Said> {
        if let Some(id) = self.id.take() {
            self.last_id = Some(id);
        }
        let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        let has_data = std::mem::take(&mut self.has_data);
        if std::mem::take(&mut self.is_event_long) {
            return Some(Said::TooLong);
        }
        has_data.then_some(Said::Event(Event { kind, data }))
    }
}

fn id(value: &[u8]) -> Box<str> {
    let id = std::str::from_utf8(value).unwrap_or("");
    if id.len() > MOST_ID { "".into() } else { id.into() }
}

fn retry(value: &[u8]) -> Option<Duration> {
    let digits = value.iter().all(u8::is_ascii_digit).then_some(value)?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests;
