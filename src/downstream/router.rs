//! Which request is whose: the only place that knows our paths. Pure.

use http::{HeaderMap, Method, header};

use crate::auth::browser::Purpose;
use crate::config::{Config, UpstreamPush};
use crate::upstream::Paths;

/// RFC 8620 §2.2.
const WELL_KNOWN: &str = "/.well-known/jmap";

/// Who answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Our event source (§7.3).
    EventSource,
    /// Our WebSocket (RFC 8887).
    WebSocket,
    /// Where tickets are given out and revoked.
    Tickets,
    /// The Session resource (§2), which upstream has at this path.
    Session(String),
    /// The API (§3).
    Api,
    /// Upstream; none of our business.
    Forward,
}

impl Route {
    /// As the log calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::EventSource => "event_source",
            Self::WebSocket => "websocket",
            Self::Tickets => "tickets",
            Self::Session(_) => "session",
            Self::Api => "api",
            Self::Forward => "forward",
        }
    }

    /// What it is for, if the path is one we serve ourselves: `Origin` is then ours to judge, and
    /// credentials may have come in ways that only browsers need.
    #[must_use]
    pub fn purpose(&self) -> Option<Purpose> {
        match self {
            Self::EventSource => Some(Purpose::EventSource),
            Self::WebSocket => Some(Purpose::WebSocket),
            Self::Tickets => Some(Purpose::Ticket),
            Self::Session(_) | Self::Api | Self::Forward => None,
        }
    }
}

/// Our paths.
#[derive(Debug, Clone)]
pub struct Router {
    /// Without a trailing slash; `None` when upstream keeps its own event source.
    event_source: Option<String>,
    /// The same.
    web_socket: Option<String>,
    /// The same; `None` when none are given out.
    tickets: Option<String>,
    session: String,
}

impl Router {
    /// Reads our paths from the settings.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let ours = config.upstream.push != UpstreamPush::Passthrough;
        let bare = |path: &str| path.trim_end_matches('/').to_owned();
        let own = |path: &str| ours.then(|| bare(path));
        Self {
            event_source: own(&config.event_source.path),
            web_socket: own(&config.websocket.path),
            tickets: config.tickets().map(|tickets| bare(&tickets.path)),
            session: config.upstream.session_path.clone(),
        }
    }

    /// Decides by method, path, and what is known of upstream's paths.
    #[must_use]
    pub fn route(&self, method: &Method, path: &str, headers: &HeaderMap, known: &Paths) -> Route {
        let bare = Some(path.strip_suffix('/').unwrap_or(path));
        if self.event_source.as_deref() == bare {
            return Route::EventSource;
        }
        if self.web_socket.as_deref() == bare {
            return Route::WebSocket;
        }
        let below_tickets = self.tickets.as_deref().and_then(|base| path.strip_prefix(base));
        if below_tickets.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Route::Tickets;
        }
        match *method {
            Method::GET | Method::HEAD => {
                if path == WELL_KNOWN || path == self.session {
                    Route::Session(self.session.clone())
                } else if known.is_session(path) || known.is_api(path) {
                    Route::Session(path.to_owned())
                } else {
                    Route::Forward
                }
            }
            Method::POST if known.is_api(path) => Route::Api,
            // Before any Session was seen an API request is known by its type (architecture D5).
            Method::POST if known.is_empty() && is_json(headers) => Route::Api,
            _ => Route::Forward,
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| {
        kind.split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn json() -> HeaderMap {
        HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        )])
    }

    #[test]
    fn our_path_is_ours_with_and_without_slash() {
        let router = Router::new(&Config::default());
        for path in ["/jmap/eventsource/", "/jmap/eventsource"] {
            let route = router.route(&Method::GET, path, &HeaderMap::new(), &Paths::default());
            assert_eq!(route, Route::EventSource);
        }
        let other = router.route(&Method::GET, "/jmap/eventsourcex", &json(), &Paths::default());
        assert_eq!(other, Route::Forward);
    }

    #[test]
    fn tickets_are_given_out_at_a_path_and_revoked_below_it() {
        let router = Router::new(&Config::default());
        let route = |path| router.route(&Method::GET, path, &HeaderMap::new(), &Paths::default());
        for path in ["/jmap/ws/ticket", "/jmap/ws/ticket/", "/jmap/ws/ticket/x"] {
            assert_eq!(route(path), Route::Tickets, "{path}");
        }
        for path in ["/jmap/w", "/jmap/ws/tickets", "/x/jmap/ws/ticket"] {
            assert_eq!(route(path), Route::Forward, "{path}");
        }
        let mut config = Config::default();
        config.auth.tickets = None;
        let router = Router::new(&config);
        let route =
            router.route(&Method::GET, "/jmap/ws/ticket", &HeaderMap::new(), &Paths::default());
        assert_eq!(route, Route::Forward);
    }

    #[test]
    fn upstreams_push_is_left_to_it_when_passed_through() {
        let mut config = Config::default();
        config.upstream.push = UpstreamPush::Passthrough;
        let router = Router::new(&config);
        for path in ["/jmap/eventsource/", "/jmap/ws/ticket"] {
            let route = router.route(&Method::GET, path, &json(), &Paths::default());
            assert_eq!(route, Route::Forward, "{path}");
        }
    }

    #[test]
    fn the_api_is_known_by_its_type_until_a_session_names_its_path() {
        let router = Router::new(&Config::default());
        let known = Paths::default();
        assert_eq!(router.route(&Method::POST, "/x", &json(), &known), Route::Api);
        assert_eq!(router.route(&Method::POST, "/x", &HeaderMap::new(), &known), Route::Forward);
        known.learn("/jmap", "/jmap/");
        assert_eq!(router.route(&Method::POST, "/x", &json(), &known), Route::Forward);
        assert_eq!(router.route(&Method::POST, "/jmap/", &HeaderMap::new(), &known), Route::Api);
    }

    #[test]
    fn the_session_is_found_at_every_place_it_has() {
        let router = Router::new(&Config::default());
        let known = Paths::default();
        let get = |path| router.route(&Method::GET, path, &HeaderMap::new(), &known);
        assert_eq!(get(WELL_KNOWN), Route::Session(WELL_KNOWN.into()));
        assert_eq!(get("/jmap/"), Route::Forward);
        known.learn("/jmap", "/jmap/");
        assert_eq!(get("/jmap"), Route::Session("/jmap".into()));
        assert_eq!(get("/jmap/"), Route::Session("/jmap/".into()));
        assert_eq!(get("/jmap/download/a"), Route::Forward);
    }
}
