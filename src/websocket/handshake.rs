//! The opening handshake (RFC 6455 §4.2, RFC 8441 §5, RFC 8887 §4.2; W3, W4, W12). Pure: who the client is, is
//! judged elsewhere.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};

use super::wire::{Deflate, negotiate};
use crate::http::{Body, reply};
use crate::jmap::problem::Problem;

/// The subprotocol that both must name (W4).
pub const JMAP: &str = "jmap";

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A handshake that can be completed.
#[derive(Debug)]
pub struct Handshake {
    /// What was agreed to compress by.
    pub deflate: Option<Deflate>,
    extensions: Option<HeaderValue>,
    /// `None` over HTTP/2, where no key proves what the method says.
    accept: Option<HeaderValue>,
}

/// Judges a request for a WebSocket.
///
/// # Errors
/// The response that says what is wrong: 405, 426 or 400.
pub fn judge(request: &Parts, compression: bool) -> Result<Handshake, Box<Response<Body>>> {
    let headers = &request.headers;
    let accept = if request.version == Version::HTTP_2 {
        // The guard has seen to it that CONNECT means a WebSocket (RFC 8441 §4).
        if request.method != Method::CONNECT {
            return Err(upgrade_required("ask for a WebSocket by extended CONNECT (RFC 8441)"));
        }
        None
    } else {
        Some(key(request)?)
    };
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut refused = upgrade_required("the WebSocket version must be 13");
        refused.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(refused);
    }
    if !lists(headers, &SEC_WEBSOCKET_PROTOCOL, |offered| offered == JMAP) {
        return Err(bad_request(
            "the WebSocket subprotocol \"jmap\" must be offered (RFC 8887 §4.2)",
        ));
    }
    let offers = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    let (deflate, extensions) = compression.then(|| negotiate(offers)).flatten().unzip();
    Ok(Handshake { deflate, extensions, accept })
}

/// The proof for the client's key (RFC 6455 §4.2.2), on HTTP/1.1.
fn key(request: &Parts) -> Result<HeaderValue, Box<Response<Body>>> {
    let headers = &request.headers;
    if request.method != Method::GET {
        return Err(Box::new(reply::method_not_allowed("GET")));
    }
    let upgrades = lists(headers, &UPGRADE, |to| to.eq_ignore_ascii_case("websocket"))
        && lists(headers, &CONNECTION, |option| option.eq_ignore_ascii_case("upgrade"));
    if request.version != Version::HTTP_11 || !upgrades {
        return Err(upgrade_required(
            "this is a WebSocket (RFC 8887): open it as one, with the subprotocol \"jmap\"",
        ));
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(bad_request("one Sec-WebSocket-Key must be there"));
    };
    if !STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
        return Err(bad_request("Sec-WebSocket-Key must be 16 octets in base64"));
    }
    let proof = HeaderValue::try_from(proof(key.as_bytes()));
    proof.map_err(|_| bad_request("Sec-WebSocket-Key cannot be answered"))
}

/// `Sec-WebSocket-Accept` for this `Sec-WebSocket-Key`.
#[must_use]
pub fn proof(key: &[u8]) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat()))
}

impl Handshake {
    /// The response that opens the WebSocket.
    #[must_use]
    pub fn response(self) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        let upgrades = self.accept.is_some();
        let headers = response.headers_mut();
        if let Some(accept) = self.accept {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(JMAP));
        if let Some(extensions) = self.extensions {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
        }
        if upgrades {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        response
    }
}

/// Whether a list header has an element like this.
fn lists(headers: &HeaderMap, name: &HeaderName, is_it: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|element| is_it(element.trim()))
}

fn bad_request(detail: &'static str) -> Box<Response<Body>> {
    Box::new(reply::problem(&Problem::new(400, detail)))
}

/// 426 (RFC 9110 §15.5.22).
fn upgrade_required(detail: &'static str) -> Box<Response<Body>> {
    let mut response = reply::problem(&Problem::new(426, detail));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    Box::new(response)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn offer(change: impl FnOnce(&mut Parts)) -> Result<Handshake, u16> {
        let (mut parts, ()) = Request::new(()).into_parts();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat, jmap"),
            ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ] {
            parts.headers.insert(name, HeaderValue::from_static(value));
        }
        change(&mut parts);
        judge(&parts, true).map_err(|refused| refused.status().as_u16())
    }

    fn with(name: &'static str, value: &'static str) -> Result<Handshake, u16> {
        offer(|parts| _ = parts.headers.insert(name, HeaderValue::from_static(value)))
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_by_its_proof() {
        // RFC 6455 §1.3.
        let response = offer(|_| {}).unwrap().response();
        assert_eq!(response.status(), 101);
        let headers = response.headers();
        assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(headers["sec-websocket-protocol"], "jmap");
        assert!(headers["sec-websocket-extensions"].to_str().unwrap().starts_with("permessage"));
    }

    #[test]
    fn http2_needs_no_key() {
        let handshake = offer(|parts| {
            (parts.method, parts.version) = (Method::CONNECT, Version::HTTP_2);
            parts.headers.remove("sec-websocket-key");
            parts.headers.remove("upgrade");
        });
        let response = handshake.unwrap().response();
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("upgrade"));
        assert_eq!(response.headers()["sec-websocket-protocol"], "jmap");
    }

    #[test]
    fn what_is_no_websocket_of_ours_is_told_why() {
        assert_eq!(with("sec-websocket-protocol", "chat, jmapx").unwrap_err(), 400);
        assert_eq!(with("sec-websocket-key", "c2hvcnQ=").unwrap_err(), 400);
        assert_eq!(with("sec-websocket-version", "8").unwrap_err(), 426);
        assert_eq!(with("upgrade", "h2c").unwrap_err(), 426);
        assert_eq!(with("connection", "keep-alive").unwrap_err(), 426);
        assert_eq!(offer(|parts| parts.version = Version::HTTP_10).unwrap_err(), 426);
        assert_eq!(offer(|parts| parts.version = Version::HTTP_2).unwrap_err(), 426);
        assert_eq!(offer(|parts| parts.method = Method::POST).unwrap_err(), 405);
        let without = |name: &'static str| offer(|parts| _ = parts.headers.remove(name));
        assert_eq!(without("sec-websocket-protocol").unwrap_err(), 400);
        assert_eq!(without("sec-websocket-key").unwrap_err(), 400);
        let twice = offer(|parts| {
            let second = HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA==");
            parts.headers.append("sec-websocket-key", second);
        });
        assert_eq!(twice.unwrap_err(), 400);
    }
}
