//! Serves one subscription, from its verification to its end (RFC 8620 §7.2; protocol.md §5.7): a task each,
//! which holds little while there is nothing to send.
//!
//! ```text
//! made ──► verification sent, once ──► code shown by the client ──► told of changes ──► expired, destroyed,
//!   └───────── not verified in time, or refused ──────────┴──────────── gone, refused ───────► erased (P11)
//! ```
//!
//! How changes are told is [`super::deliver`]'s affair.

use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::attempts::{Attempts, Verdict};
use super::deliver::Delivery;
use super::registry::Held;
use super::subscription::Subscription;
use super::target::post::Urgency;
use super::target::url::Target;
use super::{Push, message, today};
use crate::clock::{self, Moment};
use crate::drain::Phase;

/// Pause before what could not be written to the store is tried again.
const WRITE_PAUSE: Duration = Duration::from_secs(30);

/// Why a subscription ends, other than by its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    #[error("it expired")]
    Expired,
    #[error("it was not verified in time")]
    Unverified,
    #[error("its verification was refused")]
    VerificationRefused,
    #[error("its push service says that it is gone")]
    Gone,
    #[error("the credential it was made with is refused")]
    CredentialRefused,
}

impl End {
    /// The metric's label.
    fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unverified => "unverified",
            Self::VerificationRefused => "verification_refused",
            Self::Gone => "gone",
            Self::CredentialRefused => "credential_refused",
        }
    }
}

/// Serves `held` until it ends or the process does.
pub(super) fn spawn(push: &Arc<Push>, held: Arc<Held>) {
    let push = Arc::clone(push);
    push.wiring.drain.clone().spawn(async move {
        let drain = push.wiring.drain.clone();
        tokio::select! {
            () = drain.reached(Phase::Draining) => {}
            () = serve(&push, &held) => {}
        }
    });
}

async fn serve(push: &Arc<Push>, held: &Held) {
    let mut delivery: Option<Delivery> = None;
    while let Some(record) = held.record() {
        let expires = instant(record.expires.0);
        let work = async {
            if record.is_verified {
                let delivery = delivery.get_or_insert_with(|| Delivery::of(&record));
                Box::pin(delivery.deliver(push, held, &record)).await
            } else {
                Box::pin(verify(push, held, &record)).await
            }
        };
        let ended = match timeout_at(expires, work).await {
            Ok(worked) => worked,
            Err(_) if record.is_live(today()) => Ok(()),
            Err(_) => Err(End::Expired),
        };
        if let Err(end) = ended {
            push.end(held, &record, end).await;
        }
    }
}

/// Sends the verification, if that was not done, and waits for the code to be shown (§7.2.2, P9).
async fn verify(push: &Push, held: &Held, record: &Subscription) -> Result<(), End> {
    let deadline = record.created.after(push.settings.verify_timeout);
    let waiting = async {
        if record.verification_sent.is_none() {
            let mut sending = pin!(push.verify(held, record));
            loop {
                tokio::select! {
                    sent = &mut sending => {
                        sent?;
                        break;
                    }
                    // The code may be shown before the push service has answered.
                    () = held.changed() => if held.record().is_none_or(|it| it.is_verified) {
                        return Ok(());
                    }
                }
            }
        }
        held.changed().await;
        Ok(())
    };
    timeout_at(instant(deadline.0), waiting).await.unwrap_or(Err(End::Unverified))
}

impl Push {
    /// Gets the verification to the push service. One that it refuses is not sent again (RFC 9749 §5).
    async fn verify(&self, held: &Held, record: &Subscription) -> Result<(), End> {
        let Ok(sendable) = self.sendable(record) else { return Err(End::VerificationRefused) };
        let message = message::verification(record.id, &sendable.verification_code);
        let mut attempts = Attempts::default();
        loop {
            if let Err(wait) = self.may_send(&sendable) {
                tokio::time::sleep(wait).await;
                continue;
            }
            let outcome = self.send(&sendable, &message, Urgency::High, None).await;
            match attempts.judge(outcome, &self.attempts, rand::random()) {
                Verdict::Given => break,
                Verdict::Again(pause) => {
                    tokio::time::sleep(pause).await;
                    while let Err(wait) = self.may_verify_again(record, &sendable.target) {
                        tokio::time::sleep(wait).await;
                    }
                }
                Verdict::Gone | Verdict::Shrink | Verdict::Useless(_) => {
                    tracing::info!(
                        subscription = %record.id,
                        push_service = ?sendable.target,
                        ?outcome,
                        "the verification of a PushSubscription was refused: it is destroyed"
                    );
                    return Err(End::VerificationRefused);
                }
            }
        }
        self.metrics.verifications.inc();
        self.amend(held, |record| record.verification_sent = Some(today())).await;
        Ok(())
    }

    /// Whether the rates allow another attempt now; else how long to wait (hostile.md X10).
    fn may_verify_again(&self, record: &Subscription, target: &Target) -> Result<(), Duration> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.again(&record.username, target.host_key(), Moment::now())
    }

    /// Changes the record of a subscription, if there still is one. What the store cannot take now is
    /// good for this process all the same.
    pub(super) async fn amend(&self, held: &Held, change: impl FnOnce(&mut Subscription)) {
        let Some(user) = held.record().map(|record| record.username.clone()) else { return };
        let _turn = self.registry.turn(&user).await;
        let Some(record) = held.record() else { return };
        let mut record = Subscription::clone(&record);
        change(&mut record);
        let record = Arc::new(record);
        if let Err(error) = self.store.apply(vec![super::Change::Update(Arc::clone(&record))]).await
        {
            tracing::warn!(%error, "a PushSubscription's record cannot be written");
        }
        held.replace(Some(record));
    }

    /// Ends a subscription and erases what is known of it.
    async fn end(&self, held: &Held, record: &Subscription, end: End) {
        let turn = self.registry.turn(&record.username).await;
        // What was found out may be overtaken by what its client did meanwhile.
        let Some(now) = held.record() else { return };
        let is_overtaken = match end {
            End::Unverified | End::VerificationRefused => now.is_verified,
            End::Expired => now.is_live(today()),
            End::Gone | End::CredentialRefused => false,
        };
        if is_overtaken {
            return;
        }
        tracing::debug!(subscription = %record.id, reason = %end, "a PushSubscription ends");
        self.metrics.subscriptions_ended.get_or_create(&[("why", end.label())]).inc();
        held.replace(None);
        self.registry.remove(&record.username, record.id);
        // Its id is never given again, and others' turns do not wait for a disk.
        drop(turn);
        while let Err(error) = self.store.apply(vec![super::Change::Destroy(record.id)]).await {
            tracing::warn!(%error, "a PushSubscription that ended cannot be erased; trying again");
            tokio::time::sleep(WRITE_PAUSE).await;
        }
    }
}

/// A moment of the wall clock, which may be set while we wait: nothing here waits for longer than a day
/// without looking again.
fn instant(date: i64) -> Instant {
    const DAY: Duration = Duration::from_secs(86_400);
    let left = u64::try_from(date).map(Duration::from_secs).unwrap_or_default();
    Instant::now() + left.saturating_sub(clock::wall()).min(DAY)
}
