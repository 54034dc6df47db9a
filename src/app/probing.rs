//! Joins prober, hub, credentials and upstream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::service::Service;
use crate::auth::{Authority, CredentialKey, Principal};
use crate::clock::Moment;
use crate::http::body::BodyError;
use crate::hub::probes::Reason;
use crate::hub::{Hub, ProbeSubject};
use crate::probe::answer::MAX_REPLY_BYTES;
use crate::probe::{
    Ask, Handle, Lost, Prober, Refusals, Reply, Subject, Told, Why, Wiring, offered,
};
use crate::state::fact::AccountKey;
use crate::upstream::{Asked, Failure, Upstream};

/// With whose credential a probe asks.
type Credential = (CredentialKey, Arc<Principal>);

/// Runs the prober on the accounts that the hub watches.
pub(super) async fn run(
    prober: Prober,
    hub: Arc<Hub>,
    authority: Arc<Authority>,
    upstream: Arc<Upstream>,
    service: Option<Service>,
) {
    let (looked, told) = (Arc::clone(&hub), hub);
    let (h, refusals) = (Arc::clone(&looked), Mutex::default());
    let asker = Asker { upstream, service, refusals, prober: prober.handle(), hub: h };
    let asker = Arc::new(asker);
    let wiring = Wiring {
        look: move |key: &AccountKey| look(&looked, key),
        ask: move |question| Arc::clone(&asker).ask(question),
        tell: move |news: Told<Credential>| tell(&told, &authority, &news),
    };
    prober.run(wiring).await;
}

/// Hands the prober what the hub says is watched and due, for as long as it is polled.
pub(super) async fn feed(hub: Arc<Hub>, prober: Handle) {
    loop {
        let due = hub.probes().take().await;
        due.unwatched.iter().for_each(|key| prober.remove(key));
        due.watched.iter().for_each(|key| prober.watch(key));
        if due.gap {
            prober.gap();
        }
        for (key, heard) in &due.heard {
            prober.heard(key, heard.at, heard.is_published);
        }
        for (key, reason) in &due.ask {
            if hub.can_be_asked_or_presume(key, offered) {
                prober.request(key, why(*reason));
            }
        }
    }
}

fn why(reason: Reason) -> Why {
    match reason {
        Reason::Baseline => Why::Baseline,
        Reason::Hint => Why::Hint,
    }
}

fn look(hub: &Hub, key: &AccountKey) -> Option<(Subject, Credential)> {
    let ProbeSubject { principal, credential, types, delivery_since } =
        hub.probe_subject(key, offered)?;
    let subject = Subject {
        capabilities: Arc::clone(&principal.accounts.get(&key.id)?.capabilities),
        types,
        delivery_since,
        limits: principal.limits,
        principal: principal.id,
    };
    Some((subject, (credential, principal)))
}

/// Sends what probes ask.
struct Asker {
    upstream: Arc<Upstream>,
    service: Option<Service>,
    /// A mutex held for a look or a note.
    refusals: Mutex<Refusals>,
    prober: Handle,
    hub: Arc<Hub>,
}

impl Asker {
    /// Asks with the service's credential if there is one, and else, or if that is refused, with the
    /// subscriber's.
    async fn ask(self: Arc<Self>, question: Ask<Credential>) -> Result<Reply, Lost> {
        let Ask { credential: (_, principal), body, key } = question;
        let Some((service, headers)) = self.service_for(&principal) else {
            if principal.credentials.is_absent() {
                return Ok(self.presume(&key));
            }
            return self.ask_as_user(&principal, &body).await;
        };
        let mut host = HeaderMap::new();
        principal.credentials.write(&mut host);
        let host = host.remove(HOST).map(|host| (HOST, host));
        let reply = post(&self.upstream, &principal.api_path, &body, |all| {
            all.extend(host);
            all.extend(headers);
        });
        let as_service = Reply { is_as_user: false, ..reply.await? };
        if is_served(&as_service) {
            self.refusals().accepted(principal.id);
            service.accepted();
            return Ok(as_service);
        }
        let refused_whole =
            matches!(as_service.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !refused_whole && !as_service.status.is_success() {
            return Ok(as_service);
        }
        if principal.credentials.is_absent() {
            // There is nothing else to ask with.
            if refused_whole {
                self.note_refusal(service, &principal);
                return Ok(self.presume(&key));
            }
            return Ok(as_service);
        }
        self.prober.asks_again();
        let own = self.ask_as_user(&principal, &body).await?;
        // The account may be gone for its user as well.
        if refused_whole || is_served(&own) {
            self.note_refusal(service, &principal);
        }
        Ok(own)
    }

    /// There is no credential that upstream takes: those who are absent are told without it. A refusal, as
    /// far as the prober is concerned.
    fn presume(&self, key: &AccountKey) -> Reply {
        self.hub.presume(key, offered);
        let (status, body) = (StatusCode::FORBIDDEN, Bytes::new());
        Reply { status, retry_after: None, body, is_as_user: false }
    }

    fn note_refusal(&self, service: &Service, user: &Principal) {
        let now = Moment::now();
        tracing::debug!("upstream refuses probe.headers for a user");
        if self.refusals().refused(user.id, now) {
            service.refused(now);
        }
    }

    async fn ask_as_user(&self, principal: &Principal, body: &Bytes) -> Result<Reply, Lost> {
        let write = |all: &mut HeaderMap| principal.credentials.write(all);
        post(&self.upstream, &principal.api_path, body, write).await
    }

    /// The service and the headers to ask with for this user; `None` where the user's own are better.
    fn service_for(&self, user: &Principal) -> Option<(&Service, HeaderMap)> {
        let now = Moment::now();
        let service = self.service.as_ref().filter(|_| !self.refusals().rests(user.id, now))?;
        let headers = service.headers(user, now)?;
        (!is_of_another(&user.username, &headers)).then_some((service, headers))
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether Basic credentials made with this name are somebody else's: a user-id ends at the first
/// colon (RFC 7617 §2).
fn is_of_another(username: &str, headers: &HeaderMap) -> bool {
    let is_basic = |value: &HeaderValue| {
        value.as_bytes().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
    };
    username.contains(':') && headers.values().any(is_basic)
}

/// Whether who asked may see the account: a credential that is taken for somebody else's sees that
/// one's accounts (§3.6.2).
fn is_served(reply: &Reply) -> bool {
    let says = |error: &[u8]| reply.body.windows(error.len()).any(|part| part == error);
    reply.status.is_success() && !says(b"\"accountNotFound\"") && !says(b"\"forbidden\"")
}

async fn post(
    upstream: &Upstream,
    path: &str,
    body: &Bytes,
    authenticate: impl FnOnce(&mut HeaderMap),
) -> Result<Reply, Lost> {
    let asked = upstream.ask(path, body.clone(), MAX_REPLY_BYTES, authenticate).await;
    let Asked { status, headers, body } = asked.map_err(|failure| lost(&failure))?;
    let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|value| value.trim().parse().ok());
    Ok(Reply { status, retry_after: retry_after.map(Duration::from_secs), body, is_as_user: true })
}

fn lost(failure: &Failure) -> Lost {
    match failure {
        Failure::Connect(_)
        | Failure::ConnectTimeout(_)
        | Failure::Full(_)
        | Failure::ForeignRedirect(_) => Lost::Unreachable,
        Failure::Silent(_) | Failure::Stalled(_) => Lost::TimedOut,
        Failure::Body(error) => lost_body(error),
        Failure::Broken(_) | Failure::Downstream(_) | Failure::Unusable(_) => Lost::Closed,
    }
}

fn lost_body(error: &BodyError) -> Lost {
    match error {
        BodyError::TooLarge(_) => Lost::TooLarge,
        BodyError::Silent(_) | BodyError::Slow(_) => Lost::TimedOut,
        BodyError::Peer(_) => Lost::Closed,
    }
}

/// Gives whether the news was published.
fn tell(hub: &Hub, authority: &Authority, news: &Told<Credential>) -> bool {
    match news {
        Told::Sent(key) => hub.probe_sent(key),
        Told::Answered(answers) => {
            let is_published = hub.probe_answered(&answers.key, &answers.at, &answers.probed());
            let (_, principal) = &answers.credential;
            if answers.session_state.as_ref().is_some_and(|now| *now != principal.session_state) {
                authority.session_changed(principal);
            }
            return is_published;
        }
        Told::Unauthorized { credential: (key, _) } => {
            // First, so that none of its streams that comes back at once is let in.
            authority.refused(*key);
            hub.revoke(*key);
        }
        Told::Revalidate { credential: (_, principal), .. } => {
            authority.session_changed(principal);
        }
    }
    false
}
