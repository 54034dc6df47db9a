//! Asks upstream who a credential is, and remembers the answer (architecture D9; hostile.md X2, L4).
//!
//! Single flight: a thousand streams that come with one credential make one Session fetch, in a task
//! of its own, so that a client that goes away does not fail the others. When all have gone away it
//! ends.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::sync::{Notify, Semaphore, watch};

use super::attempts::Attempts;
use super::comings::Comings;
use super::credentials::{CredentialKey, Credentials, Keyring};
use super::principal::{Absentee, Lists, Principal};
pub use super::question::Answer;
use super::question::{Question, answer};
use super::refusals::{self, Refusal, Refusals};
use super::revalidate::Suspects;
use crate::clock::Moment;
use crate::config;
use crate::drain::Drain;
use crate::jmap::session::Session;
use crate::upstream::Upstream;

/// Principals remembered at most. When full: expired ones go, then a new one is not remembered.
const MOST_REMEMBERED: usize = 100_000;

/// Questions about strangers under way at one time: anybody can make up a credential. Enough to let in
/// thousands a second where a Session takes some milliseconds, and no crowd for upstream. When full:
/// a stranger waits for `upstream.connect_timeout`, as for a connection, and is then answered 503.
const MOST_STRANGERS: usize = 64;

/// How long an answer that is too old to open a stream still tells whose response we are reading.
const KNOWN_FOR: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Inner {
    /// Whom upstream took a credential for, and when it was asked. Only a refusal ends this before its
    /// time: an upstream in trouble (429, 5xx) says nothing about a credential.
    known: HashMap<CredentialKey, (Arc<Principal>, Moment)>,
    /// What upstream said instead, a trouble of its own included.
    refusals: Refusals,
    /// Each held by the task that asks.
    asking: HashMap<CredentialKey, Weak<Question>>,
    lists: Lists,
}

/// The one place that decides who a client is.
pub struct Authority {
    upstream: Arc<Upstream>,
    keyring: Keyring,
    settings: config::Auth,
    session_size: usize,
    drain: Drain,
    suspects: Suspects,
    arrivals: Comings,
    attempts: Attempts,
    strangers: Semaphore,
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
        let (suspects, arrivals) = (Suspects::default(), Comings::default());
        let strangers = Semaphore::new(MOST_STRANGERS);
        let attempts = Attempts::new(settings.failures);
        Self {
            upstream,
            keyring,
            settings,
            session_size,
            drain,
            suspects,
            arrivals,
            attempts,
            strangers,
            inner,
        }
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

    /// Who `headers` authenticate as, that come from a client at this address: remembered for
    /// `auth.cache`, else asked.
    ///
    /// # Errors
    /// A [`Refusal`]; upstream's is remembered for `auth.negative_cache`.
    pub async fn authenticate(
        self: &Arc<Self>,
        headers: &HeaderMap,
        client: Option<IpAddr>,
    ) -> Result<(CredentialKey, Arc<Principal>), Refusal> {
        // Without a credential upstream is asked all the same: its 401 says how to authenticate.
        let brought = self.key(headers);
        let key = brought.unwrap_or(CredentialKey(0));
        let is_stranger = self.known(key).is_none();
        let guesses = is_stranger && brought.is_some();
        if guesses && let Some(wait) = self.attempts.wait(client, Moment::now()) {
            return Err(Refusal::Later(wait));
        }
        let answer = match self.remembered(key) {
            Some(answer) => answer,
            None => {
                let credentials = Arc::new(Credentials::from_headers(headers));
                answer(self.asking(key, credentials, !is_stranger)).await
            }
        };
        if guesses && answer.as_ref().is_err_and(Refusal::is_upstreams) {
            self.attempts.failed(client, Moment::now());
        }
        answer.map(|principal| (key, principal))
    }

    /// Asks upstream about a credential that it has accepted before, together with whoever else asks
    /// about it. The question is on its way when this returns.
    ///
    /// # Errors
    /// A [`Refusal`], once it is awaited.
    pub fn ask(
        self: &Arc<Self>,
        key: CredentialKey,
        credentials: Arc<Credentials>,
    ) -> impl Future<Output = Answer> + Send + use<> {
        answer(self.asking(key, credentials, true))
    }

    /// Asks upstream who this is, as of a stranger, and goes on with the answer, if it is one, while
    /// nobody waits for it.
    pub fn introduce(
        self: &Arc<Self>,
        key: CredentialKey,
        credentials: Arc<Credentials>,
        then: impl FnOnce(&Arc<Principal>) + Send + 'static,
    ) {
        let asking = self.asking(key, credentials, false);
        self.drain.spawn(async move {
            if let Ok(principal) = answer(asking).await {
                then(&principal);
            }
        });
    }

    /// Asks upstream who this is, for the one who follows [`Self::arrivals`], where that is of use and holds
    /// up nobody: of a credential that will be seen again, has not been asked about lately, and while few
    /// sign in.
    pub fn look_out(self: &Arc<Self>, key: CredentialKey, credentials: Arc<Credentials>) {
        let are_few = self.strangers.available_permits() > MOST_STRANGERS / 2;
        if are_few && credentials.is_lasting() && self.remembered(key).is_none() {
            self.introduce(key, credentials, |_| ());
        }
    }

    /// Joins the question about a credential, or asks it: `at_once`, or when a stranger's turn comes.
    fn asking(
        self: &Arc<Self>,
        key: CredentialKey,
        credentials: Arc<Credentials>,
        at_once: bool,
    ) -> watch::Receiver<Option<Answer>> {
        // Held to the end, or the question would see nobody wait for it.
        let mut inner = self.lock();
        let running = inner.asking.get(&key).and_then(Weak::upgrade);
        let question = running.unwrap_or_else(|| {
            let answer = watch::Sender::new(None);
            let question = Arc::new(Question { answer, at_once: Notify::new() });
            inner.asking.insert(key, Arc::downgrade(&question));
            let asked = Arc::clone(self).see_to(Arc::clone(&question), key, credentials);
            self.drain.spawn(asked);
            question
        });
        if at_once {
            question.at_once.notify_one();
        }
        question.answer.subscribe()
    }

    /// Asks until there is an answer, or nobody waits for it any more.
    async fn see_to(
        self: Arc<Self>,
        question: Arc<Question>,
        key: CredentialKey,
        credentials: Arc<Credentials>,
    ) {
        let asked = Moment::now();
        let mut fetching = pin!(self.fetch_in_turn(&question, credentials));
        let answer = loop {
            tokio::select! {
                answer = &mut fetching => break answer,
                () = question.answer.closed() => {}
            }
            let mut inner = self.lock();
            // Nobody can come while it is locked.
            if question.answer.is_closed() {
                inner.end(key, &question);
                return;
            }
        };
        let mut inner = self.lock();
        if inner.end(key, &question) {
            self.remember(&mut inner, key, answer.clone(), asked);
        }
        drop(inner);
        question.answer.send_replace(Some(answer));
    }

    async fn fetch_in_turn(&self, question: &Question, credentials: Arc<Credentials>) -> Answer {
        let patience = self.upstream.settings().connect_timeout;
        let _turn = tokio::select! {
            biased;
            () = question.at_once.notified() => None,
            turn = tokio::time::timeout(patience, self.strangers.acquire()) => match turn {
                Ok(turn) => turn.ok(),
                Err(_) => return Err(refusals::crowded()),
            },
        };
        self.fetch(credentials).await
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
            return Err(refusals::refusal(&fetched));
        }
        let session = Session::parse(&fetched.body).map_err(|_| refusals::no_session())?;
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

    /// Upstream has refused a credential, to somebody else than us (401 to any request): whatever it
    /// said of it before is forgotten, and so is what it is just being asked. Live streams of that user
    /// are looked at again.
    pub fn refused(&self, key: CredentialKey) {
        let mut inner = self.lock();
        let known = inner.known.remove(&key);
        inner.refusals.remove(key);
        inner.asking.remove(&key);
        drop(inner);
        if let Some((principal, _)) = known {
            self.suspects.add(principal.id);
        }
    }

    /// The principal last seen behind a credential, if not long ago: enough to judge a response that
    /// upstream just gave it, not enough to open a stream.
    #[must_use]
    pub fn known(&self, key: CredentialKey) -> Option<Arc<Principal>> {
        let inner = self.lock();
        let (principal, asked) = inner.known.get(&key)?;
        (Moment::now().since(*asked) < KNOWN_FOR).then(|| Arc::clone(principal))
    }

    /// Something shows that a user's Session is no longer what `seen` was read from: what is
    /// remembered of that user is forgotten, and their live streams are looked at again.
    pub fn session_changed(&self, seen: &Principal) {
        self.sessions_changed(&[seen]);
    }

    /// The same for several users.
    pub fn sessions_changed(&self, seen: &[&Principal]) {
        let ids: HashSet<_> = seen.iter().map(|seen| (seen.id, &seen.session_state)).collect();
        let mut inner = self.lock();
        let Inner { known, refusals, .. } = &mut *inner;
        known.retain(|key, (known, _)| {
            let is_outdated = ids.contains(&(known.id, &known.session_state));
            if is_outdated {
                refusals.remove(*key);
            }
            !is_outdated
        });
        drop(inner);
        seen.iter().for_each(|seen| self.suspects.add(seen.id));
    }

    /// Users whose live streams are to be looked at again.
    #[must_use]
    pub fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// Credentials that upstream has just accepted, for one who follows; [`Self::known`] says whose.
    #[must_use]
    pub fn arrivals(&self) -> &Comings {
        &self.arrivals
    }

    /// Somebody of whom there is no credential, with a key that goes by a `name` of ours.
    #[must_use]
    pub fn absent(&self, name: &str, who: Absentee<'_>) -> (CredentialKey, Arc<Principal>) {
        let principal = Principal::absent(who, &self.keyring, &mut self.lock().lists);
        (self.keyring.name(name), Arc::new(principal))
    }

    fn remembered(&self, key: CredentialKey) -> Option<Answer> {
        let now = Moment::now();
        let inner = self.lock();
        if let Some((principal, asked)) = inner.known.get(&key)
            && self.opens(*asked, now)
        {
            return Some(Ok(Arc::clone(principal)));
        }
        inner.refusals.of(key, now, self.settings.negative_cache).cloned().map(Err)
    }

    /// Whether upstream's yes of that moment still opens streams.
    fn opens(&self, asked: Moment, now: Moment) -> bool {
        now.since(asked) < self.settings.cache
    }

    fn remember(&self, inner: &mut Inner, key: CredentialKey, answer: Answer, asked: Moment) {
        let now = Moment::now();
        match answer {
            Ok(principal) => {
                inner.refusals.remove(key);
                if inner.known.len() >= MOST_REMEMBERED {
                    inner.known.retain(|_, (_, asked)| self.opens(*asked, now));
                }
                if inner.known.len() < MOST_REMEMBERED || inner.known.contains_key(&key) {
                    inner.known.insert(key, (principal, asked));
                    self.arrivals.note(key);
                }
            }
            // Without an answer there is nothing to remember.
            Err(Refusal::Unavailable(_)) => {}
            Err(refusal) => {
                if refusal.is_upstreams() {
                    inner.known.remove(&key);
                }
                inner.refusals.insert(key, refusal, now, self.settings.negative_cache);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A question is over. `false` if upstream has refused the credential since it was asked: its
    /// answer comes too late to be remembered.
    fn end(&mut self, key: CredentialKey, question: &Arc<Question>) -> bool {
        let is_it = |running: &Weak<_>| std::ptr::eq(running.as_ptr(), Arc::as_ptr(question));
        let is_current = self.asking.get(&key).is_some_and(is_it);
        if is_current {
            self.asking.remove(&key);
        }
        is_current
    }
}
