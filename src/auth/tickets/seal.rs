//! A ticket's two forms: fields, and the text that clients carry. Pure.
//!
//! ```text
//! base64url( version | nonce | AES-256-GCM-SIV( fields ) | tag )
//! fields = issued | expires | address | owner | { header name | header value }
//! ```
//!
//! Each field is preceded by its length. The nonce is random and names the ticket; that a key lives for
//! years and two may meet is why the cipher is one that forgives it (RFC 8452). What the ticket is good
//! for, and how often, is not said here.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;
use zeroize::Zeroizing;

use crate::auth::Credentials;
use crate::config::secret::Key;

/// Of the form above. Authenticated with the rest.
const VERSION: u8 = 1;

/// Letters of a sealed ticket. With a path and a host it must fit into a request line, of which web
/// servers in front of us take 8 KB (nginx `large_client_header_buffers`).
const MOST_LETTERS: usize = 7168;

/// Names a ticket among all that are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TicketId([u8; NONCE_LEN]);

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
impl TicketId {
    pub(super) fn of(nonce: [u8; NONCE_LEN]) -> Self {
        Self(nonce)
    }
}

/// What a ticket holds. Times are wall-clock, since the epoch, to the millisecond.
#[derive(Debug)]
pub(super) struct Ticket {
    /// When it was given out.
    pub(super) issued: Duration,
    /// Until when it waits for its first use.
    pub(super) expires: Duration,
    /// Whom it was given to; `None` when the client had no address.
    pub(super) address: Option<IpAddr>,
    /// The user's name in their Session.
    pub(super) owner: String,
    /// What it stands for.
    pub(super) credentials: Credentials,
}

/// Why there is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsealable {
    /// Longer than [`MOST_LETTERS`] allow.
    #[error("put a credential of that size into a ticket")]
    TooLarge,
    /// The library does not say why; nothing is known to cause it.
    #[error("seal a ticket")]
    Cipher,
}

/// What seals tickets and opens them.
pub(super) struct Seal(RandomizedNonceKey);

impl Seal {
    /// With this key.
    pub(super) fn new(key: &Key) -> Self {
        #[expect(clippy::expect_used, reason = "any 32 bytes are a key of this cipher")]
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, key.expose()).expect("32 bytes");
        Self(key)
    }

    /// A ticket as text.
    pub(super) fn seal(&self, ticket: &Ticket) -> Result<String, Unsealable> {
        let mut fields = ticket.write();
        let nonce = self.0.seal_in_place_append_tag(Aad::from([VERSION]), &mut *fields);
        let nonce = nonce.map_err(|_| Unsealable::Cipher)?;
        let sealed = [&[VERSION], &nonce.as_ref()[..], &fields].concat();
        let text = URL_SAFE_NO_PAD.encode(sealed);
        if text.len() <= MOST_LETTERS { Ok(text) } else { Err(Unsealable::TooLarge) }
    }

    /// The ticket a text is; `None` for anything that was not sealed with this key.
    pub(super) fn open(&self, text: &str) -> Option<(TicketId, Ticket)> {
        if text.len() > MOST_LETTERS {
            return None;
        }
        let mut sealed = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        let (&mut version, rest) = sealed.split_first_mut()?;
        let (nonce, sealed) = rest.split_first_chunk_mut::<NONCE_LEN>()?;
        if version != VERSION {
            return None;
        }
        let opened = Nonce::assume_unique_for_key(*nonce);
        let fields = self.0.open_in_place(opened, Aad::from([VERSION]), sealed).ok()?;
        Some((TicketId(*nonce), Ticket::read(fields)?))
    }
}

impl Ticket {
    fn write(&self) -> Zeroizing<Vec<u8>> {
        // Room for all that is not refused: what a vector outgrows is not wiped.
        let mut fields = Zeroizing::new(Vec::with_capacity(MOST_LETTERS));
        for time in [self.issued, self.expires] {
            put(&mut fields, &u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
        }
        match self.address {
            None => put(&mut fields, &[]),
            Some(IpAddr::V4(address)) => put(&mut fields, &address.octets()),
            Some(IpAddr::V6(address)) => put(&mut fields, &address.octets()),
        }
        put(&mut fields, self.owner.as_bytes());
        for (name, value) in self.credentials.headers() {
            put(&mut fields, name.as_str().as_bytes());
            put(&mut fields, value);
        }
        fields
    }

    fn read(mut fields: &[u8]) -> Option<Self> {
        let fields = &mut fields;
        let issued = time(take(fields)?)?;
        let expires = time(take(fields)?)?;
        let address = match take(fields)? {
            [] => None,
            v4 if v4.len() == 4 => Some(<[u8; 4]>::try_from(v4).ok()?.into()),
            v6 => Some(<[u8; 16]>::try_from(v6).ok()?.into()),
        };
        let owner = String::from_utf8(take(fields)?.to_owned()).ok()?;
        let mut headers = Vec::new();
        while !fields.is_empty() {
            let name = HeaderName::from_bytes(take(fields)?).ok()?;
            headers.push((name, Zeroizing::new(take(fields)?.into())));
        }
        let credentials = Credentials::from_fields(headers)?;
        Some(Self { issued, expires, address, owner, credentials })
    }
}

fn put(fields: &mut Vec<u8>, field: &[u8]) {
    // What is longer than a length can say is far beyond what a ticket may hold.
    fields.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
    fields.extend_from_slice(field);
}

fn take<'a>(fields: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = fields.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (field, rest) = rest.split_at_checked(length)?;
    *fields = rest;
    Some(field)
}

fn time(field: &[u8]) -> Option<Duration> {
    field.try_into().ok().map(|millis| Duration::from_millis(u64::from_be_bytes(millis)))
}
