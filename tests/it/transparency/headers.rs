//! The golden lists: which headers are sent on, which not, which are added.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::HeaderMap;

use crate::support::http::{asking, exchange};
use crate::support::rig::Rig;
use crate::support::upstream::{Canned, Frames};

/// Everything but the address, which differs from run to run.
fn list(headers: &HeaderMap, address: &str) -> BTreeSet<String> {
    let line = |(name, value): (_, &http::HeaderValue)| {
        format!("{name}: {}", value.to_str().unwrap().replace(address, "HOST"))
    };
    headers.iter().map(|(name, value)| line((name.as_str(), value))).collect()
}

#[tokio::test]
async fn a_request_is_sent_on_with_these_headers() {
    let rig = Rig::start(|_| {}).await;
    rig.upstream.answer("/x", Canned { status: 200, ..Canned::default() });
    let mut request = asking("POST", "/x", "alice");
    *request.body_mut() = http_body_util::Full::new(Bytes::from("abc"));
    for (name, value) in [
        // Sent on as they are.
        ("accept", "*/*"),
        ("accept-encoding", "br"),
        ("cookie", "a=1; b=2"),
        ("content-type", "text/plain"),
        ("user-agent", "Client/1"),
        ("x-anything", "at all"),
        ("origin", "https://webmail.example"),
        ("if-none-match", "\"x\""),
        ("range", "bytes=0-"),
        // Of this connection only.
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("proxy-authorization", "Basic x"),
        ("proxy-connection", "close"),
        // Forged by a stranger.
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-prefix", "/evil"),
        ("x-real-ip", "6.6.6.6"),
        ("via", "1.0 fred"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    exchange(rig.address, request).await.unwrap();
    let sent = list(&rig.upstream.last("/x").headers, &rig.address.to_string());
    let golden = [
        "accept-encoding: br",
        "accept: */*",
        "authorization: Bearer alice",
        "content-length: 3",
        "content-type: text/plain",
        "cookie: a=1; b=2",
        "forwarded: for=127.0.0.1;host=\"HOST\";proto=http",
        "host: HOST",
        "if-none-match: \"x\"",
        "origin: https://webmail.example",
        "range: bytes=0-",
        "user-agent: Client/1",
        "via: 1.0 fred, 1.1 jmap-push-proxy",
        "x-anything: at all",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: HOST",
        "x-forwarded-proto: http",
    ];
    assert_eq!(sent, golden.map(str::to_owned).into());
    rig.end().await;
}

#[tokio::test]
async fn a_response_is_sent_back_with_these_headers() {
    let rig = Rig::start(|_| {}).await;
    let headers = vec![
        ("content-type", "text/plain"),
        ("content-length", "3"),
        ("www-authenticate", "Basic realm=\"x\""),
        ("www-authenticate", "Bearer"),
        ("server", "Cyrus-HTTP"),
        ("strict-transport-security", "max-age=600"),
        ("content-security-policy", "default-src 'none'"),
        ("x-anything", "at all"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        // Ways round the proxy.
        ("alt-svc", "h2=\":8443\""),
        ("upgrade", "h2c"),
        ("connection", "Upgrade, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
    ];
    rig.upstream.answer(
        "/x",
        Canned { status: 200, headers, body: Frames::of("abc"), ..Canned::default() },
    );
    let response = rig.ask("GET", "/x", "alice").await;
    let golden = [
        "content-length: 3",
        "content-security-policy: default-src 'none'",
        "content-type: text/plain",
        "date: Sun, 06 Nov 1994 08:49:37 GMT",
        "server: Cyrus-HTTP",
        "strict-transport-security: max-age=600",
        "www-authenticate: Basic realm=\"x\"",
        "www-authenticate: Bearer",
        "x-anything: at all",
    ];
    assert_eq!(list(response.headers(), "\0"), golden.map(str::to_owned).into());
    rig.end().await;
}
