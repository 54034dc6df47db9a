//! Bytes: what the parts of a request may be made of (RFC 9110 §5.6.2, RFC 3986).
//!
//! Knows classes of bytes and how far a run of one class reaches; what a line says is for
//! [`super::line`].

/// A tchar other than `_` (RFC 9110 §5.6.2).
const PLAIN_TOKEN: u8 = 1;
/// A tchar.
pub(super) const TOKEN: u8 = 2;
/// What may stand in a request target: RFC 3986, and what clients are known to leave unencoded as far
/// as hyper's `Uri` takes it both in path and query. No backslash: some servers read it as a slash.
pub(super) const TARGET: u8 = 4;
/// What a host's name or IPv4 address is made of.
const HOST: u8 = 8;
/// No control character (RFC 9110 §5.5), HTAB being one here.
const TEXT: u8 = 16;

/// The classes of each byte.
static CLASSES: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let byte = index as u8;
        let alphanumeric = byte.is_ascii_alphanumeric();
        let mut class = 0;
        if alphanumeric
            || matches!(
                byte,
                b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'`' | b'|' | b'~'
            )
        {
            class |= PLAIN_TOKEN | TOKEN;
        }
        if byte == b'_' {
            class |= TOKEN;
        }
        if alphanumeric
            || matches!(byte, b'!' | b'$'..=b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'[' | b']'..=b'_' | b'{'..=b'~')
        {
            class |= TARGET;
        }
        if alphanumeric || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            class |= HOST;
        }
        if !byte.is_ascii_control() {
            class |= TEXT;
        }
        table[index] = class;
        index += 1;
    }
    table
}

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

/// How many bytes at the front are of a class.
#[inline]
pub(super) fn span(bytes: &[u8], of: u8) -> usize {
    bytes.iter().position(|byte| class(*byte) & of == 0).unwrap_or(bytes.len())
}

/// How many bytes at the front are a plain token: eight at a time while they are letters and dashes,
/// as most header names are to their end.
#[inline]
pub(super) fn name_len(bytes: &[u8]) -> usize {
    let len = words_len(bytes, others_than_name);
    match bytes.get(len..) {
        None | Some([b':', ..]) => len,
        Some(rest) => len + span(rest, PLAIN_TOKEN),
    }
}

/// How many bytes at the front are no control characters: eight at a time.
#[inline]
pub(super) fn text_len(bytes: &[u8]) -> usize {
    let len = words_len(bytes, controls);
    len + span(bytes.get(len..).unwrap_or_default(), TEXT)
}

/// Where the first byte stands that `stops` marks with its highest bit, or where less than eight
/// bytes are left.
#[inline]
fn words_len(bytes: &[u8], stops: impl Fn(u64) -> u64) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let mut len = 0;
    for word in words {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return len + stops.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    len
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHEST: u64 = ONES * 0x80;

/// Marks bytes below 0x20 and 0x7f. Only the lowest mark is certain: borrows run upwards.
#[inline]
fn controls(word: u64) -> u64 {
    let below_space = word.wrapping_sub(ONES * 0x20);
    let delete = (word ^ (ONES * 0x7f)).wrapping_sub(ONES);
    (below_space | delete) & !word & HIGHEST
}

/// Marks bytes that are neither letters nor dashes. No sum leaves its byte.
#[inline]
fn others_than_name(word: u64) -> u64 {
    let low = word & !HIGHEST;
    let small = low | (ONES * 0x20);
    let from_a = small + ONES * (0x80 - 0x61);
    let above_z = small + ONES * (0x80 - 0x7b);
    let not_dash = (low ^ (ONES * 0x2d)) + ONES * 0x7f;
    ((!from_a | above_z) & not_dash | word) & HIGHEST
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
        match bytes.split_at(span(bytes, HOST)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place among others, long enough for words and rests.
    fn assert_stops(len: impl Fn(&[u8]) -> usize, among: &[u8], passes: impl Fn(u8) -> bool) {
        for total in 0..20 {
            for (at, other) in (0..total).flat_map(|at| among.iter().map(move |o| (at, *o))) {
                for byte in 0..=255_u8 {
                    let mut bytes = vec![other; total];
                    bytes[at] = byte;
                    let expected = if passes(byte) { total } else { at };
                    assert_eq!(len(&bytes), expected, "{byte:#x} at {at} in {total} of {other:#x}");
                }
            }
        }
    }

    #[test]
    fn text_ends_at_every_control_character() {
        assert_stops(text_len, b" a~\x80\xff", |byte| !byte.is_ascii_control());
    }

    #[test]
    fn a_name_ends_at_every_byte_that_is_no_plain_tchar() {
        let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^`|~".contains(&byte);
        assert_stops(name_len, b"aZ-0!~", tchar);
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
