//! What we read of a Session resource (RFC 8620 §2). Rewriting it is `session/`'s work.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::id::AccountId;

/// The members of a Session that the proxy acts on; unknown ones are ignored here and survive in
/// the rewritten body (S6).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Server-wide capabilities, each with its limits object.
    pub capabilities: BTreeMap<String, Box<serde_json::value::RawValue>>,
    /// The accounts this credential may see: the one authority on fan-out (architecture D9).
    pub accounts: BTreeMap<String, Account>,
    /// The user name, possibly empty.
    #[serde(default)]
    pub username: String,
    /// The API URL as upstream gave it: absolute or relative.
    pub api_url: String,
    /// URI templates as upstream gave them.
    #[serde(default)]
    pub download_url: Option<String>,
    /// See [`Self::download_url`].
    #[serde(default)]
    pub upload_url: Option<String>,
    /// Present on servers that have, or claim, EventSource.
    #[serde(default)]
    pub event_source_url: Option<String>,
    /// Upstream's `state`, before our suffix (S4).
    #[serde(default)]
    pub state: String,
}

/// One account of a Session.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Whether it belongs to the authenticated user rather than being shared with them.
    #[serde(default)]
    pub is_personal: bool,
    /// The capabilities this account has; their names decide what the probe asks for.
    #[serde(default)]
    pub account_capabilities: BTreeMap<String, serde::de::IgnoredAny>,
}

/// The members of `urn:ietf:params:jmap:core` that bind us (S7).
#[derive(Debug, Clone, Copy, Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CoreLimits {
    /// Octets of one API request.
    #[serde(default)]
    pub max_size_request: Option<u64>,
    /// API requests one user may have in flight.
    #[serde(default)]
    pub max_concurrent_requests: Option<u64>,
    /// Method calls in one request: bounds a probe.
    #[serde(default)]
    pub max_calls_in_request: Option<u64>,
    /// Objects of one `/get`.
    #[serde(default)]
    pub max_objects_in_get: Option<u64>,
    /// Objects of one `/set`.
    #[serde(default)]
    pub max_objects_in_set: Option<u64>,
}

/// The WebSocket capability (RFC 8887 §3, W1).
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WebSocket {
    /// Where to connect to.
    pub url: String,
    /// Whether state changes are pushed over it.
    #[serde(default)]
    pub supports_push: bool,
}

/// The body is no Session.
#[derive(Debug, thiserror::Error)]
pub enum NotASession {
    /// No JSON object with `capabilities`, `accounts` and `apiUrl`.
    #[error("read a Session")]
    Json(#[from] serde_json::Error),
    /// §2: "The capabilities object MUST include a property called urn:ietf:params:jmap:core".
    #[error("find the core capability in a Session")]
    NoCore,
}

impl Session {
    /// Reads a Session body. Of what §2 demands, members that servers are known to leave out may be
    /// missing; those by which a Session is told from other JSON may not.
    ///
    /// # Errors
    /// [`NotASession`].
    pub fn parse(body: &[u8]) -> Result<Self, NotASession> {
        let session: Self = serde_json::from_slice(body)?;
        let is_session = session.capabilities.contains_key(super::capability::CORE);
        is_session.then_some(session).ok_or(NotASession::NoCore)
    }

    /// The core capability's limits; absent members are `None`.
    #[must_use]
    pub fn core_limits(&self) -> CoreLimits {
        self.capabilities
            .get(super::capability::CORE)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }

    /// The WebSocket, if the server has one and says where.
    #[must_use]
    pub fn web_socket(&self) -> Option<WebSocket> {
        let raw = self.capabilities.get(super::capability::WEBSOCKET)?;
        serde_json::from_str(raw.get()).ok()
    }

    /// The account ids that are well formed (others cannot be fanned out to).
    pub fn account_ids(&self) -> impl Iterator<Item = (AccountId, &Account)> {
        self.accounts.iter().filter_map(|(id, account)| Some((AccountId::parse(id)?, account)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_json_is_no_session() {
        let core =
            r#"{"capabilities":{"urn:ietf:params:jmap:core":{}},"accounts":{},"apiUrl":"/"}"#;
        assert!(Session::parse(core.as_bytes()).is_ok());
        for member in ["capabilities", "accounts", "apiUrl", "urn:ietf:params:jmap:core"] {
            let without = core.replace(member, "other");
            assert!(Session::parse(without.as_bytes()).is_err(), "{without}");
        }
        for body in ["", "[]", "null", "{}", "\"apiUrl\""] {
            assert!(Session::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
