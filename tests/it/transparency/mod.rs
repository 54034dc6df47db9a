//! What passes through unchanged, and the little that does not (RFC 9110 §7.6; architecture D5, D6;
//! hostile.md X2, X14, X16).

mod headers;
mod jmap;
mod session;
mod streaming;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use crate::support::http::{asking, exchange};
use crate::support::redis::free_port;
use crate::support::rig::{Rig, address_of};
use crate::support::upstream::{Canned, Frames};

/// Answers at a path by what is told, asks there with `method`, directly and through the proxy.
async fn both_ways(rig: &Rig, method: &str, body: &[u8], canned: Canned) -> [Response<Bytes>; 2] {
    let path = "/some/path?with=a%20query&&=";
    rig.upstream.answer(path, canned);
    let request = || {
        let mut request = asking(method, path, "alice");
        *request.body_mut() = Full::from(body.to_vec());
        request
    };
    let direct = exchange(rig.upstream.address, request()).await.unwrap();
    let proxied = exchange(rig.address, request()).await.unwrap();
    let seen: Vec<_> = rig.upstream.seen().into_iter().rev().take(2).collect();
    assert_eq!((&seen[0].method, &seen[0].path), (&seen[1].method, &seen[1].path));
    assert_eq!(seen[0].body, seen[1].body);
    [direct, proxied]
}

/// All headers but those of one connection and the date.
fn headers_of(response: &Response<Bytes>) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut headers = BTreeMap::<String, Vec<Vec<u8>>>::new();
    for (name, value) in response.headers() {
        if !["date", "connection", "transfer-encoding"].contains(&name.as_str()) {
            headers.entry(name.to_string()).or_default().push(value.as_bytes().to_vec());
        }
    }
    headers
}

#[tokio::test]
async fn any_method_passes_with_its_body() {
    let rig = Rig::start(|_| {}).await;
    let body: Vec<u8> = (0..=255).collect();
    for method in
        ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "M-SEARCH", "x"]
    {
        let sent: &[u8] = if method == "GET" { b"" } else { &body };
        let canned = Canned { status: 200, body: Frames::of(body.clone()), ..Canned::default() };
        let [direct, proxied] = both_ways(&rig, method, sent, canned).await;
        assert_eq!(direct.body(), proxied.body(), "{method}");
        assert_eq!(proxied.body(), &body, "{method}");
    }
    rig.end().await;
}

#[tokio::test]
async fn any_status_passes_with_its_headers_and_body() {
    let rig = Rig::start(|_| {}).await;
    for status in [200, 201, 203, 204, 206, 207, 304, 404, 409, 418, 451, 500, 503, 599, 799] {
        let body = if matches!(status, 204 | 304) { "" } else { "as\r\nit\0is\u{ff}" };
        let headers = vec![
            ("x-list", "one"),
            ("x-list", "two, three"),
            ("set-cookie", "a=1; Path=/"),
            ("set-cookie", "b=2"),
            ("etag", "W/\"x\""),
            ("cache-control", "private"),
            ("content-type", "text/x-odd; charset=\"é\""),
            ("location", "http://elsewhere.example/"),
            ("retry-after", "7"),
        ];
        let canned = Canned { status, headers, body: Frames::of(body), ..Canned::default() };
        let [direct, proxied] = both_ways(&rig, "GET", b"", canned).await;
        assert_eq!(direct.status(), proxied.status());
        assert_eq!(headers_of(&direct), headers_of(&proxied), "{status}");
        assert_eq!(direct.body(), proxied.body(), "{status}");
    }
    rig.end().await;
}

#[tokio::test]
async fn a_head_request_is_told_the_length_and_given_no_body() {
    let rig = Rig::start(|_| {}).await;
    let headers = vec![("content-length", "12345")];
    let canned = Canned { status: 200, headers, ..Canned::default() };
    let [direct, proxied] = both_ways(&rig, "HEAD", b"", canned).await;
    assert_eq!(headers_of(&direct), headers_of(&proxied));
    assert_eq!(proxied.headers()["content-length"], "12345");
    rig.end().await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_problem_at_once() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let rig = Rig::start(|config| config.upstream.addresses = vec![address_of(nobody)]).await;
    let began = tokio::time::Instant::now();
    for path in ["/", "/.well-known/jmap", "/jmap/eventsource/?types=*&closeafter=no&ping=0"] {
        let response = rig.ask("GET", path, "alice").await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.headers().contains_key("retry-after"));
    }
    assert!(began.elapsed() < rig.config.upstream.connect_timeout);
    rig.end().await;
}

#[tokio::test]
async fn a_request_that_comes_round_again_is_a_loop() {
    let rig = Rig::start(|_| {}).await;
    let mut request: Request<_> = asking("GET", "/", "alice");
    let via = format!("1.1 front, 1.1 {}", rig.config.downstream.via);
    request.headers_mut().insert("via", via.parse().unwrap());
    let response = exchange(rig.address, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::LOOP_DETECTED);
    assert!(rig.upstream.seen().is_empty());
    rig.end().await;
}

#[tokio::test]
async fn an_upstream_that_is_the_proxy_itself_is_a_loop() {
    let mut rig = Rig::start(|_| {}).await;
    let port = SocketAddr::from(([127, 0, 0, 1], free_port()));
    rig.config.downstream.listen = vec![jmap_push_proxy::config::Listen::Tcp(port)];
    rig.config.upstream.addresses = vec![address_of(port)];
    rig.restart().await;
    let response = rig.ask("GET", "/anything", "alice").await;
    assert_eq!(response.status(), StatusCode::LOOP_DETECTED);
    rig.end().await;
}
