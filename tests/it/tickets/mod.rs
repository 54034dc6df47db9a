//! Tickets (`com:linagora:params:jmap:ws:ticket`) as a page in a browser uses them: got with
//! `Authorization`, put into the URL of an event source, which the browser itself comes back to.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use jmap_push_proxy::config::secret::Key;
use jmap_push_proxy::config::{Config, Tickets};
use serde_json::Value;

use crate::support::http::{asking, exchange, exchange_by};
use crate::support::rig::{EVENT_SOURCE, Rig};
use crate::support::sse::EventStream;
use crate::support::upstream::{SESSION, account_of};

mod endpoints;
mod fleet;
mod logs;
mod websocket;

/// A page of another origin.
const PAGE: &str = "https://webmail.example";

const TICKETS: &str = "/jmap/ws/ticket";

const ALL: &str = "types=*&closeafter=no&ping=0";

/// A proxy that asks upstream about every credential each time, for pages of [`PAGE`].
async fn started(tweak: impl FnOnce(&mut Config)) -> Rig {
    Rig::start(|config| {
        config.auth.cache = Duration::ZERO;
        config.auth.negative_cache = Duration::ZERO;
        config.cors.origins = vec![PAGE.to_owned()];
        tweak(config);
    })
    .await
}

fn tickets(config: &mut Config) -> &mut Tickets {
    config.auth.tickets.as_mut().unwrap()
}

/// A user's page sends a request.
async fn from_page(rig: &Rig, method: &str, path: &str, user: &str) -> Response<Bytes> {
    let mut request = asking(method, path, user);
    request.headers_mut().insert(header::ORIGIN, PAGE.parse().unwrap());
    exchange(rig.address, request).await.unwrap()
}

/// A user's page gets a ticket.
async fn ticket(rig: &Rig, user: &str) -> String {
    let response = from_page(rig, "POST", TICKETS, user).await;
    assert_eq!(response.status(), 200, "{response:?}");
    let given: Value = serde_json::from_slice(response.body()).unwrap();
    given["value"].as_str().unwrap().to_owned()
}

fn url(ticket: &str) -> String {
    format!("{EVENT_SOURCE}?{ALL}&ticket={ticket}")
}

/// Opens an event source as a browser does for a page.
async fn open(rig: &Rig, ticket: &str, more: &[(&str, &str)]) -> EventStream {
    let mut headers = vec![("Origin", PAGE)];
    headers.extend(more);
    EventStream::open(rig.address, &url(ticket), &headers).await
}

/// The status that opening one is answered by.
async fn status(rig: &Rig, target: &str, headers: &[(&str, &str)]) -> StatusCode {
    let mut request = Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    exchange_by(rig.address, request, async |response| Ok(response.status())).await.unwrap()
}

#[tokio::test]
async fn a_page_of_another_origin_listens_with_a_ticket_and_comes_back_with_it() {
    let rig = started(|_| {}).await;
    let ticket = ticket(&rig, "alice").await;
    let mut stream = open(&rig, &ticket, &[]).await;
    assert_eq!(stream.headers["access-control-allow-origin"], PAGE);
    let first = rig.change("alice", "Email").await;
    stream.told(&account_of("alice"), "Email", &first).await;
    let id = stream.last_id.clone().unwrap();
    drop(stream);
    let missed = rig.change("alice", "Email").await;
    // The same URL, and what a browser adds by itself.
    let mut again = open(&rig, &ticket, &[("Last-Event-ID", &id), ("Cookie", "ambient=1")]).await;
    again.told(&account_of("alice"), "Email", &missed).await;
    rig.end().await;
}

#[tokio::test]
async fn upstream_is_shown_the_credential_and_never_the_ticket() {
    let rig = started(|_| {}).await;
    let ticket = ticket(&rig, "alice").await;
    let asked = rig.upstream.sessions_of("alice");
    open(&rig, &ticket, &[("Cookie", "ambient=1")]).await;
    assert_eq!(rig.upstream.sessions_of("alice"), asked + 1);
    let seen = rig.upstream.last(SESSION);
    assert_eq!(seen.headers[header::AUTHORIZATION], "Bearer alice");
    assert!(!seen.headers.contains_key(header::COOKIE), "the ticket is all that counts");
    for seen in rig.upstream.seen() {
        assert!(!format!("{seen:?}").contains(&ticket), "{seen:?}");
    }
    rig.end().await;
}

#[tokio::test]
async fn a_cookie_is_sealed_as_well() {
    let rig = started(|_| {}).await;
    let mut request = asking("POST", TICKETS, "alice");
    request.headers_mut().insert(header::COOKIE, "session=1".parse().unwrap());
    let response = exchange(rig.address, request).await.unwrap();
    let given: Value = serde_json::from_slice(response.body()).unwrap();
    open(&rig, given["value"].as_str().unwrap(), &[]).await;
    assert_eq!(rig.upstream.last(SESSION).headers[header::COOKIE], "session=1");
    rig.end().await;
}

#[tokio::test]
async fn without_grants_a_ticket_opens_one_stream() {
    let rig = started(|config| tickets(config).grant = Duration::ZERO).await;
    let ticket = ticket(&rig, "alice").await;
    open(&rig, &ticket, &[]).await;
    let mut request = Request::get(url(&ticket)).body(Full::<Bytes>::default()).unwrap();
    request.headers_mut().insert(header::ORIGIN, PAGE.parse().unwrap());
    let refused = exchange(rig.address, request).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(refused.headers()["access-control-allow-origin"], PAGE);
    // RFC 9110 §11.6.1 demands a challenge; for this one no browser asks its user.
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    let problem: Value = serde_json::from_slice(refused.body()).unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("get a new one"), "{problem}");
    rig.end().await;
}

#[tokio::test]
async fn a_grant_ends() {
    let rig = started(|config| {
        tickets(config).grant = Duration::from_millis(300);
        config.limits.streams_per_user = 0;
    })
    .await;
    let ticket = ticket(&rig, "alice").await;
    let began = tokio::time::Instant::now();
    let mut times = 0;
    let last = loop {
        match status(&rig, &url(&ticket), &[]).await {
            StatusCode::OK => times += 1,
            other => break other,
        }
    };
    assert_eq!(last, 401);
    assert!(times > 1 && began.elapsed() >= Duration::from_millis(300), "{times}");
    rig.end().await;
}

#[tokio::test]
async fn a_ticket_that_is_not_used_in_time_opens_nothing() {
    let rig = started(|config| tickets(config).valid = Duration::ZERO).await;
    let ticket = ticket(&rig, "alice").await;
    assert_eq!(status(&rig, &url(&ticket), &[]).await, 401);
    rig.end().await;
}

#[tokio::test]
async fn what_is_no_ticket_opens_nothing() {
    let rig = started(|_| {}).await;
    let good = ticket(&rig, "alice").await;
    for bad in
        ["", "x", "e7321534-b843-45aa-bca7-157f84dca424", good.split_at(1).1, &"A".repeat(8000)]
    {
        assert_eq!(status(&rig, &url(bad), &[]).await, 401, "{bad}");
    }
    assert_eq!(status(&rig, &url(&good), &[]).await, 200);
    rig.end().await;
}

#[tokio::test]
async fn two_credentials_at_once_are_refused_and_use_up_nothing() {
    let rig = started(|config| tickets(config).grant = Duration::ZERO).await;
    let ticket = ticket(&rig, "alice").await;
    let authorization = [("Authorization", "Bearer bob")];
    assert_eq!(status(&rig, &url(&ticket), &authorization).await, 400);
    assert_eq!(status(&rig, &format!("{}&ticket={ticket}", url(&ticket)), &[]).await, 400);
    assert_eq!(status(&rig, &url(&ticket), &[("Origin", "https://other.example")]).await, 403);
    // What a browser remembers of an earlier visit it sends unasked.
    assert_eq!(status(&rig, &url(&ticket), &[("Authorization", "Basic Ym9iOg==")]).await, 200);
    rig.end().await;
}

#[tokio::test]
async fn a_ticket_ends_with_its_credential() {
    let rig = started(|_| {}).await;
    let (used, unused) = (ticket(&rig, "alice").await, ticket(&rig, "alice").await);
    open(&rig, &used, &[]).await;
    rig.upstream.mail(|mail| mail.refuse("alice"));
    for ticket in [used, unused] {
        assert_eq!(status(&rig, &url(&ticket), &[]).await, 401);
    }
    rig.end().await;
}

#[tokio::test]
async fn a_ticket_is_for_the_address_it_was_given_to() {
    for (is_bound, elsewhere) in [(true, 401), (false, 200)] {
        let rig = started(|config| {
            config.downstream.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            if !is_bound {
                tickets(config).bind = jmap_push_proxy::config::TicketBind::None;
            }
        })
        .await;
        let mut request = asking("POST", TICKETS, "alice");
        request.headers_mut().insert("x-forwarded-for", "198.51.100.7".parse().unwrap());
        let response = exchange(rig.address, request).await.unwrap();
        let given: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(given["clientAddress"], "198.51.100.7");
        let url = url(given["value"].as_str().unwrap());
        let theirs = [("X-Forwarded-For", "198.51.100.7")];
        assert_eq!(status(&rig, &url, &[]).await, elsewhere);
        assert_eq!(status(&rig, &url, &theirs).await, 200);
        assert_eq!(status(&rig, &url, &[]).await, elsewhere, "a grant is no different");
        rig.end().await;
    }
}

#[tokio::test]
async fn a_ticket_is_taken_by_every_process_with_its_key() {
    for (key, expected) in [(Some(Key::random()), 200), (None, 401)] {
        let mut rig = started(|config| tickets(config).key = key).await;
        let ticket = ticket(&rig, "alice").await;
        rig.restart().await;
        assert_eq!(status(&rig, &url(&ticket), &[]).await, expected);
        rig.end().await;
    }
}

#[tokio::test]
async fn cookies_authenticate_where_the_operator_lets_them() {
    for (cookies, shown) in [(true, Some("session=1")), (false, None)] {
        let rig = started(|config| config.auth.cookies = cookies).await;
        for target in [format!("{EVENT_SOURCE}?{ALL}"), TICKETS.to_owned()] {
            let method = if target == TICKETS { "POST" } else { "GET" };
            let request = Request::builder().method(method).uri(&target);
            let request = request.header("cookie", "session=1").body(Full::<Bytes>::default());
            exchange(rig.address, request.unwrap()).await.unwrap();
            let seen = rig.upstream.last(SESSION);
            let seen = seen.headers.get(header::COOKIE).map(|cookie| cookie.to_str().unwrap());
            assert_eq!(seen, shown, "{target}");
        }
        rig.end().await;
    }
}
