//! Serves API requests (RFC 8620 §3): read whole within limits, forwarded byte for byte, the
//! response tapped on its way back.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap,
};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use std::sync::Arc;

use super::memory::{Held, Memory, Unread};
use super::request::without_own_capabilities;
use super::tap::Tap;
use super::turns::{Turn, Turns};
use super::{Changes, Verdict, facts};
use crate::auth::{Authority, CredentialKey, Credentials, Principal};
use crate::clock::Moment;
use crate::config::{Config, Limits, UpstreamPush};
use crate::http::body::BodyError;
use crate::http::decode::{DecodeError, decode};
use crate::http::headers::clean_response;
use crate::http::{Body, reply};
use crate::hub::{Hub, Observed, Seen};
use crate::jmap::id::AccountId;
use crate::jmap::problem::Problem;
use crate::probe::{Handle, Passed};
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
}

/// Everything an API request needs.
pub struct Calls {
    wiring: Wiring,
    limits: Limits,
    memory: Arc<Memory>,
    /// Where responses over WebSockets are held: apart, for a client that takes its responses slowly
    /// must not keep others from asking.
    answers: Memory,
    turns: Arc<Turns>,
    /// Whether we have capabilities that upstream knows nothing of.
    has_own: bool,
}

/// Who makes a request.
#[derive(Debug)]
pub struct Asking {
    /// By what they authenticate.
    pub key: Option<CredentialKey>,
    /// Who that is, as far as is known.
    pub principal: Option<Arc<Principal>>,
    turn: Option<Turn>,
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
        Self { wiring, limits, memory, answers, turns: Arc::default(), has_own }
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

    /// Answers an API request whose headers are ready to be sent on. `suffix` goes behind the
    /// response's `sessionState`.
    pub async fn serve(&self, request: Request<Body>, suffix: Arc<str>) -> Response<Body> {
        let authority = &self.wiring.authority;
        let key = authority.key(request.headers());
        let principal = key.and_then(|key| authority.known(key));
        let (parts, body) = request.into_parts();
        let held = match self.read(body, principal.as_deref()).await {
            Ok(held) => held,
            Err(refused) => return *refused,
        };
        let turn = principal.as_ref().map(|principal| self.turns.count(principal.id));
        self.exchange(parts, held, Asking { key, principal, turn }, suffix).await
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
        let asking = Asking { key: Some(key), principal: Some(principal), turn };
        let response = self.exchange(parts, held, asking, suffix).await;
        let status = response.status();
        Ok((status, self.answers.read(response.into_body(), limit).await?))
    }

    async fn exchange(
        &self,
        mut parts: Parts,
        held: Held,
        asking: Asking,
        suffix: Arc<str>,
    ) -> Response<Body> {
        let Held { bytes: mut body, place: _place } = held;
        let Asking { key, principal, turn } = asking;
        let written = match self.scan(&mut parts.headers, &mut body, principal.as_deref()) {
            Ok(written) => written,
            Err(refused) => return *refused,
        };
        parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let is_stranger = principal.is_none() && written.changes != Changes::Nothing;
        let credentials = is_stranger.then(|| Arc::new(Credentials::from_headers(&parts.headers)));
        let caller = Caller {
            wiring: self.wiring.clone(),
            key,
            principal,
            credentials,
            written,
            sent: Moment::now(),
            known: false,
            _turn: turn,
        };
        let request = Request::from_parts(parts, Body::from(body));
        match self.wiring.upstream.send(request).await {
            Ok(response) => self.answer(response, caller, suffix).await,
            Err(failure) => failure.response(),
        }
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

    /// Which accounts the request may change; decoded for reading only, sent on as it came, but for
    /// capabilities that are ours alone (A5).
    fn scan(
        &self,
        headers: &mut HeaderMap,
        body: &mut Bytes,
        principal: Option<&Principal>,
    ) -> Result<Written, Box<Response<Body>>> {
        if principal.is_none() && headers.contains_key(CONTENT_ENCODING) {
            // Unpacking is work, which nobody gets us to do unless upstream knows them.
            return Ok(Written::UNREAD);
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
        // What cannot be read here upstream may read all the same.
        let Some(request) = super::Request::scan(&plain) else { return Ok(Written::UNREAD) };
        let written = Written { changes: request.changes(), told: request.tells_states() };
        if self.has_own
            && request.may_use_own
            && let Some(edited) = without_own_capabilities(&plain)
        {
            headers.remove(CONTENT_ENCODING);
            remove_digests(headers);
            *body = edited.into();
        }
        Ok(written)
    }

    /// Sends the response on, tapped if it is one that tells states.
    async fn answer(
        &self,
        mut response: Response<Body>,
        mut caller: Caller,
        suffix: Arc<str>,
    ) -> Response<Body> {
        clean_response(response.headers_mut());
        if let (StatusCode::UNAUTHORIZED, Some(key)) = (response.status(), caller.key) {
            self.wiring.authority.refused(key);
        }
        // Refused as a whole, so nothing was written.
        caller.known = response.status().is_client_error();
        if !response.status().is_success() || !is_json(response.headers()) {
            return response;
        }
        if response.headers().contains_key(CONTENT_ENCODING) {
            response = match self.plain(response).await {
                Ok(response) => response,
                Err(failure) => return failure.response(),
            };
        }
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().remove(ETAG);
        remove_digests(response.headers_mut());
        let report = Box::new(move |verdict| caller.heard(&verdict));
        response.map(|body| Body::boxed(Tap::new(body, suffix, report)))
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

/// What a request may have written.
struct Written {
    changes: Changes,
    /// A whole response without errors says to what states that led.
    told: bool,
}

impl Written {
    const UNREAD: Self = Self { changes: Changes::Any, told: false };
}

/// Who made a request, and when: what the response is judged by. Dropped before a response was read,
/// whatever the reason (a failure, a client that went away), nobody knows what was written (A6).
struct Caller {
    wiring: Wiring,
    key: Option<CredentialKey>,
    principal: Option<Arc<Principal>>,
    /// For a caller of whom nothing is known, where it may come to matter who it is.
    credentials: Option<Arc<Credentials>>,
    written: Written,
    sent: Moment,
    /// It is known what was written, or that nothing was.
    known: bool,
    _turn: Option<Turn>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        let changes = std::mem::replace(&mut self.written.changes, Changes::Nothing);
        if self.known || changes == Changes::Nothing {
            return;
        }
        let hub = Arc::clone(&self.wiring.hub);
        if let Some(principal) = &self.principal {
            return hub.unknown(principal, &concerned(changes, principal));
        }
        let (Some(key), Some(credentials)) = (self.key, self.credentials.take()) else { return };
        // Nobody's word is taken for what accounts they may write to.
        self.wiring.authority.introduce(key, credentials, move |principal| {
            let mut accounts = concerned(changes, principal);
            accounts.retain(|account| principal.accounts.contains_key(account));
            hub.unknown(principal, &accounts);
        });
    }
}

/// The accounts that a request of `principal`'s may have changed.
fn concerned(changes: Changes, principal: &Principal) -> Vec<AccountId> {
    match changes {
        Changes::Nothing => Vec::new(),
        Changes::Accounts(accounts) => accounts,
        Changes::Any => principal.accounts.keys().cloned().collect(),
    }
}

impl Caller {
    /// The response was read.
    fn heard(mut self, verdict: &Verdict) {
        let Wiring { authority, hub, prober, .. } = &self.wiring;
        let (observed, certain) = match verdict {
            Verdict::Complete(observed) => (observed, true),
            Verdict::Unknown(observed) => (observed, false),
        };
        let seen = Seen {
            // What was read beside a doubt is good for a hint.
            who: self.principal.as_ref().filter(|_| certain),
            sent: self.sent,
            received: Moment::now(),
        };
        for (account, facts) in facts(&observed.responses) {
            let Observed { key, is_fact, is_news } = hub.observe(seen, &account, &facts);
            let passed = Passed {
                sent: seen.sent,
                received: seen.received,
                is_fact,
                has_written: self.written.changes.concern(&account),
                is_news,
            };
            prober.upstream_answered(&key, facts.iter().map(|fact| &fact.data_type), &passed);
        }
        if let (Some(principal), Some(state)) = (&self.principal, &observed.session_state)
            && principal.session_state != state.as_str()
        {
            authority.session_changed(principal);
        }
        let doubtful = observed.errors.iter().any(super::MethodError::may_have_changed);
        self.known = certain && !doubtful && self.written.told;
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
