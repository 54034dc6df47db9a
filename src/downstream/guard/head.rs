//! One request head, line by line (RFC 9112 §§2-3, §5, §6.3).
//!
//! Keeps of a head only what frames the message and what must agree; the fields themselves are
//! hyper's to parse.

use std::ops::Range;

use crate::clock::Moment;

use super::bytes::is_authority;
use super::line::{self, Field, RequestLine};
use super::machine::Limits;
use super::rejection::Rejection;

const CRLF: usize = 2;
const SPACE: usize = 1;
const COLON: usize = 1;

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
    /// Bytes of the lines judged. The line after them is read anew when more of it has come.
    judged: usize,
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
            judged: 0,
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
        // Not looking beyond the limit makes the verdict the same however the bytes are cut.
        let bytes = bytes.get(..limits.head_bytes).unwrap_or(bytes);
        let complete = match self.version {
            Some(version) => self.fields(version, bytes, limits.headers)?,
            None => match self.start(bytes)? {
                Some(version) => self.fields(version, bytes, limits.headers)?,
                None => None,
            },
        };
        match complete {
            Some(framing) => Ok(Progress::Complete { len: self.judged, framing }),
            None if bytes.len() == limits.head_bytes => Err(Rejection::HeadTooLarge),
            None => Ok(Progress::Partial),
        }
    }

    /// The request line and the empty line before it, if they have come.
    fn start(&mut self, bytes: &[u8]) -> Result<Option<Version>, Rejection> {
        while let Some(rest) = bytes.get(self.judged..) {
            match line::is_empty(rest)? {
                Some(true) if self.empty_line => return Err(Rejection::LeadingEmptyLines),
                Some(true) => {
                    self.empty_line = true;
                    self.judged += CRLF;
                }
                Some(false) => {
                    if let Some(line) = line::request(rest)? {
                        self.version = Some(self.request_line(&line)?);
                    }
                    return Ok(self.version);
                }
                None => break,
            }
        }
        Ok(None)
    }

    /// The fields that have come; how the body is framed, if that is all.
    fn fields(
        &mut self,
        version: Version,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Option<Framing>, Rejection> {
        while let Some(rest) = bytes.get(self.judged..) {
            if let [b'\r', ..] = rest {
                return match line::is_empty(rest)? {
                    Some(_) => {
                        self.judged += CRLF;
                        self.finish(version, bytes).map(Some)
                    }
                    None => Ok(None),
                };
            }
            let Some(field) = line::field(rest)? else { break };
            self.field(version, &field)?;
            self.fields += 1;
            if self.fields > limit {
                return Err(Rejection::TooManyFields);
            }
        }
        Ok(None)
    }

    fn request_line(&mut self, line: &RequestLine<'_>) -> Result<Version, Rejection> {
        let RequestLine { method, target, version } = line;
        // Methods are case-sensitive, but not every server behind us knows.
        if method.eq_ignore_ascii_case(b"CONNECT") || method.eq_ignore_ascii_case(b"TRACE") {
            return Err(Rejection::MethodNotServed);
        }
        let spoken = match *version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(Rejection::VersionNotServed);
            }
            version if version.contains(&b' ') => return Err(Rejection::RequestLine),
            _ => return Err(Rejection::Version),
        };
        match *target {
            [b'/', ..] => {}
            b"*" if *method == b"OPTIONS" => {}
            _ => {
                let authority = absolute_authority(target).ok_or(Rejection::Target)?;
                let start = self.judged + method.len() + SPACE + authority.start;
                self.authority = Some(start..start + authority.len());
            }
        }
        self.judged += method.len() + SPACE + target.len() + SPACE + version.len() + CRLF;
        Ok(spoken)
    }

    #[inline]
    fn field(&mut self, version: Version, field: &Field<'_>) -> Result<(), Rejection> {
        let Field { name, value } = field;
        let value_start = self.judged + name.len() + COLON;
        self.judged = value_start + value.len() + CRLF;
        // The length tells nearly all names apart from the four that matter.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value, value_start),
            6 if name.eq_ignore_ascii_case(b"expect") => self.expect(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding(version, value)
            }
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8], start: usize) -> Result<(), Rejection> {
        if self.host.is_some() {
            return Err(Rejection::HostRepeated);
        }
        let start = start + value.len() - value.trim_ascii_start().len();
        let value = value.trim_ascii();
        if !is_authority(value) {
            return Err(Rejection::Host);
        }
        self.host = Some(start..start + value.len());
        Ok(())
    }

    /// RFC 9110 §10.1.1; see the [module](super) for why nothing else is forwarded.
    fn expect(&mut self, value: &[u8]) -> Result<(), Rejection> {
        if self.expects || !value.trim_ascii().eq_ignore_ascii_case(b"100-continue") {
            return Err(Rejection::Expectation);
        }
        self.expects = true;
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Rejection> {
        if self.length.is_some() {
            return Err(Rejection::ContentLengthRepeated);
        }
        if self.chunked {
            return Err(Rejection::TwoFramings);
        }
        self.length = Some(decimal(value.trim_ascii()).ok_or(Rejection::ContentLength)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, version: Version, value: &[u8]) -> Result<(), Rejection> {
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
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
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
