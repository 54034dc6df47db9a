//! Changes on their way to one subscription (RFC 8620 §7.1, §7.2; P1, P2, P13; protocol.md §5.7).
//!
//! The hub has it as a subscriber like any stream: with the credential that is at hand, or as somebody who
//! is absent. What it is given but its push service has not taken stays pending here, merged; the resume
//! token of what was taken is kept, so that nothing is lost over a restart.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Push;
use super::attempts::{Attempts, Verdict};
use super::encrypt::MAX_PLAINTEXT;
use super::message::{Changed, parts};
use super::registry::Held;
use super::serve::End;
use super::subscription::{Subscription, SubscriptionId, UNNOTED};
use crate::auth::{Absentee, CredentialKey, Principal};
use crate::clock::{self, Moment};
use crate::hub::{Pending, Subscriber, Wish};
use crate::jmap::id::{AccountId, DataType};
use crate::state::types::TypeFilter;

/// How long a new subscriber waits to know from what states it starts, and its client for the answer that
/// it is verified: what changes from then on is told. Where upstream takes longer, all is told once it is
/// known.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Octets below which no message is cut further, whatever a push service says.
const SHORTEST: usize = 512;

/// What the hub has to say.
enum Heard {
    News(Changed, String),
    Revoked,
}

/// Brings changes to one subscription's push service.
pub(super) struct Delivery {
    id: SubscriptionId,
    /// Taken from the hub and not by the push service yet.
    pending: Changed,
    /// The resume token of all that was taken from the hub.
    token: String,
    attempts: Attempts,
    /// The longest message its push service takes.
    longest: usize,
    /// No sooner goes the next message.
    not_before: Moment,
}

impl Delivery {
    pub(super) fn of(record: &Subscription) -> Self {
        Self {
            id: record.id,
            pending: Changed::new(),
            token: record.given.to_string(),
            attempts: Attempts::default(),
            longest: MAX_PLAINTEXT,
            not_before: Moment::default(),
        }
    }

    /// Tells of changes until something about the subscription changes, or it ends.
    pub(super) async fn deliver(
        &mut self,
        push: &Arc<Push>,
        held: &Held,
        record: &Subscription,
    ) -> Result<(), End> {
        if record.disabled.is_some() {
            held.changed().await;
            return Ok(());
        }
        let mut subscriber = self.subscribe(push, held, record);
        if self.token.is_empty() {
            // It is owed what changes from now on, over a restart, too.
            tokio::select! {
                () = held.changed() => {
                    // What changed while it settled is known to nobody who subscribes anew.
                    UNNOTED.clone_into(&mut self.token);
                    return Ok(());
                }
                () = subscriber.settle(PATIENCE) => {}
            }
            match subscriber.token() {
                Some(token) => self.keep(push, token),
                // It is owed something already, which one who subscribes anew would not be.
                None => UNNOTED.clone_into(&mut self.token),
            }
        }
        held.serve();
        push.note_view(held, &subscriber).await;
        loop {
            let due = (!self.pending.is_empty()).then(|| self.not_before.instant());
            tokio::select! {
                biased;
                () = held.changed() => {
                    held.renew(&subscriber);
                    return Ok(());
                }
                heard = hear(&mut subscriber) => match heard {
                    Heard::News(changed, token) => self.merge(changed, token),
                    Heard::Revoked => return push.refused(held, record, &subscriber),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.withdraw(record, &subscriber);
                    tokio::select! {
                        () = held.changed() => {
                            held.renew(&subscriber);
                            return Ok(());
                        }
                        sent = self.send(push, held, record) => sent?,
                    }
                }
            }
        }
    }

    fn subscribe(&self, push: &Push, held: &Held, record: &Subscription) -> Subscriber {
        let (key, principal) = held.present().unwrap_or_else(|| absent(push, record));
        let filter = match &record.types {
            None => TypeFilter::All,
            Some(types) => TypeFilter::only(types.iter().cloned()),
        };
        let last_event_id = (!self.token.is_empty()).then_some(&*self.token);
        let wish = Wish { filter: &filter, codec: &super::CODEC, last_event_id };
        push.wiring.hub.subscribe_absent(key, &principal, &wish)
    }

    /// What waited so long that its owner sees the account no longer, or wants the type no longer, is told
    /// to nobody (§7.2 `types`; architecture D9).
    fn withdraw(&mut self, record: &Subscription, subscriber: &Subscriber) {
        let principal = subscriber.principal();
        let is_seen = |account: &AccountId| {
            principal.as_ref().is_some_and(|principal| principal.accounts.contains_key(account))
        };
        self.pending.retain(|account, types| {
            types
                .retain(|name, _| record.types.as_ref().is_none_or(|wanted| wanted.contains(name)));
            !types.is_empty() && is_seen(account)
        });
    }

    fn merge(&mut self, changed: Changed, token: String) {
        for (account, types) in changed {
            self.pending.entry(account).or_default().extend(types);
        }
        self.token = token;
    }

    /// Sends what is pending, in as many messages as it takes.
    async fn send(&mut self, push: &Push, held: &Held, record: &Subscription) -> Result<(), End> {
        let sendable = match push.sendable(record) {
            Ok(sendable) => sendable,
            Err(unsendable) => {
                self.disable(push, held, &unsendable).await;
                return Ok(());
            }
        };
        while !self.pending.is_empty() {
            for part in parts(self.id, &self.pending, self.longest) {
                if let Err(wait) = push.may_send(&sendable) {
                    // Those that wait for the same host do not come back in one moment.
                    self.not_before = Moment::now().after(clock::jittered(wait, 0.2));
                    return Ok(());
                }
                let outcome =
                    push.send(&sendable, &part.json, part.urgency, Some(part.topic)).await;
                match self.attempts.judge(outcome, &push.attempts, rand::random()) {
                    Verdict::Given => self.given(&part.states),
                    Verdict::Gone => return Err(End::Gone),
                    Verdict::Again(pause) => {
                        self.not_before = Moment::now().after(pause);
                        return Ok(());
                    }
                    Verdict::Shrink if self.shrink(part.json.len()) => break,
                    Verdict::Shrink => {
                        self.disable(push, held, &"its push service takes no message").await;
                        return Ok(());
                    }
                    Verdict::Useless(reason) => {
                        self.disable(push, held, &reason).await;
                        return Ok(());
                    }
                }
            }
        }
        self.not_before = Moment::now().after(push.settings.throttle);
        let token = std::mem::take(&mut self.token);
        self.keep(push, token);
        Ok(())
    }

    /// The push service found this many octets too many: the next message is half as long, 512 octets at
    /// least. `false` where it would be no shorter.
    fn shrink(&mut self, refused: usize) -> bool {
        let shorter = (refused / 2).max(SHORTEST);
        let shrinks = shorter < refused && shorter < self.longest;
        if shrinks {
            self.longest = shorter;
        }
        shrinks
    }

    /// The push service has taken these.
    fn given(&mut self, states: &[(AccountId, DataType)]) {
        for (account, name) in states {
            if let Some(types) = self.pending.get_mut(account) {
                types.remove(name);
                if types.is_empty() {
                    self.pending.remove(account);
                }
            }
        }
    }

    /// Keeps the token of what was given, over a restart, too.
    fn keep(&mut self, push: &Push, token: String) {
        push.store.note_given(self.id, &token);
        self.token = token;
    }

    /// Stops sending until its client changes something.
    async fn disable(&self, push: &Push, held: &Held, reason: &impl std::fmt::Display) {
        tracing::warn!(
            subscription = %self.id,
            %reason,
            "nothing more is sent to a PushSubscription until its client changes it"
        );
        push.amend(held, |record| record.disabled = Some(reason.to_string().into())).await;
    }
}

/// Waits for the hub to have something to say.
///
/// Cancel safety: nothing is taken before it is returned.
async fn hear(subscriber: &mut Subscriber) -> Heard {
    poll_fn(|cx| {
        subscriber.wake().register(cx);
        if subscriber.wake().is_revoked() {
            return Poll::Ready(Heard::Revoked);
        }
        match subscriber.take_with(own) {
            Some((changed, token)) => Poll::Ready(Heard::News(changed, token)),
            None => Poll::Pending,
        }
    })
    .await
}

/// What is pending, to be kept.
fn own(pending: &Pending<'_>) -> (Changed, String) {
    let mut changed = Changed::new();
    for (account, types) in &pending.changed {
        let types = types.iter().map(|(name, state)| ((*name).clone(), (*state).clone()));
        changed.insert((*account).clone(), types.collect());
    }
    (changed, pending.token.clone())
}

/// Its owner, of whom no credential is at hand.
fn absent(push: &Push, record: &Subscription) -> (CredentialKey, Arc<Principal>) {
    let accounts = record.view.accounts.iter();
    let accounts = accounts
        .map(|(id, access)| (id.clone(), access.is_personal, access.capabilities.to_vec()))
        .collect();
    // What stands for a user name that is empty begins so.
    let username = if record.username.starts_with('\0') { "" } else { &record.username };
    let who = Absentee {
        username,
        accounts,
        api_path: &record.view.api_path,
        host: record.view.host.as_deref(),
    };
    push.wiring.authority.absent(&record.id.to_string(), who)
}
