//! A header whose value is made for each user: `Authorize-As: {username}`.
//!
//! `{username}` is the user's name; `{base64:…}` is the base64 of what stands in it, which may hold
//! `{username}`, as Basic credentials (RFC 7617 §2) need it; `{jwt:KEY}` is a JSON Web Token (RFC 7519) in
//! the user's name, signed with that key. Other braces stand for themselves.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue};
use serde_json::json;
use zeroize::Zeroizing;

use super::mistake::Fault;
use super::secret::Secret;

const USERNAME: &str = "{username}";
const BASE64: &str = "{base64:";
const JWT: &str = "{jwt:";

/// Octets of a token's key at least (RFC 7518 §3.2).
const SHORTEST_KEY: usize = 32;

/// A token is dated back by so much: Cyrus, for one, takes none whose date is ahead of its own clock.
const SKEW: Duration = Duration::from_secs(5);

/// See the module. The value is a secret.
#[derive(Clone)]
pub struct HeaderTemplate {
    /// The header's name.
    pub name: HeaderName,
    value: Secret,
}

impl HeaderTemplate {
    /// Reads `Name: value`; `None` when that gives no header for a user with an ordinary name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.split_once(':')?;
        let value = Secret::new(value.trim().to_owned());
        let header = Self { name: name.parse().ok()?, value };
        header.value("user", Duration::ZERO).is_some().then_some(header)
    }

    /// The value for a user, at this time since the epoch; `None` when their name cannot stand in a header.
    #[must_use]
    pub fn value(&self, username: &str, now: Duration) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&filled(self.value.expose(), username, now)?).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl PartialEq for HeaderTemplate {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.value.expose()) == (&other.name, other.value.expose())
    }
}

impl fmt::Debug for HeaderTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

/// `Name: value`.
pub(super) fn header(text: &str) -> Result<HeaderTemplate, Fault> {
    let wanted = "\"Name: value\", with {username}, {base64:…} or {jwt:KEY} in the value where needed, the key \
        32 octets or more in base64";
    HeaderTemplate::parse(text).ok_or(Fault::Malformed { what: "a header", wanted })
}

/// The template filled in; `None` when a brace has no end, or a key is none.
fn filled(template: &str, username: &str, now: Duration) -> Option<Zeroizing<String>> {
    let mut filled = Zeroizing::new(String::new());
    let mut rest = template;
    while let Some((at, open)) = first_of(rest) {
        let (before, after) = (rest.get(..at)?, rest.get(at + open.len()..)?);
        filled.push_str(&before.replace(USERNAME, username));
        let (inner, after) = after.split_at_checked(end_of_braces(after)?)?;
        filled.push_str(&match open {
            JWT => jwt(inner, username, now)?,
            _ => {
                let inner = Zeroizing::new(inner.replace(USERNAME, username));
                Zeroizing::new(STANDARD.encode(inner.as_bytes()))
            }
        });
        rest = after.strip_prefix('}')?;
    }
    filled.push_str(&rest.replace(USERNAME, username));
    Some(filled)
}

/// Where the first brace of those that make something opens, and which it is.
fn first_of(text: &str) -> Option<(usize, &'static str)> {
    [BASE64, JWT].into_iter().filter_map(|open| Some((text.find(open)?, open))).min()
}

/// A token of HS256 (RFC 7515 §7.1) with the claims that Cyrus takes, and no other: `sub` and `iat`.
fn jwt(key: &str, username: &str, now: Duration) -> Option<Zeroizing<String>> {
    let key = Zeroizing::new(STANDARD.decode(key).ok().filter(|key| key.len() >= SHORTEST_KEY)?);
    let issued = now.saturating_sub(SKEW).as_secs();
    let parts =
        [json!({ "alg": "HS256", "typ": "JWT" }), json!({ "sub": username, "iat": issued })];
    let [header, claims] = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let mut token = Zeroizing::new(format!("{header}.{claims}"));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), token.as_bytes());
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Some(token)
}

/// Where the brace closes that was open before the text.
fn end_of_braces(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_785_931_205);

    fn value(text: &str, username: &str) -> Option<String> {
        let value = HeaderTemplate::parse(text).unwrap().value(username, NOW)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_users_name_is_filled_in_where_it_is_asked_for() {
        assert_eq!(value("Authorize-As: {username}", "alice").unwrap(), "alice");
        assert_eq!(value("X: a {username}@b {username}", "u").unwrap(), "a u@b u");
        assert_eq!(value("X: {other}", "u").unwrap(), "{other}");
    }

    #[test]
    fn basic_credentials_of_a_master_user_are_encoded_for_each_user() {
        let header = "Authorization: Basic {base64:{username}%master:s{}cret}";
        let encoded = STANDARD.encode("alice%master:s{}cret");
        assert_eq!(value(header, "alice").unwrap(), format!("Basic {encoded}"));
    }

    /// RFC 7519; that Cyrus takes it is shown in tests/real/push.
    #[test]
    fn a_token_is_signed_in_each_user_s_name() {
        let key = STANDARD.encode((0..32).collect::<Vec<u8>>());
        let header = format!("Authorization: Bearer {{jwt:{key}}}");
        let token = value(&header, "al\"ice").unwrap();
        let parts: Vec<_> = token.strip_prefix("Bearer ").unwrap().split('.').collect();
        let read = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(read(parts[0]), r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims: serde_json::Value = serde_json::from_str(&read(parts[1])).unwrap();
        assert_eq!(claims, json!({ "sub": "al\"ice", "iat": 1_785_931_200 }));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &(0..32).collect::<Vec<u8>>());
        let signed = format!("{}.{}", parts[0], parts[1]);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        assert!(hmac::verify(&key, signed.as_bytes(), &signature).is_ok());
        assert_ne!(value(&header, "bob").unwrap(), token);
    }

    #[test]
    fn a_name_that_cannot_stand_in_a_header_gives_none() {
        assert_eq!(value("Authorize-As: {username}", "a\r\nAuthorize-As: b"), None);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let short_key = format!("X: {{jwt:{}}}", STANDARD.encode([7; 31]));
        for text in [
            "no colon",
            "bad name: x",
            "X: {base64:{username}",
            "X: a\u{1}",
            "X: {jwt:not base64}",
            &short_key,
        ] {
            assert_eq!(HeaderTemplate::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_value() {
        let header = HeaderTemplate::parse("Authorization: canary").unwrap();
        assert!(!format!("{header:?}").contains("canary"));
    }
}
