//! Opens upstream's push for one user (RFC 8620 §7.3, RFC 8887), and judges what upstream answers.

use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use super::ended::{Ended, Farewell, Verdict};
use super::roster::Start;
use super::socket::{self, Socket};
use super::template::expand;
use crate::auth::principal::Place;
use crate::http::Body;
use crate::jmap::url::is_among;
use crate::upstream::{Subscription, Upstream};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What can be listened to, for one user.
#[derive(Debug)]
pub(super) struct Offers {
    /// The path of the event source, filled in.
    event_source: Option<String>,
    /// The path of the WebSocket.
    web_socket: Option<String>,
}

/// What was opened.
#[derive(Debug)]
pub(super) enum Opened {
    /// The event source.
    Stream(Response<Incoming>),
    /// The WebSocket.
    Socket(Socket),
}

/// Where to subscribe for a user.
///
/// # Errors
/// When the user's Session names nothing, or nothing but another server.
pub(super) fn offers(upstream: &Upstream, start: &Start) -> Result<Offers, Ended> {
    let push = &start.principal.push;
    // What clients call us by is upstream's own name, or upstream would not say it.
    let asked = start.principal.credentials.host();
    let ours: Vec<&str> = upstream.authorities().chain(asked).collect();
    let is_ours = |place: &&Place| place.host.as_ref().is_none_or(|host| is_among(&ours, host));
    let path = |place: &Option<Place>| place.as_ref().filter(is_ours).map(|it| it.path.clone());
    let offers = Offers {
        event_source: path(&push.event_source).map(|template| expand(&template)),
        web_socket: path(&push.web_socket),
    };
    if offers.event_source.is_some() || offers.web_socket.is_some() {
        return Ok(offers);
    }
    let elsewhere = [&push.event_source, &push.web_socket].into_iter().flatten();
    let elsewhere = elsewhere.filter_map(|place| place.host.clone()).next();
    Err(elsewhere.map_or(Ended::NotOffered, Ended::Elsewhere))
}

/// Subscribes: to the event source, and where there is none, to the WebSocket.
///
/// # Errors
/// When there is neither, and why.
pub(super) async fn open(
    upstream: &Upstream,
    offers: &Offers,
    start: &Start,
) -> Result<Opened, Farewell> {
    let mut failed = None;
    if let Some(path) = &offers.event_source {
        match open_stream(upstream, path, start).await {
            Err(farewell) if farewell.ended.verdict() == Verdict::NotServed => {
                failed = Some(farewell);
            }
            result => return result.map(Opened::Stream),
        }
    }
    let Some(path) = &offers.web_socket else {
        return Err(failed.unwrap_or(Ended::NotOffered.into()));
    };
    let request = request(upstream, path, start)?;
    let opened = socket::open(upstream, request, (start.place, start.last_id.as_deref())).await;
    opened.map(Opened::Socket).map_err(|farewell| of_both(failed, farewell))
}

/// What two failures come to: an event source that is not served says nothing about a WebSocket that may
/// open later, or to another credential.
fn of_both(event_source: Option<Farewell>, web_socket: Farewell) -> Farewell {
    let is_served = web_socket.ended.verdict() != Verdict::NotServed;
    event_source.filter(|_| !is_served).unwrap_or(web_socket)
}

async fn open_stream(
    upstream: &Upstream,
    path: &str,
    start: &Start,
) -> Result<Response<Incoming>, Farewell> {
    let mut request = request(upstream, path, start)?;
    let headers = request.headers_mut();
    let accept = headers.get(ACCEPT).map_or(EVENT_STREAM, accepting);
    headers.insert(ACCEPT, accept);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(id) = start.last_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert(LAST_EVENT_ID, id);
    }
    let response = upstream.subscribe(request, Subscription(start.place)).await;
    let response = response.map_err(Ended::from)?;
    if response.status() != StatusCode::OK {
        return Err(refusal(response.status().as_u16(), response.headers()));
    }
    if !is_stream(response.headers()) {
        return Err(Ended::NoStream.into());
    }
    Ok(response)
}

/// A request with what authenticates the user, and what the operator adds.
fn request(upstream: &Upstream, path: &str, start: &Start) -> Result<Request<Body>, Ended> {
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = Uri::try_from(path).map_err(|_| Ended::NoStream)?;
    let headers = request.headers_mut();
    for (name, value) in &upstream.settings().headers {
        headers.insert(name, value.clone());
    }
    start.principal.credentials.write(headers);
    if !headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(upstream.default_authority())
    {
        headers.insert(HOST, host);
    }
    Ok(request)
}

/// The operator's `Accept`, by which James tells its versions of JMAP apart, with what we want before
/// it: James reads the parameter up to the end.
fn accepting(wanted: &HeaderValue) -> HeaderValue {
    let both = [EVENT_STREAM.as_bytes(), b", ", wanted.as_bytes()].concat();
    HeaderValue::from_bytes(&both).unwrap_or_else(|_| wanted.clone())
}

/// What a response says that opens nothing.
pub(super) fn refusal(status: u16, headers: &HeaderMap) -> Farewell {
    let ended = match status {
        401 | 403 => Ended::Refused(status),
        408 | 425 | 429 | 500 | 502..=599 => Ended::Trouble(status),
        // Cyrus answers 204 where push is off, and so the HTML Standard has clients give up.
        _ => Ended::NotServed(status),
    };
    Farewell { ended, wait: wait(headers), last_id: None }
}

fn is_stream(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let media_type = text(CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or("");
    let is_plain = text(CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
    is_plain && media_type.trim().eq_ignore_ascii_case("text/event-stream")
}

fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stream_is_told_by_its_type() {
        let is_stream = |value: &'static str| {
            is_stream(&[(CONTENT_TYPE, HeaderValue::from_static(value))].into_iter().collect())
        };
        for stream in ["text/event-stream", "Text/Event-Stream;charset=UTF-8"] {
            assert!(is_stream(stream), "{stream}");
        }
        for other in ["text/html", "application/json", "", "text/event-streams"] {
            assert!(!is_stream(other), "{other}");
        }
    }

    #[test]
    fn a_status_tells_what_may_change_and_what_will_not() {
        let refusal = |status| refusal(status, &HeaderMap::new()).ended;
        for status in [204, 301, 400, 404, 405, 406, 410, 501] {
            assert_eq!(refusal(status), Ended::NotServed(status));
        }
        for status in [429, 500, 502, 503, 504] {
            assert_eq!(refusal(status), Ended::Trouble(status));
        }
        for status in [401, 403] {
            assert_eq!(refusal(status), Ended::Refused(status));
        }
    }

    #[test]
    fn a_websocket_that_may_open_later_outweighs_an_event_source_that_will_not() {
        let none = || Some(Farewell::from(Ended::NotServed(204)));
        for ended in [Ended::Trouble(503), Ended::Refused(401), Ended::Unreachable] {
            assert_eq!(of_both(none(), ended.clone().into()).ended, ended);
            assert_eq!(of_both(None, ended.clone().into()).ended, ended);
        }
        assert_eq!(of_both(none(), Ended::NoStream.into()).ended, Ended::NotServed(204));
    }

    #[test]
    fn the_operators_accept_stands_behind_ours() {
        let james = HeaderValue::from_static("application/json; jmapVersion=rfc-8621");
        let both = "text/event-stream, application/json; jmapVersion=rfc-8621";
        assert_eq!(accepting(&james), both);
    }
}
