//! What upstream is told of the client's side, and how what it says of its own side is put right
//! (RFC 7239; RFC 9110 §10.2.2).

use http::header::HeaderMap;
use jmap_push_proxy::config::Config;

use crate::support::http::{asking, exchange};
use crate::support::rig::Rig;
use crate::support::upstream::{Canned, SESSION};

/// What upstream is sent when a peer, trusted or not, sends these.
async fn sent_on(trusted: bool, headers: &[(&'static str, &'static str)]) -> (HeaderMap, String) {
    let rig = Rig::start(|config| {
        if trusted {
            config.downstream.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        }
    })
    .await;
    let with_headers = |path: &str| {
        let mut request = asking("GET", path, "alice");
        for (name, value) in [("host", "inner.example")].iter().chain(headers) {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        request
    };
    rig.upstream.answer("/x", Canned { status: 200, ..Canned::default() });
    exchange(rig.address, with_headers("/x")).await.unwrap();
    let session = exchange(rig.address, with_headers(SESSION)).await.unwrap();
    let session: serde_json::Value = serde_json::from_slice(session.body()).unwrap();
    let sent = rig.upstream.last("/x").headers;
    rig.end().await;
    (sent, session["apiUrl"].as_str().unwrap().to_owned())
}

fn one<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    assert_eq!(headers.get_all(name).iter().count(), 1, "{name} in {headers:?}");
    headers[name].to_str().unwrap()
}

#[tokio::test]
async fn forwarded_of_a_trusted_proxy_is_believed() {
    let told = ("forwarded", "for=\"[2001:db8::7]:4711\"; Proto=HTTPS; host=\"mail.example:8443\"");
    let (sent, api) = sent_on(true, &[told]).await;
    assert_eq!(api, "https://mail.example:8443/jmap/");
    assert_eq!(one(&sent, "x-forwarded-for"), "2001:db8::7, 127.0.0.1");
    assert_eq!(one(&sent, "x-forwarded-proto"), "https");
    assert_eq!(one(&sent, "x-forwarded-host"), "mail.example:8443");
    let ours = "for=127.0.0.1;host=\"mail.example:8443\";proto=https";
    assert_eq!(one(&sent, "forwarded"), format!("{}, {ours}", told.1));
}

#[tokio::test]
async fn forwarded_wins_over_what_else_a_trusted_proxy_says() {
    let (sent, api) = sent_on(
        true,
        &[
            ("forwarded", "for=198.51.100.9;proto=https;host=mail.example"),
            ("x-forwarded-for", "203.0.113.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "other.example"),
        ],
    )
    .await;
    assert_eq!(api, "https://mail.example/jmap/");
    assert_eq!(one(&sent, "x-forwarded-for"), "198.51.100.9, 127.0.0.1");
    assert_eq!(one(&sent, "x-forwarded-proto"), "https");
    assert_eq!(one(&sent, "x-forwarded-host"), "mail.example");
}

#[tokio::test]
async fn what_forwarded_leaves_out_the_older_headers_say() {
    let (sent, api) = sent_on(
        true,
        &[
            ("forwarded", "for=198.51.100.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "mail.example"),
        ],
    )
    .await;
    assert_eq!(api, "https://mail.example/jmap/");
    assert_eq!(one(&sent, "x-forwarded-for"), "198.51.100.9, 127.0.0.1");
}

#[tokio::test]
async fn the_older_headers_of_a_trusted_proxy_are_told_in_both_ways() {
    let (sent, api) =
        sent_on(true, &[("x-forwarded-for", "198.51.100.9"), ("x-forwarded-proto", "https")]).await;
    assert_eq!(api, "https://inner.example/jmap/");
    assert_eq!(one(&sent, "x-forwarded-for"), "198.51.100.9, 127.0.0.1");
    let both = ["198.51.100.9", "127.0.0.1"]
        .map(|node| format!("for={node};host=\"inner.example\";proto=https"));
    assert_eq!(one(&sent, "forwarded"), both.join(", "));
}

#[tokio::test]
async fn only_what_trusted_proxies_added_is_believed() {
    // The client forged an element; the outer proxy, 127.0.0.9, added the second, the inner the third.
    let told = "for=6.6.6.6;host=evil.example;proto=https, \
                for=198.51.100.9;host=mail.example;proto=https, \
                for=127.0.0.9;host=inner.example;proto=http";
    let (_, api) = sent_on(true, &[("forwarded", told)]).await;
    assert_eq!(api, "https://mail.example/jmap/");
}

#[tokio::test]
async fn a_malformed_forwarded_is_as_good_as_none() {
    for malformed in [
        "for=\"198.51.100.9",
        "proto",
        "for=1.1.1.1;for=2.2.2.2",
        "proto=https;host=mail example",
        "=x",
    ] {
        let headers = [("forwarded", malformed), ("x-forwarded-host", "mail.example")];
        let (sent, api) = sent_on(true, &headers).await;
        assert_eq!(api, "http://mail.example/jmap/", "{malformed}");
        let ours = "for=127.0.0.1;host=\"mail.example\";proto=http";
        assert_eq!(one(&sent, "forwarded"), ours, "{malformed}");
    }
}

#[tokio::test]
async fn a_host_that_is_none_is_not_believed() {
    for (name, value) in [
        ("forwarded", "host=\"evil.example/path?\""),
        ("x-forwarded-host", "evil.example\"/"),
        ("x-forwarded-host", "user@evil.example"),
    ] {
        let (_, api) = sent_on(true, &[(name, value)]).await;
        assert_eq!(api, "http://inner.example/jmap/", "{value}");
    }
}

#[tokio::test]
async fn a_strangers_word_is_replaced() {
    let (sent, api) = sent_on(
        false,
        &[
            ("forwarded", "for=6.6.6.6;proto=https;host=evil.example"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
        ],
    )
    .await;
    assert_eq!(api, "http://inner.example/jmap/");
    assert_eq!(one(&sent, "forwarded"), "for=127.0.0.1;host=\"inner.example\";proto=http");
    assert_eq!(one(&sent, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(one(&sent, "x-forwarded-host"), "inner.example");
}

/// Where a client is led that asks for `http://mail.example/x` and whose answer names `location`.
async fn led(location: String, tweak: impl FnOnce(&mut Config)) -> String {
    let rig = Rig::start(tweak).await;
    let location = location.replace("UPSTREAM", &rig.upstream.address.to_string());
    let headers = vec![("location", &*location.leak())];
    rig.upstream.answer("/x", Canned { status: 302, headers, ..Canned::default() });
    let mut request = asking("GET", "/x", "alice");
    request.headers_mut().insert("host", "mail.example".parse().unwrap());
    let response = exchange(rig.address, request).await.unwrap();
    rig.end().await;
    response.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_redirect_to_upstream_itself_leads_through_us() {
    let public = |config: &mut Config| {
        config.downstream.public_url = Some("https://public.example".parse().unwrap());
    };
    for (location, expected) in [
        ("http://UPSTREAM/y?z#f", "https://public.example/y?z#f"),
        ("HTTP://UPSTREAM", "https://public.example"),
        ("http://UPSTREAM?q", "https://public.example?q"),
        ("//UPSTREAM/y", "https://public.example/y"),
        // Built from the Host that we sent on, by a server that knows nothing of our TLS.
        ("http://mail.example/y", "https://public.example/y"),
        ("http://MAIL.example:80/y", "https://public.example/y"),
    ] {
        assert_eq!(led(location.to_owned(), public).await, expected, "{location}");
    }
}

#[tokio::test]
async fn any_other_redirect_is_left_alone() {
    let public = |config: &mut Config| {
        config.downstream.public_url = Some("https://public.example".parse().unwrap());
    };
    for location in [
        "/y",
        "y?z",
        "?q=http://mail.example/",
        "",
        "https://login.example/?back=http://mail.example/",
        "//login.example/y",
        "http://mail.example.evil/y",
        "http://user@mail.example/y",
        "http://mail.example:8080/y",
        // To where TLS is: led back to us it would come round for ever.
        "https://mail.example/y",
        "mailto:postmaster@mail.example",
    ] {
        assert_eq!(led(location.to_owned(), public).await, location);
    }
}

#[tokio::test]
async fn a_redirect_leads_to_where_the_request_came_in() {
    assert_eq!(led("http://UPSTREAM/y".to_owned(), |_| {}).await, "http://mail.example/y");
    assert_eq!(led("http://mail.example/y".to_owned(), |_| {}).await, "http://mail.example/y");
}
