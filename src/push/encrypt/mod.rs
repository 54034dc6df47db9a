//! Message encryption for Web Push (RFC 8291; protocol.md §1.7, hostile.md X12): one `aes128gcm` record (RFC
//! 8188) for one subscription.
//! Does not split what is too long, and does not pad.
//!
//! ```text
//! salt 16 | rs 4 | idlen 1 | keyid 65 | AEAD_AES_128_GCM( plaintext | 0x02 ) (RFC 5116 §5.1)
//! ```

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, ParsedPublicKey, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{self, HKDF_SHA256, Prk, Salt};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

#[cfg(test)]
mod tests;

/// Octets of plaintext that fit: push services need not take bodies of more than 4096 (RFC 8291 §4).
pub const MAX_PLAINTEXT: usize = 3993;

/// Octets of an uncompressed point of P-256 (SEC 1 §2.3.3).
pub const POINT: usize = 65;

/// Octets of the authentication secret (RFC 8291 §3.2).
pub const AUTH: usize = 16;

const SALT: usize = 16;

/// `rs` of RFC 8188 §2.1: the size of the one record, which may be shorter.
const RECORD: u32 = 4096;

/// Ends the last record (RFC 8188 §2).
const DELIMITER: u8 = 2;

/// Base64url as clients write it: `PushSubscription.toJSON` leaves the padding out, not all do.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why `keys` of a PushSubscription (RFC 8620 §7.2) cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// Not base64url, or not [`POINT`] octets of an uncompressed point on P-256 (RFC 8291 §7).
    #[error("p256dh is not an uncompressed point on P-256 in base64url")]
    P256dh,
    /// Not base64url, or not [`AUTH`] octets.
    #[error("auth is not 16 octets in base64url")]
    Auth,
}

/// Why there is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unencryptable {
    /// Longer than [`MAX_PLAINTEXT`].
    #[error("encrypt more than {MAX_PLAINTEXT} octets for a push service")]
    TooLong,
    /// The library does not say why; nothing is known to cause it.
    #[error("encrypt for a push service")]
    Cipher(#[from] Unspecified),
}

/// `keys` of a PushSubscription: the user agent's public key and its authentication secret (RFC 8291
/// §3.1, §3.2). `Debug` shows nothing of them; memory is wiped when they go.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    p256dh: [u8; POINT],
    auth: [u8; AUTH],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// Reads base64url, with or without padding.
    ///
    /// # Errors
    /// See [`InvalidKeys`].
    pub fn parse(p256dh: &str, auth: &str) -> Result<Self, InvalidKeys> {
        let p256dh = octets(p256dh).ok_or(InvalidKeys::P256dh)?;
        let auth = octets(auth).ok_or(InvalidKeys::Auth)?;
        Self::new(*p256dh, *auth)
    }

    /// The keys made of these octets.
    ///
    /// # Errors
    /// When the first are no uncompressed point on P-256.
    pub fn new(p256dh: [u8; POINT], auth: [u8; AUTH]) -> Result<Self, InvalidKeys> {
        let keys = Self { p256dh, auth };
        // Of this length there is a hybrid form as well, whose first octet is another.
        let is_uncompressed = keys.p256dh.first() == Some(&4);
        match is_uncompressed.then(|| ParsedPublicKey::try_from(keys.public_key())) {
            Some(Ok(_)) => Ok(keys),
            _ => Err(InvalidKeys::P256dh),
        }
    }

    /// The user agent's public key, uncompressed.
    #[must_use]
    pub fn p256dh(&self) -> &[u8; POINT] {
        &self.p256dh
    }

    /// The authentication secret.
    #[must_use]
    pub fn auth(&self) -> &[u8; AUTH] {
        &self.auth
    }

    fn public_key(&self) -> UnparsedPublicKey<&[u8]> {
        UnparsedPublicKey::new(&ECDH_P256, &self.p256dh)
    }
}

/// The body of a push message, at most 4096 octets, with a salt and a sender's key of its own.
///
/// # Errors
/// See [`Unencryptable`].
pub fn seal(keys: &Keys, plaintext: &[u8]) -> Result<Vec<u8>, Unencryptable> {
    let mut salt = [0; SALT];
    rand::fill(&mut salt)?;
    encrypt(keys, plaintext, salt, &PrivateKey::generate(&ECDH_P256)?)
}

/// The same with this salt and this key, neither of which may be used twice (RFC 8291 §3.1).
fn encrypt(
    keys: &Keys,
    plaintext: &[u8],
    salt: [u8; SALT],
    sender: &PrivateKey,
) -> Result<Vec<u8>, Unencryptable> {
    if plaintext.len() > MAX_PLAINTEXT {
        return Err(Unencryptable::TooLong);
    }
    let public = sender.compute_public_key()?;
    let (key, nonce) = derive(keys, salt, sender, public.as_ref())?;
    let mut record = Zeroizing::new(Vec::with_capacity(plaintext.len() + 1));
    record.extend_from_slice(plaintext);
    record.push(DELIMITER);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut record)?;
    let (size, idlen) = (RECORD.to_be_bytes(), u8::try_from(POINT).map_err(|_| Unspecified)?);
    Ok([&salt[..], &size, &[idlen], public.as_ref(), &record, tag.as_ref()].concat())
}

/// Content encryption key and nonce (RFC 8291 §3.4).
fn derive(
    keys: &Keys,
    salt: [u8; SALT],
    sender: &PrivateKey,
    public: &[u8],
) -> Result<(LessSafeKey, Nonce), Unspecified> {
    let keyed = agreement::agree(sender, keys.public_key(), Unspecified, |secret| {
        Ok(Salt::new(HKDF_SHA256, &keys.auth).extract(secret))
    })?;
    let material = expand::<32>(&keyed, &[b"WebPush: info\0", &keys.p256dh, public])?;
    let keyed = Salt::new(HKDF_SHA256, &salt).extract(&*material);
    let key = expand::<16>(&keyed, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce = expand::<NONCE_LEN>(&keyed, &[b"Content-Encoding: nonce\0"])?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &*key)?);
    Ok((key, Nonce::assume_unique_for_key(*nonce)))
}

/// The first `N` octets that HKDF expands a key to (RFC 5869 §2.3).
fn expand<const N: usize>(key: &Prk, info: &[&[u8]]) -> Result<Zeroizing<[u8; N]>, Unspecified> {
    let mut octets = Zeroizing::new([0; N]);
    key.expand(info, Length(N))?.fill(&mut *octets)?;
    Ok(octets)
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn octets<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let octets = Zeroizing::new(BASE64URL.decode(text).ok()?);
    <[u8; N]>::try_from(octets.as_slice()).ok().map(Zeroizing::new)
}
