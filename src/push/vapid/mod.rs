//! Voluntary identification towards push services (RFC 8292; RFC 9749 for JMAP; protocol.md §1.7, hostile.md
//! X12): the key, and the tokens it signs. Does not say which subscription belongs to which key.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject as _};
use serde::Serialize;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// How long a token lasts. A push service refuses one of more than 24 hours (RFC 8292 §2), and its
/// clock may be behind ours.
const LIFE: Duration = Duration::from_secs(12 * 3600);

/// Push services whose tokens are kept.
const MOST_TOKENS: usize = 1024;

/// `{"typ":"JWT","alg":"ES256"}` (RFC 7519 §5, RFC 7518 §3.4).
const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKey {
    /// No private key in the PEM text.
    #[error("read a private key in PEM")]
    Pem(#[from] pem::Error),
    /// Not of P-256, or its two halves do not belong together.
    #[error("use the key for ES256: it must be of the curve P-256")]
    Rejected(#[from] KeyRejected),
}

/// Why there is no key or no token. The library does not say; nothing is known to cause it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sign for push services")]
pub struct Unsignable;

impl From<Unspecified> for Unsignable {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// An application server's key, with the tokens it signed last.
///
/// When full: with tokens of [`MOST_TOKENS`] push services all are forgotten; each is signed anew when
/// it is next asked for.
pub struct VapidKey {
    pair: EcdsaKeyPair,
    public: String,
    id: String,
    tokens: Mutex<HashMap<Claimed, Token>>,
}

/// What a token says besides its end: `aud` and `sub`.
type Claimed = (String, Option<String>);

/// A token in the form of the header.
struct Token {
    /// By the wall clock, since the epoch.
    signed: Duration,
    authorization: HeaderValue,
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VapidKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl VapidKey {
    /// A new one.
    ///
    /// # Errors
    /// See [`Unsignable`].
    pub fn generate() -> Result<Self, Unsignable> {
        Ok(Self::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?))
    }

    /// Reads DER: PKCS#8 (RFC 5208) or `ECPrivateKey` (RFC 5915, SEC 1).
    ///
    /// # Errors
    /// See [`InvalidKey`].
    pub fn from_der(der: &[u8]) -> Result<Self, InvalidKey> {
        Ok(Self::new(EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der)?))
    }

    /// Reads PEM: the first `PRIVATE KEY` or `EC PRIVATE KEY` in it.
    ///
    /// # Errors
    /// See [`InvalidKey`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidKey> {
        Self::from_der(Zeroizing::new(PrivateKeyDer::from_pem_slice(pem)?).secret_der())
    }

    /// The key as PKCS#8 in DER.
    ///
    /// # Errors
    /// See [`Unsignable`].
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Unsignable> {
        Ok(Zeroizing::new(self.pair.to_pkcs8v1()?.as_ref().to_vec()))
    }

    fn new(pair: EcdsaKeyPair) -> Self {
        let point = pair.public_key().as_ref();
        let hash = digest(&SHA256, point);
        let id = URL_SAFE_NO_PAD.encode(hash.as_ref().split_at(9).0);
        Self { public: URL_SAFE_NO_PAD.encode(point), id, pair, tokens: Mutex::default() }
    }

    /// `applicationServerKey` of RFC 9749 §3: the uncompressed point in base64url.
    #[must_use]
    pub fn application_server_key(&self) -> &str {
        &self.public
    }

    /// Names the key among others, in 12 letters of base64url: the beginning of the public key's
    /// SHA-256.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `Authorization` for a push service (RFC 8292 §3): `audience` is its origin, `subject` how its
    /// operator reaches ours (`mailto:` or `https:`, §2.1), `now` the wall clock since the epoch.
    ///
    /// # Errors
    /// See [`Unsignable`].
    pub fn authorization(
        &self,
        audience: &str,
        subject: Option<&str>,
        now: Duration,
    ) -> Result<HeaderValue, Unsignable> {
        let claimed = (audience.to_owned(), subject.map(str::to_owned));
        let tokens = || self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = tokens().get(&claimed).filter(|token| token.serves(now)) {
            return Ok(token.authorization.clone());
        }
        let authorization = self.sign(audience, subject, now)?;
        let token = Token { signed: now, authorization: authorization.clone() };
        let mut tokens = tokens();
        if tokens.len() >= MOST_TOKENS && !tokens.contains_key(&claimed) {
            tokens.clear();
        }
        tokens.insert(claimed, token);
        Ok(authorization)
    }

    fn sign(
        &self,
        audience: &str,
        subject: Option<&str>,
        now: Duration,
    ) -> Result<HeaderValue, Unsignable> {
        let claims =
            Claims { aud: audience, exp: now.saturating_add(LIFE).as_secs(), sub: subject };
        let claims = serde_json::to_vec(&claims).map_err(|_| Unsignable)?;
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes())?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let value = format!("vapid t={signed}.{signature}, k={}", self.public);
        let mut value = HeaderValue::try_from(value).map_err(|_| Unsignable)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Token {
    /// Whether it lasts for half its life yet. A clock that was set back since has made it one of too
    /// long a life (hostile.md F14).
    fn serves(&self, now: Duration) -> bool {
        now.checked_sub(self.signed).is_some_and(|age| age < LIFE / 2)
    }
}

/// RFC 8292 §2.
#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
}
