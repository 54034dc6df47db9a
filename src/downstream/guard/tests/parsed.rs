//! A head gets the same verdict whether it comes as text or parsed, by HTTP/1.1 or HTTP/2.

use http::Request;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use proptest::prelude::*;
use proptest::sample::select;

use super::reference::LIMITS;
use crate::clock::Moment;
use crate::downstream::guard::{Guard, Rejection, judge};

/// What a client may say in either version.
#[derive(Debug, Clone)]
struct Said {
    method: &'static str,
    scheme: &'static str,
    authority: Option<&'static str>,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
}

fn said() -> impl Strategy<Value = Said> {
    let authority =
        select(vec!["a.example", "A.example:80", "b.example", "u@a.example", "a,b", "[::1]"]);
    let path =
        select(vec!["/", "/x?y={z}", "*", "/\\", "/x\"y", "/a|b^c", "/~%20%zz;a=b", "/?a?b"]);
    let header = select(vec![
        ("host", "a.example"),
        ("host", "A.EXAMPLE"),
        ("host", "b.example"),
        ("host", "a.example/x"),
        ("host", ""),
        ("x_forwarded_for", "1"),
        ("x-forwarded_host", "1"),
        ("x-forwarded-host", "1"),
        ("content_type", "1"),
        ("x_other", "1"),
        ("expect", "100-continue"),
        ("expect", "100-Continue, x"),
        ("content-length", "0"),
        ("content-length", "5"),
        ("content-length", "+5"),
        ("content-length", "99999999999999999999"),
    ]);
    let method = select(vec!["GET", "OPTIONS", "TRACE", "POST"]);
    let headers = prop::collection::vec(header, 0..4);
    (method, select(vec!["http", "https", "ftp"]), prop::option::of(authority), path, headers)
        .prop_map(|(method, scheme, authority, path, headers)| Said {
            method,
            scheme,
            authority,
            path,
            headers,
        })
}

/// As the HTTP/2 library would hand it over; `None` when it would not.
fn parsed(said: &Said) -> Option<Request<()>> {
    let mut parts = Parts::default();
    if let Some(authority) = said.authority {
        parts.authority = Some(authority.parse::<Authority>().ok()?);
        parts.scheme = Some(said.scheme.parse::<Scheme>().ok()?);
    }
    parts.path_and_query = Some(said.path.parse::<PathAndQuery>().ok()?);
    let mut request =
        Request::builder().method(said.method).uri(http::Uri::from_parts(parts).ok()?);
    for (name, value) in &said.headers {
        request = request.header(*name, *value);
    }
    request.body(()).ok()
}

/// The same by HTTP/1.1: `:authority` becomes an absolute form, and a `Host` where there is none.
fn as_text(said: &Said) -> Result<usize, Rejection> {
    let Said { method, scheme, authority, path, headers } = said;
    let mut head = match authority {
        Some(authority) if *path != "*" => {
            format!("{method} {scheme}://{authority}{path} HTTP/1.1\r\n")
        }
        _ => format!("{method} {path} HTTP/1.1\r\n"),
    };
    if let Some(authority) = authority
        && !headers.iter().any(|(name, _)| *name == "host")
    {
        head += &format!("host: {authority}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    Guard::new(LIMITS, Moment(0)).inspect(head.as_bytes(), Moment(0))
}

proptest! {
    #[test]
    fn a_parsed_head_gets_the_verdict_of_its_text(said in said()) {
        // `*` has no absolute form to hold `:authority` against `Host` in, nor a scheme.
        let hosts = said.headers.iter().filter(|(name, _)| *name == "host").count();
        prop_assume!(said.path != "*" || said.authority.is_none() || hosts == 0 && said.scheme != "ftp");
        let Some(request) = parsed(&said) else { return Ok(()) };
        let (parsed, text) = (judge(&request, LIMITS.headers), as_text(&said));
        prop_assert_eq!(parsed.is_ok(), text.is_ok(), "{:?}, as text {:?}", parsed, text);
    }
}
