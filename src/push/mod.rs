//! `PushSubscription` (RFC 8620 §7.2, §8.6; P16): those who are told while they are not connected. The proxy owns the
//! type where upstream has none: its methods, the verification of URLs, encryption (RFC 8291), VAPID (RFC
//! 8292, RFC 9749) and delivery.
//!
//! ```text
//! api ──► calls ──► methods ──► store ──► registry ──► serve, a task for each ◄── hub
//!                                                        └──► message ──► send ──► target
//! ```
//!
//! | file | |
//! |---|---|
//! | [`calls`] | whose calls they are, and what becomes of them |
//! | [`methods`] | `PushSubscription/get` and `/set` |
//! | [`rates`] | how often new ones may be made, and whom verification may reach |
//! | [`binding`] | which credential a subscription belongs to |
//! | [`subscription`] | the record |
//! | [`store`] | where it survives a restart |
//! | [`vault`] | what keeps URLs, keys and codes unreadable at rest |
//! | [`registry`] | the subscriptions there are, and the credentials at hand |
//! | [`presence`] | owners who come back, and credentials that are refused |
//! | [`opening`] | what is there at the start |
//! | [`ownership`] | whether the type is ours or upstream's |
//! | [`serve`] | one subscription, from verification to its end |
//! | [`deliver`] | changes on their way to one subscription |
//! | [`message`] | what is pushed, in parts that push services take |
//! | [`send`] | how it is sent |
//! | [`attempts`] | when again |
//! | [`breaker`] | which push services are left alone |
//! | [`encrypt`] | messages for one client only |
//! | [`vapid`], [`keys`] | who sends them |
//! | [`target`] | where they may go, and the way there |

mod attempts;
pub mod binding;
mod breaker;
mod calls;
mod deliver;
pub mod encrypt;
mod keys;
mod message;
pub mod methods;
mod opening;
mod ownership;
mod presence;
pub mod rates;
mod registry;
mod send;
mod serve;
pub mod store;
pub mod subscription;
pub mod target;
pub mod vapid;
pub mod vault;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

pub use self::opening::{Error, KeyFileFault};

use self::binding::Matches;
use self::breaker::Breaker;
use self::keys::VapidKeys;
use self::ownership::{Owner, Ownership};
use self::rates::{Rate, Rates};
use self::registry::{Held, Registry};
use self::store::Store;
use self::subscription::{Change, Subscription};
use self::target::Policy;
use self::target::connect::Resolver;
use self::target::post::{self, Sender};
use crate::auth::{Authority, CredentialKey, Credentials, Principal};
use crate::clock;
use crate::config;
use crate::drain::Drain;
use crate::hub::{Codec, Hub};
use crate::jmap::date::UtcDate;
use crate::jmap::session::Session;
use crate::jmap::url::path_of;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

/// Passwords hashed at once: each takes a core and 19 MiB.
const HASHING: usize = 2;

/// Calls that wait for that at one time: some seconds' worth.
const HASHING_QUEUE: usize = 128;

/// How often what the operator sees is counted.
const ROUND: Duration = Duration::from_secs(5);

/// Whom subscriptions have to do with.
#[derive(Clone)]
pub struct Wiring {
    /// Is asked whether it has the type itself.
    pub upstream: Arc<Upstream>,
    /// Knows who calls.
    pub authority: Arc<Authority>,
    /// Tells of changes.
    pub hub: Arc<Hub>,
    /// The process' end.
    pub drain: Drain,
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// By what they authenticate.
    pub key: CredentialKey,
    /// Who that is.
    pub principal: Arc<Principal>,
}

/// One method call (§3.2), references resolved.
pub struct Call<'a> {
    /// Such as `PushSubscription/get`.
    pub name: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// The id behind a creation id of an earlier call (§3.3 `createdIds`).
    pub created_before: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

/// One response to a call.
#[derive(Debug)]
pub struct Answer {
    /// The call's, or `error`.
    pub name: String,
    /// Its arguments.
    pub arguments: Value,
    /// Creation ids and the ids they became.
    pub created: Vec<(String, String)>,
}

/// See the module.
pub struct Push {
    settings: config::Push,
    wiring: Wiring,
    metrics: Metrics,
    store: Store,
    keys: VapidKeys,
    /// `sub` of our tokens (RFC 8292 §2.1).
    subject: Option<String>,
    policy: Policy,
    sender: Sender,
    attempts: attempts::Terms,
    registry: Registry,
    ownership: Ownership,
    matches: Matches,
    hashing: Semaphore,
    /// Those that wait for that, or do it.
    hashing_queue: Semaphore,
    /// Some owner was away when that was counted last.
    awaits_owners: AtomicBool,
    // Each held for one look or note.
    breaker: Mutex<Breaker>,
    rates: Mutex<Rates>,
}

/// What is not the operator's to say alone.
#[derive(Debug)]
pub struct Terms {
    /// Where messages may go, and what is our own.
    pub policy: Policy,
    /// Messages under way in all: as many connections more may be open.
    pub connections: usize,
}

/// What was in the store: to be served once the rest runs.
pub struct Restored(Vec<Arc<Subscription>>);

impl Push {
    /// Opens the store and makes what is missing; `None` where `push.mode` leaves the type to upstream.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(
        config: &config::Config,
        wiring: Wiring,
        metrics: Metrics,
        terms: Terms,
    ) -> Result<Option<(Arc<Self>, Restored)>, Error> {
        let Terms { policy, connections } = terms;
        let settings = config.push.clone();
        if !settings.mode.may_be_ours() {
            return Ok(None);
        }
        let given = settings.vapid_key_file.as_deref().map(opening::vapid_key).transpose()?;
        let (store, keys, subscriptions) = opening::open_store(&settings, given.as_ref())?;
        let limits = post::Limits {
            timeout: settings.timeout,
            connections,
            connections_per_host: settings.connections_per_host,
        };
        let ca_file = settings.ca_file.as_deref();
        let sender = Sender::new(policy.clone(), Resolver::System, ca_file, limits)?;
        let public = config.downstream.public_url.as_ref();
        let public =
            public.filter(|url| url.scheme_str() == Some("https")).map(ToString::to_string);
        let creations = Rate {
            most: usize::try_from(settings.creations_per_hour).unwrap_or(usize::MAX),
            per: Duration::from_secs(3600),
        };
        let push = Self {
            subject: settings.vapid_subject.clone().or(public),
            attempts: attempts::Terms {
                most: settings.attempts,
                attempt_interval: settings.attempt_interval,
                retry_interval: settings.retry_interval,
            },
            ownership: Ownership::new(settings.mode),
            settings,
            wiring,
            metrics,
            store,
            keys,
            policy,
            sender,
            registry: Registry::default(),
            matches: Matches::default(),
            hashing: Semaphore::new(HASHING),
            hashing_queue: Semaphore::new(HASHING_QUEUE),
            awaits_owners: AtomicBool::new(!subscriptions.is_empty()),
            breaker: Mutex::default(),
            rates: Mutex::new(Rates::new(creations)),
        };
        Ok(Some((Arc::new(push), Restored(subscriptions))))
    }

    /// Serves what was in the store, and does what is to be done now and then, for as long as it is
    /// polled.
    pub async fn run(self: Arc<Self>, Restored(subscriptions): Restored) {
        if self.settings.store.is_none() {
            tracing::info!("push.store is \"memory\": a restart loses all PushSubscriptions");
        }
        self.wiring.authority.arrivals().follow();
        for record in subscriptions {
            let user = record.username.clone();
            let held = Held::new(Subscription::restored(record), None);
            self.registry.add(&user, Arc::clone(&held));
            serve::spawn(&self, held);
        }
        let mut round = tokio::time::interval(ROUND);
        loop {
            tokio::select! {
                arrived = self.wiring.authority.arrivals().take() => {
                    for key in arrived {
                        self.arrived(key).await;
                    }
                }
                _ = round.tick() => self.count(),
            }
        }
    }

    /// Writes what is waiting to be written. To be called last.
    pub async fn close(&self) {
        if let Err(error) = self.store.close().await {
            tracing::warn!(%error, "the store of PushSubscriptions cannot be closed in order");
        }
    }

    /// Whether calls of `who` are to be answered here, as opposed to upstream: also where nobody can say
    /// whose they are.
    pub async fn answers(&self, who: &Caller) -> bool {
        let Principal { api_path, credentials, .. } = &*who.principal;
        let asked = (&**api_path, &**credentials);
        self.ownership.owner(&self.wiring.upstream, asked).await != Owner::Upstream
    }

    /// What the Session of whoever asks with `headers` is to advertise (RFC 9749 §3); `None` where the
    /// type is upstream's. `session` is upstream's, found at `path`.
    pub async fn offer(
        &self,
        session: &Session,
        path: &str,
        headers: &http::HeaderMap,
    ) -> Option<&str> {
        self.ownership.read(session);
        let credentials = Credentials::from_headers(headers);
        let asked = (&*path_of(&session.api_url, path), &credentials);
        let owner = self.ownership.owner(&self.wiring.upstream, asked).await;
        (owner == Owner::Ours).then(|| self.keys.current().application_server_key())
    }

    /// What is known to be advertised now.
    #[must_use]
    pub fn offered(&self) -> Option<&str> {
        let owner = self.ownership.known_owner();
        (owner == Owner::Ours).then(|| self.keys.current().application_server_key())
    }

    /// Whether some subscription has no credential at hand: whoever makes a request may be its owner.
    #[must_use]
    pub fn awaits_owners(&self) -> bool {
        self.awaits_owners.load(Ordering::Relaxed)
    }

    /// Upstream has just answered a request of this user's. One whose subscriptions wait for a credential has
    /// come back with it, though it be long known.
    pub fn accepted(&self, key: CredentialKey, principal: &Principal) {
        let waits =
            |user: &str| self.registry.of_user(user).iter().any(|held| held.present().is_none());
        if self.awaits_owners() && waits(&principal.identity()) {
            self.wiring.authority.arrivals().note(key);
        }
    }

    /// Counts what the operator sees.
    fn count(&self) {
        let (mut unverified, mut verified, mut absent, mut disabled) = (0, 0, 0, 0);
        self.registry.for_each(|held| {
            let Some(record) = held.record() else { return };
            match () {
                () if record.disabled.is_some() => disabled += 1,
                () if !record.is_verified => unverified += 1,
                () if held.present().is_none() => absent += 1,
                () => verified += 1,
            }
        });
        self.awaits_owners.store(absent > 0, Ordering::Relaxed);
        let states = [
            ("unverified", unverified),
            ("verified", verified),
            ("absent", absent),
            ("disabled", disabled),
        ];
        for (state, count) in states {
            self.metrics.subscriptions.get_or_create(&[("state", state)]).set(count);
        }
        let presumed = i64::try_from(self.wiring.hub.presumed()).unwrap_or(i64::MAX);
        self.metrics.presumed_accounts.set(presumed);
    }
}

/// What the hub encodes by for streams; a push service is sent no stream.
static CODEC: Codec = Codec {
    state: |pending| serde_json::to_vec(&pending.state_change()).unwrap_or_default().into(),
    keep_alive: Bytes::new,
    ping: |_| Bytes::new(),
    come_back: |_| Bytes::new(),
    revoked: Bytes::new,
    end: Bytes::new,
};

/// The date, by the wall clock.
fn today() -> UtcDate {
    UtcDate::at(clock::wall())
}
