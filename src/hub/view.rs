//! Subscribers of one credential that want the same: they share what is encoded for them.

use std::collections::{BTreeMap, HashSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::audience::{Hub, Inner};
use super::codec::{Codec, Pending};
use super::resume::Resume;
use super::wake::Wake;
use crate::auth::{CredentialKey, Principal};
use crate::jmap::id::{AccountId, DataType, State};
use crate::state::fact::AccountKey;
use crate::state::token::Token;
use crate::state::types::{EMAIL, EMAIL_DELIVERY, TypeFilter, only};

/// One credential, one filter, one transport.
#[derive(Debug)]
pub(super) struct View {
    pub(super) audience: CredentialKey,
    pub(super) filter: TypeFilter,
    pub(super) codec: &'static Codec,
    /// Number of the last publication that concerns this view. Written under the hub's lock.
    latest: AtomicU64,
    /// Held to add or remove one member, or to ring them all.
    members: Mutex<Vec<Arc<Wake>>>,
    /// The last event encoded, for all who lack the same. Held to look or to replace.
    frame: Mutex<Option<Frame>>,
}

#[derive(Debug)]
struct Frame {
    from: u64,
    to: u64,
    bytes: Option<Bytes>,
}

impl View {
    pub(super) fn new(
        audience: CredentialKey,
        filter: TypeFilter,
        codec: &'static Codec,
        latest: u64,
    ) -> Self {
        let (members, frame) = (Mutex::default(), Mutex::default());
        Self { audience, filter, codec, latest: AtomicU64::new(latest), members, frame }
    }

    pub(super) fn is(&self, filter: &TypeFilter, codec: &'static Codec) -> bool {
        self.filter == *filter && std::ptr::eq(self.codec, codec)
    }

    /// Something up to publication `seq` is new here.
    pub(super) fn publish(&self, seq: u64) {
        self.latest.store(seq, Ordering::Release);
        self.ring();
    }

    /// Wakes all members.
    pub(super) fn ring(&self) {
        for wake in &*self.members() {
            wake.wake();
        }
    }

    /// What was encoded is for nobody any more: accounts that it tells of were withdrawn.
    pub(super) fn forget_frame(&self) {
        *self.frame.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends all members.
    pub(super) fn end(&self, end: fn(&Wake)) {
        for wake in &*self.members() {
            end(wake);
        }
    }

    pub(super) fn join(&self, wake: &Arc<Wake>) {
        let mut members = self.members();
        wake.place.store(members.len(), Ordering::Relaxed);
        members.push(Arc::clone(wake));
    }

    /// Whether nobody is left.
    pub(super) fn leave(&self, wake: &Arc<Wake>) -> bool {
        let mut members = self.members();
        let place = wake.place.load(Ordering::Relaxed);
        if members.get(place).is_some_and(|member| Arc::ptr_eq(member, wake)) {
            members.swap_remove(place);
            if let Some(moved) = members.get(place) {
                moved.place.store(place, Ordering::Relaxed);
            }
        }
        members.is_empty()
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Wake>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream's subscription. Dropping it leaves.
#[derive(Debug)]
pub struct Subscriber {
    hub: Arc<Hub>,
    view: Arc<View>,
    wake: Arc<Wake>,
    /// Number of the last publication this subscriber has been given.
    given: u64,
    /// A reconnecting client's token, until it has been compared with fresh states; or none, for a
    /// client that came before these were known.
    resume: Option<Box<Resume>>,
    /// Whether it counts as one of its user's connections.
    is_live: bool,
}

impl Subscriber {
    pub(super) fn new(
        hub: Arc<Hub>,
        view: Arc<View>,
        last_event_id: Option<&str>,
        is_live: bool,
    ) -> Self {
        let wake = Arc::<Wake>::default();
        view.join(&wake);
        let given = view.latest.load(Ordering::Acquire);
        let resume = last_event_id.map(Resume::from);
        Self { hub, view, wake, given, resume, is_live }
    }

    /// Wants `filter` from now on (RFC 8887 §4.3.5.2), and what it has missed since `resume`, if it
    /// says so. Otherwise what it has wanted so far and not been given stays pending, and the rest
    /// starts from the states that are known now; nothing tells the client when that is, so what is
    /// not known yet is told once it is, changed or not.
    pub fn change(&mut self, filter: &TypeFilter, resume: Option<&str>) {
        let hub = Arc::clone(&self.hub);
        let mut inner = hub.lock();
        let goes_on = resume.is_none() && !self.view.filter.is_empty();
        let is_owed = goes_on && self.view.latest.load(Ordering::Acquire) > self.given;
        self.view = hub.change(&mut inner, &self.view, &self.wake, filter);
        if !is_owed {
            self.given = self.view.latest.load(Ordering::Acquire);
        }
        let owed = self.resume.take().filter(|_| goes_on);
        self.resume = match (resume, owed) {
            (Some(token), _) => Some(Resume::from(token)),
            (None, _) if filter.is_empty() => None,
            (None, None) => self.unsettled(&inner).map(Resume::of_unsettled),
            (None, Some(mut owed)) => {
                if let Some(settled) = self.unsettled(&inner) {
                    owed.reopen(&settled);
                }
                Some(owed)
            }
        };
    }

    /// Waits until it is known what a first connection starts from: what changes later is told, what
    /// changed before is the client's to fetch. Not longer than `patience`: what is still unknown
    /// then is told once it is known, changed or not, for nobody can say which.
    ///
    /// Cancel safety: may be dropped at any time.
    pub async fn settle(&mut self, patience: Duration) {
        if self.resume.is_some() {
            return;
        }
        let settled = poll_fn(|cx| {
            self.wake.register(cx);
            if self.unsettled(&self.hub.lock()).is_none() { Poll::Ready(()) } else { Poll::Pending }
        });
        if tokio::time::timeout(patience, settled).await.is_err() {
            self.resume = self.unsettled(&self.hub.lock()).map(Resume::of_unsettled);
        }
    }

    /// The accounts whose baselines are known, if not all are.
    fn unsettled(&self, inner: &Inner) -> Option<HashSet<AccountId>> {
        let audience = inner.audience(self.view.audience)?;
        let settled = |key: &&AccountKey| inner.tracker.is_settled(key);
        if audience.keys().all(|key| settled(&key)) {
            return None;
        }
        Some(audience.keys().filter(settled).map(|key| key.id.clone()).collect())
    }

    /// The bell that rings when there may be something to take.
    #[must_use]
    pub fn wake(&self) -> &Arc<Wake> {
        &self.wake
    }

    /// Whether [`Self::take`] may have something. Costs one atomic load.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.resume.is_some() || self.view.latest.load(Ordering::Acquire) > self.given
    }

    /// The resume token of one that has been given everything; `None` while something is pending.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        let inner = self.hub.lock();
        let entries = entries(&inner, &self.view);
        (!self.has_pending()).then(|| token(&entries))
    }

    /// Whom upstream takes the credential for, as far as is known; `None` if nobody subscribes with it
    /// any more.
    #[must_use]
    pub fn principal(&self) -> Option<Arc<Principal>> {
        let inner = self.hub.lock();
        inner.audience(self.view.audience).map(|audience| Arc::clone(&audience.principal))
    }

    /// By what it authenticated.
    #[must_use]
    pub fn credential(&self) -> CredentialKey {
        self.view.audience
    }

    /// The transport it was subscribed for.
    #[must_use]
    pub fn codec(&self) -> &'static Codec {
        self.view.codec
    }

    /// One event with everything that is pending, encoded; from then on the subscriber counts as
    /// having been given it. What it lacks it gets with a later event, merged.
    pub fn take(&mut self) -> Option<Bytes> {
        if !self.has_pending() {
            return None;
        }
        let encode = self.view.codec.state;
        if self.resume.is_some() {
            return self.take_resumed(encode);
        }
        let latest = self.view.latest.load(Ordering::Acquire);
        let mut frame = self.view.frame.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = frame.as_ref().filter(|f| f.from == self.given && f.to == latest);
        if let Some(Frame { bytes, .. }) = cached {
            self.given = latest;
            return bytes.clone();
        }
        drop(frame);
        // The hub's lock comes before the frame's everywhere.
        let inner = self.hub.lock();
        let to = self.view.latest.load(Ordering::Acquire);
        let given = self.given;
        let entries = entries(&inner, &self.view);
        let bytes = tell(&entries, |entry| entry.changed_at > given, encode);
        frame = self.view.frame.lock().unwrap_or_else(PoisonError::into_inner);
        *frame = Some(Frame { from: given, to, bytes: bytes.clone() });
        self.given = to;
        bytes
    }

    /// The same for who does not share what is encoded: `encode` is given everything that is pending.
    pub fn take_with<T>(&mut self, encode: impl Fn(&Pending<'_>) -> T) -> Option<T> {
        if !self.has_pending() {
            return None;
        }
        if self.resume.is_some() {
            return self.take_resumed(encode);
        }
        let hub = Arc::clone(&self.hub);
        let inner = hub.lock();
        let given = self.given;
        self.given = self.view.latest.load(Ordering::Acquire);
        tell(&entries(&inner, &self.view), |entry| entry.changed_at > given, encode)
    }

    /// Compares the client's token with what is current, account by account as that becomes known
    /// (T-SSE-9). What is published meanwhile is given as ever.
    fn take_resumed<T>(&mut self, encode: impl Fn(&Pending<'_>) -> T) -> Option<T> {
        let hub = Arc::clone(&self.hub);
        let inner = hub.lock();
        let mut resume = self.resume.take()?;
        let audience = inner.audience(self.view.audience)?;
        let is_open = |key: &&AccountKey| !resume.compared.contains(&key.id);
        let ready: HashSet<AccountId> = audience
            .keys()
            .filter(is_open)
            .filter(|key| inner.tracker.is_settled(key))
            .map(|key| key.id.clone())
            .collect();
        let (given, latest) = (self.given, self.view.latest.load(Ordering::Acquire));
        let told = if ready.is_empty() && latest == given {
            None
        } else {
            let entries = entries(&inner, &self.view);
            let current = entries.iter().map(|entry| (&entry.key.id, entry.name, entry.state));
            let missed: HashSet<_> = match &resume.token {
                Some(token) => token.missed(current).into_iter().collect(),
                None => current.map(|(id, name, _)| (id, name)).collect(),
            };
            self.given = latest;
            let is_pending = |entry: &Entry<'_>| {
                let id = &entry.key.id;
                // What stands in this event's token, all that is fresh, must be given with it.
                let is_new = ready.contains(id) || entry.fresh && !resume.compared.contains(id);
                let is_missed = is_new && missed.contains(&(id, entry.name));
                let is_given = || resume.given.contains(&(id.clone(), entry.name.clone()));
                entry.changed_at > given || is_missed && !is_given()
            };
            let told = tell(&entries, is_pending, encode);
            let given = entries.iter().filter(|entry| entry.wanted && is_pending(entry));
            let given: Vec<_> = given.map(|e| (e.key.id.clone(), e.name.clone())).collect();
            resume.given.extend(given);
            told
        };
        resume.compared.extend(ready);
        if !audience.keys().all(|key| resume.compared.contains(&key.id)) {
            self.resume = Some(resume);
        }
        told
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.wake.silence();
        self.hub.leave(&self.view, &self.wake, self.is_live);
    }
}

/// One state that concerns a view.
struct Entry<'a> {
    key: &'a AccountKey,
    name: &'a DataType,
    state: &'a State,
    changed_at: u64,
    fresh: bool,
    /// Whether the filter lets it through: `Email` may stand in a token for `EmailDelivery`'s sake.
    wanted: bool,
}

/// What is pending, if anything is.
fn tell<T>(
    entries: &[Entry<'_>],
    is_pending: impl Fn(&Entry<'_>) -> bool,
    encode: impl Fn(&Pending<'_>) -> T,
) -> Option<T> {
    let mut changed = BTreeMap::<_, BTreeMap<_, _>>::new();
    for entry in entries.iter().filter(|entry| entry.wanted && is_pending(entry)) {
        changed.entry(&entry.key.id).or_default().insert(entry.name, entry.state);
    }
    if changed.is_empty() {
        return None;
    }
    Some(encode(&Pending { changed, token: token(entries) }))
}

fn token(entries: &[Entry<'_>]) -> String {
    let given = entries.iter().filter(|entry| entry.fresh);
    Token::encode(given.map(|entry| (&entry.key.id, entry.name, entry.state)))
}

/// The states of all accounts a view's audience sees, of the types its filter lets through.
/// `Email` stands among them where `EmailDelivery` is wanted ([`Token::encode`] says why).
fn entries<'a>(inner: &'a Inner, view: &View) -> Vec<Entry<'a>> {
    let wanted = view.filter.mask(inner.tracker.types());
    let needs_email = wanted & only(EMAIL_DELIVERY) != 0;
    let in_token = wanted | if needs_email { only(EMAIL) } else { 0 };
    let Some(audience) = inner.audience(view.audience) else { return Vec::new() };
    let of_account = |(key, joined): (&'a AccountKey, u64)| {
        inner.tracker.states(key).filter(move |known| in_token & only(known.bit) != 0).map(
            move |known| Entry {
                key,
                name: known.data_type,
                state: known.state,
                changed_at: known.changed_at.max(joined),
                fresh: known.fresh,
                wanted: wanted & only(known.bit) != 0,
            },
        )
    };
    audience.accounts().flat_map(of_account).collect()
}
