//! Seals what must not be readable at rest: AES-256-GCM under keys derived from one (RFC 5116,
//! RFC 5869). Says neither where the key comes from ([`super::store`]) nor what is sealed.
//!
//! Each box carries a random nonce and opens only under the label it was sealed with, so that a row
//! cannot be put in the place of another. Random nonces allow 2³² boxes under one key; one is sealed per
//! subscription made.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::config::secret::Key;

/// A keyed hash.
pub type Tag = [u8; 32];

/// The library does not say why; nothing is known to cause it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("seal a secret")]
pub struct Unsealable;

/// Keys for each of its purposes.
pub struct Vault {
    seal: RandomizedNonceKey,
    bind: hmac::Key,
    pepper: Zeroizing<Tag>,
}

impl Vault {
    /// All keys from one.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "32 bytes are one block of the hash, and a key of the cipher whatever they are"
    )]
    pub fn new(key: &Key) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"jmap-push-proxy store");
        let prk = salt.extract(key.expose());
        let derived = |purpose: &[u8]| {
            let mut bytes = Zeroizing::new([0; 32]);
            prk.expand(&[purpose], hkdf::HKDF_SHA256)
                .and_then(|block| block.fill(&mut *bytes))
                .expect("one block");
            bytes
        };
        let seal = RandomizedNonceKey::new(&AES_256_GCM, &*derived(b"seal")).expect("32 bytes");
        let bind = hmac::Key::new(hmac::HMAC_SHA256, &*derived(b"bind"));
        Self { seal, bind, pepper: derived(b"pepper") }
    }

    /// `nonce | ciphertext | tag`; opens under the same label only.
    ///
    /// # Errors
    /// See [`Unsealable`].
    pub fn seal(&self, label: &[u8], plain: &[u8]) -> Result<Box<[u8]>, Unsealable> {
        // Room for all of it: what a vector outgrows is not wiped.
        let mut sealed = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(plain);
        let nonce = self.seal.seal_in_place_append_tag(Aad::from(label), &mut sealed);
        let nonce = nonce.map_err(|_| Unsealable)?;
        Ok([&nonce.as_ref()[..], &sealed].concat().into())
    }

    /// What was sealed; `None` under another key or label, or when a bit is not what it was.
    #[must_use]
    pub fn open(&self, label: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.seal.open_in_place(nonce, Aad::from(label), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }

    /// A keyed hash of these fields in this order.
    pub(super) fn tag<'a>(&self, fields: impl IntoIterator<Item = &'a [u8]>) -> Tag {
        let mut context = hmac::Context::with_key(&self.bind);
        for field in fields {
            // Length first, so that no two lists of fields feed the same bytes.
            context.update(&field.len().to_le_bytes());
            context.update(field);
        }
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// What password hashes are made with besides the password: a stolen disk without the key does not
    /// even let an attacker try passwords.
    pub(super) fn pepper(&self) -> &[u8] {
        &*self.pepper
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_opens_under_its_own_key_and_label_only() {
        let key = Key::random();
        let sealed = Vault::new(&key).seal(b"a", b"secret").unwrap();
        assert_eq!(Vault::new(&key).open(b"a", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(Vault::new(&key).open(b"b", &sealed), None);
        assert_eq!(Vault::new(&Key::random()).open(b"a", &sealed), None);
    }

    #[test]
    fn a_box_with_one_bit_changed_does_not_open() {
        let vault = Vault::new(&Key::random());
        let sealed = vault.seal(b"a", b"secret").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(vault.open(b"a", &changed), None, "byte {at}");
            assert_eq!(vault.open(b"a", &sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn the_same_secret_is_never_sealed_to_the_same_bytes() {
        let vault = Vault::new(&Key::random());
        assert_ne!(vault.seal(b"a", b"secret"), vault.seal(b"a", b"secret"));
    }

    #[test]
    fn fields_are_told_apart_from_their_concatenation() {
        let vault = Vault::new(&Key::random());
        assert_ne!(vault.tag([&b"ab"[..], b"c"]), vault.tag([&b"a"[..], b"bc"]));
    }
}
