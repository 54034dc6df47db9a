//! One `PushSubscription` (RFC 8620 §7.2, P3) as it is kept.
//!
//! URL, keys and verification code are sealed in memory as on disk ([`Sealed`]); they are opened where
//! a request is made of them or a code is compared, and wiped thereafter (P11). What is pushed to it, and
//! when, is not said here.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::binding::Binding;
use super::vault::{Unsealable, Vault};
use crate::auth::principal::Access;
use crate::jmap::date::UtcDate;
use crate::jmap::id::{AccountId, DataType};

/// Bytes of an id.
pub const ID_BYTES: usize = 12;

/// What a subscription is called on the wire: `P` and 16 letters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub [u8; ID_BYTES]);

impl SubscriptionId {
    /// Reads the form above; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.strip_prefix('P').filter(|rest| rest.len() == ID_BYTES / 3 * 4)?;
        let mut id = [0; ID_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(bytes, &mut id).ok()?;
        (length == ID_BYTES).then_some(Self(id))
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{}", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The client's keys (RFC 8291 §2) as it wrote them, without padding.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct EncodedKeys {
    /// A point of P-256, base64url.
    pub p256dh: String,
    /// The authentication secret, base64url.
    pub auth: String,
}

impl fmt::Debug for EncodedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncodedKeys(…)")
    }
}

/// What nobody but its client and the push service may know of a subscription.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// A capability: whoever knows it can push to it.
    pub url: Zeroizing<String>,
    /// Present when messages are to be encrypted.
    pub keys: Option<EncodedKeys>,
    /// What proves that the URL is the client's (§7.2.2).
    pub verification_code: Zeroizing<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// [`Secrets`] that only a [`Vault`] opens, for one id.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub(super) Box<[u8]>);

impl Sealed {
    /// Seals them for the subscription of this id.
    ///
    /// # Errors
    /// See [`Unsealable`].
    pub fn new(vault: &Vault, id: SubscriptionId, secrets: &Secrets) -> Result<Self, Unsealable> {
        let (p256dh, auth) =
            secrets.keys.as_ref().map_or(("", ""), |keys| (&keys.p256dh, &keys.auth));
        let fields = [&secrets.url, p256dh, auth, &secrets.verification_code];
        let room = fields.iter().map(|field| 2 + field.len()).sum();
        let mut plain = Zeroizing::new(Vec::with_capacity(room));
        for field in fields {
            let length = u16::try_from(field.len()).map_err(|_| Unsealable)?;
            plain.extend_from_slice(&length.to_be_bytes());
            plain.extend_from_slice(field.as_bytes());
        }
        Ok(Self(vault.seal(&id.0, &plain)?))
    }

    /// What they are; `None` when they were not sealed for this id by this vault.
    #[must_use]
    pub fn open(&self, vault: &Vault, id: SubscriptionId) -> Option<Secrets> {
        let plain = vault.open(&id.0, &self.0)?;
        let mut rest = &**plain;
        let mut next = || {
            let (length, behind) = rest.split_first_chunk()?;
            let (field, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
            rest = behind;
            String::from_utf8(field.to_vec()).ok()
        };
        let url = Zeroizing::new(next()?);
        let keys = EncodedKeys { p256dh: next()?, auth: next()? };
        let verification_code = Zeroizing::new(next()?);
        let keys = (!keys.p256dh.is_empty()).then_some(keys);
        Some(Secrets { url, keys, verification_code })
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// What its owner's Session said last: what a subscription is served by while no credential is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The accounts that it is told of.
    pub accounts: Arc<[(AccountId, Access)]>,
    /// The API's path on upstream.
    pub api_path: Arc<str>,
    /// The host that the client asked for.
    pub host: Option<Arc<str>>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Server-set, for good.
    pub id: SubscriptionId,
    /// What the client knows its device by.
    pub device_client_id: Box<str>,
    /// URL, keys and verification code.
    pub sealed: Sealed,
    /// Whose it is (P5).
    pub owner: Binding,
    /// `username` of the owner's Session; for lookups, never a label.
    pub username: Box<str>,
    /// See [`View`].
    pub view: View,
    /// When it was made.
    pub created: UtcDate,
    /// Until when it is served.
    pub expires: UtcDate,
    /// The types it is told of; all of them when `None`, none when empty.
    pub types: Option<Arc<[DataType]>>,
    /// Whether the client has shown the code: nothing but the verification is sent before (P9).
    pub is_verified: bool,
    /// When the code was sent.
    pub verification_sent: Option<UtcDate>,
    /// Wrong codes shown so far (hostile.md X4).
    pub wrong_codes: u8,
    /// The VAPID key advertised when it was made (RFC 9749 §5).
    pub vapid: u32,
    /// The resume token of what it was last given ([`crate::state::token`]); empty before.
    pub given: Box<str>,
    /// Why nothing is sent any more, for the operator.
    pub disabled: Option<Box<str>>,
}

impl Subscription {
    /// Its secrets; `None` when it was sealed by another vault.
    #[must_use]
    pub fn secrets(&self, vault: &Vault) -> Option<Secrets> {
        self.sealed.open(vault, self.id)
    }

    /// As it is served after a restart. The end may have come before anything was noted of what a verified
    /// one was given: then it is owed whatever there is.
    #[must_use]
    pub fn restored(mut record: Arc<Self>) -> Arc<Self> {
        let restored = Arc::make_mut(&mut record);
        if restored.is_verified && restored.given.is_empty() {
            restored.given = UNNOTED.into();
        }
        // The settings may be others now, or the push service's mind.
        restored.disabled = None;
        record
    }

    /// Whether it is still there for its client.
    #[must_use]
    pub fn is_live(&self, now: UtcDate) -> bool {
        now < self.expires
    }
}

/// In place of a resume token: compared with anything, all of it was missed.
pub(in crate::push) const UNNOTED: &str = "?";

/// What becomes of a subscription, for the store and for whoever serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new one.
    Create(Arc<Subscription>),
    /// All but its secrets and its `given` may be others now.
    Update(Arc<Subscription>),
    /// It is gone for good.
    Destroy(SubscriptionId),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Key;

    fn secrets(keys: bool) -> Secrets {
        let keys =
            keys.then(|| EncodedKeys { p256dh: "canary-point".into(), auth: "canary-auth".into() });
        Secrets {
            url: Zeroizing::new("https://push.example/canary".into()),
            keys,
            verification_code: Zeroizing::new("canary-code".into()),
        }
    }

    #[test]
    fn ids_have_one_form() {
        let id = SubscriptionId(*b"twelve bytes");
        assert_eq!(id.to_string(), "PdHdlbHZlIGJ5dGVz");
        assert_eq!(SubscriptionId::parse(&id.to_string()), Some(id));
        for bad in
            ["", "P", "dHdlbHZlIGJ5dGVz", "PdHdlbHZlIGJ5dGV", "PdHdlbHZlIGJ5dGVzz", "P😀😀😀😀"]
        {
            assert_eq!(SubscriptionId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn secrets_open_for_their_own_subscription_only() {
        let vault = Vault::new(&Key::random());
        let (id, other) = (SubscriptionId([1; ID_BYTES]), SubscriptionId([2; ID_BYTES]));
        for secrets in [secrets(true), secrets(false)] {
            let sealed = Sealed::new(&vault, id, &secrets).unwrap();
            assert_eq!(sealed.open(&vault, id), Some(secrets));
            assert_eq!(sealed.open(&vault, other), None);
        }
    }

    /// P11, and protocol.md §5.3.6: a push URL is a capability.
    #[test]
    fn debug_shows_no_secret() {
        let vault = Vault::new(&Key::random());
        let secrets = secrets(true);
        let sealed = Sealed::new(&vault, SubscriptionId([1; ID_BYTES]), &secrets).unwrap();
        let shown = format!("{secrets:?} {:?} {sealed:?}", secrets.keys);
        assert!(!shown.contains("canary"), "{shown}");
        assert!(!sealed.0.windows(6).any(|window| window == b"canary"));
    }
}
