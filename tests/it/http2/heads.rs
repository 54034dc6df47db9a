//! A head that comes by HTTP/2 keeps the rules of one that comes by HTTP/1.1 (architecture D15;
//! hostile.md A7, X14).

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use crate::support::http2::Http2;
use crate::support::rig::Rig;
use crate::support::upstream::{Canned, Frames};

/// Asks for `uri`, and gives the status and, of a problem, the reason.
async fn asked(rig: &Rig, uri: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut client = Http2::connect(rig.address).await;
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response: Response<_> = client.send_as_is(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, problem["detail"].as_str().unwrap_or_default().to_owned())
}

async fn started() -> Rig {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.answer("/x", Canned { status: 200, ..Canned::default() });
    rig
}

#[tokio::test]
async fn one_that_names_its_host_passes() {
    let rig = started().await;
    for (uri, headers) in [
        ("http://mail.example:8080/x", vec![]),
        ("http://mail.example/x", vec![("host", "MAIL.example")]),
        ("/x", vec![("host", "mail.example")]),
        ("https://[::1]:8443/x", vec![]),
        // Only names that somebody trusts are refused for their `_`.
        ("http://mail.example/x", vec![("x_anything", "1")]),
    ] {
        assert_eq!(asked(&rig, uri, &headers).await, (200, String::new()), "{uri} {headers:?}");
    }
    assert_eq!(rig.upstream.seen()[1].headers["host"], "mail.example");
    assert_eq!(rig.upstream.seen()[2].headers["host"], "mail.example");
    rig.end().await;
}

#[tokio::test]
async fn one_that_breaks_a_rule_is_refused_with_the_reason() {
    let rig = started().await;
    for (uri, headers, status, reason) in [
        ("http://mail.example/x", vec![("host", "other.example")], 400, "Host differs"),
        ("/x", vec![], 400, "must have a Host"),
        ("/x", vec![("host", "a.example"), ("host", "a.example")], 400, "more than once"),
        ("http://a.example/x", vec![("host", "a.example"), ("host", "b.example")], 400, "more"),
        ("/x", vec![("host", "user@mail.example")], 400, "not a host name"),
        ("/x", vec![("host", "")], 400, "not a host name"),
        ("http://user@mail.example/x", vec![], 400, "not a host name"),
        ("http://a,b/x", vec![], 400, "not a host name"),
        ("ftp://mail.example/x", vec![], 400, "neither a path nor an http URI"),
        ("http://mail.example/x\\y", vec![], 400, "neither a path nor an http URI"),
        ("http://mail.example/x", vec![("x_forwarded_for", "6.6.6.6")], 400, "header name"),
        ("http://mail.example/x", vec![("x-forwarded_host", "evil")], 400, "header name"),
        ("http://mail.example/x", vec![("content_length", "5")], 400, "header name"),
        ("http://mail.example/x", vec![("last_event_id", "5")], 400, "header name"),
        ("http://mail.example/x", vec![("expect", "a-pony")], 417, "100-continue"),
        ("http://mail.example/x", vec![("content-length", "0"); 2], 400, "more than once"),
    ] {
        let answer = asked(&rig, uri, &headers).await;
        assert_eq!(answer.0, status, "{uri} {headers:?}: {answer:?}");
        assert!(answer.1.contains(reason), "{uri} {headers:?}: {answer:?}");
    }
    assert!(rig.upstream.seen().is_empty());
    rig.end().await;
}

#[tokio::test]
async fn one_with_too_many_fields_is_refused() {
    let rig = started().await;
    let names: Vec<String> = (0..101).map(|number| format!("x-{number}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let answer = asked(&rig, "http://mail.example/x", &headers).await;
    assert_eq!(answer.0, 431, "{answer:?}");
    rig.end().await;
}

#[tokio::test]
async fn one_whose_cookie_comes_in_crumbs_is_sent_on_with_a_whole_one() {
    let rig = started().await;
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
    assert_eq!(asked(&rig, "http://mail.example/x", &crumbs).await.0, 200);
    let headers = rig.upstream.last("/x").headers;
    let cookies: Vec<_> = headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3; d=4"]);
    rig.end().await;
}

#[tokio::test]
async fn trailers_say_nothing_that_only_a_head_may_say() {
    let rig = started().await;
    let names = ["x-checksum", "x-forwarded-for", "forwarded", "cookie", "x_forwarded_host"];
    let trailers = names.map(|name| (name.parse().unwrap(), "1".parse().unwrap()));
    let body = Frames::of("sent").with_trailers(trailers.into_iter().collect());
    let body = body.map_err(|_| -> Infallible { unreachable!("not broken") });
    let request = Request::post("/x").header("trailer", names.join(", ")).body(body).unwrap();
    let mut client = Http2::connect(rig.address).await;
    assert_eq!(client.exchange(request).await.unwrap().status(), 200);
    let seen = rig.upstream.last("/x");
    assert_eq!(seen.body, b"sent");
    assert_eq!(seen.trailers.keys().collect::<Vec<_>>(), ["x-checksum"]);
    rig.end().await;
}

#[tokio::test]
async fn trace_is_not_served() {
    let rig = started().await;
    let mut client = Http2::connect(rig.address).await;
    let request = Request::builder().method("TRACE").uri("/x").body(Full::<Bytes>::default());
    assert_eq!(client.exchange(request.unwrap()).await.unwrap().status(), 400);
    assert!(rig.upstream.seen().is_empty());
    rig.end().await;
}
