//! Which user a request is of, as far as its headers tell: what decides the upstream address it goes
//! to (architecture D4).
//!
//! A fixed function of the credential and of nothing else, so that it needs no Session, and gives the
//! same on every replica, after every restart, and for the first request of a user as for the
//! thousandth:
//!
//! | the request has | the user is told by |
//! |---|---|
//! | `Authorization: Basic` (RFC 7617) | the user name |
//! | `Authorization: Bearer` with a JWT (RFC 7519) | its `sub`, not verified: upstream does that |
//! | any other `Authorization` | all of it: one user's tokens may lead to different addresses |
//! | only a `Cookie` | all of it: a user moves when the cookie changes |
//! | neither | nothing: all such requests go to one address |

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use zeroize::Zeroizing;

/// The first eight bytes of the SHA-256 of what tells the user, big endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Affinity(pub(super) u64);

impl Affinity {
    /// See the module.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut context = Context::new(&SHA256);
        match headers.get(AUTHORIZATION) {
            Some(value) => match user(value.as_bytes()) {
                Some(user) => context.update(&user),
                None => context.update(value.as_bytes()),
            },
            None => {
                headers.get_all(COOKIE).iter().for_each(|crumb| context.update(crumb.as_bytes()))
            }
        }
        let digest = context.finish();
        Self(digest.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }
}

/// The user that a credential names itself.
fn user(authorization: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    #[derive(serde::Deserialize)]
    struct Claims {
        sub: String,
    }
    let (scheme, credential) = std::str::from_utf8(authorization).ok()?.split_once(' ')?;
    let credential = credential.trim();
    if scheme.eq_ignore_ascii_case("basic") {
        let mut pair = Zeroizing::new(STANDARD.decode(credential).ok()?);
        let colon = pair.iter().position(|byte| *byte == b':')?;
        pair.truncate(colon);
        return Some(pair);
    }
    let claims = credential.split('.').nth(1).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims).ok()?);
    let Claims { sub } = serde_json::from_slice(&claims).ok()?;
    Some(Zeroizing::new(sub.into_bytes()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn of(name: HeaderName, value: &str) -> Affinity {
        Affinity::of(&HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]))
    }

    fn basic(pair: &str) -> Affinity {
        of(AUTHORIZATION, &format!("Basic {}", STANDARD.encode(pair)))
    }

    fn jwt(claims: &str) -> Affinity {
        let claims = URL_SAFE_NO_PAD.encode(claims);
        of(AUTHORIZATION, &format!("Bearer e30.{claims}.c2ln"))
    }

    #[test]
    fn a_user_is_the_same_whatever_the_password_or_the_token() {
        assert_eq!(basic("alice:one"), basic("alice:two"));
        assert_eq!(basic("alice:one"), jwt(r#"{"sub":"alice","exp":1}"#));
        assert_eq!(jwt(r#"{"sub":"alice","exp":1}"#), jwt(r#"{"exp":2,"sub":"alice"}"#));
        assert_ne!(basic("alice:one"), basic("bob:one"));
    }

    #[test]
    fn a_credential_that_names_nobody_stands_for_its_user() {
        for bearer in ["Bearer opaque", "Bearer a.b.c", "Bearer e30.e30.e30", "Negotiate x", "x"] {
            assert_eq!(of(AUTHORIZATION, bearer), of(AUTHORIZATION, bearer));
            assert_ne!(of(AUTHORIZATION, bearer), of(AUTHORIZATION, "Bearer other"));
        }
        assert_ne!(of(COOKIE, "s=1"), of(COOKIE, "s=2"));
    }

    #[test]
    fn every_replica_of_every_version_comes_to_the_same() {
        // The beginning of `printf alice | sha256sum`.
        assert_eq!(basic("alice:x"), Affinity(0x2bd8_06c9_7f0e_00af));
        assert_eq!(Affinity::of(&HeaderMap::new()), Affinity(0xe3b0_c442_98fc_1c14));
    }
}
