//! Lines of heads and trailers, read from left to right (RFC 9112 §§2.2-5.1).
//!
//! Each function is shown everything from the beginning of a line on and says `None` when what it has
//! to know has not come yet. It decides at the first byte that is wrong, so that the verdict is the
//! same however the bytes are cut. An incomplete line is read anew each time; who shows it does so when
//! it may have become complete.

use super::bytes::{TARGET, TOKEN, name_len, span, text_len};
use super::rejection::Rejection;

/// What a function of this module found, if its line is complete.
pub(super) type Line<T> = Result<Option<T>, Rejection>;

/// `method SP target SP version`.
#[derive(Debug)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) version: &'a [u8],
}

/// `name: value`, the value with the whitespace around it.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Whether the line is empty.
///
/// # Errors
///
/// A bare CR.
pub(super) fn is_empty(bytes: &[u8]) -> Line<bool> {
    match bytes {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(true)),
        [b'\r', ..] => Err(Rejection::BareCr),
        _ => Ok(Some(false)),
    }
}

/// The text up to CRLF, tabs included.
///
/// # Errors
///
/// A bare CR or LF, another control character.
#[inline(always)] // With `field`, a seventh of the guard's instructions.
pub(super) fn text(bytes: &[u8]) -> Line<&[u8]> {
    let mut len = text_len(bytes);
    loop {
        let (text, rest) = bytes.split_at(len);
        match rest {
            [b'\r', b'\n', ..] => return Ok(Some(text)),
            [b'\t', rest @ ..] => len += 1 + text_len(rest),
            _ => return stopped(rest, Rejection::Control),
        }
    }
}

/// The request line (RFC 9112 §3).
///
/// # Errors
///
/// Anything but two single spaces between three words.
pub(super) fn request(bytes: &[u8]) -> Line<RequestLine<'_>> {
    let (method, rest) = bytes.split_at(span(bytes, TOKEN));
    let [b' ', rest @ ..] = rest else {
        let at_start = method.is_empty() && matches!(rest, [b' ' | b'\t', ..]);
        let ends = matches!(rest, [b'\r', b'\n', ..]);
        let fault = if at_start || ends { Rejection::RequestLine } else { Rejection::Method };
        return stopped(rest, fault);
    };
    if method.is_empty() {
        return Err(Rejection::RequestLine);
    }
    let (target, rest) = rest.split_at(span(rest, TARGET));
    let [b' ', rest @ ..] = rest else {
        let ends = matches!(rest, [b'\r', b'\n', ..]);
        return stopped(rest, if ends { Rejection::RequestLine } else { Rejection::Target });
    };
    Ok(text(rest)?.map(|version| RequestLine { method, target, version }))
}

/// A field line (RFC 9112 §5).
///
/// # Errors
///
/// Folding, whitespace before the colon, a name that is no token or that stands for another, a
/// control character.
#[inline(always)]
pub(super) fn field(bytes: &[u8]) -> Line<Field<'_>> {
    let len = name_len(bytes);
    match bytes.split_at(len) {
        (name @ [_, ..], [b':', rest @ ..]) => Ok(text(rest)?.map(|value| Field { name, value })),
        _ => unusual_field(bytes),
    }
}

/// A field whose name is no plain token: with `_`, or wrong.
#[cold]
fn unusual_field(bytes: &[u8]) -> Line<Field<'_>> {
    let (name, rest) = bytes.split_at(span(bytes, TOKEN));
    match rest {
        [b':', _rest @ ..] if is_trusted_with_dashes(name) => Err(Rejection::UnderscoreName),
        [b':', rest @ ..] if !name.is_empty() => Ok(text(rest)?.map(|value| Field { name, value })),
        [b' ' | b'\t', ..] if name.is_empty() => Err(Rejection::Folding),
        [b' ' | b'\t', ..] => {
            let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            match rest.split_at(spaces) {
                (_, [b':', ..]) => Err(Rejection::SpaceBeforeColon),
                (_, rest) => stopped(rest, Rejection::FieldName),
            }
        }
        _ => stopped(rest, Rejection::FieldName),
    }
}

/// What is wrong where reading stopped: nothing yet at the end of what has come, a control character,
/// or else `fault`.
#[cold]
fn stopped<T>(rest: &[u8], fault: Rejection) -> Line<T> {
    match rest {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Err(fault),
        [b'\r', ..] => Err(Rejection::BareCr),
        [b'\n', ..] => Err(Rejection::BareLf),
        [b'\t', ..] => Err(fault),
        [byte, ..] if byte.is_ascii_control() => Err(Rejection::Control),
        _ => Err(fault),
    }
}

/// Whether the name, `_` read as `-`, is one that we or a server behind us acts upon (X14): framing,
/// who the client is, what connection this is.
pub(super) fn is_trusted_with_dashes(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 14] = [
        b"cdn-loop",
        b"client-ip",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"keep-alive",
        b"last-event-id",
        b"proxy-authorization",
        b"proxy-connection",
        b"transfer-encoding",
        b"true-client-ip",
        b"x-client-ip",
        b"x-real-ip",
        b"x-request-id",
    ];
    const FAMILIES: [&[u8]; 2] = [b"x-forwarded-", b"sec-websocket-"];
    let begins_as = |known: &[u8]| {
        name.len() >= known.len()
            && name.iter().zip(known).all(|(byte, known)| {
                (if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }) == *known
            })
    };
    NAMES.iter().any(|known| known.len() == name.len() && begins_as(known))
        || FAMILIES.iter().any(|family| begins_as(family))
}
