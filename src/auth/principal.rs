//! Whom upstream takes a credential for: the accounts of its Session, and what the probe needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::credentials::{Credentials, Keyring};
use crate::jmap::id::AccountId;
use crate::jmap::session::{CoreLimits, Session};
use crate::state::fact::PrincipalId;

/// One account as one principal sees it.
#[derive(Debug, Clone)]
pub struct Access {
    /// Whether it is the principal's own.
    pub is_personal: bool,
    /// Names of the account's capabilities, shared by all accounts that have the same.
    pub capabilities: Arc<[String]>,
}

/// A credential that upstream accepted, with what it may see.
#[derive(Debug)]
pub struct Principal {
    /// The user, whichever credential they came with.
    pub id: PrincipalId,
    /// Session `username`: for logs only where the operator asked, never a label.
    pub username: String,
    /// The accounts of the Session.
    pub accounts: BTreeMap<AccountId, Access>,
    /// The API's path on upstream.
    pub api_path: String,
    /// Upstream's Session `state`: another one in a response means that accounts may have changed.
    pub session_state: String,
    /// What upstream's core capability allows.
    pub limits: CoreLimits,
    /// What the probe asks with.
    pub credentials: Arc<Credentials>,
}

impl Principal {
    /// Reads a Session that was found at `path` for these credentials.
    #[must_use]
    pub fn new(
        session: &Session,
        path: &str,
        credentials: Arc<Credentials>,
        keyring: &Keyring,
        lists: &mut CapabilityLists,
    ) -> Self {
        let accounts = session.account_ids().map(|(id, account)| {
            let names = account.account_capabilities.keys().cloned().collect();
            (id, Access { is_personal: account.is_personal, capabilities: lists.shared(names) })
        });
        // A Session without a user name is told apart by the accounts that are the user's own: others
        // come and go.
        let identity = if session.username.is_empty() {
            let own = session.accounts.iter().filter(|(_, account)| account.is_personal);
            own.fold("\0".to_owned(), |list, (id, _)| list + id + "\0")
        } else {
            session.username.clone()
        };
        Self {
            id: PrincipalId(keyring.hash(&identity)),
            username: session.username.clone(),
            accounts: accounts.collect(),
            api_path: path_of(&session.api_url, path),
            session_state: session.state.clone(),
            limits: session.core_limits(),
            credentials,
        }
    }
}

/// The path of a URL that may be absolute, absolute-path or relative to `base` (RFC 3986 §5.2).
#[must_use]
pub fn path_of(url: &str, base: &str) -> String {
    if let Some((_, rest)) = url.split_once("://") {
        let (_, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        return if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    }
    if url.starts_with('/') {
        return url.to_owned();
    }
    let base = base.split('?').next().unwrap_or("");
    let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
    format!("{directory}/{url}")
}

/// Lists of capability names seen, so that ten thousand users do not hold ten thousand copies.
/// When full: lists are no longer shared.
#[derive(Debug, Default)]
pub struct CapabilityLists(Vec<Arc<[String]>>);

impl CapabilityLists {
    const MOST: usize = 64;

    fn shared(&mut self, names: Vec<String>) -> Arc<[String]> {
        if let Some(known) = self.0.iter().find(|known| ***known == *names) {
            return Arc::clone(known);
        }
        let list: Arc<[String]> = names.into();
        if self.0.len() < Self::MOST {
            self.0.push(Arc::clone(&list));
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn api_urls_of_every_form_have_a_path() {
        assert_eq!(path_of("https://jmap.example/api/", "/.well-known/jmap"), "/api/");
        assert_eq!(path_of("https://jmap.example", "/x"), "/");
        assert_eq!(path_of("https://jmap.example?x=a/b", "/x"), "/?x=a/b");
        assert_eq!(path_of("/jmap/", "/jmap"), "/jmap/");
        assert_eq!(path_of("api?x=1", "/jmap/session?a/b"), "/jmap/api?x=1");
    }
}
