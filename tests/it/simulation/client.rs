//! A subscriber: it comes, is told, is slow, changes its wish, goes, and comes back with its token.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use jmap_push_proxy::auth::CredentialKey;
use jmap_push_proxy::clock::Moment;
use jmap_push_proxy::event_source::encode::RAW;
use jmap_push_proxy::hub::{Seen, Subscriber, Wish};
use jmap_push_proxy::jmap::id::{AccountId, DataType, State};
use jmap_push_proxy::state::fact::Fact;
use jmap_push_proxy::state::types::TypeFilter;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::world::World;
use crate::support::ledger::{Changed, Log};
use crate::support::sse::parse;

/// How long a first connection waits for its baseline.
const PATIENCE: Duration = Duration::from_secs(3);

/// The type that may return to an earlier state.
pub(super) const RETURNING: &str = "Identity";

/// What it may want.
pub(super) const WISHES: [Option<&[&str]>; 6] = [
    None,
    Some(&["Email"]),
    Some(&["Mailbox", "Thread"]),
    Some(&["EmailDelivery"]),
    Some(&["Email", "EmailDelivery", "Identity"]),
    Some(&["VacationResponse", "Mailbox"]),
];

/// What it is to do next.
#[derive(Debug, Clone, Copy)]
enum Order {
    Leave,
    /// RFC 8887 §4.3.5.2.
    Want(usize),
}

#[derive(Debug)]
struct Inner {
    log: Log,
    credential: CredentialKey,
    wish: usize,
    token: Option<String>,
    orders: Vec<Order>,
    /// It has a subscription.
    is_live: bool,
    /// It tries to have one, or has one.
    is_busy: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) user: &'static str,
    /// It takes this long over an event.
    slow: Duration,
    /// It reads, through the proxy, what it is told of.
    reads: bool,
    inner: Mutex<Inner>,
    ordered: Notify,
}

/// Borrowed from a client.
pub(super) struct LogOf<'a>(MutexGuard<'a, Inner>);

impl std::ops::Deref for LogOf<'_> {
    type Target = Log;

    fn deref(&self) -> &Log {
        &self.0.log
    }
}

impl std::ops::DerefMut for LogOf<'_> {
    fn deref_mut(&mut self) -> &mut Log {
        &mut self.0.log
    }
}

impl Client {
    pub(super) fn new(
        user: &'static str,
        credential: CredentialKey,
        wish: usize,
        slow: Duration,
        reads: bool,
    ) -> Arc<Self> {
        let (mut log, token) = (Log::new(user, WISHES[wish]), None);
        if reads {
            log.may_hear_others();
        }
        let (orders, is_live, is_busy) = (Vec::new(), false, false);
        let inner = Inner { log, credential, wish, token, orders, is_live, is_busy };
        Arc::new(Self { user, slow, reads, inner: Mutex::new(inner), ordered: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn log(&self) -> LogOf<'_> {
        LogOf(self.lock())
    }

    pub(super) fn is_busy(&self) -> bool {
        self.lock().is_busy
    }

    pub(super) fn is_live_with(&self, credential: CredentialKey) -> bool {
        let inner = self.lock();
        inner.is_live && inner.credential == credential
    }

    pub(super) fn wish(&self) -> usize {
        self.lock().wish
    }

    pub(super) fn credential(&self) -> CredentialKey {
        self.lock().credential
    }

    /// Its connection is cut, and it comes back after a while.
    pub(super) fn is_cut(self: &Arc<Self>, world: &Arc<World>, back_in: Duration) {
        if !self.is_busy() {
            return;
        }
        self.leave();
        let (me, here) = (Arc::clone(self), Arc::clone(world));
        world.spawn(async move {
            sleep(back_in).await;
            if !me.is_busy() {
                me.come(&here);
            }
        });
    }

    /// From now on it authenticates by another one.
    pub(super) fn renew(&self, credential: CredentialKey) {
        self.lock().credential = credential;
    }

    pub(super) fn leave(&self) {
        self.order(Order::Leave);
    }

    pub(super) fn want(&self, wish: usize) {
        self.order(Order::Want(wish));
    }

    fn order(&self, order: Order) {
        self.lock().orders.push(order);
        self.ordered.notify_one();
    }

    /// Connects, with its token if it has one, and stays until it is told to leave, or upstream
    /// refuses its credential.
    pub(super) fn come(self: &Arc<Self>, world: &Arc<World>) {
        let (me, here) = (Arc::clone(self), Arc::clone(world));
        self.lock().orders.clear();
        self.lock().is_busy = true;
        world.spawn(async move {
            me.connect(&here).await;
            me.lock().is_busy = false;
        });
    }

    async fn connect(&self, world: &World) {
        let (credential, wish, token) = {
            let inner = self.lock();
            (inner.credential, inner.wish, inner.token.clone())
        };
        let Some(principal) = world.authenticate(credential, self.user).await else { return };
        let filter = filter(wish);
        let last_event_id = token.as_deref();
        let wish = Wish { filter: &filter, codec: &RAW, last_event_id };
        world.now_sees(credential, &principal);
        let Ok(mut subscriber) = world.hub().subscribe(credential, &principal, &wish) else {
            return;
        };
        self.lock().is_live = true;
        subscriber.settle(PATIENCE).await;
        {
            let mut log = self.log();
            log.opened(token.is_some());
            let seen = subscriber.principal();
            let seen = seen.iter().flat_map(|principal| principal.accounts.keys());
            let seen: Vec<_> = seen.map(|id| id.as_str().to_owned()).collect();
            let gone = |id: &&String| !seen.contains(id);
            let all = world.server.mail(|mail| mail.all_accounts());
            all.iter().filter(gone).for_each(|id| log.withdrawn(id));
        }
        self.read_returning(world, &subscriber);
        self.listen(world, &mut subscriber).await;
        let mut inner = self.lock();
        inner.is_live = false;
        inner.log.closed();
    }

    /// Until it leaves, or is made to.
    async fn listen(&self, world: &World, subscriber: &mut Subscriber) {
        loop {
            let event = tokio::select! {
                biased;
                () = self.ordered.notified() => None,
                event = next(subscriber) => match event {
                    None => return,
                    event => event,
                },
            };
            if let Some(event) = event {
                let changed = self.hear(&event);
                for (id, types) in changed.iter().filter(|_| self.reads) {
                    let types: Vec<&str> = types.keys().map(String::as_str).collect();
                    self.read(world, subscriber, id, &types);
                }
                sleep(self.slow).await;
            }
            let orders = std::mem::take(&mut self.lock().orders);
            for order in orders {
                match order {
                    Order::Leave => return,
                    Order::Want(wish) => {
                        self.change(subscriber, wish);
                        self.read_returning(world, subscriber);
                    }
                }
            }
        }
    }

    /// It reads through the proxy what may return to an earlier state: of one that was left and taken
    /// again between two probes, only who reads it in between can know.
    fn read_returning(&self, world: &World, subscriber: &Subscriber) {
        for id in world.server.mail(|mail| mail.accounts_of(self.user)) {
            self.read(world, subscriber, &id, &[RETURNING]);
        }
    }

    fn read(&self, world: &World, subscriber: &Subscriber, id: &str, types: &[&str]) {
        let Some(principal) = subscriber.principal() else { return };
        if !world.server.mail(|mail| mail.accounts_of(self.user)).iter().any(|own| own == id) {
            return;
        }
        let now = Moment::now();
        let seen = Seen { who: Some(&principal), sent: now, received: now };
        let fact = |name: &&str| Fact {
            data_type: DataType::parse(name).unwrap(),
            state: world.server.mail(|mail| {
                State::parse(&mail.seen_by(self.user, &mail.state(id, name))).unwrap()
            }),
            old_state: None,
            created: false,
        };
        let types = types.iter().filter(|name| **name != "EmailDelivery");
        let facts: Vec<Fact> = types.map(fact).collect();
        world.hub().observe(seen, &AccountId::parse(id).unwrap(), &facts);
    }

    fn hear(&self, event: &Bytes) -> Changed {
        let event = parse(event);
        let mut inner = self.lock();
        inner.log.told(event.changed());
        inner.token.clone_from(&event.id);
        event.changed()
    }

    fn change(&self, subscriber: &mut Subscriber, wish: usize) {
        subscriber.change(&filter(wish), None);
        let mut inner = self.lock();
        inner.log.wished(WISHES[wish], false);
        inner.wish = wish;
    }
}

/// The next event; `None` when the credential was refused.
async fn next(subscriber: &mut Subscriber) -> Option<Bytes> {
    poll_fn(|cx| {
        subscriber.wake().register(cx);
        if subscriber.wake().is_revoked() {
            return Poll::Ready(None);
        }
        match subscriber.take() {
            Some(event) => Poll::Ready(Some(event)),
            None => Poll::Pending,
        }
    })
    .await
}

fn filter(wish: usize) -> TypeFilter {
    let named = |names: &[&str]| TypeFilter::only(names.iter().filter_map(|n| DataType::parse(n)));
    WISHES[wish].map_or(TypeFilter::All, named)
}
