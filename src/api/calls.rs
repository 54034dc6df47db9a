//! Serves API requests (RFC 8620 §3): read whole within limits, forwarded byte for byte, the
//! response tapped on its way back.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap,
};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use std::net::IpAddr;
use std::sync::Arc;

use super::Changes;
use super::batch::may_call_own;
use super::caller::{Caller, Written};
use super::memory::{Held, Memory, Unread};
use super::request::without_capabilities;
use super::tap::Tap;
use super::turns::{Turn, Turns};
use crate::auth::{Authority, CredentialKey, Credentials, Principal, Refusal};
use crate::clock::Moment;
use crate::config::{Config, Limits, UpstreamPush};
use crate::http::body::BodyError;
use crate::http::decode::{DecodeError, decode};
use crate::http::headers::clean_response;
use crate::http::{Body, reply};
use crate::hub::Hub;
use crate::jmap::capability;
use crate::jmap::problem::Problem;
use crate::probe::Handle;
use crate::push::{self, Push};
use crate::upstream::{Failure, Upstream};

/// `limit` of §3.6.1.
const MAX_SIZE_REQUEST: &str = "maxSizeRequest";

/// API requests of one user under way where upstream's Session names no `maxConcurrentRequests`: what
/// §2 suggests at least.
const USUAL_CONCURRENCY: u64 = 4;

/// Whom API requests have to do with.
#[derive(Clone)]
pub struct Wiring {
    /// Answers them.
    pub upstream: Arc<Upstream>,
    /// Knows who asks.
    pub authority: Arc<Authority>,
    /// Is told what responses say.
    pub hub: Arc<Hub>,
    /// Is told that upstream answers.
    pub prober: Handle,
    /// Answers calls of `PushSubscription`, if that is ours.
    pub push: Option<Arc<Push>>,
}

/// Everything an API request needs.
pub struct Calls {
    pub(super) wiring: Wiring,
    limits: Limits,
    memory: Arc<Memory>,
    /// Where responses that are needed whole are held, over WebSockets and of batches: apart, for a
    /// client that takes its responses slowly must not keep others from asking.
    pub(super) answers: Memory,
    /// The largest of them.
    pub(super) answer_size: usize,
    turns: Arc<Turns>,
    /// Whether we have capabilities that upstream knows nothing of.
    has_own: bool,
}

/// Who makes a request.
#[derive(Debug)]
struct Asking {
    /// By what they authenticate.
    key: Option<CredentialKey>,
    /// Who that is, as far as is known.
    principal: Option<Arc<Principal>>,
    /// Upstream was asked for this request, or lately.
    is_authenticated: bool,
    client: Option<IpAddr>,
    turn: Option<Turn>,
}

/// What was read of a request.
struct Scanned {
    written: Written,
    /// Its body, decoded, if it calls methods that may be ours, or may call them.
    own: Option<Bytes>,
}

impl Calls {
    /// Reads what it needs of the settings.
    #[must_use]
    pub fn new(wiring: Wiring, config: &Config) -> Self {
        let limits = config.limits.clone();
        let patience = config.downstream.body_timeout;
        let memory = Arc::new(Memory::new(limits.request_memory, patience));
        let answers = Memory::new(config.websocket.memory, patience);
        let has_own = config.upstream.push != UpstreamPush::Passthrough;
        let answer_size = config.websocket.response_size;
        Self { wiring, limits, memory, answers, answer_size, turns: Arc::default(), has_own }
    }

    /// The capabilities that we have added to the Session, and that upstream need not know.
    pub(super) fn own(&self) -> &'static [&'static str] {
        let vapid = self.wiring.push.as_ref().is_some_and(|push| push.offered().is_some());
        match (self.has_own, vapid) {
            (true, true) => capability::OWN,
            (true, false) => &[capability::WEBSOCKET, capability::TICKETS],
            (false, true) => &[capability::VAPID],
            (false, false) => &[],
        }
    }

    /// Where requests are held.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The most bytes of a request of `principal`'s: upstream's `maxSizeRequest` and our own limit.
    #[must_use]
    pub fn size_limit(&self, principal: Option<&Principal>) -> usize {
        let stated = principal.and_then(|principal| principal.limits.max_size_request);
        let limit = stated.and_then(|size| usize::try_from(size).ok());
        limit.unwrap_or(self.limits.request_size).min(self.limits.request_memory)
    }

    /// Answers an API request whose headers are ready to be sent on, of a client at this address.
    /// `suffix` goes behind the response's `sessionState`.
    pub async fn serve(
        &self,
        request: Request<Body>,
        client: Option<IpAddr>,
        suffix: Arc<str>,
    ) -> Response<Body> {
        let authority = &self.wiring.authority;
        let key = authority.key(request.headers());
        let principal = key.and_then(|key| authority.known(key));
        let (parts, body) = request.into_parts();
        let held = match self.read(body, principal.as_deref()).await {
            Ok(held) => held,
            Err(refused) => return *refused,
        };
        let mut asking = Asking { key, principal, is_authenticated: false, client, turn: None };
        // Unpacking is work, which nobody gets us to do unless upstream knows them. Where that cannot be
        // found out, upstream says why.
        let is_packed = parts.headers.contains_key(CONTENT_ENCODING);
        if key.is_some() && asking.principal.is_none() && is_packed && self.wiring.push.is_some() {
            let _ = self.authenticate(&parts.headers, &mut asking).await;
        }
        asking.turn = asking.principal.as_ref().map(|principal| self.turns.count(principal.id));
        self.exchange(parts, held, asking, suffix).await
    }

    /// Answers a request that came whole, over a WebSocket: once its user may have one more under
    /// way, and with the response whole, which is `limit` bytes at most.
    ///
    /// # Errors
    /// [`Unread`], of the response.
    pub async fn exchange_whole(
        &self,
        (parts, held): (Parts, Held),
        (key, principal): (CredentialKey, Arc<Principal>),
        suffix: Arc<str>,
        limit: usize,
    ) -> Result<(StatusCode, Held), Unread> {
        let most = principal.limits.max_concurrent_requests.unwrap_or(USUAL_CONCURRENCY).max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let turn = Some(self.turns.wait(principal.id, most).await);
        let (key, principal) = (Some(key), Some(principal));
        let asking = Asking { key, principal, is_authenticated: true, client: None, turn };
        let response = self.exchange(parts, held, asking, suffix).await;
        let status = response.status();
        Ok((status, self.answers.read(response.into_body(), limit).await?))
    }

    async fn exchange(
        &self,
        mut parts: Parts,
        held: Held,
        mut asking: Asking,
        suffix: Arc<str>,
    ) -> Response<Body> {
        let Held { bytes: mut body, place: _place } = held;
        let scanned = self.scan(&mut parts.headers, &mut body, asking.principal.as_deref());
        let Scanned { written, own } = match scanned {
            Ok(scanned) => scanned,
            Err(refused) => return *refused,
        };
        if let (Some(plain), Some(push)) = (own, &self.wiring.push) {
            let who = match self.authenticate(&parts.headers, &mut asking).await {
                Ok(who) => who,
                Err(refusal) => return refusal.response(),
            };
            if push.answers(&who).await {
                let _turn = asking.turn;
                parts.headers.remove(CONTENT_ENCODING);
                remove_digests(&mut parts.headers);
                // Apart, so that requests of which nothing is ours need no room for it.
                return Box::pin(self.split((parts, &plain, &written), push, &who, &suffix)).await;
            }
        }
        let Asking { key, principal, turn, .. } = asking;
        let awaits = self.wiring.push.as_ref().is_some_and(|push| push.awaits_owners());
        let matters = principal.is_none() && (awaits || written.changes != Changes::Nothing);
        let credentials = matters.then(|| Arc::new(Credentials::from_headers(&parts.headers)));
        let (wiring, sent) = (self.wiring.clone(), Moment::now());
        let caller = Caller {
            wiring,
            key,
            principal,
            credentials,
            written,
            sent,
            known: false,
            _turn: turn,
        };
        let sent = self.send((parts, body), caller, suffix).await;
        sent.unwrap_or_else(|failure| failure.response())
    }

    /// Finds out whether upstream takes who asks for somebody now.
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        asking: &mut Asking,
    ) -> Result<push::Caller, Refusal> {
        if let (true, Some(key), Some(principal)) =
            (asking.is_authenticated, asking.key, &asking.principal)
        {
            return Ok(push::Caller { key, principal: Arc::clone(principal) });
        }
        let authority = &self.wiring.authority;
        let (key, principal) = authority.authenticate(headers, asking.client).await?;
        asking.is_authenticated = true;
        (asking.key, asking.principal) = (Some(key), Some(Arc::clone(&principal)));
        Ok(push::Caller { key, principal })
    }

    /// Sends a request on. The response is tapped on its way back.
    pub(super) async fn send(
        &self,
        (mut parts, body): (Parts, Bytes),
        mut caller: Caller,
        suffix: Arc<str>,
    ) -> Result<Response<Body>, Failure> {
        parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        caller.sent = Moment::now();
        let request = Request::from_parts(parts, Body::from(body));
        let response = self.wiring.upstream.send(request).await?;
        self.answer(response, caller, suffix).await
    }

    /// Reads the body whole: at most upstream's `maxSizeRequest`, within the memory for all.
    async fn read(
        &self,
        body: Body,
        principal: Option<&Principal>,
    ) -> Result<Held, Box<Response<Body>>> {
        let limit = self.size_limit(principal);
        let known = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let read = if known.is_some_and(|length| length > limit) {
            Err(BodyError::TooLarge(limit).into())
        } else {
            self.memory.read(body, limit).await
        };
        read.map_err(|unread| {
            Box::new(match unread {
                Unread::Full => {
                    let problem = Problem::new(503, "too many large requests at once; try again");
                    reply::problem_retry(&problem, 1)
                }
                Unread::Body(BodyError::TooLarge(limit)) => {
                    let detail = format!("the request is larger than {limit} bytes");
                    reply::problem(&Problem::limit(413, MAX_SIZE_REQUEST, detail))
                }
                Unread::Body(error) => Failure::Downstream(error).response(),
            })
        })
    }

    /// What the request may change and whom it calls; decoded for reading only, sent on as it came, but
    /// for capabilities that are ours alone (A5).
    fn scan(
        &self,
        headers: &mut HeaderMap,
        body: &mut Bytes,
        principal: Option<&Principal>,
    ) -> Result<Scanned, Box<Response<Body>>> {
        if principal.is_none() && headers.contains_key(CONTENT_ENCODING) {
            return Ok(Scanned { written: Written::UNREAD, own: None });
        }
        let plain = match decode(headers, body.clone(), self.limits.request_size) {
            Ok(plain) => plain,
            Err(error) => {
                let status = match error {
                    DecodeError::TooLarge(_) => 413,
                    DecodeError::Unknown | DecodeError::Invalid(_) => 415,
                };
                return Err(Box::new(reply::problem(&Problem::new(status, error.to_string()))));
            }
        };
        let request = super::Request::scan(&plain);
        let written = Written::of(request.as_ref());
        let calls_own = self.wiring.push.is_some()
            && request.as_ref().map_or_else(|| may_call_own(&plain), super::Request::calls_own);
        let may_use_own = request.is_some_and(|request| request.may_use_own);
        if may_use_own && let Some(edited) = without_capabilities(&plain, self.own()) {
            headers.remove(CONTENT_ENCODING);
            remove_digests(headers);
            *body = edited.into();
        }
        Ok(Scanned { written, own: calls_own.then_some(plain) })
    }

    /// Sends the response on, tapped if it is one that tells states.
    async fn answer(
        &self,
        mut response: Response<Body>,
        mut caller: Caller,
        suffix: Arc<str>,
    ) -> Result<Response<Body>, Failure> {
        clean_response(response.headers_mut());
        if let (StatusCode::UNAUTHORIZED, Some(key)) = (response.status(), caller.key) {
            self.wiring.authority.refused(key);
        }
        // Refused as a whole, so nothing was written.
        caller.known = response.status().is_client_error();
        if !response.status().is_success() || !is_json(response.headers()) {
            return Ok(response);
        }
        if response.headers().contains_key(CONTENT_ENCODING) {
            response = self.plain(response).await?;
        }
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().remove(ETAG);
        remove_digests(response.headers_mut());
        let report = Box::new(move |verdict| caller.heard(&verdict));
        Ok(response.map(|body| Body::boxed(Tap::new(body, suffix, report))))
    }

    /// Undoes the encoding of an upstream that compresses although it was asked not to: an encoded
    /// `sessionState` could not be given its suffix, and clients would fetch the Session for ever.
    async fn plain(&self, response: Response<Body>) -> Result<Response<Body>, Failure> {
        let (mut parts, body) = response.into_parts();
        let body = body.collect_limited(self.limits.request_memory).await.map_err(Failure::Body)?;
        let body = decode(&parts.headers, body, self.limits.request_memory)
            .map_err(|_| Failure::Unusable("its encoding is unknown or broken"))?;
        parts.headers.remove(CONTENT_ENCODING);
        Ok(Response::from_parts(parts, Body::from(body)))
    }
}

/// Removes what was true of a body before it was edited (RFC 9530, RFC 3230).
fn remove_digests(headers: &mut HeaderMap) {
    for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
        headers.remove(name);
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}
