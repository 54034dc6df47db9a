//! Undoing a `Content-Encoding`, within limits (hostile.md F4: gzip bombs).

use std::io::Read;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// Why a body could not be decoded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// A coding we do not know.
    #[error("the content encoding is not one of identity, gzip, deflate")]
    Unknown,
    /// It is not what it says it is.
    #[error("the body is not valid {0}")]
    Invalid(&'static str),
    /// It grows beyond the limit.
    #[error("the decoded body is larger than {0} bytes")]
    TooLarge(usize),
}

/// Decodes `body` as its `Content-Encoding` says, to at most `limit` bytes. Untouched when there is
/// none.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, DecodeError> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let (Some(coding), None) = (codings.next(), codings.next()) else {
        let none = !headers.contains_key(CONTENT_ENCODING);
        return if none { Ok(body) } else { Err(DecodeError::Unknown) };
    };
    match coding.as_bytes() {
        b"" | b"identity" => Ok(body),
        b"gzip" | b"x-gzip" => read(flate2::read::MultiGzDecoder::new(&body[..]), "gzip", limit),
        b"deflate" => read(flate2::read::ZlibDecoder::new(&body[..]), "deflate", limit),
        _ => Err(DecodeError::Unknown),
    }
}

fn read(decoder: impl Read, name: &'static str, limit: usize) -> Result<Bytes, DecodeError> {
    let mut plain = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut plain).map_err(|_| DecodeError::Invalid(name))?;
    if plain.len() > limit { Err(DecodeError::TooLarge(limit)) } else { Ok(plain.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use http::HeaderValue;

    use super::*;

    fn gzip(plain: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap().into()
    }

    fn encoded(coding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))])
    }

    #[test]
    fn gzip_is_decoded_and_no_encoding_is_untouched() {
        assert_eq!(decode(&encoded("gzip"), gzip(b"hello"), 100).unwrap(), "hello");
        assert_eq!(decode(&HeaderMap::new(), Bytes::from("hello"), 1).unwrap(), "hello");
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert_eq!(decode(&encoded("gzip"), bomb, 1000), Err(DecodeError::TooLarge(1000)));
    }

    #[test]
    fn unknown_and_broken_codings_are_named() {
        assert_eq!(decode(&encoded("br"), Bytes::new(), 9), Err(DecodeError::Unknown));
        let broken = decode(&encoded("gzip"), Bytes::from("nope"), 9);
        assert_eq!(broken, Err(DecodeError::Invalid("gzip")));
    }
}
