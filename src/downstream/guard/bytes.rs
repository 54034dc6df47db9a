//! Bytes and lines: what a request head may be made of (RFC 9110 §5.6.2, RFC 3986).
//!
//! Knows classes of bytes and where a line ends; what a line says is for [`super::head`].

use super::rejection::Rejection;

const TOKEN: u8 = 1;
const UNDERSCORE: u8 = 2;
const TARGET: u8 = 4;
const HOST: u8 = 8;

/// The classes of each byte, so that one load answers for any of them.
static CLASSES: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        let alphanumeric = byte.is_ascii_alphanumeric();
        let mut class = 0;
        // RFC 9110 §5.6.2 tchar.
        if alphanumeric
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        {
            class |= TOKEN;
        }
        if byte == b'_' {
            class |= UNDERSCORE;
        }
        // RFC 3986 and what clients are known to leave unencoded, as far as hyper's `Uri` takes it
        // both in path and query. No backslash: some servers read it as a slash.
        if alphanumeric
            || matches!(byte, b'!' | b'$'..=b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'[' | b']'..=b'_' | b'{'..=b'~')
        {
            class |= TARGET;
        }
        if alphanumeric || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            class |= HOST;
        }
        table[byte as usize] = class;
        byte += 1;
    }
    table
}

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

/// The token at the front: its length, and whether `_` is in it.
pub(super) fn token(bytes: &[u8]) -> (usize, bool) {
    let mut seen = 0;
    for (len, byte) in bytes.iter().enumerate() {
        let class = class(*byte);
        if class & TOKEN == 0 {
            return (len, seen & UNDERSCORE != 0);
        }
        seen |= class;
    }
    (bytes.len(), seen & UNDERSCORE != 0)
}

/// How many bytes at the front may stand in a request target.
pub(super) fn target_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| class(*byte) & TARGET == 0).unwrap_or(bytes.len())
}

/// Whether this is `host[:port]` with a registered name, an IPv4 or a bracketed IPv6 address.
///
/// Narrower than RFC 3986 §3.2.2: no percent-encoding, no sub-delims, no empty port. DNS has none of
/// these, and servers disagree on them.
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let port = if let Some(rest) = bytes.strip_prefix(b"[") {
        let len = rest
            .iter()
            .position(|b| !(b.is_ascii_hexdigit() || matches!(b, b':' | b'.')))
            .unwrap_or(rest.len());
        match rest.split_at(len) {
            (address, [b']', port @ ..]) if !address.is_empty() => port,
            _ => return false,
        }
    } else {
        let len = bytes.iter().position(|b| class(*b) & HOST == 0).unwrap_or(bytes.len());
        match bytes.split_at(len) {
            (name, port) if !name.is_empty() => port,
            _ => return false,
        }
    };
    match port {
        [] => true,
        [b':', digits @ ..] => {
            (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

/// Finds lines that end in CRLF in bytes that come in parts.
///
/// The caller shows the bytes again from the same beginning with more behind them; no byte is looked
/// at twice.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lines {
    /// Where the next line begins.
    start: usize,
    /// Up to where that line is known to hold no control character.
    clean: usize,
}

impl Lines {
    /// Where the next line begins: how many bytes the lines so far took.
    pub(super) fn consumed(&self) -> usize {
        self.start
    }

    /// The next line without its CRLF, `None` when its end has not come. At most `limit` bytes may be
    /// taken in all; beyond, `too_large`.
    ///
    /// # Errors
    ///
    /// A bare LF or CR, another control character than HTAB, or `too_large`.
    #[inline]
    pub(super) fn next<'a>(
        &mut self,
        bytes: &'a [u8],
        limit: usize,
        too_large: Rejection,
    ) -> Result<Option<&'a [u8]>, Rejection> {
        // Not looking beyond the limit makes the verdict the same however the bytes are cut.
        let bytes = bytes.get(..limit).unwrap_or(bytes);
        while let Some(rest) = bytes.get(self.clean..) {
            let clean = clean_len(rest);
            match rest.get(clean..) {
                Some([b'\r', b'\n', ..]) => {
                    let end = self.clean + clean;
                    let line = bytes.get(self.start..end).unwrap_or_default();
                    *self = Self { start: end + 2, clean: end + 2 };
                    return Ok(Some(line));
                }
                Some([b'\t', ..]) => self.clean += clean + 1,
                Some([] | [b'\r']) => {
                    self.clean += clean;
                    break;
                }
                Some([b'\r', ..]) => return Err(Rejection::BareCr),
                Some([b'\n', ..]) => return Err(Rejection::BareLf),
                _ => return Err(Rejection::Control),
            }
        }
        if bytes.len() >= limit { Err(too_large) } else { Ok(None) }
    }
}

/// How many bytes at the front are no control characters: eight at a time, since most of a head is
/// field values.
#[inline]
fn clean_len(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let control = controls(u64::from_le_bytes(*word));
        if control != 0 {
            return index * 8 + first_byte(control);
        }
    }
    // 0x20 fills the word up: no control character.
    let mut last = [b' '; 8];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    match controls(u64::from_le_bytes(last)) {
        0 => bytes.len(),
        control => words.len() * 8 + first_byte(control),
    }
}

/// The highest bit of each byte below 0x20 or equal to 0x7f. Bits above the lowest one set may be
/// wrong (borrows run upwards); the lowest is exact.
fn controls(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & (ONES * 0x80)
}

/// The index of the first byte with its highest bit set.
fn first_byte(bits: u64) -> usize {
    (bits.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_character_is_found_at_every_place() {
        for len in 0..40 {
            for at in 0..len {
                for byte in 0..=255_u8 {
                    let mut bytes = vec![b'a'; len];
                    bytes[at] = byte;
                    let expected = if byte.is_ascii_control() { at } else { len };
                    assert_eq!(clean_len(&bytes), expected, "{byte:#x} at {at} of {len}");
                    // High bytes before it must not hide it.
                    let mut bytes = vec![0xff; len];
                    bytes[at] = byte;
                    assert_eq!(clean_len(&bytes), expected, "{byte:#x} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn authorities_are_hosts_with_an_optional_port() {
        for good in
            ["a", "mail.example.org", "127.0.0.1:80", "[::1]", "[2001:db8::1]:8443", "a_b:1"]
        {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a:", "a:x", "a:123456", "a b", "a,b", "a/b", "user@a", "a:80:80", "[",
            "[]", "[::1", "[::1]x", "[g]", "a%41", "\u{fc}",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
