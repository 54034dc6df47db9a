//! The event source (RFC 8620 §7.3; P12, P13, P14, P15): authenticates, subscribes, and hands the stream on.
//!
//! | file | |
//! |---|---|
//! | [`query`] | what the client asks for, within what we grant |
//! | [`encode`] | events as bytes |
//!
//! The response's head is sent with a first comment at once (T-SSE-5), so that nothing between us
//! and the client waits for an event that may be hours away. A first connection waits for the states
//! it starts from, but not for long: a change that follows the head must not be taken for one of them.

pub mod encode;
pub mod query;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version};

use self::query::Query;
use crate::auth::Authority;
use crate::config;
use crate::http::{Body, reply};
use crate::hub::{Hub, TooMany, Wish};
use crate::jmap::id::DataType;
use crate::jmap::{capability, problem::Problem};
use crate::state::types::TypeFilter;
use crate::streams::body::FeedBody;
use crate::streams::detach::Handoff;
use crate::streams::{Engine, Feed, Plan};

/// Longest `Last-Event-ID` looked at; our tokens are shorter (T-SSE-9).
const MOST_ID_BYTES: usize = 4096;

/// The longest a response's head waits for the first probe: far less than any client does.
const MOST_BASELINE_WAIT: Duration = Duration::from_millis(250);

/// Seconds after which a client that was refused for want of room should try again.
const RETRY_SECONDS: u32 = 30;

/// Everything an event source request needs.
#[derive(Clone)]
pub struct EventSources {
    hub: Arc<Hub>,
    authority: Arc<Authority>,
    engine: Arc<Engine>,
    settings: config::EventSource,
    plan: Arc<Plan>,
}

impl EventSources {
    /// Serves streams of `hub`, held by `engine`, to whom `authority` accepts.
    #[must_use]
    pub fn new(
        hub: Arc<Hub>,
        authority: Arc<Authority>,
        engine: Arc<Engine>,
        settings: config::EventSource,
    ) -> Self {
        let config::EventSource { throttle, keep_alive, max_age, .. } = settings;
        let answer_within = Duration::ZERO;
        let plan = Arc::new(Plan { throttle, keep_alive, answer_within, max_age });
        Self { hub, authority, engine, settings, plan }
    }

    /// Answers a request to our event source path, of a client at this address. Parameters are judged first, credentials second,
    /// limits last.
    pub async fn serve(&self, request: &Parts, client: Option<IpAddr>) -> Response<Body> {
        // T-SSE-12.
        if request.method != Method::GET {
            return reply::method_not_allowed("GET");
        }
        let query = request.uri.query().unwrap_or("");
        let query = match Query::parse(query, &self.settings, is_known) {
            Ok(query) => query,
            Err(problem) => return reply::problem(&problem),
        };
        let (credential, principal) =
            match self.authority.authenticate(&request.headers, client).await {
                Ok(known) => known,
                Err(refusal) => return refusal.response(),
            };
        if !self.engine.has_room() {
            let problem = Problem::new(503, "the proxy holds as many streams as it may");
            return reply::problem_retry(&problem, RETRY_SECONDS);
        }
        let codec = match request.version {
            Version::HTTP_11 => &encode::CHUNKED,
            _ => &encode::RAW,
        };
        let filter = query.types.map_or(TypeFilter::All, TypeFilter::only);
        let last_event_id = last_event_id(&request.headers);
        let wish = Wish { filter: &filter, codec, last_event_id };
        let subscriber = self.hub.subscribe(credential, &principal, &wish);
        let subscriber = match subscriber {
            Ok(subscriber) => subscriber,
            Err(TooMany(count)) => {
                let detail = format!("you have {count} live event streams, which is the limit");
                return reply::problem_retry(&Problem::new(429, detail), RETRY_SECONDS);
            }
        };
        let (engine, plan) = (Arc::clone(&self.engine), Arc::clone(&self.plan));
        let mut feed = Feed::new(subscriber, engine, plan, query.ping, query.close_after_state);
        feed.settle(MOST_BASELINE_WAIT).await;
        self.response(feed, request.version)
    }

    /// The response's head, with the stream as its body: to be taken out of hyper on HTTP/1, to stay
    /// in it on HTTP/2.
    fn response(&self, feed: Feed, version: Version) -> Response<Body> {
        let opening = encode::opening(self.engine.retry());
        let mut response = Response::new(Body::Empty);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        // Against whatever buffers or compresses on the way (T-SSE-5).
        let uncached = HeaderValue::from_static("no-cache, no-store, no-transform");
        headers.insert(CACHE_CONTROL, uncached);
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        headers.insert(unbuffered, HeaderValue::from_static("no"));
        if version == Version::HTTP_2 {
            *response.body_mut() = Body::boxed(FeedBody::new(opening, feed));
            response.extensions_mut().insert(self.engine.limits());
        } else {
            // The connection serves nothing else any more.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
            let handoff = Handoff::new(feed);
            *response.body_mut() = Body::boxed(handoff.body(opening));
            response.extensions_mut().insert(handoff);
        }
        response
    }
}

/// Types that `query = strict` accepts: those of the capability table, and `EmailDelivery`.
fn is_known(name: &DataType) -> bool {
    name.as_str() == "EmailDelivery"
        || capability::TYPES.iter().any(|(_, types)| types.contains(&name.as_str()))
}

/// What a reconnecting client says it has been given; one that is too long is not ours, which means
/// that everything current is sent.
fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(HeaderName::from_static("last-event-id"))?;
    let id = id.to_str().ok().filter(|id| id.len() <= MOST_ID_BYTES).unwrap_or("?");
    // An empty one is how browsers say that they have none.
    (!id.is_empty()).then_some(id)
}
