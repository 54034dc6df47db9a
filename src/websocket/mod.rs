//! JMAP over WebSocket (RFC 8887): API calls and push on one connection.
//!
//! ```text
//!  GET /jmap/ws/ ─► handshake ─► 101 ─► the socket leaves hyper for `streams`
//!                                                 │ bytes
//!                       wire ◄─► machine ◄─► connection ◄─ StateChange ─ hub
//!                                                 │  ▲
//!                                         Request ▼  │ Response
//!                                              jmap ─► api ─► upstream
//! ```
//!
//! | file | |
//! |---|---|
//! | [`handshake`] | judges and answers the opening handshake |
//! | [`wire`] | RFC 6455 frames and RFC 7692 compression |
//! | [`machine`] | what is done with what comes in |
//! | [`message`] | the messages of RFC 8887 |
//! | [`jmap`] | API requests, on the way of those by HTTP |
//! | [`connection`] | all of it put together, for one connection |
//! | `work` | what is under way on one connection |
//! | [`encode`] | what is pushed, as frames |
//!
//! A client authenticates once, by its handshake; upstream sees its credentials with each request, and
//! is asked about them again while the connection lives (W2).

pub mod connection;
pub mod encode;
pub mod handshake;
pub mod jmap;
pub mod machine;
pub mod message;
pub mod wire;
mod work;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::header::ACCEPT_LANGUAGE;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};

use self::connection::{Connection, Rules};
use self::jmap::{Jmap, Shared, Site};
use crate::api::Calls;
use crate::auth::Authority;
use crate::config::Config;
use crate::http::forwarded::Origin;
use crate::http::{Body, reply};
use crate::hub::{Hub, TooMany, Wish};
use crate::jmap::problem::Problem;
use crate::state::types::TypeFilter;
use crate::streams::{Engine, Feed, Limits, Plan};
use crate::telemetry::metrics::Metrics;

/// Seconds after which a client that was refused for want of room should try again.
const RETRY_SECONDS: u32 = 30;

/// Everything a WebSocket request needs.
#[derive(Clone)]
pub struct WebSockets {
    hub: Arc<Hub>,
    authority: Arc<Authority>,
    engine: Arc<Engine>,
    plan: Arc<Plan>,
    limits: Arc<Limits>,
    rules: Arc<Rules>,
    shared: Arc<Shared>,
    /// Nearly always the next one's, too.
    last_site: Arc<ArcSwapOption<Site>>,
}

/// A WebSocket that is being opened.
pub struct Opened {
    /// Its socket's conversation, once hyper has given the socket up.
    pub connection: Connection<Jmap>,
    /// What bounds it.
    pub limits: Arc<Limits>,
    /// What the client is told.
    pub response: Response<Body>,
}

impl WebSockets {
    /// Serves clients of `hub` that `authority` accepts, their requests by `calls`; `engine` holds
    /// their sockets.
    #[must_use]
    pub fn new(
        config: &Config,
        hub: Arc<Hub>,
        (authority, calls): (Arc<Authority>, Arc<Calls>),
        engine: Arc<Engine>,
        metrics: &Metrics,
    ) -> Self {
        let settings = config.websocket.clone();
        let plan = Arc::new(Plan {
            throttle: settings.throttle,
            keep_alive: settings.ping,
            answer_within: settings.pong_timeout,
            max_age: settings.max_age,
        });
        let limits = Arc::new(Limits {
            write_timeout: settings.write_timeout,
            send_buffer: settings.send_buffer,
            slow_closed: metrics.slow_closed.clone(),
        });
        let (idle, metrics) = (settings.idle, metrics.clone());
        let memory = Arc::clone(calls.memory());
        let rules = Arc::new(Rules { memory, idle, metrics });
        let headers: Vec<(HeaderName, HeaderValue)> = config.upstream.headers.clone();
        let shared =
            Arc::new(Shared { calls, settings, via: config.downstream.via.clone(), headers });
        Self { hub, authority, engine, plan, limits, rules, shared, last_site: Arc::default() }
    }

    /// Judges a request to our WebSocket path: its form first, credentials second, limits last.
    /// `suffix` goes behind each `sessionState`.
    ///
    /// # Errors
    /// The response that refuses it.
    pub async fn open(
        &self,
        request: &Parts,
        origin: &Origin,
        suffix: Arc<str>,
    ) -> Result<Opened, Box<Response<Body>>> {
        let handshake = handshake::judge(request, self.shared.settings.compression)?;
        let authenticated = self.authority.authenticate(&request.headers, origin.client).await;
        let (key, principal) = authenticated.map_err(|refusal| Box::new(refusal.response()))?;
        if !self.engine.has_room() {
            let problem = Problem::new(503, "the proxy holds as many streams as it may");
            return Err(Box::new(reply::problem_retry(&problem, RETRY_SECONDS)));
        }
        let (filter, codec) = (TypeFilter::only([]), encode::codec(handshake.deflate));
        let wish = Wish { filter: &filter, codec, last_event_id: None };
        let subscriber = self.hub.subscribe(key, &principal, &wish).map_err(|TooMany(count)| {
            let detail = format!("you have {count} live streams, which is the limit");
            Box::new(reply::problem_retry(&Problem::new(429, detail), RETRY_SECONDS))
        })?;
        let (engine, plan) = (Arc::clone(&self.engine), Arc::clone(&self.plan));
        let feed = Feed::new(subscriber, engine, plan, None, false);
        let size = self.shared.calls.size_limit(Some(&principal));
        let jmap = Jmap {
            shared: Arc::clone(&self.shared),
            site: self.site(origin, suffix),
            client: origin.client,
            language: request.headers.get(ACCEPT_LANGUAGE).cloned().map(Box::new),
            request_size: u32::try_from(size).unwrap_or(u32::MAX),
        };
        let connection = Connection::new(feed, handshake.deflate, jmap, Arc::clone(&self.rules));
        let limits = Arc::clone(&self.limits);
        Ok(Opened { connection, limits, response: handshake.response() })
    }

    /// The site as others have it, if it is theirs.
    fn site(&self, origin: &Origin, suffix: Arc<str>) -> Arc<Site> {
        let authority = origin.authority.as_str().into();
        let site = Site { scheme: origin.scheme, authority, suffix };
        let last = self.last_site.load();
        if let Some(last) = last.as_ref().filter(|last| ***last == site) {
            return Arc::clone(last);
        }
        let site = Arc::new(site);
        self.last_site.store(Some(Arc::clone(&site)));
        site
    }
}
