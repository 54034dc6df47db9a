//! What happens to headers on their way through (RFC 9110 §7.6, RFC 7239; hostile.md X14).
//!
//! Everything not named here passes unchanged; the golden list is tests/it/transparency/headers.rs.

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, EXPECT, Entry, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};

use super::forwarded::X_FORWARDED;

/// Headers that speak of one connection only (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authenticate"),
];

/// Headers a client may not have removed by naming them in `Connection`: upstream's picture of who
/// asks depends on them.
const PROTECTED: [&str; 9] = [
    "authorization",
    "cookie",
    "host",
    "content-length",
    "content-type",
    "forwarded",
    "via",
    "origin",
    "expect",
];

/// Headers of credentials.
const SECRET: [HeaderName; 3] = [AUTHORIZATION, COOKIE, SET_COOKIE];

/// Removes what concerns one connection only, including what `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            .filter(|name| !is_protected(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn is_protected(name: &HeaderName) -> bool {
    PROTECTED.contains(&name.as_str()) || name.as_str().starts_with(X_FORWARDED)
}

/// Removes from an upstream response what would mislead the client: hop-by-hop headers, and
/// `Alt-Svc`, which sends clients round the proxy (Cyrus announces its own port with it).
pub fn clean_response(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.remove(http::header::ALT_SVC);
    hide_secrets(headers);
}

/// Marks credentials: no HTTP/2 connection remembers them for compression (RFC 7541 §7.1.3), and no
/// `Debug` shows them. `Proxy-Authorization` goes no further than here.
fn hide_secrets(headers: &mut HeaderMap) {
    for name in &SECRET {
        // Only an entry's values can be changed, and most responses have none of these.
        if let Entry::Occupied(mut values) = headers.entry(name) {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
}

/// Removes from a request what concerns one connection only; keeps `TE: trailers` (RFC 9110 §10.1.4).
pub fn clean_request(headers: &mut HeaderMap) {
    let trailers = headers.get_all(TE).iter().any(|te| te.as_bytes() == b"trailers");
    let announced = headers.remove(TRAILER);
    strip_hop_by_hop(headers);
    hide_secrets(headers);
    // Answered here, once upstream's connection stands (RFC 9110 §10.1.1).
    headers.remove(EXPECT);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    if let Some(announced) = announced {
        headers.insert(TRAILER, announced);
    }
}

/// Makes one `Cookie` of those an HTTP/2 client has split for compression (RFC 9113 §8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let whole = crumbs.fold([first, second].join(&b"; "[..]), |mut whole, crumb| {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb);
        whole
    });
    // Whole values joined by a separator make a value.
    if let Ok(whole) = HeaderValue::from_bytes(&whole) {
        headers.insert(COOKIE, whole);
    }
}

/// Adds `element` to the end of a list header.
pub(super) fn append(headers: &mut HeaderMap, name: HeaderName, element: &str) {
    let mut list = Vec::new();
    for value in headers.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

/// The request came through ourselves already: forwarding it would loop (RFC 9110 §7.6.3, 508).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request has passed this proxy already")]
pub struct Loop;

/// Adds our name to `Via`.
///
/// # Errors
/// [`Loop`] when it is there already.
pub fn write_via(headers: &mut HeaderMap, version: http::Version, name: &str) -> Result<(), Loop> {
    for value in headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok()) {
        let ours = |hop: &str| hop.split_whitespace().nth(1) == Some(name);
        if value.split(',').any(ours) {
            return Err(Loop);
        }
    }
    let version = match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2.0",
        _ => "1.1",
    };
    append(headers, VIA, &format!("{version} {name}"));
    Ok(())
}

/// The authority of a request: `:authority` or absolute form first, else `Host`.
#[must_use]
pub fn authority<B>(request: &http::Request<B>) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    request.headers().get(HOST)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn headers_named_by_connection_go_but_not_those_upstream_relies_on() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Hop, Authorization, X-Forwarded-For"),
            ("x-hop", "1"),
            ("authorization", "Basic x"),
            ("x-forwarded-for", "1.2.3.4"),
        ]);
        clean_request(&mut headers);
        assert!(!headers.contains_key("x-hop") && !headers.contains_key(CONNECTION));
        assert!(headers.contains_key("authorization") && headers.contains_key("x-forwarded-for"));
    }

    #[test]
    fn upstreams_way_round_the_proxy_is_closed() {
        let mut headers =
            map(&[("connection", "Upgrade"), ("upgrade", "h2c"), ("alt-svc", "h2c=\":1\"")]);
        clean_response(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn credentials_are_neither_shown_nor_remembered() {
        let mut headers = map(&[("authorization", "Basic secret"), ("cookie", "a=secret")]);
        clean_request(&mut headers);
        assert!(headers.values().all(HeaderValue::is_sensitive));
        assert!(!format!("{headers:?}").contains("secret"));
        let mut headers = map(&[("set-cookie", "a=secret"), ("x-plain", "shown")]);
        clean_response(&mut headers);
        assert!(headers["set-cookie"].is_sensitive());
        assert!(!headers["x-plain"].is_sensitive());
    }

    #[test]
    fn cookies_in_crumbs_become_one() {
        let mut headers = HeaderMap::new();
        join_cookies(&mut headers);
        assert!(headers.is_empty());
        for crumb in ["a=1", "b=2", "c=3"] {
            headers.append(COOKIE, HeaderValue::from_static(crumb));
        }
        join_cookies(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn a_request_that_passed_us_is_a_loop() {
        let mut headers = map(&[("via", "1.1 front, 1.1 proxy-a (x)")]);
        assert_eq!(write_via(&mut headers, http::Version::HTTP_11, "proxy-a"), Err(Loop));
        assert_eq!(write_via(&mut headers, http::Version::HTTP_2, "proxy-b"), Ok(()));
        assert_eq!(headers[VIA], "1.1 front, 1.1 proxy-a (x), 2.0 proxy-b");
    }
}
