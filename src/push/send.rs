//! Sends a message to one subscription's push service: sealed for its client, signed by us, and not at all
//! while its host is left alone (protocol.md §5.7). What comes of it is judged by who calls.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::Push;
use super::encrypt::{self, InvalidKeys, Keys};
use super::subscription::Subscription;
use super::target::outcome::{Outcome, Unreachable};
use super::target::post::{Message, Topic, Urgency};
use super::target::url::{Reason, Target};
use crate::clock::{self, Moment};
use crate::config::PushContentType;
use crate::http::reply;

/// What it takes to send to a subscription, opened.
pub(super) struct Sendable {
    pub(super) target: Target,
    keys: Option<Keys>,
    pub(super) verification_code: Zeroizing<String>,
    vapid: u32,
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsendable {
    /// The store has another key by now, which it does not open with.
    #[error("its secrets cannot be read")]
    Sealed,
    /// The settings have changed since.
    #[error("its URL is no longer allowed: {0}")]
    Url(#[from] Reason),
    #[error("its keys are none: {0}")]
    Keys(#[from] InvalidKeys),
}

impl Push {
    /// Opens what it takes to send to a subscription.
    pub(super) fn sendable(&self, record: &Subscription) -> Result<Sendable, Unsendable> {
        let secrets = record.secrets(self.store.vault()).ok_or(Unsendable::Sealed)?;
        let target = Target::parse(&secrets.url, &self.policy)?;
        let keys = secrets.keys.as_ref();
        let keys = keys.map(|keys| Keys::parse(&keys.p256dh, &keys.auth)).transpose()?;
        let verification_code = secrets.verification_code;
        Ok(Sendable { target, keys, verification_code, vapid: record.vapid })
    }

    /// Whether its host may be sent to now, else how long to wait.
    pub(super) fn may_send(&self, sendable: &Sendable) -> Result<(), Duration> {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.admit(sendable.target.host_key(), Moment::now())
    }

    /// Sends `json`: encrypted where the client gave keys (§7.2: "MUST"), and signed by the key that was
    /// advertised when it subscribed (RFC 9749 §5).
    pub(super) async fn send(
        &self,
        sendable: &Sendable,
        json: &[u8],
        urgency: Urgency,
        topic: Option<Topic>,
    ) -> Outcome {
        let Some(message) = self.message(sendable, json, urgency, topic) else {
            return Outcome::Unreachable(Unreachable::Broken);
        };
        let outcome = self.sender.post(&sendable.target, message).await;
        self.metrics.messages.get_or_create(&[("outcome", label(outcome))]).inc();
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.note(sendable.target.host_key(), outcome, Moment::now());
        self.metrics.hosts_resting.set(i64::try_from(breaker.open()).unwrap_or(i64::MAX));
        outcome
    }

    fn message(
        &self,
        sendable: &Sendable,
        json: &[u8],
        urgency: Urgency,
        topic: Option<Topic>,
    ) -> Option<Message> {
        let body = match &sendable.keys {
            Some(keys) => encrypt::seal(keys, json).ok()?,
            None => json.to_vec(),
        };
        let labelled = match self.settings.content_type {
            PushContentType::OctetStream if sendable.keys.is_some() => {
                HeaderValue::from_static("application/octet-stream")
            }
            PushContentType::OctetStream | PushContentType::Json => reply::JSON,
        };
        let key = self.keys.get(sendable.vapid)?;
        let subject = self.subject.as_deref();
        let authorization = key.authorization(sendable.target.origin(), subject, clock::wall());
        Some(Message {
            ttl: u32::try_from(self.settings.ttl.as_secs()).unwrap_or(u32::MAX),
            urgency,
            topic,
            content_type: labelled,
            is_encrypted: sendable.keys.is_some(),
            authorization: Some(authorization.ok()?),
            body: Bytes::from(body),
        })
    }
}

/// The metric's label.
fn label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted(_) => "accepted",
        Outcome::Gone(_) => "gone",
        Outcome::TooLarge => "too_large",
        Outcome::Slow { .. } => "slow_down",
        Outcome::Refused(_) => "refused",
        Outcome::Redirected(_) => "redirected",
        Outcome::Failed(_) => "failed",
        Outcome::Unreachable(Unreachable::Denied(_)) => "denied",
        Outcome::Unreachable(_) => "unreachable",
    }
}
