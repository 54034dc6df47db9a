//! MIME parts: structure, transfer encodings, charsets (RFC 2045, RFC 2046).

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::header::{self, Field};

/// How deep multiparts are opened; what lies deeper is shown as one leaf.
const DEPTH: usize = 16;

/// Accepts what mailers produce: padding or none, stray bits at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// RFC 8621 §4.1.4 `EmailBodyPart`.
#[derive(Debug)]
pub(crate) struct Part {
    /// Counted over the leaves from 1; `None` for a multipart.
    pub(crate) part_id: Option<String>,
    pub(crate) headers: Vec<Field>,
    /// Lower case, without parameters.
    pub(crate) media_type: String,
    pub(crate) charset: Option<String>,
    pub(crate) disposition: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) cid: Option<String>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Transfer encoding undone.
    Leaf(Bytes),
    Multipart(Vec<Part>),
}

impl Part {
    /// Reads a whole message.
    pub(crate) fn parse(raw: &[u8]) -> Self {
        Self::parse_at(raw, 0, &mut 0)
    }

    /// The children of a multipart.
    pub(crate) fn parts(&self) -> Option<&[Self]> {
        match &self.body {
            Body::Leaf(_) => None,
            Body::Multipart(parts) => Some(parts),
        }
    }

    /// The decoded content of a leaf, nothing for a multipart.
    pub(crate) fn content(&self) -> Bytes {
        match &self.body {
            Body::Leaf(content) => content.clone(),
            Body::Multipart(_) => Bytes::new(),
        }
    }

    /// The content as text, and whether it could be read without loss.
    pub(crate) fn text(&self) -> (String, bool) {
        let (text, lossless) = text_of(&self.content(), self.charset.as_deref());
        (text.replace("\r\n", "\n"), lossless)
    }

    /// All leaves, in order.
    pub(crate) fn leaves(&self) -> Vec<&Self> {
        match &self.body {
            Body::Leaf(_) => vec![self],
            Body::Multipart(parts) => parts.iter().flat_map(Self::leaves).collect(),
        }
    }

    fn parse_at(raw: &[u8], depth: usize, leaves: &mut usize) -> Self {
        let (header, content) = split_header(raw);
        let headers = header::fields(header);
        let value = |name: &str| {
            let field = headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            field.map(|field| header::parameters(&field.value))
        };
        let (media_type, parameters) = value("Content-Type").unwrap_or_default();
        let (disposition, disposition_parameters) = value("Content-Disposition").unzip();
        let encoding = value("Content-Transfer-Encoding").map(|(encoding, _)| encoding);
        let cid = value("Content-ID").map(|(cid, _)| cid.trim_matches(['<', '>']).to_owned());

        let boundary = parameter(&parameters, "boundary");
        let (part_id, body) = match boundary {
            Some(boundary) if media_type.starts_with("multipart/") && depth < DEPTH => {
                let parts = split_multipart(content, &boundary);
                let parts = parts.iter().map(|part| Self::parse_at(part, depth + 1, leaves));
                (None, Body::Multipart(parts.collect()))
            }
            _ => {
                *leaves += 1;
                (Some(leaves.to_string()), Body::Leaf(decode(content, encoding.as_deref())))
            }
        };
        Self {
            part_id,
            media_type: if media_type.contains('/') { media_type } else { "text/plain".into() },
            charset: parameter(&parameters, "charset"),
            name: parameter(&disposition_parameters.unwrap_or_default(), "filename")
                .or_else(|| parameter(&parameters, "name")),
            disposition,
            cid,
            headers,
            body,
        }
    }
}

/// Bytes as text by a charset's name, and whether nothing was lost. Unknown charsets are taken for
/// UTF-8, and what is no UTF-8 for Latin-1.
pub(crate) fn text_of(bytes: &[u8], charset: Option<&str>) -> (String, bool) {
    let charset = charset.unwrap_or("us-ascii").to_ascii_lowercase();
    let known = ["us-ascii", "utf-8", "iso-8859-1", "windows-1252"].contains(&charset.as_str());
    match std::str::from_utf8(bytes) {
        Ok(text) if charset != "iso-8859-1" && charset != "windows-1252" => {
            (text.to_owned(), known)
        }
        _ => (bytes.iter().map(|byte| char::from(*byte)).collect(), known && charset != "utf-8"),
    }
}

/// RFC 2045 §6.7; what is no encoding stays as it is.
pub(crate) fn decode_quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return decoded,
            [b'=', b'\r', b'\n', after @ ..] | [b'=', b'\n', after @ ..] => after,
            [b'=', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                decoded.push(hex(*high) << 4 | hex(*low));
                after
            }
            [byte, after @ ..] => {
                decoded.push(*byte);
                after
            }
        };
    }
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default()
}

fn parameter(parameters: &[(String, String)], name: &str) -> Option<String> {
    parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn decode(content: &[u8], encoding: Option<&str>) -> Bytes {
    let decoded = match encoding {
        Some("base64") => {
            let dense: Vec<u8> =
                content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            BASE64.decode(dense).unwrap_or_else(|_| content.to_vec())
        }
        Some("quoted-printable") => decode_quoted_printable(content),
        _ => content.to_vec(),
    };
    Bytes::from(decoded)
}

/// Header and content, the empty line between them in neither.
fn split_header(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut end = 0;
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\r\n" || line == b"\n" {
            return (
                raw.get(..end).unwrap_or_default(),
                raw.get(end + line.len()..).unwrap_or_default(),
            );
        }
        end += line.len();
    }
    (raw, &[])
}

/// RFC 2046 §5.1.1: the parts between delimiter lines; the line break before a delimiter is its own.
fn split_multipart<'a>(content: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut start = None;
    let mut position = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let after = line.strip_prefix(delimiter.as_bytes()).map(<[u8]>::trim_ascii);
        if let Some(after @ (b"" | b"--")) = after {
            if let Some(part) = start.and_then(|start| content.get(start..position)) {
                let part = part.strip_suffix(b"\n").unwrap_or(part);
                parts.push(part.strip_suffix(b"\r").unwrap_or(part));
            }
            start = after.is_empty().then_some(position + line.len());
        }
        position += line.len();
    }
    parts.extend(start.and_then(|start| content.get(start..)));
    parts
}
