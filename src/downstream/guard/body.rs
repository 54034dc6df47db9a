//! The chunks of one request body (RFC 9112 §7.1), read more strictly than the grammar.
//!
//! Looks at sizes and line ends only; chunk data passes unseen, as far as it has come.

use super::line;
use super::rejection::Rejection;

/// Bytes of one line with a chunk size. Longer sizes and extensions have no use but to cost.
const SIZE_LINE_BYTES: usize = 1024;
/// Bytes of chunk extensions in one body: half of what hyper takes, so that we are first to refuse.
const EXTENSION_BYTES: usize = 8 * 1024;
/// Bytes of the trailer section: half of what hyper takes.
const TRAILER_BYTES: usize = 8 * 1024;

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

/// What became of the bytes shown.
#[derive(Debug)]
pub(super) enum Progress {
    /// So many bytes from the front may pass; zero when more must come before any may.
    More(usize),
    /// With so many bytes the body is at its end.
    End(usize),
}

/// A chunked body of which some may still be to come.
#[derive(Debug, Clone)]
pub(super) struct Chunks {
    expected: Expected,
    extension_bytes: usize,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { expected: Expected::Size, extension_bytes: 0 }
    }

    /// Judges one step: a size line, some data, the end of a chunk, or the trailer section as a whole.
    /// `bytes` begins after what has passed.
    ///
    /// # Errors
    ///
    /// The first rule broken.
    pub(super) fn read(&mut self, bytes: &[u8], headers: usize) -> Result<Progress, Rejection> {
        match self.expected {
            Expected::Size => self.size(bytes),
            Expected::Data(left) => {
                let come = bytes.len();
                let taken = usize::try_from(left).map_or(come, |left| left.min(come));
                // Never more than `left`, so never saturates.
                let left = left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX));
                self.expected = if left == 0 { Expected::DataEnd } else { Expected::Data(left) };
                Ok(Progress::More(taken))
            }
            Expected::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.expected = Expected::Size;
                    Ok(Progress::More(2))
                }
                [] | [b'\r'] => Ok(Progress::More(0)),
                _ => Err(Rejection::ChunkEnd),
            },
            Expected::Trailers => trailers(bytes, headers),
        }
    }

    fn size(&mut self, bytes: &[u8]) -> Result<Progress, Rejection> {
        // What can become no size is refused at once, not at the end of its line.
        if bytes.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
            return Err(Rejection::ChunkSize);
        }
        let within = bytes.get(..SIZE_LINE_BYTES).unwrap_or(bytes);
        let Some(line) = line::text(within)? else {
            return if within.len() == SIZE_LINE_BYTES {
                Err(Rejection::ChunkExtension)
            } else {
                Ok(Progress::More(0))
            };
        };
        let len = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
        let (digits, extension) = line.split_at(len);
        let size = hexadecimal(digits).ok_or(Rejection::ChunkSize)?;
        self.extension_bytes += extension.len();
        if self.extension_bytes > EXTENSION_BYTES {
            return Err(Rejection::ChunkExtension);
        }
        self.expected = if size == 0 { Expected::Trailers } else { Expected::Data(size) };
        Ok(Progress::More(line.len() + 2))
    }
}

/// Trailers wait for their end, at which hyper acts on them, and are read anew until it has come.
fn trailers(bytes: &[u8], headers: usize) -> Result<Progress, Rejection> {
    let within = bytes.get(..TRAILER_BYTES).unwrap_or(bytes);
    let (mut taken, mut count) = (0, 0);
    while let Some(rest) = within.get(taken..)
        && let Some(empty) = line::is_empty(rest)?
    {
        if empty {
            return Ok(Progress::End(taken + 2));
        }
        let Some(field) = line::field(rest)? else { break };
        if is_for_heads_only(field.name) {
            return Err(Rejection::TrailerName);
        }
        count += 1;
        if count > headers {
            return Err(Rejection::TooManyFields);
        }
        taken += field.name.len() + 1 + field.value.len() + 2;
    }
    if within.len() == TRAILER_BYTES {
        return Err(Rejection::TrailersTooLarge);
    }
    Ok(Progress::More(0))
}

/// RFC 9110 §6.5.1: fields about framing, routing and authentication have no meaning in trailers;
/// a server that merges trailers into the head would give them one.
pub(super) fn is_for_heads_only(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 11] = [
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"transfer-encoding",
        b"upgrade",
    ];
    const FORWARDED: &[u8] = b"x-forwarded-";
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.get(..FORWARDED.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORWARDED))
}

/// RFC 9112 §7.1: `1*HEXDIG`, here at most 16, without `0x`, sign or whitespace.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if !(1..=16).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(value << 4 | u64::from(digit))
    })
}
