//! One request head, line by line (RFC 9112 §§2-3, §5, §6.3).
//!
//! Keeps of a head only what frames the message and what must agree; the fields themselves are
//! hyper's to parse.

use std::ops::Range;

use crate::clock::Moment;

use super::bytes::{Lines, is_authority, target_len, token};
use super::machine::Limits;
use super::rejection::Rejection;

/// How the body after a head ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body.
    Empty,
    /// So many bytes, at least one.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What became of the bytes of a head so far.
#[derive(Debug)]
pub(super) enum Progress {
    /// Its end has not come.
    Partial,
    /// It takes `len` bytes and keeps every rule.
    Complete { len: usize, framing: Framing },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// A head of which some lines may still be to come.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// When its first byte came.
    pub(super) started: Moment,
    lines: Lines,
    /// One empty line stood in front (RFC 9112 §2.2).
    empty_line: bool,
    /// `None` before the request line.
    version: Option<Version>,
    /// Where the authority of an absolute-form target stands.
    authority: Option<Range<usize>>,
    /// Where the value of `Host` stands.
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
    expects: bool,
    fields: usize,
}

impl Head {
    pub(super) fn new(started: Moment) -> Self {
        Self {
            started,
            lines: Lines::default(),
            empty_line: false,
            version: None,
            authority: None,
            host: None,
            length: None,
            chunked: false,
            expects: false,
            fields: 0,
        }
    }

    /// Judges the lines that have become complete. `bytes` begins where the head begins, each time.
    ///
    /// # Errors
    ///
    /// The first rule broken.
    pub(super) fn read(&mut self, bytes: &[u8], limits: Limits) -> Result<Progress, Rejection> {
        loop {
            let offset = self.lines.consumed();
            let Some(line) = self.lines.next(bytes, limits.head_bytes, Rejection::HeadTooLarge)?
            else {
                return Ok(Progress::Partial);
            };
            match (self.version, line) {
                (None, []) if self.empty_line => return Err(Rejection::LeadingEmptyLines),
                (None, []) => self.empty_line = true,
                (None, line) => self.request_line(line, offset)?,
                (Some(version), []) => {
                    let framing = self.finish(version, bytes)?;
                    return Ok(Progress::Complete { len: self.lines.consumed(), framing });
                }
                (Some(version), line) => {
                    self.fields += 1;
                    if self.fields > limits.headers {
                        return Err(Rejection::TooManyFields);
                    }
                    self.field(version, line, offset)?;
                }
            }
        }
    }

    fn request_line(&mut self, line: &[u8], offset: usize) -> Result<(), Rejection> {
        let (len, _) = token(line);
        let (method, rest) = line.split_at(len);
        let Some(rest) = rest.strip_prefix(b" ").filter(|_| len > 0) else {
            let separated = line.contains(&b' ') && !line.starts_with(b" ");
            return Err(if separated { Rejection::Method } else { Rejection::RequestLine });
        };
        // Methods are case-sensitive, but not every server behind us knows.
        if method.eq_ignore_ascii_case(b"CONNECT") || method.eq_ignore_ascii_case(b"TRACE") {
            return Err(Rejection::MethodNotServed);
        }
        let (target, rest) = rest.split_at(target_len(rest));
        let Some(version) = rest.strip_prefix(b" ") else {
            return Err(if rest.is_empty() { Rejection::RequestLine } else { Rejection::Target });
        };
        if target.is_empty() {
            return Err(Rejection::Target);
        }
        self.version = Some(match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(Rejection::VersionNotServed);
            }
            _ if version.contains(&b' ') => return Err(Rejection::RequestLine),
            _ => return Err(Rejection::Version),
        });
        match target {
            [b'/', ..] => Ok(()),
            b"*" if method == b"OPTIONS" => Ok(()),
            _ => {
                let authority = absolute_authority(target).ok_or(Rejection::Target)?;
                let start = offset + method.len() + 1 + authority.start;
                self.authority = Some(start..start + authority.len());
                Ok(())
            }
        }
    }

    fn field(&mut self, version: Version, line: &[u8], offset: usize) -> Result<(), Rejection> {
        let (name, value) = split_field(line)?;
        // The length tells nearly all names apart from the four that matter.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let value = value.trim_ascii();
                if self.host.is_some() {
                    return Err(Rejection::HostRepeated);
                }
                if !is_authority(value) {
                    return Err(Rejection::Host);
                }
                // The value is a part of the line: after the colon and the whitespace.
                let before = line.trim_ascii_end().len() - value.len();
                self.host = Some(offset + before..offset + before + value.len());
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                let known = value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
                if !known || self.expects {
                    return Err(Rejection::Expectation);
                }
                self.expects = true;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Rejection::ContentLengthRepeated);
                }
                if self.chunked {
                    return Err(Rejection::TwoFramings);
                }
                self.length = Some(decimal(value.trim_ascii()).ok_or(Rejection::ContentLength)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(Rejection::TransferEncodingRepeated);
                }
                if version == Version::Http10 {
                    return Err(Rejection::TransferEncodingVersion);
                }
                if self.length.is_some() {
                    return Err(Rejection::TwoFramings);
                }
                if !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Rejection::TransferEncoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What can only be judged when the whole head is there.
    fn finish(&self, version: Version, bytes: &[u8]) -> Result<Framing, Rejection> {
        if version == Version::Http11 && self.host.is_none() {
            return Err(Rejection::HostMissing);
        }
        if let (Some(authority), Some(host)) = (&self.authority, &self.host) {
            let [authority, host] = [authority, host].map(|at| bytes.get(at.clone()));
            // Neither is missing: both were found in these bytes.
            if !authority.unwrap_or_default().eq_ignore_ascii_case(host.unwrap_or_default()) {
                return Err(Rejection::HostDiffers);
            }
        }
        Ok(match self.length {
            _ if self.chunked => Framing::Chunked,
            None | Some(0) => Framing::Empty,
            Some(length) => Framing::Length(length),
        })
    }
}

/// Name and untrimmed value of a field line, of a head or of trailers.
///
/// # Errors
///
/// Folding, whitespace before the colon, a name that is no token or that stands for another.
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Rejection> {
    let (len, underscore) = token(line);
    let (name, rest) = line.split_at(len);
    match rest {
        [b':', value @ ..] if len > 0 => {
            if underscore && is_trusted_with_dashes(name) {
                return Err(Rejection::UnderscoreName);
            }
            Ok((name, value))
        }
        [b' ' | b'\t', ..] if len == 0 => Err(Rejection::Folding),
        [b' ' | b'\t', ..] if rest.trim_ascii_start().starts_with(b":") => {
            Err(Rejection::SpaceBeforeColon)
        }
        _ => Err(Rejection::FieldName),
    }
}

/// Whether the name, `_` read as `-`, is one that we or a server behind us acts upon (X14): framing,
/// who the client is, what connection this is.
fn is_trusted_with_dashes(name: &[u8]) -> bool {
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

/// Where the authority stands in `http://authority/…`; `None` when the target is no http URI. User
/// information is refused (RFC 9110 §4.2.4).
fn absolute_authority(target: &[u8]) -> Option<Range<usize>> {
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })?;
    let rest = target.get(scheme.len()..)?;
    let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    is_authority(rest.get(..len)?).then_some(scheme.len()..scheme.len() + len)
}

/// RFC 9110 §8.6: `1*DIGIT`, no list, no sign; at most what fits 63 bits, since a server behind us
/// may count with a sign.
fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let mut value = 0_i64;
    for byte in bytes {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    u64::try_from(value).ok()
}
