//! Cross-origin answers on real responses (Fetch standard; hostile.md X16).

use bytes::Bytes;
use http::{Response, header};
use jmap_push_proxy::config::CorsMode;
use serde_json::json;

use crate::support::http::{asking, exchange};
use crate::support::rig::{EVENT_SOURCE, Rig, call};
use crate::support::sse::EventStream;
use crate::support::upstream::{Canned, SESSION};

const WEBMAIL: &str = "https://webmail.example";

async fn started(mode: CorsMode) -> Rig {
    let rig = Rig::start(|config| {
        config.cors.mode = mode;
        config.cors.origins = vec![WEBMAIL.to_owned()];
    })
    .await;
    let headers = vec![
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "X-Of-Upstream"),
        ("vary", "Accept"),
    ];
    rig.upstream.answer("/x", Canned { status: 200, headers, ..Canned::default() });
    rig
}

/// Answers to a page at `origin`: a Session, an API call, something of upstream's, a refusal.
async fn answers(rig: &Rig, origin: &str) -> Vec<Response<Bytes>> {
    let requests = [
        asking("GET", SESSION, "alice"),
        call("alice", &json!([["Core/echo", {}, "0"]])),
        asking("GET", "/x", "alice"),
        asking("GET", SESSION, "nobody"),
        asking("GET", &format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=bad"), "alice"),
    ];
    let mut answers = Vec::new();
    for mut request in requests {
        request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        answers.push(exchange(rig.address, request).await.unwrap());
    }
    answers
}

fn varies_by_origin(response: &Response<Bytes>) -> bool {
    response.headers().get_all("vary").iter().any(|vary| vary == "Origin")
}

#[tokio::test]
async fn a_listed_origin_may_read_every_answer() {
    let rig = started(CorsMode::Own).await;
    for answer in answers(&rig, WEBMAIL).await {
        let headers = answer.headers();
        let origins: Vec<_> = headers.get_all("access-control-allow-origin").iter().collect();
        assert_eq!(origins, [WEBMAIL], "{answer:?}");
        let exposed = headers["access-control-expose-headers"].to_str().unwrap();
        assert!(exposed.contains("WWW-Authenticate") && !exposed.contains("X-Of-Upstream"));
        assert!(varies_by_origin(&answer), "{answer:?}");
    }
    rig.end().await;
}

#[tokio::test]
async fn any_other_origin_may_read_none() {
    let rig = started(CorsMode::Own).await;
    for origin in ["https://other.example", "null", "https://webmail.example.evil"] {
        for answer in answers(&rig, origin).await {
            assert!(!answer.headers().contains_key("access-control-allow-origin"), "{answer:?}");
            assert!(varies_by_origin(&answer), "{answer:?}");
        }
    }
    rig.end().await;
}

#[tokio::test]
async fn an_event_stream_may_be_read_by_a_listed_origin() {
    let rig = started(CorsMode::Upstream).await;
    let target = format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=0");
    let headers = [("Authorization", "Bearer alice"), ("Origin", WEBMAIL)];
    let stream = EventStream::open(rig.address, &target, &headers).await;
    assert_eq!(stream.headers["access-control-allow-origin"], WEBMAIL);
    rig.end().await;
}

/// Whatever the credential: a browser sends the one it has cached from any page.
#[tokio::test]
async fn a_page_of_another_origin_opens_no_stream() {
    let rig = started(CorsMode::Own).await;
    let target = format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=0");
    let own = format!("http://{}", rig.address);
    EventStream::open(rig.address, &target, &[("Authorization", "Bearer alice"), ("Origin", &own)])
        .await;
    for page in ["https://other.example", "null"] {
        let mut request = asking("GET", &target, "alice");
        request.headers_mut().insert(header::ORIGIN, page.parse().unwrap());
        let answer = exchange(rig.address, request).await.unwrap();
        assert_eq!(answer.status(), 403, "{page}");
        assert!(varies_by_origin(&answer));
    }
    rig.end().await;
}

/// An image or a link has no `Origin`, but brings cookies and remembered passwords: without this the
/// images of one page would take all streams that a user may have.
#[tokio::test]
async fn an_image_in_a_page_of_another_site_opens_no_stream() {
    let rig = started(CorsMode::Own).await;
    let target = format!("{EVENT_SOURCE}?types=*&closeafter=no&ping=0");
    for site in ["cross-site", "same-site"] {
        let mut request = asking("GET", &target, "alice");
        request.headers_mut().insert("sec-fetch-site", site.parse().unwrap());
        assert_eq!(exchange(rig.address, request).await.unwrap().status(), 403, "{site}");
    }
    for headers in [&[("Sec-Fetch-Site", "same-origin")][..], &[("Sec-Fetch-Site", "none")]] {
        let headers = [headers, &[("Authorization", "Bearer alice")]].concat();
        EventStream::open(rig.address, &target, &headers).await;
    }
    // A listed page says both.
    let listed =
        [("Authorization", "Bearer alice"), ("Origin", WEBMAIL), ("Sec-Fetch-Site", "cross-site")];
    EventStream::open(rig.address, &target, &listed).await;
    rig.end().await;
}

#[tokio::test]
async fn what_upstream_says_to_other_origins_is_left_alone_when_it_is_to_answer() {
    let rig = started(CorsMode::Upstream).await;
    for origin in [WEBMAIL, "https://other.example"] {
        let mut request = asking("GET", "/x", "alice");
        request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        let answer = exchange(rig.address, request).await.unwrap();
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        assert_eq!(answer.headers()["access-control-expose-headers"], "X-Of-Upstream");
        assert!(!varies_by_origin(&answer));
        // Its preflights, too, are upstream's.
        let mut preflight = asking("OPTIONS", "/x", "alice");
        preflight.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        let method = "GET".parse().unwrap();
        preflight.headers_mut().insert(header::ACCESS_CONTROL_REQUEST_METHOD, method);
        assert_eq!(exchange(rig.address, preflight).await.unwrap().status(), 200);
    }
    assert!(rig.upstream.seen().iter().any(|seen| seen.method == "OPTIONS"));
    rig.end().await;
}
