//! Reads one datagram of Cyrus IMAP's `event_notifier: external`.
//!
//! Pure. A datagram is NUL-separated, `method class priority user mailbox count option… message`, as
//! notifyd reads it (Cyrus 3.6 `notifyd/notifyd.c`); the class is `EVENT` and the message a JSON object
//! (RFC 5423, with names of Cyrus' own; `imap/mboxevent.c`). What the events say was tried with 3.6:
//! docs/detection.md.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::jmap::id::{AccountId, DataType};

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose data changed: the owner of the mailbox, by every name that its owner may have; none for
    /// a mailbox that is nobody's own.
    pub accounts: Vec<AccountId>,
    /// Types that changed; `None` for any.
    pub types: Option<Vec<DataType>>,
    /// How the account's changes of mail are counted.
    pub counted: Counted,
    /// A mail was delivered.
    pub delivery: bool,
    /// Whose Sessions may list other accounts from now on.
    pub rights: Rights,
}

/// What an event says of the account's mail counter (`vnd.fastmail.counters`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Nothing: none is told, it is not of mail, or whose it is is not clear.
    Not,
    /// It stands at this now. JMAP's states of `Email`, `Mailbox` and `Thread` may equal it.
    Now(u64),
    /// It told, or will tell, its new value in an event of its own.
    Elsewhere,
}

/// Users whose rights changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rights {
    /// Nobody's.
    #[default]
    Nobody,
    /// Theirs, by name.
    Users(Vec<String>),
    /// Anybody's: a group, or everyone, was given or denied something.
    Anybody,
}

/// Why a datagram was not understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields are missing.
    #[error("no notification of Cyrus: fields are missing")]
    Fields,
    /// The message is not JSON, or no event. Without serde's words, which may quote it.
    #[error("the event is not the JSON that Cyrus writes")]
    NotJson,
    /// The event names no mailbox in the form of a URL (RFC 5092).
    #[error("the event names its mailbox in no form that is known")]
    Uri,
}

/// The members we know of an event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    uri: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "oldMailboxID")]
    old_mailbox: Option<Cow<'a, str>>,
    #[serde(borrow)]
    service: Option<Cow<'a, str>>,
    #[serde(borrow)]
    acl_subject: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "vnd.cmu.mbtype")]
    mailbox_type: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "vnd.cmu.mailboxACL")]
    acl: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "vnd.fastmail.counters")]
    counters: Option<Cow<'a, str>>,
}

/// Reads a datagram; `Ok(None)` when it tells of nothing that JMAP shows, such as a login.
///
/// # Errors
/// When it is none of Cyrus'.
pub fn parse(datagram: &[u8]) -> Result<Option<Change>, Error> {
    let message: Message<'_> =
        serde_json::from_slice(message(datagram)?).map_err(|_| Error::NotJson)?;
    message.change()
}

/// The JSON in a datagram.
fn message(datagram: &[u8]) -> Result<&[u8], Error> {
    const FIXED: usize = 5;
    let mut fields = datagram.split(|byte| *byte == 0).skip(FIXED);
    let count = fields.next().and_then(|count| std::str::from_utf8(count).ok()).unwrap_or_default();
    let options: usize =
        if count.is_empty() { 0 } else { count.parse().map_err(|_| Error::Fields)? };
    fields.nth(options).filter(|message| !message.is_empty()).ok_or(Error::Fields)
}

impl Message<'_> {
    fn change(&self) -> Result<Option<Change>, Error> {
        let Some(uri) = &self.uri else { return Ok(None) };
        // Quotas are of no type whose state Cyrus moves; alarms, logins and push tokens change nothing.
        if matches!(
            &*self.event,
            "QuotaExceed"
                | "QuotaWithin"
                | "QuotaChange"
                | "Login"
                | "Logout"
                | "ApplePushService"
                | "vnd.cmu.CalendarAlarm"
        ) {
            return Ok(None);
        }
        let mut accounts = owners(uri).ok_or(Error::Uri)?;
        for owner in self.old_mailbox.iter().filter_map(|uri| owners(uri)).flatten() {
            if !accounts.contains(&owner) {
                accounts.push(owner);
            }
        }
        let rights = self.rights(&accounts);
        if accounts.is_empty() && rights == Rights::Nobody {
            return Ok(None);
        }
        let (types, is_mail) = types(self.mailbox_type.as_deref().unwrap_or("e"));
        let counted = self.counted(is_mail && accounts.len() == 1);
        Ok(Some(Change { accounts, types, counted, delivery: self.is_delivery(), rights }))
    }

    /// `vnd.fastmail.counters` is "version highest mail caldav carddav …". In other events than these two
    /// it is of before the change, or of after it: one of the two comes beside each of them (tried with
    /// 3.6). Whether it is what JMAP calls a state is for probes to confirm
    /// ([`Agreement`](crate::state::agreement::Agreement)).
    fn counted(&self, is_clear: bool) -> Counted {
        let mail = self.counters.as_deref().and_then(|counters| counters.split(' ').nth(2));
        match mail.and_then(|mail| mail.parse().ok()) {
            Some(mail) if is_clear => match &*self.event {
                "MailboxModseq" | "MailboxCreate" => Counted::Now(mail),
                // New Email that nobody delivered, a draft or a message that IMAP appends, is new all the
                // same (RFC 8621 §1.5 `EmailDelivery`): what it is is asked.
                "MessageAppend" | "MessageNew" if !self.is_delivery() => Counted::Not,
                _ => Counted::Elsewhere,
            },
            _ => Counted::Not,
        }
    }

    /// A new mail that lmtpd brought (`event_extra_params: service`), not a draft. Where the service is
    /// not told it counts as delivered, for that must not be missed (RFC 8621 §1.5).
    fn is_delivery(&self) -> bool {
        self.event == "MessageNew"
            && self.service.as_deref().is_none_or(|service| service.starts_with("lmtp"))
    }

    fn rights(&self, owners: &[AccountId]) -> Rights {
        let is_of_mailbox = matches!(
            &*self.event,
            "AclChange" | "MailboxCreate" | "MailboxDelete" | "MailboxRename"
        );
        if !is_of_mailbox {
            return Rights::Nobody;
        }
        // The list is of pairs, name and rights; who may neither see nor read it has no account of it.
        let mut words = self.acl.as_deref().unwrap_or_default().split('\t');
        let pairs = std::iter::from_fn(|| Some((words.next()?, words.next().unwrap_or_default())));
        let listed = pairs.filter(|(_, rights)| rights.contains(['l', 'r'])).map(|(name, _)| name);
        let mut users = Vec::new();
        for name in listed.chain(self.acl_subject.as_deref()) {
            let name = name.strip_prefix('-').unwrap_or(name);
            if name == "anyone" || name.starts_with("group:") {
                return Rights::Anybody;
            }
            let is_owner = owners.iter().any(|owner| owner.as_str() == name);
            if !name.is_empty() && !is_owner && !users.iter().any(|user| user == name) {
                users.push(name.to_owned());
            }
        }
        if users.is_empty() { Rights::Nobody } else { Rights::Users(users) }
    }
}

/// The types that live in mailboxes of a kind, by the letter that Cyrus has for it (`imap/mbtype.c`),
/// and whether they are mail's.
fn types(letter: &str) -> (Option<Vec<DataType>>, bool) {
    let names: &[&str] = match letter {
        "e" => &["Email", "Mailbox", "Thread"],
        "i" => &["Mailbox"],
        "a" => &["AddressBook", "ContactCard", "Contact", "ContactGroup"],
        "c" => &["Calendar", "CalendarEvent"],
        "s" => &["EmailSubmission"],
        "v" => &["SieveScript", "VacationResponse"],
        _ => return (None, false),
    };
    (Some(names.iter().filter_map(|name| DataType::parse(name)).collect()), letter == "e")
}

/// The owners that a mailbox's URL may mean; none for one in nobody's name space, `None` for what is
/// no such URL.
///
/// With `virtdomains` the domain stands at the end of the mailbox' name, `user/alice/Folder@example.org`;
/// without, an at sign there is the folder's own. Nothing tells the two apart, so both are named: a hint
/// about an account that nobody watches costs nothing.
fn owners(uri: &str) -> Option<Vec<AccountId>> {
    let (_, path) = uri.strip_prefix("imap://")?.split_once('/')?;
    let path = path.split(';').next()?;
    let name = percent_decode_str(path.trim_end_matches('/')).decode_utf8().ok()?;
    let mut owners = Vec::new();
    if let Some((local, domain)) = name.rsplit_once('@')
        && !domain.contains('/')
        && let Some(owner) = owner(local)
    {
        owners.extend(AccountId::parse(&format!("{owner}@{domain}")));
    }
    let plain = owner(&name).and_then(|owner| AccountId::parse(&owner));
    owners.extend(plain.filter(|owner| !owners.contains(owner)));
    Some(owners)
}

/// The owner of `user/NAME…` or, without `unixhierarchysep`, `user.NAME…`, where `^` is a dot of the name.
fn owner(mailbox: &str) -> Option<String> {
    let name = if let Some(below) = mailbox.strip_prefix("user/") {
        below.split('/').next()?.to_owned()
    } else {
        mailbox.strip_prefix("user.")?.split('.').next()?.replace('^', ".")
    };
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;
