//! Asks upstream who a credential is, and remembers the answer (architecture D9; hostile.md X2, L4).
//!
//! Single flight: a thousand streams that come with one credential make one Session fetch, in a task
//! of its own, so that a client that goes away does not fail the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::watch;

use super::credentials::{CredentialKey, Credentials, Keyring};
use super::principal::{CapabilityLists, Principal};
use super::revalidate::Suspects;
use crate::clock::Moment;
use crate::config;
use crate::drain::Drain;
use crate::http::{Body, headers, reply};
use crate::jmap::problem::Problem;
use crate::jmap::session::Session;
use crate::upstream::Upstream;

/// Answers remembered at most. When full: expired ones go, then the answer is not remembered.
const MOST_REMEMBERED: usize = 100_000;

/// How long an answer that is too old to open a stream still tells whose response we are reading.
const KNOWN_FOR: Duration = Duration::from_secs(3600);

/// Why a credential opens nothing.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// Upstream refused it: its status, headers and body, to be passed on.
    Upstream(StatusCode, Box<HeaderMap>, Bytes),
    /// Upstream could not be asked, or answered no Session.
    Unavailable(Problem),
}

impl Refusal {
    /// Whether upstream itself said no, as opposed to nothing.
    #[must_use]
    pub fn is_upstreams(&self) -> bool {
        matches!(self, Self::Upstream(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, ..))
    }

    /// The response for the client: upstream's own where there is one (`WWW-Authenticate` included).
    #[must_use]
    pub fn response(self) -> Response<Body> {
        match self {
            Self::Upstream(status, headers, body) => {
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = status;
                *response.headers_mut() = *headers;
                response.headers_mut().remove(CONTENT_LENGTH);
                headers::clean_response(response.headers_mut());
                response
            }
            Self::Unavailable(problem) => {
                let mut response = reply::problem(&problem);
                response.headers_mut().insert(RETRY_AFTER, 5.into());
                response
            }
        }
    }
}

/// What upstream says of a credential.
pub type Answer = Result<Arc<Principal>, Refusal>;

/// What is known of one credential.
#[derive(Default)]
struct Entry {
    /// Whom upstream took it for, and when it was asked. Only a refusal ends this before its time: an
    /// upstream in trouble (429, 5xx) says nothing about a credential.
    good: Option<(Arc<Principal>, Moment)>,
    /// What upstream said instead, a trouble of its own included, and when.
    bad: Option<(Refusal, Moment)>,
}

#[derive(Default)]
struct Inner {
    known: HashMap<CredentialKey, Entry>,
    asking: HashMap<CredentialKey, watch::Receiver<Option<Answer>>>,
    lists: CapabilityLists,
}

/// The one place that decides who a client is.
pub struct Authority {
    upstream: Arc<Upstream>,
    keyring: Keyring,
    settings: config::Auth,
    session_size: usize,
    drain: Drain,
    suspects: Suspects,
    /// Held for map operations only, never across an await.
    inner: Mutex<Inner>,
}

impl Authority {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(
        upstream: Arc<Upstream>,
        settings: config::Auth,
        session_size: usize,
        drain: Drain,
    ) -> Self {
        let (keyring, inner) = (Keyring::default(), Mutex::default());
        let suspects = Suspects::default();
        Self { upstream, keyring, settings, session_size, drain, suspects, inner }
    }

    /// `[auth]`.
    #[must_use]
    pub fn settings(&self) -> &config::Auth {
        &self.settings
    }

    /// The key of what `headers` authenticate by, `None` when by nothing.
    #[must_use]
    pub fn key(&self, headers: &HeaderMap) -> Option<CredentialKey> {
        self.keyring.key(headers)
    }

    /// Who `headers` authenticate as: remembered for `auth.cache`, else asked.
    ///
    /// # Errors
    /// A [`Refusal`], remembered for `auth.negative_cache`.
    pub async fn authenticate(
        self: &Arc<Self>,
        headers: &HeaderMap,
    ) -> Result<(CredentialKey, Arc<Principal>), Refusal> {
        // Without a credential upstream is asked all the same: its 401 says how to authenticate.
        let key = self.key(headers).unwrap_or(CredentialKey(0));
        if let Some(answer) = self.remembered(key) {
            return answer.map(|principal| (key, principal));
        }
        let credentials = Arc::new(Credentials::from_headers(headers));
        self.ask(key, credentials).await.map(|principal| (key, principal))
    }

    /// Asks upstream, together with whoever else asks about the same credential. The question is on
    /// its way when this returns.
    ///
    /// # Errors
    /// A [`Refusal`], once it is awaited.
    pub fn ask(
        self: &Arc<Self>,
        key: CredentialKey,
        credentials: Arc<Credentials>,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let mut asking = self.asking(key, credentials);
        async move {
            match asking.wait_for(Option::is_some).await {
                Ok(answer) => answer.clone().unwrap_or_else(|| Err(interrupted())),
                Err(_) => Err(interrupted()),
            }
        }
    }

    /// Asks upstream who this is, and goes on with the answer, if it is one, while nobody waits for it.
    pub fn introduce(
        self: &Arc<Self>,
        key: CredentialKey,
        credentials: Arc<Credentials>,
        then: impl FnOnce(&Arc<Principal>) + Send + 'static,
    ) {
        let asking = self.ask(key, credentials);
        self.drain.spawn(async move {
            if let Ok(principal) = asking.await {
                then(&principal);
            }
        });
    }

    fn asking(
        self: &Arc<Self>,
        key: CredentialKey,
        credentials: Arc<Credentials>,
    ) -> watch::Receiver<Option<Answer>> {
        let mut inner = self.lock();
        if let Some(running) = inner.asking.get(&key) {
            return running.clone();
        }
        let (sender, receiver) = watch::channel(None);
        inner.asking.insert(key, receiver.clone());
        drop(inner);
        let this = Arc::clone(self);
        let own = receiver.clone();
        self.drain.spawn(async move {
            let asked = Moment::now();
            let answer = this.fetch(credentials).await;
            let mut inner = this.lock();
            // Else upstream has refused the credential since: too late to be remembered.
            if inner.asking.get(&key).is_some_and(|running| running.same_channel(&own)) {
                inner.asking.remove(&key);
                this.remember(&mut inner, key, answer.clone(), asked);
            }
            drop(inner);
            let _ = sender.send(Some(answer));
        });
        receiver
    }

    async fn fetch(&self, credentials: Arc<Credentials>) -> Answer {
        let mut headers = HeaderMap::new();
        headers.extend(self.upstream.settings().headers.iter().cloned());
        credentials.write(&mut headers);
        let path = &self.upstream.settings().session_path;
        let fetched = self
            .upstream
            .fetch_session(path, &headers, self.session_size)
            .await
            .map_err(|failure| Refusal::Unavailable(failure.problem()))?;
        if fetched.status != StatusCode::OK {
            // Others may be given this answer too: nothing that is meant for one client only.
            let shared = [WWW_AUTHENTICATE, CONTENT_TYPE, RETRY_AFTER];
            let mut headers = fetched.headers;
            let others: Vec<_> =
                headers.keys().filter(|name| !shared.contains(name)).cloned().collect();
            for name in others {
                headers.remove(name);
            }
            return Err(Refusal::Upstream(fetched.status, Box::new(headers), fetched.body));
        }
        let session = Session::parse(&fetched.body).map_err(|_| {
            Refusal::Unavailable(Problem::new(502, "the mail server answered no JMAP Session"))
        })?;
        Ok(self.read(&session, &fetched.path, credentials))
    }

    fn read(&self, session: &Session, path: &str, credentials: Arc<Credentials>) -> Arc<Principal> {
        let lists = &mut self.lock().lists;
        let principal = Principal::new(session, path, credentials, &self.keyring, lists);
        self.upstream.paths().learn(path, &principal.api_path);
        Arc::new(principal)
    }

    /// Takes note of a Session that a client fetched through us, asking with `headers` at `path`.
    pub fn learn(&self, headers: &HeaderMap, session: &Session, path: &str) {
        let Some(key) = self.key(headers) else { return };
        let principal = self.read(session, path, Arc::new(Credentials::from_headers(headers)));
        self.remember(&mut self.lock(), key, Ok(principal), Moment::now());
    }

    /// Upstream has refused a credential, to somebody else than us: whatever it said of it before is
    /// forgotten, and so is what it is just being asked.
    pub fn refused(&self, key: CredentialKey) {
        let mut inner = self.lock();
        inner.known.remove(&key);
        inner.asking.remove(&key);
    }

    /// The principal last seen behind a credential, if not long ago: enough to judge a response that
    /// upstream just gave it, not enough to open a stream.
    #[must_use]
    pub fn known(&self, key: CredentialKey) -> Option<Arc<Principal>> {
        let inner = self.lock();
        let (principal, asked) = inner.known.get(&key)?.good.as_ref()?;
        (Moment::now().since(*asked) < KNOWN_FOR).then(|| Arc::clone(principal))
    }

    /// Something shows that a user's Session is no longer what `seen` was read from: what is
    /// remembered of that user is forgotten, and their live streams are looked at again.
    pub fn session_changed(&self, seen: &Principal) {
        let outdated = |entry: &Entry| {
            let known = entry.good.as_ref();
            known.is_some_and(|(p, _)| p.id == seen.id && p.session_state == seen.session_state)
        };
        self.lock().known.retain(|_, entry| !outdated(entry));
        self.suspects.add(seen.id);
    }

    /// Users whose live streams are to be looked at again.
    #[must_use]
    pub fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    fn remembered(&self, key: CredentialKey) -> Option<Answer> {
        let now = Moment::now();
        let inner = self.lock();
        let entry = inner.known.get(&key)?;
        let good = self.good(entry, now).map(|principal| Ok(Arc::clone(principal)));
        good.or_else(|| self.bad(entry, now).map(|refusal| Err(refusal.clone())))
    }

    /// Upstream's yes, while it still opens streams.
    fn good<'e>(&self, entry: &'e Entry, now: Moment) -> Option<&'e Arc<Principal>> {
        let (principal, asked) = entry.good.as_ref()?;
        (now.since(*asked) < self.settings.cache).then_some(principal)
    }

    /// Upstream's no, while it is not asked again for it.
    fn bad<'e>(&self, entry: &'e Entry, now: Moment) -> Option<&'e Refusal> {
        let (refusal, asked) = entry.bad.as_ref()?;
        (now.since(*asked) < self.settings.negative_cache).then_some(refusal)
    }

    fn remember(&self, inner: &mut Inner, key: CredentialKey, answer: Answer, asked: Moment) {
        // Without an answer there is nothing to remember.
        if matches!(answer, Err(Refusal::Unavailable(_))) {
            return;
        }
        let now = Moment::now();
        if inner.known.len() >= MOST_REMEMBERED {
            let holds = |e: &Entry| self.good(e, now).is_some() || self.bad(e, now).is_some();
            inner.known.retain(|_, entry| holds(entry));
        }
        if inner.known.len() >= MOST_REMEMBERED && !inner.known.contains_key(&key) {
            return;
        }
        let entry = inner.known.entry(key).or_default();
        match answer {
            Ok(principal) => *entry = Entry { good: Some((principal, asked)), bad: None },
            Err(refusal) => {
                entry.good.take_if(|_| refusal.is_upstreams());
                entry.bad = Some((refusal, now));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn interrupted() -> Refusal {
    Refusal::Unavailable(Problem::new(503, "the proxy is stopping; try again"))
}
