//! Which credential a `PushSubscription` belongs to (RFC 8620 §7.2, P5; protocol.md §5.3.4): known
//! again when it comes back, and useless to whoever reads the disk. Whether upstream still takes the
//! credential is not known here.
//!
//! | credential | kept of it |
//! |---|---|
//! | bearer, a JWT that names its session, or its user and client | HMAC of issuer, user, client and session: access tokens change hourly, the grant behind them stays |
//! | another bearer, a cookie, another scheme | HMAC of it |
//! | Basic | argon2id (RFC 9106) of user and password, with a salt of its own and the store's key as secret |
//! | any, `bind = "user"` | HMAC of the user's name |
//!
//! Each is of the user's name too, as upstream says it. A JWT's claims are not verified here, so that a
//! forged one can reach no farther than its bearer's own subscriptions.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::vault::{Tag, Vault};
use crate::auth::{CredentialKey, Credentials};

/// What subscriptions are bound to (`push.bind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bind {
    /// The credential that made it, as the RFC wants it.
    #[default]
    Credential,
    /// The user, with whatever credential.
    User,
}

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub enum Binding {
    /// The user.
    User(Tag),
    /// What a JWT's issuer gave to this client in this session.
    Grant(Tag),
    /// The very header.
    Header(Tag),
    /// User and password.
    Password(Box<PasswordHash>),
}

/// An argon2id hash, with what it was made with.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    cost: Cost,
    salt: [u8; 16],
    hash: Tag,
}

/// Memory in KiB, passes, lanes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost(u32, u32, u32);

/// Of OWASP's recommendations the one with the most memory and two passes.
const COST: Cost = Cost(19 * 1024, 2, 1);

/// A password could not be hashed: there is no memory.
#[derive(Debug, thiserror::Error)]
#[error("hash a password")]
pub struct Unhashable(#[source] argon2::Error);

/// A text that is no binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read what a subscription is bound to")]
pub struct NotABinding;

/// What a JWT says of the grant it came from. `azp` is `OpenID`'s word, `client_id` RFC 9068's.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Claims {
    iss: String,
    sub: String,
    azp: Option<String>,
    client_id: Option<String>,
    sid: Option<String>,
}

impl Binding {
    /// Binds to what this user came with. `username` is what upstream calls them: the Session's
    /// `username`, or what stands for it where that is empty.
    ///
    /// For Basic credentials it takes some 30 ms and 19 MiB.
    ///
    /// # Errors
    /// See [`Unhashable`].
    pub fn new(
        vault: &Vault,
        credentials: &Credentials,
        username: &str,
        bind: Bind,
    ) -> Result<Self, Unhashable> {
        Ok(match Evidence::of(credentials, bind) {
            Evidence::User => Self::User(user_tag(vault, username)),
            Evidence::Grant(claims) => Self::Grant(grant_tag(vault, username, &claims)),
            Evidence::Header => Self::Header(header_tag(vault, username, credentials)),
            Evidence::Password(password) => {
                let salt = rand::random();
                let hash = password_tag(vault, username, &password, (COST, &salt))?;
                Self::Password(Box::new(PasswordHash { cost: COST, salt, hash }))
            }
        })
    }

    /// Whether this user, with this credential, is who it is bound to. Takes as long as [`Self::new`]
    /// where it [costs](Self::is_costly).
    ///
    /// # Errors
    /// See [`Unhashable`].
    pub fn matches(
        &self,
        vault: &Vault,
        credentials: &Credentials,
        username: &str,
    ) -> Result<bool, Unhashable> {
        let bind = if matches!(self, Self::User(_)) { Bind::User } else { Bind::Credential };
        let (kept, shown) = match (self, Evidence::of(credentials, bind)) {
            (Self::User(kept), Evidence::User) => (kept, user_tag(vault, username)),
            (Self::Grant(kept), Evidence::Grant(claims)) => {
                (kept, grant_tag(vault, username, &claims))
            }
            (Self::Header(kept), Evidence::Header) => {
                (kept, header_tag(vault, username, credentials))
            }
            (Self::Password(kept), Evidence::Password(password)) => {
                let with = (kept.cost, &kept.salt);
                (&kept.hash, password_tag(vault, username, &password, with)?)
            }
            _ => return Ok(false),
        };
        Ok(verify_slices_are_equal(kept, &shown).is_ok())
    }

    /// Whether [`Self::matches`] hashes a password: some 30 ms and 19 MiB, not for the runtime's
    /// threads, and not without a bound on how many at once.
    #[must_use]
    pub fn is_costly(&self) -> bool {
        matches!(self, Self::Password(_))
    }

    /// Tells bindings apart, in memory.
    fn fingerprint(&self) -> Tag {
        match self {
            Self::User(tag) | Self::Grant(tag) | Self::Header(tag) => *tag,
            Self::Password(password) => password.hash,
        }
    }
}

/// What of a credential it is that tells its bearer.
enum Evidence {
    User,
    Grant(Claims),
    Header,
    /// `user:password`.
    Password(Zeroizing<Vec<u8>>),
}

impl Evidence {
    fn of(credentials: &Credentials, bind: Bind) -> Self {
        // Who comes without a credential (upstream tells users by their address, say) has nothing else.
        if bind == Bind::User || credentials.headers().next().is_none() {
            return Self::User;
        }
        if let Some((scheme, value)) = authorization(credentials)
            && scheme.eq_ignore_ascii_case(b"basic")
        {
            // What is no base64 is a password all the same if upstream takes it.
            let decoded = STANDARD.decode(value).unwrap_or_else(|_| value.to_vec());
            return Self::Password(Zeroizing::new(decoded));
        }
        let is_grant = |it: &Claims| {
            let names_client = it.azp.is_some() || it.client_id.is_some();
            it.sid.is_some() || (!it.sub.is_empty() && names_client)
        };
        credentials.claims().filter(is_grant).map_or(Self::Header, Self::Grant)
    }
}

/// Scheme and the rest of the `Authorization` header.
fn authorization(credentials: &Credentials) -> Option<(&[u8], &[u8])> {
    let (_, value) = credentials.headers().find(|(name, _)| **name == AUTHORIZATION)?;
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at_checked(space)?;
    Some((scheme, rest.trim_ascii()))
}

fn user_tag(vault: &Vault, username: &str) -> Tag {
    vault.tag([&b"user"[..], username.as_bytes()])
}

fn grant_tag(vault: &Vault, username: &str, claims: &Claims) -> Tag {
    let client = claims.azp.as_ref().or(claims.client_id.as_ref());
    let words = [Some(&claims.iss), Some(&claims.sub), client, claims.sid.as_ref()];
    let words = words.map(|word| word.map_or(&b""[..], |word| word.as_bytes()));
    vault.tag([&b"grant"[..], username.as_bytes()].into_iter().chain(words))
}

/// Of `Authorization` alone where there is one: cookies beside it come and go.
fn header_tag(vault: &Vault, username: &str, credentials: &Credentials) -> Tag {
    let has_authorization = credentials.headers().any(|(name, _)| *name == AUTHORIZATION);
    let told_by =
        credentials.headers().filter(|(name, _)| !has_authorization || **name == AUTHORIZATION);
    let fields = told_by.flat_map(|(name, value)| [name.as_str().as_bytes(), value]);
    vault.tag([&b"header"[..], username.as_bytes()].into_iter().chain(fields))
}

fn password_tag(
    vault: &Vault,
    username: &str,
    password: &[u8],
    (Cost(memory, passes, lanes), salt): (Cost, &[u8; 16]),
) -> Result<Tag, Unhashable> {
    // The keyed hash takes the user's name in, and has one length whatever the password's.
    let input = Zeroizing::new(vault.tag([&b"password"[..], username.as_bytes(), password]));
    let mut hash = Tag::default();
    let params = Params::new(memory, passes, lanes, Some(hash.len())).map_err(Unhashable)?;
    Argon2::new_with_secret(vault.pepper(), Algorithm::Argon2id, Version::V0x13, params)
        .and_then(|argon2| argon2.hash_password_into(&*input, salt, &mut hash))
        .map_err(Unhashable)?;
    Ok(hash)
}

/// `user:…`, `grant:…`, `header:…`, or `argon2id:memory:passes:lanes:salt:hash`; base64url.
impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::User(tag) => write!(f, "user:{}", encode(tag)),
            Self::Grant(tag) => write!(f, "grant:{}", encode(tag)),
            Self::Header(tag) => write!(f, "header:{}", encode(tag)),
            Self::Password(password) => {
                let Cost(memory, passes, lanes) = password.cost;
                let (salt, hash) = (encode(&password.salt), encode(&password.hash));
                write!(f, "argon2id:{memory}:{passes}:{lanes}:{salt}:{hash}")
            }
        }
    }
}

impl FromStr for Binding {
    type Err = NotABinding;

    fn from_str(text: &str) -> Result<Self, NotABinding> {
        let (kind, rest) = text.split_once(':').ok_or(NotABinding)?;
        match kind {
            "user" => bytes(rest).map(Self::User),
            "grant" => bytes(rest).map(Self::Grant),
            "header" => bytes(rest).map(Self::Header),
            "argon2id" => PasswordHash::parse(rest).map(|it| Self::Password(Box::new(it))),
            _ => None,
        }
        .ok_or(NotABinding)
    }
}

impl PasswordHash {
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(':');
        let mut number = || fields.next()?.parse().ok();
        let cost = Cost(number()?, number()?, number()?);
        let hash = Self { cost, salt: bytes(fields.next()?)?, hash: bytes(fields.next()?)? };
        fields.next().is_none().then_some(hash)
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // Decoding asks for room in steps of three bytes.
    let mut room = [0; 64];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut room).ok().filter(|it| *it == N)?;
    bytes.copy_from_slice(room.get(..length)?);
    Some(bytes)
}

/// It is no secret without the key, and no use to anybody who reads a log.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User(_) => "User(…)",
            Self::Grant(_) => "Grant(…)",
            Self::Header(_) => "Header(…)",
            Self::Password(_) => "Password(…)",
        })
    }
}

/// Which credentials matched which bindings, so that a password is hashed once per process and not with
/// every request. A [`CredentialKey`] means nothing outside this process, and neither does this.
#[derive(Debug, Default)]
pub struct Matches(Mutex<Generations>);

type Answers = HashMap<(CredentialKey, Tag), bool>;

/// When full: the young become the old, and the old are forgotten; they are hashed again.
#[derive(Debug, Default)]
struct Generations {
    young: Answers,
    old: Answers,
}

impl Matches {
    /// Answers of one generation.
    const MOST: usize = 10_000;

    /// Whether they match, if that is known.
    #[must_use]
    pub fn known(&self, key: CredentialKey, binding: &Binding) -> Option<bool> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = (key, binding.fingerprint());
        if let Some(known) = answers.young.get(&entry) {
            return Some(*known);
        }
        let known = answers.old.remove(&entry)?;
        answers.note(entry, known);
        Some(known)
    }

    /// Remembers what [`Binding::matches`] said, or that the binding was made of this credential.
    pub fn note(&self, key: CredentialKey, binding: &Binding, matches: bool) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.note((key, binding.fingerprint()), matches);
    }
}

impl Generations {
    fn note(&mut self, entry: (CredentialKey, Tag), matches: bool) {
        if self.young.len() >= Matches::MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(entry, matches);
    }
}

#[cfg(test)]
mod tests;
