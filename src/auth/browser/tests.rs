//! What is taken out of a request, and what it leaves behind.

use http::header::{HOST, ORIGIN};

use super::*;
use crate::config::Config;

fn request(target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn browsers(tweak: impl FnOnce(&mut config::Auth)) -> Browsers {
    let mut auth = Config::default().auth;
    tweak(&mut auth);
    Browsers::new(&auth, None)
}

/// Opens a WebSocket with these subprotocols and headers.
async fn offered(headers: &[(&str, &str)]) -> Result<HeaderMap, u16> {
    let mut request = request("/ws", headers);
    let admitted =
        browsers(|_| {}).admit(&mut request, Purpose::WebSocket, Page::Admitted, None).await;
    admitted.map(|()| request.into_parts().0.headers).map_err(|problem| problem.status)
}

#[tokio::test]
async fn a_token_among_the_subprotocols_becomes_an_authorization() {
    for (before, after) in [
        (&["jmap, bearer.YWJjLmRlZg"][..], Some("jmap")),
        (&["bearer.YWJjLmRlZg,jmap"], Some("jmap")),
        (&["jmap", "bearer.YWJjLmRlZg", "other,more"], Some("jmap, other, more")),
        (&["bearer.YWJjLmRlZg"], None),
    ] {
        let before: Vec<_> =
            before.iter().map(|value| ("sec-websocket-protocol", *value)).collect();
        let headers = offered(&before).await.unwrap();
        assert_eq!(headers[AUTHORIZATION], "Bearer abc.def");
        assert!(headers[AUTHORIZATION].is_sensitive());
        let left: Vec<_> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
        assert_eq!(left, after.into_iter().collect::<Vec<_>>(), "{before:?}");
    }
}

#[tokio::test]
async fn subprotocols_without_a_token_stay_as_they_are() {
    for value in ["jmap", "jmap,  bearerx.YQ", "Bearer.YQ", ""] {
        let headers = offered(&[("sec-websocket-protocol", value)]).await.unwrap();
        assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], value);
        assert!(!headers.contains_key(AUTHORIZATION));
    }
}

#[tokio::test]
async fn a_token_that_is_none_is_refused() {
    // Nothing; not base64url; padded; "a b"; "a,b"; a line feed; 0xFF.
    for token in ["", "a", "!!", "YQ==", "YSBi", "YSxi", "YQo", "_w"] {
        let value = format!("jmap, bearer.{token}");
        assert_eq!(
            offered(&[("sec-websocket-protocol", &value)]).await.unwrap_err(),
            400,
            "{token}"
        );
    }
}

#[tokio::test]
async fn a_token_beside_another_credential_is_refused() {
    let token = ("sec-websocket-protocol", "jmap, bearer.YQ");
    assert_eq!(offered(&[token, ("authorization", "Bearer b")]).await.unwrap_err(), 400);
    assert_eq!(offered(&[token, token]).await.unwrap_err(), 400);
    assert!(offered(&[token, ("cookie", "a=1")]).await.is_ok(), "browsers add those by themselves");
    // And the password of an earlier visit.
    for remembered in ["Basic YTpi", "basic YTpi", "Negotiate x"] {
        let headers = offered(&[token, ("authorization", remembered)]).await.unwrap();
        assert_eq!(headers[AUTHORIZATION], "Bearer a");
    }
}

#[tokio::test]
async fn a_token_is_looked_for_only_where_it_is_wanted() {
    let token = [("sec-websocket-protocol", "jmap, bearer.YQ")];
    let off = browsers(|auth| auth.bearer_subprotocol = false);
    let on = browsers(|_| {});
    for (browsers, purpose) in [(off, Purpose::WebSocket), (on, Purpose::EventSource)] {
        let mut request = request("/ws", &token);
        browsers.admit(&mut request, purpose, Page::Admitted, None).await.unwrap();
        assert_eq!(request.headers().len(), 1, "{purpose:?}");
    }
}

#[tokio::test]
async fn a_foreign_page_is_refused_whatever_it_brings() {
    for headers in [&[][..], &[("cookie", "a=1")], &[("authorization", "Basic YTpi")]] {
        for purpose in [Purpose::EventSource, Purpose::WebSocket, Purpose::Ticket] {
            let mut request = request("/", headers);
            let refused = browsers(|_| {}).admit(&mut request, purpose, Page::Foreign, None).await;
            assert_eq!(refused.unwrap_err().status, 403, "{purpose:?}");
        }
    }
}

#[tokio::test]
async fn only_a_websocket_by_cookie_alone_must_name_its_page() {
    let by_cookie = &[("cookie", "a=1")][..];
    let both = &[("cookie", "a=1"), ("authorization", "Bearer a")][..];
    let with_token = &[("cookie", "a=1"), ("sec-websocket-protocol", "bearer.YQ")][..];
    for (headers, purpose, page, is_admitted) in [
        (by_cookie, Purpose::WebSocket, Page::Unnamed, false),
        (by_cookie, Purpose::WebSocket, Page::Admitted, true),
        (by_cookie, Purpose::EventSource, Page::Unnamed, true),
        (by_cookie, Purpose::Ticket, Page::Unnamed, true),
        (both, Purpose::WebSocket, Page::Unnamed, true),
        (with_token, Purpose::WebSocket, Page::Unnamed, true),
        (&[][..], Purpose::WebSocket, Page::Unnamed, true),
    ] {
        let mut request = request("/", headers);
        let admitted = browsers(|_| {}).admit(&mut request, purpose, page, None).await;
        assert_eq!(admitted.is_ok(), is_admitted, "{headers:?} {purpose:?} {page:?}");
    }
}

#[tokio::test]
async fn cookies_are_dropped_where_they_are_not_to_authenticate() {
    let off = browsers(|auth| auth.cookies = false);
    for purpose in [Purpose::EventSource, Purpose::WebSocket, Purpose::Ticket] {
        let mut request = request("/", &[("cookie", "a=1"), ("host", "a")]);
        off.admit(&mut request, purpose, Page::Unnamed, None).await.unwrap();
        assert_eq!(request.headers().keys().collect::<Vec<_>>(), [HOST], "{purpose:?}");
    }
}

#[test]
fn a_ticket_is_taken_out_of_the_query_and_nothing_else_is() {
    for (before, ticket, after) in [
        ("/es", None, "/es"),
        ("/es?types=*", None, "/es?types=*"),
        ("/es?tickets=a&xticket=b&Ticket=c", None, "/es?tickets=a&xticket=b&Ticket=c"),
        ("/es?ticket=a", Some("a"), "/es"),
        ("/es?ticket", Some(""), "/es"),
        ("/es?types=%2A&ticket=a-_b&&ping=0", Some("a-_b"), "/es?types=%2A&&ping=0"),
        ("/es?ticket=a&types={types}", Some("a"), "/es?types={types}"),
    ] {
        let mut uri: Uri = before.parse().unwrap();
        let taken = take_ticket(&mut uri).unwrap();
        assert_eq!(taken.as_deref().map(String::as_str), ticket, "{before}");
        assert_eq!(uri, after);
    }
    let twice = take_ticket(&mut "/es?ticket=a&ticket=a".parse().unwrap());
    assert_eq!(twice.unwrap_err().status, 400);
}

#[tokio::test]
async fn without_tickets_a_parameter_of_that_name_is_nobodys() {
    let mut request = request("/es?ticket=a", &[(ORIGIN.as_str(), "http://a")]);
    browsers(|_| {}).admit(&mut request, Purpose::EventSource, Page::Admitted, None).await.unwrap();
    assert_eq!(request.uri(), "/es?ticket=a");
}
