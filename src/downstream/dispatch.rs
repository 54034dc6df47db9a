//! From a request to its answer: what every request goes through, then the handler its route names.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, LOCATION, ORIGIN, UPGRADE};
use http::{HeaderValue, Method, Request, Response, Uri};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Level;

use super::cors::Cors;
use super::guard::Handle;
use super::redirect::Redirects;
use super::router::{Route, Router};
use super::upgrade::Upgrade;
use crate::api::Calls;
use crate::auth::Tickets;
use crate::auth::browser::{Browsers, Purpose};
use crate::clock::Moment;
use crate::config::{Config, UpstreamPush};
use crate::drain::Drain;
use crate::event_source::EventSources;
use crate::http::forwarded::{Origin, Peer};
use crate::http::headers::{authority, clean_request, write_via};
use crate::http::{Body, reply};
use crate::jmap::problem::Problem;
use crate::session::Sessions;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;
use crate::websocket::WebSockets;

/// The handlers and what all requests need.
pub struct Dispatch {
    /// The settings.
    pub config: Config,
    /// Which request is whose.
    pub router: Router,
    /// Cross-origin answers.
    pub cors: Cors,
    /// Where upstream's redirects lead.
    pub redirects: Redirects,
    /// The JMAP server.
    pub upstream: Arc<Upstream>,
    /// §2.
    pub sessions: Sessions,
    /// §3.
    pub calls: Arc<Calls>,
    /// §7.3.
    pub event_sources: EventSources,
    /// RFC 8887.
    pub web_sockets: WebSockets,
    /// What only browsers authenticate by.
    pub browsers: Browsers,
    /// Where browsers get what they put into a URL; `None` when off.
    pub tickets: Option<Arc<Tickets>>,
    /// Counts.
    pub metrics: Metrics,
    /// The end.
    pub drain: Drain,
}

/// The connection a request came on.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The peer's address; `None` on a Unix socket.
    pub peer: Option<IpAddr>,
    /// Whether we ended TLS.
    pub tls: bool,
    /// The guard of an HTTP/1 connection, needed to open a tunnel; `None` on HTTP/2.
    pub guard: Option<Handle>,
    /// Its place among all connections.
    pub room: Room,
}

/// A connection's place among all, which goes with whoever has its socket: hyper, a stream, a tunnel.
#[derive(Debug, Clone, Default)]
pub struct Room(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Room {
    /// A place that has been taken.
    #[must_use]
    pub fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// Takes the place along; `None` if somebody has.
    #[must_use]
    pub fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where a request comes from.
#[derive(Clone, Copy)]
struct From<'a> {
    peer: &'a Peer<'a>,
    origin: &'a Origin,
    connection: &'a Connection,
}

impl Dispatch {
    /// A request's body as it comes from hyper.
    pub fn body(&self, incoming: Incoming) -> Body {
        use http_body::Body as _;
        let silence = self.config.downstream.body_timeout;
        if incoming.is_end_stream() { Body::Empty } else { Body::relay(incoming, silence) }
    }

    /// Answers one request.
    pub async fn serve(
        &self,
        mut request: Request<Body>,
        connection: &Connection,
    ) -> Response<Body> {
        self.metrics.requests.inc();
        let host = match self.check(&mut request) {
            Ok(host) => host,
            Err(problem) => return reply::problem(&problem),
        };
        let peer = Peer {
            address: connection.peer,
            tls: connection.tls,
            trusted: &self.config.downstream.trusted_proxies,
        };
        let origin = peer.origin(request.headers(), &host);
        let known = self.upstream.paths();
        let route =
            self.router.route(request.method(), request.uri().path(), request.headers(), known);
        let purpose = route.purpose();
        let ours = purpose.is_some();
        let preflight = self.cors.preflight(request.method(), request.headers(), ours);
        if let Some(response) = preflight {
            return response;
        }
        let page = request.headers().get(ORIGIN).cloned();
        let told = tracing::enabled!(Level::DEBUG)
            .then(|| (request.method().clone(), route.name(), Moment::now()));
        let from = From { peer: &peer, origin: &origin, connection };
        let mut response = match self.admit(purpose, &mut request, &origin).await {
            Ok(()) => self.answer(route, request, &from).await,
            Err(problem) => reply::problem(&problem),
        };
        if let Some((method, route, began)) = told {
            let (status, ms) = (response.status().as_u16(), Moment::now().since(began).as_millis());
            tracing::debug!(route, %method, status, ms, client = ?origin.client, "answered");
        }
        if response.headers().contains_key(LOCATION) {
            let public_origin = self.sessions.public_origin(&origin);
            self.redirects.rewrite(response.headers_mut(), &host, &public_origin);
        }
        self.cors.write(page.as_ref(), response.headers_mut(), ours);
        response
    }

    /// What is wrong with a request whatever it is for; the host it names. The URI becomes a path.
    fn check(&self, request: &mut Request<Body>) -> Result<String, Problem> {
        let mut credentials = request.headers().get_all(AUTHORIZATION).iter();
        if credentials.next().is_some() && credentials.next().is_some() {
            // Two could be read as one by us and as the other by upstream (hostile.md X2).
            return Err(Problem::new(400, "the request has two Authorization headers"));
        }
        let host = authority(request).unwrap_or("").to_owned();
        if let Ok(value) = HeaderValue::from_str(&host)
            && !host.is_empty()
        {
            request.headers_mut().insert(HOST, value);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(Uri::default, Into::into);
        Ok(host)
    }

    /// Judges a request to one of our own paths before it is authenticated.
    async fn admit(
        &self,
        purpose: Option<Purpose>,
        request: &mut Request<Body>,
        origin: &Origin,
    ) -> Result<(), Problem> {
        let Some(purpose) = purpose else { return Ok(()) };
        let our_own = || self.sessions.public_origin(origin);
        let page = self.cors.page(request.headers(), our_own);
        self.browsers.admit(request, purpose, page, origin.client).await
    }

    async fn answer(
        &self,
        route: Route,
        mut request: Request<Body>,
        from: &From<'_>,
    ) -> Response<Body> {
        let From { peer, origin, connection } = *from;
        if matches!(route, Route::EventSource | Route::WebSocket) {
            if !matches!(request.body(), Body::Empty) {
                return reply::problem(&Problem::new(400, "a request for a stream has no body"));
            }
            if route == Route::WebSocket {
                return self.open_web_socket(request, from).await;
            }
            return self.event_sources.serve(&request.into_parts().0, origin.client).await;
        }
        if request.method() == Method::CONNECT {
            return reply::problem(&Problem::new(405, "there is no WebSocket at this path"));
        }
        if let (Route::Tickets, Some(tickets)) = (&route, &self.tickets) {
            return tickets.serve(&request.into_parts().0, origin.client).await;
        }
        let upgrade = self.wants_tunnel(&request, connection);
        let version = request.version();
        let headers = request.headers_mut();
        clean_request(headers);
        peer.write_forwarded(headers, origin);
        if let Err(looped) = write_via(headers, version, &self.config.downstream.via) {
            return reply::problem(&Problem::new(
                508,
                format!("{looped}: check upstream.url, or give each proxy its own downstream.via"),
            ));
        }
        match route {
            Route::Session(mut path) => {
                headers.remove(CONTENT_LENGTH);
                let headers = std::mem::take(headers);
                if let Some(query) = request.uri().query() {
                    path.extend(["?", query]);
                }
                self.sessions.serve(&path, headers, origin).await
            }
            Route::Api => {
                let suffix = self.sessions.suffix(&self.sessions.public_origin(origin));
                self.calls.serve(request, origin.client, suffix).await
            }
            Route::Forward | Route::EventSource | Route::WebSocket | Route::Tickets => {
                match upgrade {
                    Some(guard) => {
                        let open = || match guard.become_opaque() {
                            Ok(()) => Ok(connection.room.take()),
                            Err(why) => Err(Box::new(why.response().map(boxed))),
                        };
                        self.upstream.tunnel(request, &self.drain, open).await
                    }
                    None => self.upstream.forward(request).await,
                }
            }
        }
    }

    async fn open_web_socket(&self, mut request: Request<Body>, from: &From<'_>) -> Response<Body> {
        let on = hyper::upgrade::on(&mut request);
        let suffix = self.sessions.suffix(&self.sessions.public_origin(from.origin));
        let (parts, _) = request.into_parts();
        let opened = match self.web_sockets.open(&parts, from.origin, suffix).await {
            Ok(opened) => opened,
            Err(refused) => return *refused,
        };
        // What comes from now on is no HTTP.
        match from.connection.guard.as_ref().map(Handle::become_opaque) {
            Some(Err(rejection)) => rejection.response().map(boxed),
            Some(Ok(())) | None => Upgrade::response(on, opened),
        }
    }

    /// The guard of a connection whose client asks for a WebSocket that upstream is to serve.
    fn wants_tunnel(&self, request: &Request<Body>, connection: &Connection) -> Option<Handle> {
        let wanted = self.config.upstream.push == UpstreamPush::Passthrough
            && request.method() == Method::GET
            && request
                .headers()
                .get(UPGRADE)
                .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        connection.guard.clone().filter(|_| wanted)
    }
}

/// The guard's small responses as our body type.
pub(super) fn boxed(body: http_body_util::Full<bytes::Bytes>) -> Body {
    use http_body_util::BodyExt as _;
    Body::boxed(body.map_err(|never| match never {}))
}
