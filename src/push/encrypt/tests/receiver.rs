//! The user agent's side of RFC 8291, written from its §3.4 and RFC 8188 §2.2 by way of HMAC, so that
//! it shares neither code nor library calls with what encrypts.
//!
//! Read by the tests and, through `#[path]`, by `fuzz/`.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::hmac;

/// A user agent with a subscription.
pub(crate) struct UserAgent {
    private: PrivateKey,
    pub(crate) public: [u8; 65],
    pub(crate) auth: [u8; 16],
}

impl UserAgent {
    /// With this private key and authentication secret; `None` when the first is no scalar of P-256.
    pub(crate) fn with(private: &[u8; 32], auth: [u8; 16]) -> Option<Self> {
        let private = PrivateKey::from_private_key(&ECDH_P256, private).ok()?;
        let public = private.compute_public_key().ok()?.as_ref().try_into().ok()?;
        Some(Self { private, public, auth })
    }

    /// The plaintext of a body; `None` for one that RFC 8291 §4 forbids or that is not for this agent.
    pub(crate) fn open(&self, body: &[u8]) -> Option<Vec<u8>> {
        let (salt, rest) = body.split_at_checked(16)?;
        let (size, rest) = rest.split_first_chunk()?;
        let (&length, rest) = rest.split_first()?;
        let (sender, record) = rest.split_at_checked(usize::from(length))?;
        let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
        // One record, whose end is told from a truncation (RFC 8188 §2.2).
        if sender.len() != 65 || size < 18 || record.len() > size {
            return None;
        }
        let (key, nonce) = self.keys(salt, sender)?;
        let mut record = record.to_vec();
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?);
        let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        let opened = key.open_in_place(nonce, Aad::empty(), &mut record).ok()?;
        let delimiter = opened.iter().rposition(|octet| *octet != 0)?;
        (opened[delimiter] == 2).then(|| opened[..delimiter].to_vec())
    }

    /// Content encryption key and nonce.
    fn keys(&self, salt: &[u8], sender: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let key = UnparsedPublicKey::new(&ECDH_P256, sender);
        let ecdh = agreement::agree(&self.private, key, (), |secret| Ok(secret.to_vec())).ok()?;
        let prk_key = hash(&self.auth, &[&ecdh]);
        let ikm = hash(&prk_key, &[b"WebPush: info\0", &self.public, sender, &[1]]);
        let prk = hash(salt, &[&ikm]);
        let mut cek = hash(&prk, &[b"Content-Encoding: aes128gcm\0", &[1]]);
        let mut nonce = hash(&prk, &[b"Content-Encoding: nonce\0", &[1]]);
        cek.truncate(16);
        nonce.truncate(12);
        Some((cek, nonce))
    }
}

/// HMAC-SHA-256.
fn hash(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().to_vec()
}
