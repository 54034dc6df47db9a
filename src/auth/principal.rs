//! Whom upstream takes a credential for: the accounts of its Session, and what the probe needs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::credentials::{Credentials, Keyring};
use crate::jmap::id::AccountId;
use crate::jmap::session::{CoreLimits, Session};
use crate::jmap::url::{authority_of, path_of};
use crate::state::fact::PrincipalId;

/// One account as one principal sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Names of the Session's own capabilities, shared by all Sessions that have the same.
    pub capabilities: Arc<[String]>,
    /// The accounts of the Session.
    pub accounts: BTreeMap<AccountId, Access>,
    /// The API's path on upstream.
    pub api_path: String,
    /// Upstream's Session `state`: another one in a response means that accounts may have changed.
    pub session_state: String,
    /// What upstream's core capability allows.
    pub limits: CoreLimits,
    /// Push that upstream has itself.
    pub push: Arc<Push>,
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
        lists: &mut Lists,
    ) -> Self {
        let accounts = session.account_ids().map(|(id, account)| {
            let names = account.account_capabilities.keys().cloned().collect();
            let capabilities = shared(&mut lists.capabilities, names);
            (id, Access { is_personal: account.is_personal, capabilities })
        });
        let accounts = accounts.collect();
        Self {
            id: PrincipalId(keyring.hash(&identity(&session.username, &accounts))),
            username: session.username.clone(),
            accounts,
            api_path: path_of(&session.api_url, path),
            session_state: session.state.clone(),
            capabilities: shared(
                &mut lists.capabilities,
                session.capabilities.keys().cloned().collect(),
            ),
            limits: session.core_limits(),
            push: shared(&mut lists.push, Arc::new(Push::new(session, path))),
            credentials,
        }
    }

    /// Somebody of whom only this is remembered.
    #[must_use]
    pub(crate) fn absent(absentee: Absentee<'_>, keyring: &Keyring, lists: &mut Lists) -> Self {
        let Absentee { username, accounts, api_path, host } = absentee;
        let share = |(id, is_personal, names): (AccountId, bool, Vec<String>)| {
            let capabilities = shared(&mut lists.capabilities, names.into());
            (id, Access { is_personal, capabilities })
        };
        let accounts: BTreeMap<_, _> = accounts.into_iter().map(share).collect();
        Self {
            id: PrincipalId(keyring.hash(&identity(username, &accounts))),
            username: username.to_owned(),
            capabilities: Arc::default(),
            accounts,
            api_path: api_path.to_owned(),
            session_state: String::new(),
            limits: CoreLimits::default(),
            push: Arc::default(),
            credentials: Arc::new(Credentials::absent(host)),
        }
    }

    /// What tells this user from others, the same in every process.
    #[must_use]
    pub fn identity(&self) -> Cow<'_, str> {
        identity(&self.username, &self.accounts)
    }
}

/// Somebody who is not there, as remembered from when they were.
#[derive(Debug)]
pub struct Absentee<'a> {
    /// Session `username`.
    pub username: &'a str,
    /// The accounts they saw: id, whether it is their own, names of its capabilities.
    pub accounts: Vec<(AccountId, bool, Vec<String>)>,
    /// The API's path on upstream.
    pub api_path: &'a str,
    /// The host they asked for.
    pub host: Option<&'a str>,
}

/// A Session without a user name is told apart by the accounts that are the user's own: others come and
/// go.
fn identity<'a>(username: &'a str, accounts: &BTreeMap<AccountId, Access>) -> Cow<'a, str> {
    if !username.is_empty() {
        return Cow::Borrowed(username);
    }
    let own = accounts.iter().filter(|(_, access)| access.is_personal);
    Cow::Owned(own.fold("\0".to_owned(), |list, (id, _)| list + id.as_str() + "\0"))
}

/// Where upstream's Session says that upstream has push of its own (architecture D14).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Push {
    /// `eventSourceUrl` (RFC 8620 §7.3), a template.
    pub event_source: Option<Place>,
    /// The WebSocket (RFC 8887 §3), if it says that push goes over it.
    pub web_socket: Option<Place>,
}

/// A URL of a Session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Host and port; `None` where a relative URL, or one on the host of `apiUrl`, leaves no doubt that
    /// it is the server we ask.
    pub host: Option<String>,
    /// Path and query, as upstream wrote them.
    pub path: String,
}

impl Push {
    /// Whether there is any.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        self.event_source.is_some() || self.web_socket.is_some()
    }

    /// Reads it of a Session that was found at `base`.
    fn new(session: &Session, base: &str) -> Self {
        let api = authority_of(&session.api_url);
        let place = |url: &str| {
            // `eventSourceUrl: ""` is how some servers say that they have none.
            let host = authority_of(url).filter(|host| Some(*host) != api).map(str::to_owned);
            (!url.is_empty()).then(|| Place { host, path: path_of(url, base) })
        };
        Self {
            event_source: session.event_source_url.as_deref().and_then(place),
            web_socket: session
                .web_socket()
                .filter(|it| it.supports_push)
                .and_then(|it| place(&it.url)),
        }
    }
}

/// What many users' Sessions say alike, so that ten thousand users do not hold ten thousand copies.
/// When full: what is new is no longer shared.
#[derive(Debug, Default)]
pub struct Lists {
    capabilities: Vec<Arc<[String]>>,
    push: Vec<Arc<Push>>,
}

impl Lists {
    const MOST: usize = 64;
}

/// The one that is known already, if there is one.
fn shared<T: ?Sized + PartialEq>(known: &mut Vec<Arc<T>>, new: Arc<T>) -> Arc<T> {
    if let Some(known) = known.iter().find(|known| **known == new) {
        return Arc::clone(known);
    }
    if known.len() < Lists::MOST {
        known.push(Arc::clone(&new));
    }
    new
}
