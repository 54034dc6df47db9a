//! The guard's rules for a head that was never text: HTTP/2 (RFC 9113 §8.2, §8.3).
//!
//! The HTTP/2 library has refused what breaks HTTP/2's own rules: malformed names and values, headers of
//! one connection, lengths that contradict. What is judged here is what would be read in another way
//! once the request goes on by HTTP/1.1.

use http::header::{CONTENT_LENGTH, EXPECT, HOST};
use http::{HeaderMap, HeaderName, Method, Request};

use super::body::is_for_heads_only;
use super::bytes::{TARGET, is_authority, span};
use super::head;
use super::line::is_trusted_with_dashes;
use super::rejection::Rejection;

/// Judges a request by its head; `headers` as in [`super::Limits`].
///
/// # Errors
///
/// The first rule broken.
pub fn judge<B>(request: &Request<B>, headers: usize) -> Result<(), Rejection> {
    if request.headers().len() > headers {
        return Err(Rejection::TooManyFields);
    }
    target(request)?;
    host(request)?;
    for name in request.headers().keys() {
        let name = name.as_str().as_bytes();
        if name.contains(&b'_') && is_trusted_with_dashes(name) {
            return Err(Rejection::UnderscoreName);
        }
    }
    let mut lengths = request.headers().get_all(CONTENT_LENGTH).iter();
    if lengths.next().is_some_and(|length| head::decimal(length.as_bytes()).is_none()) {
        return Err(Rejection::ContentLength);
    }
    if lengths.next().is_some() {
        return Err(Rejection::ContentLengthRepeated);
    }
    let mut expectations = request.headers().get_all(EXPECT).iter();
    let met = |expected: &[u8]| expected.eq_ignore_ascii_case(b"100-continue");
    if expectations.next().is_some_and(|expected| !met(expected.as_bytes()))
        || expectations.next().is_some()
    {
        return Err(Rejection::Expectation);
    }
    Ok(())
}

/// Leaves of trailers what has a meaning in trailers (RFC 9110 §6.5.1). Unlike one of HTTP/1.1, whose
/// framing would be lost, such a request goes on.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    let is_forbidden = |name: &&HeaderName| {
        let name = name.as_str().as_bytes();
        is_for_heads_only(name) || is_trusted_with_dashes(name) && name.contains(&b'_')
    };
    let forbidden: Vec<HeaderName> = trailers.keys().filter(is_forbidden).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

fn target<B>(request: &Request<B>) -> Result<(), Rejection> {
    let tunnels = *request.method() == Method::CONNECT && !is_web_socket(request);
    if tunnels || *request.method() == Method::TRACE {
        return Err(Rejection::MethodNotServed);
    }
    let uri = request.uri();
    if uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Rejection::Target);
    }
    let path = uri.path_and_query().map_or("", |path| path.as_str()).as_bytes();
    let well_formed = match path {
        b"*" => request.method() == Method::OPTIONS,
        [b'/', ..] => span(path, TARGET) == path.len(),
        _ => false,
    };
    if well_formed { Ok(()) } else { Err(Rejection::Target) }
}

/// Whether this is the one CONNECT that is served (RFC 8441 §4; architecture D15).
fn is_web_socket<B>(request: &Request<B>) -> bool {
    let protocol = request.extensions().get::<hyper::ext::Protocol>();
    protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// `:authority` takes the place of `Host` (RFC 9113 §8.3.1): one of the two must be there, and they
/// must not contradict each other.
fn host<B>(request: &Request<B>) -> Result<(), Rejection> {
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().map(|host| host.as_bytes());
    if hosts.next().is_some() {
        return Err(Rejection::HostRepeated);
    }
    if ![authority, host].into_iter().flatten().all(is_authority) {
        return Err(Rejection::Host);
    }
    match (authority, host) {
        (None, None) => Err(Rejection::HostMissing),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(Rejection::HostDiffers)
        }
        _ => Ok(()),
    }
}
