//! The real hub, tracker and prober, wired as `app` wires them, before the simulated upstream.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use jmap_push_proxy::auth::principal::Access;
use jmap_push_proxy::auth::{CredentialKey, Credentials, Principal};
use jmap_push_proxy::config::Config;
use jmap_push_proxy::drain::{Drain, Phase};
use jmap_push_proxy::hub::probes::Reason;
use jmap_push_proxy::hub::{Hub, Limits, ProbeSubject};
use jmap_push_proxy::jmap::id::AccountId;
use jmap_push_proxy::jmap::session::Session;
use jmap_push_proxy::probe::{Ask, Handle, Prober, Subject, Told, Why, Wiring, offered};
use jmap_push_proxy::state::fact::{AccountKey, PrincipalId};
use jmap_push_proxy::telemetry::health::Health;
use jmap_push_proxy::telemetry::metrics::Metrics;
use serde_json::Value;
use tokio::time::sleep;

use super::client::Client;
use super::server::{Server, USERS};
use super::terms::Terms;

/// With what a probe asks.
type Credential = (CredentialKey, Arc<Principal>);

/// How often upstream is asked for a Session again while streams live on it.
const REVALIDATE: Duration = Duration::from_secs(30);

/// The least time between two questions about one Session.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// Which Sessions are known, as the authority of the proxy knows them.
#[derive(Debug, Default)]
struct Authority {
    known: HashMap<CredentialKey, Arc<Principal>>,
    refused: HashSet<CredentialKey>,
    /// Asked about now, and whether something has changed since.
    asking: HashMap<CredentialKey, bool>,
}

/// One process of the proxy.
struct Proxy {
    hub: Arc<Hub>,
    prober: Handle,
    metrics: Metrics,
    authority: Mutex<Authority>,
    drain: Drain,
}

/// See the module.
pub(super) struct World {
    pub(super) server: Arc<Server>,
    pub(super) clients: Mutex<Vec<Arc<Client>>>,
    proxy: Mutex<Arc<Proxy>>,
    terms: Terms,
    drain: Drain,
}

impl Proxy {
    fn new(terms: &Terms, seed: u64) -> (Arc<Self>, Prober) {
        let mut config = Config::default().probe;
        config.interval = terms.interval();
        config.interval_min = terms.interval() / 3;
        config.interval_told = terms.interval_told();
        config.quarantine = Duration::from_secs(5);
        let drain = Drain::default();
        let (metrics, health) = (Metrics::default(), Arc::<Health>::default());
        let (task, prober) = Prober::seeded(seed, &config, drain.clone(), metrics.clone(), health);
        let hub =
            Hub::new(Limits { per_user: 0, accounts: 2, scope: terms.scope, as_service: false });
        (Arc::new(Self { hub, prober, metrics, authority: Mutex::default(), drain }), task)
    }
}

impl World {
    /// A proxy that has just started.
    pub(super) fn new(terms: &Terms, seed: u64) -> Arc<Self> {
        let (proxy, task) = Proxy::new(terms, seed);
        let (clients, drain) = (Mutex::default(), Drain::default());
        let server = Server::new(terms, seed);
        let (proxy, terms) = (Mutex::new(proxy), terms.clone());
        let world = Arc::new(Self { server, clients, proxy, terms, drain });
        world.run(task);
        world
    }

    /// Another process of the proxy takes the place of this one; all connections are cut.
    pub(super) fn restart(self: &Arc<Self>, seed: u64) {
        let (proxy, task) = Proxy::new(&self.terms, seed);
        let old = std::mem::replace(&mut *self.proxy.lock().unwrap(), proxy);
        old.drain.enter(Phase::Draining);
        // What upstream refuses it goes on refusing.
        self.authority(|new| new.refused.clone_from(&old.authority.lock().unwrap().refused));
        self.run(task);
        for (place, client) in (1..).zip(self.clients.lock().unwrap().iter()) {
            client.is_cut(self, Duration::from_millis(seed % 700) * place);
        }
    }

    fn proxy(&self) -> Arc<Proxy> {
        Arc::clone(&self.proxy.lock().unwrap())
    }

    pub(super) fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.proxy().hub)
    }

    pub(super) fn prober(&self) -> Handle {
        self.proxy().prober.clone()
    }

    /// Whether accounts are asked about less often than usual.
    pub(super) fn relies_on_notices(&self) -> bool {
        self.proxy().metrics.probe_accounts.get_or_create(&[("interval", "told")]).get() > 0
    }

    fn authority<T>(&self, act: impl FnOnce(&mut Authority) -> T) -> T {
        act(&mut self.proxy().authority.lock().unwrap())
    }

    fn run(self: &Arc<Self>, prober: Prober) {
        let proxy = self.proxy();
        let (looking, asking, telling) = (Arc::clone(self), Arc::clone(self), Arc::clone(self));
        proxy.drain.spawn(prober.run(Wiring {
            look: move |key: &AccountKey| looking.look(key),
            ask: move |ask: Ask<Credential>| {
                let world = Arc::clone(&asking);
                async move {
                    let (credential, principal) = ask.credential;
                    if world.is_refused(credential) {
                        world.server.travel().await;
                        return Ok(refusal());
                    }
                    world.server.answer(&principal.username, &ask.body).await
                }
            },
            tell: move |told: Told<Credential>| telling.tell(&told),
        }));
        let fed = Arc::clone(&proxy);
        in_process(&proxy, async move {
            loop {
                let due = fed.hub.probes().take().await;
                due.unwatched.iter().for_each(|key| fed.prober.remove(key));
                due.watched.iter().for_each(|key| fed.prober.watch(key));
                if due.gap {
                    fed.prober.gap();
                }
                for (key, heard) in &due.heard {
                    fed.prober.heard(key, heard.at, heard.is_published);
                }
                for (key, reason) in &due.ask {
                    let why = match reason {
                        Reason::Baseline => Why::Baseline,
                        Reason::Hint => Why::Hint,
                    };
                    fed.prober.request(key, why);
                }
            }
        });
        let world = Arc::clone(self);
        in_process(&proxy, async move {
            loop {
                sleep(REVALIDATE).await;
                world.live().iter().for_each(|(_, principal)| world.session_changed(principal));
            }
        });
    }

    /// The credentials that have live streams, in order.
    fn live(&self) -> Vec<Credential> {
        let mut live = self.hub().live();
        live.sort_unstable_by_key(|(credential, _)| credential.0);
        live
    }

    /// Runs something until the end of the world.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let drain = self.drain.clone();
        self.drain.spawn(async move {
            tokio::select! {
                biased;
                () = drain.reached(Phase::Draining) => {}
                () = task => {}
            }
        });
    }

    /// Ends all that runs.
    pub(super) async fn end(&self) {
        for drain in [&self.drain, &self.proxy().drain] {
            drain.enter(Phase::Draining);
            drain.idle().await;
        }
    }

    fn look(&self, key: &AccountKey) -> Option<(Subject, Credential)> {
        let ProbeSubject { principal, credential, types, delivery_since } =
            self.hub().probe_subject(key, offered)?;
        let subject = Subject {
            capabilities: Arc::clone(&principal.accounts.get(&key.id)?.capabilities),
            types,
            delivery_since,
            limits: principal.limits,
            principal: principal.id,
        };
        Some((subject, (credential, principal)))
    }

    fn tell(self: &Arc<Self>, told: &Told<Credential>) -> bool {
        match told {
            Told::Sent(key) => self.hub().probe_sent(key),
            Told::Answered(answers) => {
                let is_published =
                    self.hub().probe_answered(&answers.key, &answers.at, &answers.probed());
                let (_, principal) = &answers.credential;
                if answers.session_state.as_ref().is_some_and(|now| *now != principal.session_state)
                {
                    self.session_changed(principal);
                }
                return is_published;
            }
            Told::Unauthorized { credential: (key, _) } => self.refuse(*key),
            Told::Revalidate { credential: (_, principal), .. } => self.session_changed(principal),
        }
        false
    }

    // --- who may see what ---

    /// Upstream accepts this credential no longer, and the proxy has heard it.
    fn refuse(&self, credential: CredentialKey) {
        self.authority(|authority| {
            authority.refused.insert(credential);
            authority.known.remove(&credential);
        });
        self.hub().revoke(credential);
    }

    /// Upstream accepts this credential no longer; the proxy will hear it.
    pub(super) fn withdraw_credential(&self, credential: CredentialKey) {
        self.authority(|authority| authority.refused.insert(credential));
    }

    pub(super) fn is_refused(&self, credential: CredentialKey) -> bool {
        self.authority(|authority| authority.refused.contains(&credential))
    }

    /// Whom the proxy, or else upstream, takes a credential for; `None` if upstream refuses it or
    /// cannot be asked.
    pub(super) async fn authenticate(
        &self,
        credential: CredentialKey,
        user: &str,
    ) -> Option<Arc<Principal>> {
        let known = self.authority(|authority| authority.known.get(&credential).cloned());
        if known.is_some() {
            return known;
        }
        let session = self.server.session(user).await?;
        if self.is_refused(credential) {
            return None;
        }
        let found = principal(&session);
        self.authority(|authority| {
            Some(Arc::clone(authority.known.entry(credential).or_insert(found)))
        })
    }

    /// Something about a user's Session has changed: it is read again, for each live credential.
    pub(super) fn session_changed(self: &Arc<Self>, principal: &Principal) {
        for (credential, live) in self.live() {
            if live.id != principal.id {
                continue;
            }
            let is_asked = self.authority(|authority| {
                authority.asking.get_mut(&credential).map(|is_outdated| *is_outdated = true)
            });
            if is_asked.is_none() {
                self.authority(|authority| authority.asking.insert(credential, false));
                let world = Arc::clone(self);
                let task = async move { world.revalidate(credential, &live.username).await };
                in_process(&self.proxy(), task);
            }
        }
    }

    async fn revalidate(&self, credential: CredentialKey, user: &str) {
        loop {
            sleep(LEAST_PAUSE).await;
            self.authority(|authority| authority.asking.insert(credential, false));
            let session = self.server.session(user).await;
            if self.is_refused(credential) {
                self.refuse(credential);
            } else if let Some(session) = &session {
                let found = principal(session);
                let kept = Arc::clone(&found);
                self.authority(|authority| authority.known.insert(credential, kept));
                self.now_sees(credential, &found);
                self.hub().revalidated(credential, &found);
            }
            let is_over = session.is_some()
                && self.authority(|authority| {
                    let is_over = authority.asking.get(&credential) == Some(&false);
                    is_over && authority.asking.remove(&credential).is_some()
                });
            if is_over {
                return;
            }
        }
    }

    /// Writes into the logs what a live credential may see from now on.
    pub(super) fn now_sees(&self, credential: CredentialKey, principal: &Principal) {
        let live = self.hub().live();
        let before = live.iter().find(|(live, _)| *live == credential);
        let Some((_, before)) = before else { return };
        let clients = self.clients.lock().unwrap();
        for client in clients.iter().filter(|client| client.is_live_with(credential)) {
            let gone = before.accounts.keys().filter(|id| !principal.accounts.contains_key(*id));
            gone.for_each(|id| client.log().withdrawn(id.as_str()));
            let came = principal.accounts.keys().filter(|id| !before.accounts.contains_key(*id));
            came.for_each(|id| client.log().granted(id.as_str()));
        }
    }
}

/// Runs something until the end of the process.
fn in_process(proxy: &Proxy, task: impl Future<Output = ()> + Send + 'static) {
    let drain = proxy.drain.clone();
    proxy.drain.spawn(async move {
        tokio::select! {
            biased;
            () = drain.reached(Phase::Draining) => {}
            () = task => {}
        }
    });
}

fn refusal() -> jmap_push_proxy::probe::Reply {
    let status = http::StatusCode::UNAUTHORIZED;
    jmap_push_proxy::probe::Reply { status, retry_after: None, body: "".into(), is_as_user: true }
}

/// Whom a Session is of.
fn principal(session: &Value) -> Arc<Principal> {
    let session = Session::parse(session.to_string().as_bytes()).unwrap();
    let place = USERS.iter().position(|user| *user == session.username).unwrap();
    let accounts = session.accounts.iter().map(|(id, account)| {
        let capabilities = account.account_capabilities.keys().cloned().collect();
        let access = Access { is_personal: account.is_personal, capabilities };
        (AccountId::parse(id).unwrap(), access)
    });
    Arc::new(Principal {
        capabilities: Arc::default(),
        id: PrincipalId(place as u64),
        accounts: accounts.collect(),
        api_path: session.api_url.clone(),
        session_state: session.state.clone(),
        limits: session.core_limits(),
        credentials: Arc::new(Credentials::from_headers(&HeaderMap::new())),
        username: session.username,
        push: Arc::default(),
    })
}
