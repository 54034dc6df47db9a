//! What bytes the guard has accepted say, read in the most naive way: if the guard does its work,
//! no other way of reading them exists.

use crate::clock::Moment;
use crate::downstream::guard::{Guard, Limits, Rejection};

pub(super) const LIMITS: Limits = Limits { head_bytes: 32 * 1024, headers: 100 };

/// A request as both the naive reading and hyper see it. hyper adds the slash an absolute URI without
/// path lacks, so the target is written with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Vec<u8>,
    /// HTTP/1.0: nothing after it is looked at.
    pub(super) last: bool,
}

/// What the guard makes of parts that come one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Bytes that passed.
    pub(super) passed: usize,
    pub(super) heads: u64,
    pub(super) rejection: Option<Rejection>,
}

/// Shows `parts` to a guard and keeps, as the IO wrapper does, what it does not yet let pass.
pub(super) fn guard<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut guard = Guard::new(LIMITS, Moment(0));
    let mut held = Vec::new();
    let mut passed = 0;
    let mut rejection = None;
    for part in parts {
        held.extend_from_slice(part);
        loop {
            match guard.inspect(&held, Moment(0)) {
                Ok(0) => break,
                Ok(len) => {
                    held.drain(..len);
                    passed += len;
                }
                Err(reason) => {
                    rejection = Some(reason);
                    break;
                }
            }
        }
    }
    Outcome { passed, heads: guard.heads(), rejection }
}

/// The complete requests in accepted bytes, and whether an incomplete one follows.
pub(super) fn requests(mut bytes: &[u8]) -> (Vec<Seen>, bool) {
    let mut all = Vec::new();
    loop {
        bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        if bytes.is_empty() {
            return (all, false);
        }
        let Some((seen, len)) = request(bytes) else { return (all, true) };
        all.push(seen);
        bytes = &bytes[len..];
    }
}

fn request(bytes: &[u8]) -> Option<(Seen, usize)> {
    let head_len = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_len]).to_ascii_lowercase();
    let line = std::str::from_utf8(&bytes[..find(bytes, b"\r\n")?]).unwrap();
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let target = target.parse::<http::Uri>().unwrap().to_string();
    let last = words.next()? == "HTTP/1.0";
    let field = |name: &str| {
        head.split("\r\n").find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned())
    };
    let (body, len) = if field("transfer-encoding:").is_some() {
        chunks(&bytes[head_len..])?
    } else {
        let len = field("content-length:").map_or(0, |v| v.parse().unwrap());
        (bytes.get(head_len..head_len + len)?.to_vec(), len)
    };
    Some((Seen { method, target, body, last }, head_len + len))
}

fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let line_len = find(bytes.get(at..)?, b"\r\n")?;
        let line = String::from_utf8_lossy(&bytes[at..at + line_len]).into_owned();
        let size = usize::from_str_radix(line.split(';').next()?, 16).unwrap();
        at += line_len + 2;
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size + 2;
    }
    loop {
        let line_len = find(bytes.get(at..)?, b"\r\n")?;
        at += line_len + 2;
        if line_len == 0 {
            return Some((body, at));
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
