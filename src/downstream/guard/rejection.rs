//! Why a request is refused, and the answer that says so (RFC 9110 §15.5, RFC 7807).
//!
//! The texts tell a client's author what to change. They repeat nothing the client sent.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use thiserror::Error;

use crate::jmap::problem::Problem;

/// The rule a request breaks. Its text is the `detail` of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[expect(missing_docs, reason = "each variant's text is its documentation")]
pub enum Rejection {
    #[error("the request line is not `method SP target SP version`")]
    RequestLine,
    #[error("the method is not a token")]
    Method,
    #[error("CONNECT and TRACE are not served")]
    MethodNotServed,
    #[error(
        "the request target is neither a path nor an http URI, or holds bytes a URI must encode"
    )]
    Target,
    #[error("the HTTP version is malformed")]
    Version,
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken on this connection")]
    VersionNotServed,
    #[error("more than one empty line stands before the request line")]
    LeadingEmptyLines,
    #[error("a line ends in LF without CR")]
    BareLf,
    #[error("CR stands without LF")]
    BareCr,
    #[error("a control character stands in the head")]
    Control,
    #[error("a header line begins with whitespace (obsolete folding)")]
    Folding,
    #[error("whitespace stands between a header name and its colon")]
    SpaceBeforeColon,
    #[error("a header name is not a token followed by a colon")]
    FieldName,
    #[error("a header name with `_` would be taken for one with `-`")]
    UnderscoreName,
    #[error("a request must have a Host header (`:authority` in HTTP/2)")]
    HostMissing,
    #[error("Host is given more than once")]
    HostRepeated,
    #[error("Host is not a host name or address with an optional port")]
    Host,
    #[error("Host differs from the authority of the request target")]
    HostDiffers,
    #[error("Content-Length is not a number, or too large")]
    ContentLength,
    #[error("Content-Length is given more than once")]
    ContentLengthRepeated,
    #[error("Transfer-Encoding is not exactly `chunked`")]
    TransferEncoding,
    #[error("Transfer-Encoding is given more than once")]
    TransferEncodingRepeated,
    #[error("HTTP/1.0 has no Transfer-Encoding")]
    TransferEncodingVersion,
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    TwoFramings,
    #[error("the only expectation met is 100-continue")]
    Expectation,
    #[error("the request head is too large")]
    HeadTooLarge,
    #[error("the request has too many headers")]
    TooManyFields,
    #[error("a chunk size is not a plain hexadecimal number")]
    ChunkSize,
    #[error("chunk extensions are too long")]
    ChunkExtension,
    #[error("a chunk does not end in CRLF where its size says")]
    ChunkEnd,
    #[error("a trailer repeats what only the head may say")]
    TrailerName,
    #[error("the trailers are too large")]
    TrailersTooLarge,
    #[error("the request head did not arrive in time")]
    HeadTimeout,
    #[error("the request body stopped arriving")]
    BodyTimeout,
}

impl Rejection {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::VersionNotServed => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::HeadTimeout | Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The whole answer: problem details, and the end of the connection.
    #[must_use]
    pub fn response(self) -> Response<Full<Bytes>> {
        let problem = Problem::new(self.status().as_u16(), self.to_string());
        let mut response = Response::new(Full::new(Bytes::from(problem.to_json())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}
