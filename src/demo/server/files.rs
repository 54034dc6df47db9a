//! The files of the page, as they are served.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue};

use super::http::{Reply, reply};

const PAGE: &str = include_str!("../page.html");

/// Its part about Web Push.
pub(super) const WEB_PUSH: &str = include_str!("../web_push.js");

/// Its service worker.
pub(super) const WORKER: &str = include_str!("../worker.js");

/// The page talks to its own origin and to nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'self' 'unsafe-inline'; worker-src 'self'; connect-src 'self'; img-src data:; \
     frame-ancestors 'none'";

pub(super) fn page() -> Reply {
    file("text/html; charset=utf-8", PAGE)
}

pub(super) fn script(content: &'static str) -> Reply {
    file("text/javascript; charset=utf-8", content)
}

/// A file that is not to outlive this demo in a browser.
fn file(content_type: &'static str, content: &'static str) -> Reply {
    let mut reply = reply(StatusCode::OK, content_type, Bytes::from_static(content.as_bytes()));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
