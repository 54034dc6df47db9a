//! Serves the Session resource (RFC 8620 §2): fetched from upstream with the client's own headers,
//! rewritten so that its URLs lead through us (S1-S6, architecture D6; protocol.md §1.6).
//!
//! `state` carries a short suffix, the fingerprint of what we add, so that it changes when our part
//! does (S4); [`crate::api`] puts the same suffix on the `sessionState` of every API response.
//!
//! A URL is upstream's own if its host is one of `upstream.url`'s, the one the client asked for, or
//! the one of `apiUrl`: API requests come to us only if that is ours (protocol.md §5.1.2).

pub mod rewrite;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA256, digest};
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, ETAG, HOST, HeaderMap,
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderValue, Response, StatusCode};

use self::rewrite::{Edits, Vapid, rewrite};
use crate::auth::Authority;
use crate::config::{Config, PushMode, UpstreamPush};
use crate::http::forwarded::Origin;
use crate::http::headers::clean_response;
use crate::http::{Body, reply};
use crate::jmap::session::Session;
use crate::jmap::url::{authority_of, is_among, path_of};
use crate::push::Push;
use crate::upstream::{Fetched, Upstream};

/// The query of our `eventSourceUrl`: exactly these names (S3, T-SSE-1, T-SSE-3).
const EVENT_SOURCE_QUERY: &str = "?types={types}&closeafter={closeafter}&ping={ping}";

/// Headers that describe the body upstream sent, not the one we send.
const OF_THE_OLD_BODY: [HeaderName; 8] = [
    CONTENT_LENGTH,
    ETAG,
    LAST_MODIFIED,
    ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Requests for the Session, and what we add to it.
pub struct Sessions {
    upstream: Arc<Upstream>,
    authority: Arc<Authority>,
    public_origin: Option<String>,
    event_source_path: String,
    web_socket_path: String,
    tickets_path: Option<String>,
    push: UpstreamPush,
    /// Who owns `PushSubscription`, if that may be us.
    subscriptions: Option<Arc<Push>>,
    /// `push.mode = "off"`: upstream's VAPID is not offered either.
    hides_vapid: bool,
    session_size: usize,
    /// The most that we take as one API request.
    request_memory: usize,
    /// The suffix given last, for which origin and whether with VAPID: nearly always the next one too.
    last_suffix: ArcSwapOption<(Box<str>, bool, Arc<str>)>,
    /// A foreign URL is warned of once,
    warned: AtomicBool,
    /// and so is an API on a host that may be foreign,
    assumed: AtomicBool,
    /// and one that a path of ours hides.
    hidden: AtomicBool,
}

impl Sessions {
    /// Reads what it needs of the settings.
    #[must_use]
    pub fn new(
        config: &Config,
        upstream: Arc<Upstream>,
        authority: Arc<Authority>,
        subscriptions: Option<Arc<Push>>,
    ) -> Self {
        let public = config.downstream.public_url.as_ref();
        Self {
            upstream,
            authority,
            public_origin: public.map(|url| url.to_string().trim_end_matches('/').to_owned()),
            event_source_path: config.event_source.path.clone(),
            web_socket_path: config.websocket.path.clone(),
            tickets_path: config.tickets().map(|tickets| tickets.path.clone()),
            push: config.upstream.push,
            subscriptions,
            hides_vapid: config.push.mode == PushMode::Off,
            session_size: config.limits.session_size,
            request_memory: config.limits.request_memory,
            last_suffix: ArcSwapOption::empty(),
            warned: AtomicBool::new(false),
            assumed: AtomicBool::new(false),
            hidden: AtomicBool::new(false),
        }
    }

    /// Scheme and authority under which a client reaches us.
    #[must_use]
    pub fn public_origin(&self, origin: &Origin) -> String {
        let configured = self.public_origin.clone();
        configured.unwrap_or_else(|| format!("{}://{}", origin.scheme, origin.authority))
    }

    /// What is appended to `state` and `sessionState` for a client at `public_origin`: the same on
    /// every replica that is configured alike.
    #[must_use]
    pub fn suffix(&self, public_origin: &str) -> Arc<str> {
        let vapid = self.subscriptions.as_ref().and_then(|push| push.offered());
        let is_same = |(origin, has_vapid, _): &&(Box<str>, bool, _)| {
            **origin == *public_origin && *has_vapid == vapid.is_some()
        };
        let last = self.last_suffix.load();
        if let Some((_, _, suffix)) = last.as_deref().filter(is_same) {
            return Arc::clone(suffix);
        }
        let suffix: Arc<str> = self.fingerprint(public_origin, self.vapid(vapid)).into();
        let given = (public_origin.into(), vapid.is_some(), Arc::clone(&suffix));
        self.last_suffix.store(Some(Arc::new(given)));
        suffix
    }

    /// Whose VAPID is offered, where our key is `ours` if we own `PushSubscription`.
    fn vapid<'a>(&self, ours: Option<&'a str>) -> Vapid<'a> {
        match ours {
            Some(key) => Vapid::Ours(key),
            None if self.hides_vapid => Vapid::Nobodys,
            None => Vapid::Upstreams,
        }
    }

    fn fingerprint(&self, public_origin: &str, vapid: Vapid<'_>) -> String {
        let Self { event_source_path, web_socket_path, tickets_path, .. } = self;
        let Self { push, request_memory, .. } = self;
        let added = format!(
            "{public_origin}\n{event_source_path}\n{web_socket_path}\n{tickets_path:?}\n{push:?}\n\
             {request_memory}\n{vapid:?}"
        );
        let hash = digest(&SHA256, added.as_bytes());
        hash.as_ref().iter().take(3).fold("-p".to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    /// Answers a request for the Session that upstream has at `path`, query included. `headers` are
    /// those to send on.
    pub async fn serve(
        &self,
        path: &str,
        mut headers: HeaderMap,
        origin: &Origin,
    ) -> Response<Body> {
        // A conditional or partial answer could not be rewritten.
        for name in
            [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE]
        {
            headers.remove(name);
        }
        headers.remove(ACCEPT_ENCODING);
        let fetched = self.upstream.fetch_session(path, &headers, self.session_size).await;
        match fetched {
            Ok(fetched) => {
                // Before the suffix is made, which says whether we offer it.
                let session =
                    (fetched.status == StatusCode::OK).then(|| Session::parse(&fetched.body));
                let vapid = match (&self.subscriptions, &session) {
                    (Some(push), Some(Ok(session))) => {
                        push.offer(session, &fetched.path, &headers).await
                    }
                    _ => None,
                };
                match session {
                    Some(Ok(session)) => self.answer(&headers, fetched, (&session, vapid), origin),
                    _ => self.refuse(&headers, fetched),
                }
            }
            Err(failure) => failure.response(),
        }
    }

    /// Upstream's Session, rewritten.
    fn answer(
        &self,
        asked: &HeaderMap,
        fetched: Fetched,
        (session, vapid): (&Session, Option<&str>),
        origin: &Origin,
    ) -> Response<Body> {
        let public_origin = self.public_origin(origin);
        let suffix = self.suffix(&public_origin);
        let event_source = format!("{}{EVENT_SOURCE_QUERY}", self.event_source_path);
        let asked_for = asked.get(HOST).and_then(|host| host.to_str().ok());
        let named = [asked_for, authority_of(&public_origin), Some(&*origin.authority)];
        let mut authorities: Vec<&str> =
            self.upstream.authorities().chain(named.into_iter().flatten()).collect();
        if let Some(api) = authority_of(&session.api_url) {
            if !is_among(&authorities, api) && !self.assumed.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    host = api,
                    "apiUrl is on a host that upstream.url does not name: it is taken for the same \
                     server, and API requests are sent to upstream.url"
                );
            }
            authorities.push(api);
        }
        let ours = self.push != UpstreamPush::Passthrough;
        if ours {
            self.warn_of_hidden(&path_of(&session.api_url, &fetched.path));
        }
        let edits = Edits {
            public_origin: &public_origin,
            upstream_authorities: &authorities,
            session_path: &fetched.path,
            event_source: ours.then_some(&event_source),
            web_socket: ours.then_some(&self.web_socket_path),
            tickets: self.tickets_path.as_deref(),
            vapid: self.vapid(vapid),
            max_size_request: self.request_memory,
            state_suffix: &suffix,
        };
        let Ok(rewritten) = rewrite(&fetched.body, &edits) else {
            return self.refuse(asked, fetched);
        };
        self.authority.learn(asked, session, &fetched.path);
        if !rewritten.foreign.is_empty() && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                urls = ?rewritten.foreign,
                "the Session names URLs on another host: calls to them pass round the proxy; \
                 if they are the same server, name it in upstream.url"
            );
        }
        let mut response = reply::with_body(StatusCode::OK, reply::JSON, rewritten.body.into());
        let mut headers = fetched.headers;
        clean_response(&mut headers);
        for name in &OF_THE_OLD_BODY {
            headers.remove(name);
        }
        let own = std::mem::replace(response.headers_mut(), headers);
        for (name, value) in own.into_iter().filter_map(|(name, value)| Some((name?, value))) {
            response.headers_mut().insert(name, value);
        }
        // S5.
        let uncached = HeaderValue::from_static("no-cache, no-store, must-revalidate");
        response.headers_mut().insert(CACHE_CONTROL, uncached);
        response
    }

    /// Tells the operator that upstream's API is at one of our paths. Nobody can know that any sooner.
    fn warn_of_hidden(&self, api: &str) {
        let ours = [
            ("event_source.path", Some(&self.event_source_path)),
            ("websocket.path", Some(&self.web_socket_path)),
            ("auth.ticket_path", self.tickets_path.as_ref()),
        ];
        let bare = api.trim_end_matches('/');
        let hides = |(_, path): &(&str, Option<&String>)| {
            path.is_some_and(|path| path.trim_end_matches('/') == bare)
        };
        if let Some((setting, _)) = ours.into_iter().find(hides)
            && !self.hidden.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                setting,
                api,
                "upstream has its API at this path of ours, which hides it: choose another"
            );
        }
    }

    /// Passes on what is no Session: 401 with its challenge, an error, a page.
    fn refuse(&self, asked: &HeaderMap, fetched: Fetched) -> Response<Body> {
        if fetched.status == StatusCode::UNAUTHORIZED
            && let Some(key) = self.authority.key(asked)
        {
            self.authority.refused(key);
        }
        let mut response = Response::new(Body::from(fetched.body));
        *response.status_mut() = fetched.status;
        *response.headers_mut() = fetched.headers;
        clean_response(response.headers_mut());
        response.headers_mut().remove(CONTENT_LENGTH);
        response
    }
}
