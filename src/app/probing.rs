//! Joins prober, hub, credentials and upstream.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Uri};

use crate::auth::{Authority, CredentialKey, Principal};
use crate::http::body::BodyError;
use crate::http::decode::decode;
use crate::http::{Body, reply};
use crate::hub::{Hub, ProbeSubject};
use crate::probe::answer::MAX_REPLY_BYTES;
use crate::probe::{Ask, Handle, Lost, Prober, Reply, Subject, Told, Wiring, offered};
use crate::state::fact::AccountKey;
use crate::upstream::{Failure, Probe, Upstream};

/// With whose credential a probe asks.
type Credential = (CredentialKey, Arc<Principal>);

/// Runs the prober on the accounts that the hub watches.
pub(super) async fn run(
    prober: Prober,
    hub: Arc<Hub>,
    authority: Arc<Authority>,
    upstream: Arc<Upstream>,
) {
    let (looked, told) = (Arc::clone(&hub), hub);
    let wiring = Wiring {
        look: move |key: &AccountKey| look(&looked, key),
        ask: move |question: Ask<Credential>| ask(Arc::clone(&upstream), question),
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
        for key in &due.ask {
            prober.request(key);
        }
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

async fn ask(upstream: Arc<Upstream>, question: Ask<Credential>) -> Result<Reply, Lost> {
    let (_, principal) = question.credential;
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = Method::POST;
    request.extensions_mut().insert(Probe);
    *request.uri_mut() = Uri::try_from(&principal.api_path).map_err(|_| Lost::Unreachable)?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, reply::JSON);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(question.body.len()));
    headers.insert(ACCEPT, reply::JSON);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in &upstream.settings().headers {
        headers.insert(name, value.clone());
    }
    principal.credentials.write(headers);
    if !headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(upstream.default_authority())
    {
        headers.insert(HOST, host);
    }
    *request.body_mut() = question.body.into();
    let response = upstream.send(request).await.map_err(|f| lost(&f))?;
    let (parts, body) = response.into_parts();
    let retry_after = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|value| value.trim().parse().ok());
    let body = body.collect_limited(MAX_REPLY_BYTES).await.map_err(|error| lost_body(&error))?;
    let body = decode(&parts.headers, body, MAX_REPLY_BYTES).map_err(|_| Lost::TooLarge)?;
    Ok(Reply { status: parts.status, retry_after: retry_after.map(Duration::from_secs), body })
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

fn tell(hub: &Hub, authority: &Authority, news: &Told<Credential>) {
    match news {
        Told::Sent(key) => hub.probe_sent(key),
        Told::Answered(answers) => {
            hub.probe_answered(&answers.key, &answers.at, &answers.probed());
            let (_, principal) = &answers.credential;
            if answers.session_state.as_ref().is_some_and(|now| *now != principal.session_state) {
                authority.session_changed(principal);
            }
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
}
