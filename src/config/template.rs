//! A header whose value is made for each user: `Authorize-As: {username}`.
//!
//! `{username}` is the user's name; `{base64:…}` is the base64 of what stands in it, which may hold
//! `{username}`, as Basic credentials (RFC 7617 §2) need it. Other braces stand for themselves.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::mistake::Fault;
use super::secret::Secret;

const USERNAME: &str = "{username}";
const BASE64: &str = "{base64:";

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
        header.value("user").is_some().then_some(header)
    }

    /// The value for a user; `None` when their name cannot stand in a header.
    #[must_use]
    pub fn value(&self, username: &str) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&filled(self.value.expose(), username)?).ok()?;
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
    let wanted = "\"Name: value\", with {username} or {base64:…} in the value where needed";
    HeaderTemplate::parse(text).ok_or(Fault::Malformed { what: "a header", wanted })
}

/// The template filled in; `None` when a `{base64:` has no end.
fn filled(template: &str, username: &str) -> Option<Zeroizing<String>> {
    let mut filled = Zeroizing::new(String::new());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once(BASE64) {
        filled.push_str(&before.replace(USERNAME, username));
        let end = end_of_braces(after)?;
        let (inner, after) = after.split_at_checked(end)?;
        let inner = Zeroizing::new(inner.replace(USERNAME, username));
        filled.push_str(&Zeroizing::new(STANDARD.encode(inner.as_bytes())));
        rest = after.strip_prefix('}')?;
    }
    filled.push_str(&rest.replace(USERNAME, username));
    Some(filled)
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

    fn value(text: &str, username: &str) -> Option<String> {
        let value = HeaderTemplate::parse(text).unwrap().value(username)?;
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

    #[test]
    fn a_name_that_cannot_stand_in_a_header_gives_none() {
        assert_eq!(value("Authorize-As: {username}", "a\r\nAuthorize-As: b"), None);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for text in ["no colon", "bad name: x", "X: {base64:{username}", "X: a\u{1}"] {
            assert_eq!(HeaderTemplate::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_value() {
        let header = HeaderTemplate::parse("Authorization: canary").unwrap();
        assert!(!format!("{header:?}").contains("canary"));
    }
}
