//! `PushSubscription/get` and `/set` (RFC 8620 §7.2.1, §7.2.2; P3-P11). Pure: what is to be kept comes
//! back as [`Change`]s. Neither authenticates nor stores nor sends.
//!
//! | file | |
//! |---|---|
//! | [`get`] | `PushSubscription/get` |
//! | [`set`] | `PushSubscription/set` |
//! | [`error`] | what can go wrong with a call, or with one subscription of it |

pub mod error;
pub mod get;
mod property;
pub mod set;

use std::time::Duration;

use super::binding::Binding;
use super::subscription::{Change, Secrets, Subscription, View};
use super::vault::Vault;
use crate::jmap::date::UtcDate;

/// The least that the longest lifetime may be (§7.2.2: "MUST NOT be less than 48 hours").
const LEAST_LIFETIME: Duration = Duration::from_secs(48 * 60 * 60);

/// How much is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `maxObjectsInGet` of the Session.
    pub objects_in_get: usize,
    /// `maxObjectsInSet` of the Session.
    pub objects_in_set: usize,
    /// Subscriptions one user may have (§8.6).
    pub per_user: usize,
    lifetime: Duration,
}

impl Limits {
    /// Subscriptions live for up to `lifetime`, or 48 hours where that is less.
    #[must_use]
    pub fn new(
        objects_in_get: usize,
        objects_in_set: usize,
        per_user: usize,
        lifetime: Duration,
    ) -> Self {
        Self { objects_in_get, objects_in_set, per_user, lifetime: lifetime.max(LEAST_LIFETIME) }
    }

    /// The latest a subscription may expire (P6).
    #[must_use]
    pub fn latest(&self, now: UtcDate) -> UtcDate {
        now.after(self.lifetime)
    }
}

/// Whose call it is.
#[derive(Debug)]
pub struct Caller<'a> {
    /// The credential that the call came with.
    pub binding: &'a Binding,
    /// `username` of the Session.
    pub username: &'a str,
    /// What the Session says of accounts.
    pub view: &'a View,
    /// The subscriptions bound to that credential: the only ones there are for this caller.
    pub owned: &'a [&'a Subscription],
    /// Subscriptions of the user, with whatever credential.
    pub of_user: usize,
}

/// What holds for every call.
#[derive(Debug)]
pub struct Terms<'a> {
    /// The present.
    pub now: UtcDate,
    /// See [`Limits`].
    pub limits: &'a Limits,
    /// Opens and seals what a subscription keeps secret.
    pub vault: &'a Vault,
    /// The VAPID key that the Session advertises.
    pub vapid: u32,
}

/// What is judged or drawn elsewhere.
pub struct Judges<'a> {
    /// Fills with random bytes.
    pub draw: &'a mut dyn FnMut(&mut [u8]),
    /// Whether this `p256dh` and `auth`, without padding, are keys (RFC 8291 §7).
    pub are_keys: &'a dyn Fn(&str, &str) -> bool,
    /// What is wrong with a URL, for the client.
    pub check_url: &'a dyn Fn(&str) -> Result<(), String>,
    /// Whether one more may be made now, and a verification sent to its URL; else how long to wait
    /// (§8.6, hostile.md X10). Asked last, once for each that is otherwise sound.
    pub admit: &'a mut dyn FnMut(&Secrets) -> Result<(), Duration>,
    /// When the VAPID key of this number was succeeded by another; `None` if it was not.
    pub retired: &'a dyn Fn(u32) -> Option<UtcDate>,
    /// The id behind a creation id of an earlier call (§3.3 `createdIds`).
    pub created_before: &'a dyn Fn(&str) -> Option<String>,
}

impl std::fmt::Debug for Judges<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judges(…)")
    }
}

/// The live subscription of this id.
fn find<'a>(owned: &[&'a Subscription], now: UtcDate, id: &str) -> Option<&'a Subscription> {
    let id = super::subscription::SubscriptionId::parse(id)?;
    owned.iter().copied().find(|owned| owned.id == id && owned.is_live(now))
}

#[cfg(test)]
mod tests;
