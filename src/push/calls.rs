//! Answers calls of `PushSubscription/get` and `/set` (RFC 8620 §7.2.1, §7.2.2): whose subscriptions the
//! caller's are, what is to be kept, and who serves it from then on. The rules are in [`methods`].

use std::sync::{Arc, PoisonError};

use serde_json::{Map, Value};

use super::binding::{Bind, Binding};
use super::encrypt::Keys;
use super::methods::error::MethodError;
use super::methods::{self, Judges, Limits, Terms, get, set};
use super::ownership::Owner;
use super::registry::{Held, Turn};
use super::subscription::{Change, Secrets, Subscription, View};
use super::target::url::Target;
use super::{Answer, Call, Caller, Push, deliver, serve, today};
use crate::auth::Principal;
use crate::clock::Moment;
use crate::config::PushBind;

/// `maxObjectsInGet` and `maxObjectsInSet` where the Session does not say: what §2 suggests at least.
const USUAL_OBJECTS: u64 = 500;

impl Push {
    /// Answers a call (§3.2) of one of our methods.
    pub async fn call(self: &Arc<Self>, who: &Caller, call: Call<'_>) -> Answer {
        let answered = match &*call.name {
            _ if self.ownership.known_owner() != Owner::Ours => {
                Err(MethodError::ServerUnavailable(
                    "nobody can say whether the mail server has PushSubscription itself",
                ))
            }
            "PushSubscription/get" => {
                self.get(who, &call.arguments).await.map(|it| (it, Vec::new()))
            }
            "PushSubscription/set" => self.set(who, &call).await,
            _ => Err(MethodError::UnknownMethod),
        };
        match answered {
            Ok((arguments, created)) => Answer { name: call.name, arguments, created },
            Err(error) => {
                let arguments = error.to_value();
                Answer { name: "error".to_owned(), arguments, created: Vec::new() }
            }
        }
    }

    async fn get(
        &self,
        who: &Caller,
        arguments: &Map<String, Value>,
    ) -> Result<Value, MethodError> {
        let user = who.principal.identity();
        let records = self.owned(who, &self.registry.of_user(&user)).await?;
        let owned: Vec<&Subscription> = records.iter().map(|(_, record)| &**record).collect();
        get::get(arguments, &owned, &self.terms(&self.limits(&who.principal)))
    }

    async fn set(
        self: &Arc<Self>,
        who: &Caller,
        call: &Call<'_>,
    ) -> Result<(Value, Vec<(String, String)>), MethodError> {
        let user = who.principal.identity();
        let turn = self.registry.turn(&user).await;
        let of_user = self.registry.of_user(&user);
        let records = self.owned(who, &of_user).await?;
        let owned: Vec<&Subscription> = records.iter().map(|(_, record)| &**record).collect();
        let creates = call.arguments.get("create").is_some_and(|create| !create.is_null());
        let binding = match owned.first() {
            // Another hash of the same password would only take longer to compare.
            Some(one) if one.owner.is_costly() && self.settings.bind == PushBind::Credential => {
                one.owner.clone()
            }
            _ if creates => self.bind(who, &user).await?,
            // Nothing is made, so nothing is bound.
            _ => Binding::User(Default::default()),
        };
        let view = View::of(&who.principal);
        let caller = methods::Caller {
            binding: &binding,
            username: &user,
            view: &view,
            owned: &owned,
            of_user: of_user.len(),
        };
        let limits = self.limits(&who.principal);
        let terms = self.terms(&limits);
        let judges = Judges {
            draw: &mut |bytes| rand::fill(bytes),
            are_keys: &|p256dh, auth| Keys::parse(p256dh, auth).is_ok(),
            check_url: &|url| {
                Target::parse(url, &self.policy).map(drop).map_err(|reason| reason.to_string())
            },
            admit: &mut |secrets: &Secrets| self.admit(who, secrets),
            retired: &|vapid| self.keys.retired(vapid),
            created_before: call.created_before,
        };
        let outcome = set::set(&call.arguments, &caller, &terms, judges)?;
        // To its end, whether the client waits for that or has gone away: what is on the disk and what is
        // served are to be the same.
        let keeping = Arc::clone(self).keep(who.clone(), turn, outcome.changes);
        let kept = self.wiring.drain.spawn(keeping).await;
        kept.unwrap_or(Err(MethodError::ServerFail("the proxy is stopping")))?;
        let created = outcome.created.into_iter().map(|(made, id)| (made, id.to_string()));
        Ok((outcome.response, created.collect()))
    }

    /// Keeps what a call comes to, and serves it from now on.
    async fn keep(
        self: Arc<Self>,
        who: Caller,
        turn: Option<Turn<()>>,
        changes: Vec<Change>,
    ) -> Result<(), MethodError> {
        let user = who.principal.identity();
        self.store.apply(changes.clone()).await.map_err(|error| {
            tracing::warn!(%error, "a client's PushSubscription cannot be kept: it is told so");
            MethodError::ServerFail("the proxy cannot write to its store; nothing was changed")
        })?;
        let held = |id| self.registry.of_user(&user).into_iter().find(|held| held.id == id);
        let mut verified = Vec::new();
        for change in changes {
            match change {
                Change::Create(record) => self.begin(&who, &user, record),
                Change::Update(record) => {
                    let Some(held) = held(record.id) else { continue };
                    let was_verified = held.record().is_some_and(|before| before.is_verified);
                    let is_new = record.is_verified && !was_verified;
                    held.replace(Some(record));
                    verified.extend(is_new.then_some(held));
                }
                Change::Destroy(id) => {
                    held(id).into_iter().for_each(|held| held.replace(None));
                    self.registry.remove(&user, id);
                }
            }
        }
        drop(turn);
        // What changes after the answer is told.
        let served = async {
            for held in &verified {
                held.served().await;
            }
        };
        let _ = tokio::time::timeout(2 * deliver::PATIENCE, served).await;
        Ok(())
    }

    /// Serves a new subscription.
    fn begin(self: &Arc<Self>, who: &Caller, user: &str, record: Arc<Subscription>) {
        self.matches.note(who.key, &record.owner, true);
        let present = self.settings.keep_credentials.then(|| (who.key, Arc::clone(&who.principal)));
        let held = Held::new(record, present);
        self.registry.add(user, Arc::clone(&held));
        serve::spawn(self, held);
    }

    /// Those of a user's subscriptions that are the caller's (P5).
    async fn owned(
        &self,
        who: &Caller,
        of_user: &[Arc<Held>],
    ) -> Result<Vec<(Arc<Held>, Arc<Subscription>)>, MethodError> {
        let mut owned = Vec::new();
        for held in of_user {
            let Some(record) = held.record() else { continue };
            if self.is_owner(who, &record.owner).await? {
                owned.push((Arc::clone(held), record));
            }
        }
        Ok(owned)
    }

    /// Whether a subscription bound so is the caller's.
    pub(super) async fn is_owner(
        &self,
        who: &Caller,
        binding: &Binding,
    ) -> Result<bool, MethodError> {
        if let Some(known) = self.matches.known(who.key, binding) {
            return Ok(known);
        }
        let user = who.principal.identity().into_owned();
        let (vault, bound) = (Arc::clone(self.store.vault()), binding.clone());
        let credentials = Arc::clone(&who.principal.credentials);
        let compare = move || bound.matches(&vault, &credentials, &user);
        let matches = self.hashed(binding.is_costly(), compare).await?;
        self.matches.note(who.key, binding, matches);
        Ok(matches)
    }

    /// What binds a subscription to the caller's credential.
    async fn bind(&self, who: &Caller, user: &str) -> Result<Binding, MethodError> {
        let bind = match self.settings.bind {
            PushBind::Credential => Bind::Credential,
            PushBind::User => Bind::User,
        };
        let (vault, user) = (Arc::clone(self.store.vault()), user.to_owned());
        let credentials = Arc::clone(&who.principal.credentials);
        self.hashed(true, move || Binding::new(&vault, &credentials, &user, bind)).await
    }

    /// Does what may hash a password, where that holds up nobody else.
    async fn hashed<T: Send + 'static, E: Send + 'static>(
        &self,
        is_costly: bool,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, MethodError> {
        let failed = MethodError::ServerFail("the proxy has no memory to hash a password");
        if !is_costly {
            return work().map_err(|_| failed);
        }
        // When full: who comes without a place among those that wait is told to come again.
        let Ok(_waiting) = self.hashing_queue.try_acquire() else {
            return Err(MethodError::ServerUnavailable("too much is asked at once"));
        };
        let _place = self.hashing.acquire().await;
        let done = tokio::task::spawn_blocking(work).await;
        done.ok().and_then(Result::ok).ok_or(failed)
    }

    /// Whether the caller may make one more now, and its URL be sent a verification (§8.6, X10).
    fn admit(&self, who: &Caller, secrets: &Secrets) -> Result<(), std::time::Duration> {
        // One that cannot be read was refused before.
        let Ok(target) = Target::parse(&secrets.url, &self.policy) else { return Ok(()) };
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let user = who.principal.identity();
        let admitted = rates.admit(&user, target.host_key(), Moment::now());
        if admitted.is_err() {
            self.metrics.subscriptions_rate_limited.inc();
        }
        admitted
    }

    fn limits(&self, principal: &Principal) -> Limits {
        let objects = |stated: Option<u64>| {
            usize::try_from(stated.unwrap_or(USUAL_OBJECTS)).unwrap_or(usize::MAX)
        };
        Limits::new(
            objects(principal.limits.max_objects_in_get),
            objects(principal.limits.max_objects_in_set),
            self.settings.subscriptions_per_user,
            self.settings.expires_max,
        )
    }

    fn terms<'a>(&'a self, limits: &'a Limits) -> Terms<'a> {
        let vapid = self.keys.current_id();
        Terms { now: today(), limits, vault: self.store.vault(), vapid }
    }
}

impl View {
    /// What is remembered of who is there.
    pub(super) fn of(principal: &Principal) -> Self {
        let accounts = principal.accounts.iter();
        Self {
            accounts: accounts.map(|(id, access)| (id.clone(), access.clone())).collect(),
            api_path: principal.api_path.as_str().into(),
            host: principal.credentials.host().map(Into::into),
        }
    }
}
