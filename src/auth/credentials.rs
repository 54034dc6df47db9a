//! What a client authenticates by: opaque, secret, and comparable only through a keyed hash.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// The headers upstream may authenticate by. Another one would have to be listed here, or two users
/// could share a cache entry (hostile.md X2).
const AUTHENTICATING: [HeaderName; 2] = [AUTHORIZATION, COOKIE];

/// HMAC of a credential, `Host` and forwarding origin under a key of this process: the same for the
/// same credential, useless to anybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CredentialKey(pub u128);

/// The key of this process.
pub struct Keyring(hmac::Key);

impl Default for Keyring {
    fn default() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()))
    }
}

impl Keyring {
    /// The key for what `headers` authenticate by; `None` when they hold nothing of the kind.
    #[must_use]
    pub fn key(&self, headers: &HeaderMap) -> Option<CredentialKey> {
        let mut context = hmac::Context::with_key(&self.0);
        let mut any = false;
        for name in &AUTHENTICATING {
            for value in headers.get_all(name) {
                any = true;
                feed(&mut context, name.as_str().as_bytes());
                feed(&mut context, value.as_bytes());
            }
        }
        for host in headers.get_all(HOST) {
            feed(&mut context, host.as_bytes());
        }
        any.then(|| CredentialKey(truncated(&context.sign())))
    }

    /// The key of somebody of whom there is a name of ours and no credential; no credential has it.
    #[must_use]
    pub(super) fn name(&self, name: &str) -> CredentialKey {
        let mut context = hmac::Context::with_key(&self.0);
        // No header has an empty name.
        feed(&mut context, b"");
        feed(&mut context, name.as_bytes());
        CredentialKey(truncated(&context.sign()))
    }

    /// A keyed hash of any text, for identities that must not be guessable.
    #[must_use]
    pub fn hash(&self, text: &str) -> u64 {
        let tag = truncated(&hmac::sign(&self.0, text.as_bytes()));
        u64::try_from(tag & u128::from(u64::MAX)).unwrap_or_default()
    }
}

/// Length first, so that no two lists of fields feed the same bytes.
fn feed(context: &mut hmac::Context, field: &[u8]) {
    context.update(&field.len().to_le_bytes());
    context.update(field);
}

fn truncated(tag: &hmac::Tag) -> u128 {
    tag.as_ref().first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))
}

/// One client's credentials, kept while a stream of theirs lives: the probe asks with them.
pub struct Credentials {
    /// `(name, value)` as they came; wiped from memory with this.
    headers: Vec<(HeaderName, Zeroizing<Box<[u8]>>)>,
    host: Option<HeaderValue>,
    is_absent: bool,
}

impl Credentials {
    /// Copies what authenticates out of a request's headers.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let copied = AUTHENTICATING.iter().flat_map(|name| {
            let values = headers.get_all(name).iter();
            values.map(|value| (name.clone(), Zeroizing::new(value.as_bytes().into())))
        });
        let host = headers.get(HOST).cloned();
        Self { headers: copied.collect(), host, is_absent: false }
    }

    /// No credential, of a client that asked for this host once.
    #[must_use]
    pub(super) fn absent(host: Option<&str>) -> Self {
        let host = host.and_then(|host| HeaderValue::from_str(host).ok());
        Self { headers: Vec::new(), host, is_absent: true }
    }

    /// Whether nobody knows what the client authenticated by; by nothing at all is another matter.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.is_absent
    }

    /// Whether they are the same with each request: a password or a token by itself. Cookies need not be,
    /// and what answers a challenge (Digest, Negotiate) never is.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        let [(AUTHORIZATION, value)] = &*self.headers else { return false };
        let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"basic") || scheme.eq_ignore_ascii_case(b"bearer")
    }

    /// Puts them on a request of our own.
    pub fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            if let Ok(mut value) = HeaderValue::from_bytes(value) {
                value.set_sensitive(true);
                headers.append(name, value);
            }
        }
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
    }

    /// The host that the client asked for.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_ref()?.to_str().ok()
    }

    /// Each header: to be sealed into a ticket, or to be known again by.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&HeaderName, &[u8])> {
        self.headers.iter().map(|(name, value)| (name, &***value))
    }

    /// What [`Self::headers`] gave; `None` if a header is none that authenticates.
    pub(super) fn from_fields(headers: Vec<(HeaderName, Zeroizing<Box<[u8]>>)>) -> Option<Self> {
        let known = headers.iter().all(|(name, _)| AUTHENTICATING.contains(name));
        known.then_some(Self { headers, host: None, is_absent: false })
    }

    /// Puts them in the place of whatever `headers` authenticate by.
    pub(super) fn replace(&self, headers: &mut HeaderMap) {
        for name in &AUTHENTICATING {
            headers.remove(name);
        }
        self.write(headers);
    }

    /// Seconds since the epoch at which a bearer token says it expires: the unverified `exp` of a
    /// JWT (RFC 7519 §4.1.4). Only ever used to ask upstream sooner.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        #[derive(serde::Deserialize)]
        struct Claims {
            exp: f64,
        }
        let Claims { exp } = self.claims()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates"
        )]
        Some(exp as u64)
    }

    /// What a bearer token says of itself if it is a JWT (RFC 7519 §4), unverified: whoever made the
    /// token may have written anything there.
    pub(crate) fn claims<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        let (_, value) = self.headers.iter().find(|(name, _)| *name == AUTHORIZATION)?;
        let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        let payload = token.split('.').nth(1).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
        let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
        serde_json::from_slice(&claims).ok()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn different_credentials_never_share_a_key() {
        let keyring = Keyring::default();
        let sets = [
            headers(&[(AUTHORIZATION, "Basic YQ=="), (HOST, "a")]),
            headers(&[(AUTHORIZATION, "Bearer YQ=="), (HOST, "a")]),
            headers(&[(AUTHORIZATION, "Basic YQ=="), (HOST, "b")]),
            headers(&[(COOKIE, "Basic YQ=="), (HOST, "a")]),
            headers(&[(AUTHORIZATION, "Basic YQ=="), (COOKIE, "s=1"), (HOST, "a")]),
        ];
        let keys: std::collections::HashSet<_> =
            sets.iter().map(|set| keyring.key(set).unwrap()).collect();
        assert_eq!(keys.len(), sets.len());
        assert_eq!(keyring.key(&headers(&[(HOST, "a")])), None);
        assert_ne!(Keyring::default().key(&sets[0]), keyring.key(&sets[0]));
    }

    #[test]
    fn a_jwt_tells_when_it_expires_and_nothing_else_does() {
        let bearer = headers(&[(AUTHORIZATION, "Bearer e30.eyJleHAiOjE3MDAwMDAwMDB9.c2ln")]);
        assert_eq!(Credentials::from_headers(&bearer).expires(), Some(1_700_000_000));
        for other in ["Basic YTpi", "Bearer opaque", "Bearer a.b.c", "Bearer e30.e30.e30"] {
            let other = headers(&[(AUTHORIZATION, other)]);
            assert_eq!(Credentials::from_headers(&other).expires(), None);
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let secret = headers(&[(AUTHORIZATION, "Bearer canary")]);
        assert!(!format!("{:?}", Credentials::from_headers(&secret)).contains("canary"));
    }
}
