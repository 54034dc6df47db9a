//! Every kind of upstream address: HTTP/2 with and without TLS, https with a private authority, a
//! Unix socket. Through each an API request, a stream and its event pass.

use http::Version;
use jmap_push_proxy::config::{Config, UpstreamHttp};

use super::problem;
use crate::support::certificate::Ca;
use crate::support::http::{asking, exchange};
use crate::support::rig::Rig;
use crate::support::upstream::{API, Door, Seen, Upstream, account_of};

/// Goes through all of the proxy once; gives the API request as upstream saw it.
async fn pass(door: Door, tweak: impl FnOnce(&mut Config)) -> Seen {
    let rig = Rig::before(Upstream::behind(door).await, tweak);
    let mut stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    let new = rig.change("alice", "Email").await;
    stream.told(&account_of("alice"), "Email", &new).await;
    let seen = rig.upstream.last(API);
    rig.end().await;
    seen
}

#[tokio::test]
async fn http2_by_prior_knowledge() {
    let seen = pass(Door::Http2, |config| config.upstream.http = UpstreamHttp::Http2).await;
    assert_eq!(seen.version, Version::HTTP_2);
}

#[tokio::test]
async fn tls_with_a_private_authority() {
    let ca = Ca::new();
    let door = Door::Tls(ca.server(&["http/1.1"]));
    let seen = pass(door, |config| config.upstream.ca_file = Some(ca.file().to_owned())).await;
    assert_eq!(seen.version, Version::HTTP_11);
}

#[tokio::test]
async fn http2_where_tls_offers_it() {
    let ca = Ca::new();
    let door = Door::Tls(ca.server(&["h2", "http/1.1"]));
    let seen = pass(door, |config| config.upstream.ca_file = Some(ca.file().to_owned())).await;
    assert_eq!(seen.version, Version::HTTP_2);
}

#[tokio::test]
async fn http1_where_it_is_wanted() {
    let ca = Ca::new();
    let door = Door::Tls(ca.server(&["h2", "http/1.1"]));
    let seen = pass(door, |config| {
        config.upstream.ca_file = Some(ca.file().to_owned());
        config.upstream.http = UpstreamHttp::Http1;
    })
    .await;
    assert_eq!(seen.version, Version::HTTP_11);
}

#[tokio::test]
async fn a_unix_socket() {
    let path = std::env::temp_dir().join(format!("up-{:032x}.sock", rand::random::<u128>()));
    let seen = pass(Door::Unix(path.clone()), |_| {}).await;
    assert_eq!(seen.version, Version::HTTP_11);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_server_of_a_strange_authority_is_not_spoken_to() {
    let (ca, strange) = (Ca::new(), Ca::new());
    let upstream = Upstream::behind(Door::Tls(strange.server(&["http/1.1"]))).await;
    let rig = Rig::before(upstream, |config| config.upstream.ca_file = Some(ca.file().to_owned()));
    let response = rig.ask("GET", "/file", "alice").await;
    assert_eq!(response.status(), 502);
    problem(&response);
    assert!(rig.upstream.seen().is_empty());
    rig.end().await;
}

/// RFC 9113 §8.3.1: the client's name for upstream is `:authority`, and nothing contradicts it.
#[tokio::test]
async fn upstream_is_called_by_the_clients_name_for_it() {
    let ca = Ca::new();
    let file = ca.file().to_owned();
    let doors = [
        (Door::Plain, UpstreamHttp::Auto),
        (Door::Http2, UpstreamHttp::Http2),
        (Door::Tls(ca.server(&["h2"])), UpstreamHttp::Auto),
        (Door::Tls(ca.server(&["h2"])), UpstreamHttp::Http2),
        (Door::Tls(ca.server(&["http/1.1"])), UpstreamHttp::Auto),
    ];
    for (door, http) in doors {
        let rig = Rig::before(Upstream::behind(door).await, |config| {
            (config.upstream.http, config.upstream.ca_file) = (http, Some(file.clone()));
        });
        let mut request = asking("GET", "/file", "alice");
        request.headers_mut().insert("host", "mail.example:8443".parse().unwrap());
        exchange(rig.address, request).await.unwrap();
        let seen = rig.upstream.last("/file");
        let host = seen.headers.get("host").map(|host| host.to_str().unwrap());
        assert_eq!(seen.authority.as_deref().or(host), Some("mail.example:8443"), "{seen:?}");
        assert!(host.is_none_or(|host| host == "mail.example:8443"), "{seen:?}");
        rig.end().await;
    }
}
