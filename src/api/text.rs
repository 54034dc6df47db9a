//! JSON strings: a decoded one, and one that is still being read.

use std::borrow::Cow;

use serde::Deserialize;

use crate::jmap::id::MAX_STATE_BYTES;

/// A decoded string, borrowed from its source unless it has escapes.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Bytes kept of a token: the longest string accepted with every character written as `\uXXXX`.
const MAX_BYTES: usize = 6 * MAX_STATE_BYTES + 2;

/// A string or literal as it stands on the wire, put together from chunks.
#[derive(Debug)]
pub(super) struct Token {
    /// A string is kept with its quotes.
    raw: Vec<u8>,
    /// Longer than anything of interest; `raw` is then only a part of it.
    is_cut: bool,
    /// The last byte was a backslash that escapes the next one.
    escaped: bool,
    /// No backslash and no control character so far: what stands there is the string.
    is_plain: bool,
}

impl Default for Token {
    fn default() -> Self {
        // Room for any name and most values: one allocation a response.
        Self { raw: Vec::with_capacity(128), is_cut: false, escaped: false, is_plain: true }
    }
}

impl Token {
    /// Begins anew with the first byte of a token.
    pub(super) fn begin(&mut self, byte: u8) {
        self.raw.clear();
        self.raw.push(byte);
        self.is_cut = false;
        self.is_plain = true;
    }

    /// Reads on in a string. The number of bytes up to and including its closing quote, once it has
    /// come.
    pub(super) fn feed_string(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = bytes.iter().position(|byte| {
            let ends = *byte == b'"' && !self.escaped;
            self.escaped = *byte == b'\\' && !self.escaped;
            self.is_plain &= !self.escaped && *byte >= b' ';
            ends
        });
        let used = end.map(|end| end + 1);
        self.keep(bytes.get(..used.unwrap_or(bytes.len())).unwrap_or_default());
        used
    }

    /// Reads on in a number, `true`, `false` or `null`. The number of bytes up to the one after it,
    /// once that has come.
    pub(super) fn feed_literal(&mut self, bytes: &[u8]) -> Option<usize> {
        let goes_on =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let used = bytes.iter().position(|byte| !goes_on(byte));
        self.keep(bytes.get(..used.unwrap_or(bytes.len())).unwrap_or_default());
        used
    }

    /// Whether it is longer than anything of interest.
    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The string, decoded. `None` when it is longer than anything of interest, or not a JSON string:
    /// a bad escape, half a surrogate pair, a control character, not UTF-8.
    pub(super) fn decode(&self) -> Option<Cow<'_, str>> {
        if self.is_cut {
            return None;
        }
        if let ([b'"', plain @ .., b'"'], true) = (self.raw.as_slice(), self.is_plain) {
            return str::from_utf8(plain).ok().map(Cow::Borrowed);
        }
        serde_json::from_slice(&self.raw).ok().map(|Text(text)| text)
    }

    /// The literal; `None` when it is none.
    pub(super) fn literal(&self) -> Option<Literal> {
        match self.raw.as_slice() {
            b"null" => Some(Literal::Null),
            b"true" => Some(Literal::Bool(true)),
            b"false" => Some(Literal::Bool(false)),
            [b'-' | b'0'..=b'9', ..] => Some(Literal::Number),
            _ => None,
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.is_cut |= self.raw.len() + bytes.len() > MAX_BYTES;
        if !self.is_cut {
            self.raw.extend_from_slice(bytes);
        }
    }
}

/// A value that is neither string nor container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    /// Its digits are not looked at.
    Number,
}
