//! Everything the demo server knows, in memory: users, accounts, who may do what with them.
//!
//! Pure: no network, no clock; time is passed in. Gone when the process ends.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::date::UtcDate;
use super::message::compose::Draft;
use super::message::header::{self, Address};
use crate::jmap::id::{AccountId, DataType, State};
use account::{Account, Refused};
use record::Filing;

pub(crate) mod account;
pub(crate) mod log;
pub(crate) mod record;
pub(crate) mod table;

/// An Id of RFC 8620 §1.2, made here and so always well formed.
pub(crate) type Id = String;

/// What a user may do with an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It is theirs (`isPersonal`).
    Owner,
    /// It is shared with them for reading and writing.
    Write,
    /// It is shared with them for reading (`isReadOnly`).
    Read,
}

/// A mail from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IncomingMail<'a> {
    /// As in a `From` field: `Carol <carol@elsewhere.example>`.
    pub(crate) from: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) text: &'a str,
}

/// Mail has come in: what a mail server would tell its notification bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Where it came in.
    pub account_id: AccountId,
    /// The data types that changed, with their states after it.
    pub changed: Vec<(DataType, State)>,
}

/// The whole content.
#[derive(Debug)]
pub(crate) struct Store {
    epoch: String,
    passwords: BTreeMap<String, String>,
    accounts: BTreeMap<Id, Account>,
    grants: BTreeMap<(String, Id), Access>,
    messages: u64,
    deliveries: Vec<Delivery>,
}

impl Store {
    /// Two people, Alice and Bob, each with an account and a welcome mail, and a third account of
    /// their team, which Alice may change and Bob only read. `epoch` tells this run from others.
    pub(crate) fn new(epoch: &str, now: UtcDate) -> Self {
        let mut store = Self {
            epoch: epoch.to_owned(),
            passwords: BTreeMap::new(),
            accounts: BTreeMap::new(),
            grants: BTreeMap::new(),
            messages: 0,
            deliveries: Vec::new(),
        };
        for (id, name) in [("alice", "Alice Ames"), ("bob", "Bob Brandt"), ("team", "The Team")] {
            let account = Account::new(epoch, name, &format!("{id}@demo.example"));
            store.accounts.insert(id.to_owned(), account);
            let text = format!("Hello {name},\n\nthis mailbox lives in memory and is all yours.\n");
            let mail = IncomingMail {
                from: "The demo <demo@demo.example>",
                subject: "Welcome",
                text: &text,
            };
            // A new account has room and an inbox.
            let _ = store.deliver(id, &mail, now);
        }
        store.deliveries.clear();
        for (user, account, access) in [
            ("alice", "alice", Access::Owner),
            ("alice", "team", Access::Write),
            ("bob", "bob", Access::Owner),
            ("bob", "team", Access::Read),
        ] {
            store.passwords.insert(user.to_owned(), "demo".to_owned());
            store.grants.insert((user.to_owned(), account.to_owned()), access);
        }
        store
    }

    pub(crate) fn is_password(&self, user: &str, password: &str) -> bool {
        self.passwords.get(user).is_some_and(|known| known == password)
    }

    /// `sessionState`: nothing of a Session changes while the server runs.
    pub(crate) fn session_state(&self) -> &str {
        &self.epoch
    }

    pub(crate) fn access(&self, user: &str, account_id: &str) -> Option<Access> {
        self.grants.get(&(user.to_owned(), account_id.to_owned())).copied()
    }

    /// The accounts a user may see.
    pub(crate) fn accounts_of<'a>(
        &'a self,
        user: &'a str,
    ) -> impl Iterator<Item = (&'a Id, &'a Account, Access)> {
        self.grants.iter().filter(move |((name, _), _)| name == user).filter_map(
            |((_, id), access)| self.accounts.get(id).map(|account| (id, account, *access)),
        )
    }

    /// An account, if the user may see it.
    pub(crate) fn account(&self, user: &str, id: &str) -> Option<&Account> {
        self.access(user, id).and_then(|_| self.accounts.get(id))
    }

    /// See [`Self::account`]; whether the user may write is for the caller to ask.
    pub(crate) fn account_mut(&mut self, user: &str, id: &str) -> Option<&mut Account> {
        self.access(user, id).and_then(|_| self.accounts.get_mut(id))
    }

    /// A message id nobody has had.
    pub(crate) fn new_message_id(&mut self) -> String {
        self.messages += 1;
        format!("{}.{}@demo.example", self.epoch, self.messages)
    }

    /// Delivers a mail to an account's inbox, as if it had come in from outside.
    ///
    /// # Errors
    /// When the account does not exist, has no inbox any more, or is full.
    pub(crate) fn deliver(
        &mut self,
        account_id: &str,
        mail: &IncomingMail<'_>,
        now: UtcDate,
    ) -> Result<Id, Refused> {
        let account = self.accounts.get(account_id).ok_or(Refused::UnknownMailbox)?;
        let to = Address { name: Some(account.name.clone()), email: account.address.clone() };
        let draft = Draft {
            message_id: self.new_message_id(),
            sent_at: Some(now),
            from: header::to_addresses(mail.from),
            to: vec![to],
            subject: Some(mail.subject.to_owned()),
            text: Some(mail.text.to_owned()),
            ..Draft::default()
        };
        self.take_in(account_id, Bytes::from(draft.to_bytes()), now)
    }

    /// Sends a message to those recipients who live here; mail for others vanishes.
    pub(crate) fn send(&mut self, recipients: &BTreeSet<String>, raw: &Bytes, now: UtcDate) {
        let here: Vec<Id> = self
            .accounts
            .iter()
            .filter(|(_, account)| recipients.contains(&account.address.to_ascii_lowercase()))
            .map(|(id, _)| id.clone())
            .collect();
        // RFC 8621 §7.5: "any Bcc header field MUST be stripped".
        let raw = Bytes::from(header::without_field(raw, "Bcc"));
        for id in here {
            // A full inbox is the recipient's trouble: a real server would bounce.
            let _ = self.take_in(&id, raw.clone(), now);
        }
    }

    /// What has come in since the last call.
    pub(crate) fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    fn take_in(&mut self, account_id: &str, raw: Bytes, now: UtcDate) -> Result<Id, Refused> {
        let account = self.accounts.get_mut(account_id).ok_or(Refused::UnknownMailbox)?;
        let inbox = account.mailbox_with_role("inbox").ok_or(Refused::NoMailbox)?.clone();
        let filing = Filing { mailbox_ids: BTreeSet::from([inbox]), ..Filing::default() };
        let email_id = account.add_email(raw, filing, now)?;
        let states = [
            ("Email", account.emails().state()),
            ("Mailbox", account.mailboxes().state()),
            ("Thread", account.threads().state()),
        ];
        let changed = states
            .iter()
            .filter_map(|(name, state)| Some((DataType::parse(name)?, State::parse(state)?)));
        if let Some(id) = AccountId::parse(account_id) {
            self.deliveries.push(Delivery { account_id: id, changed: changed.collect() });
        }
        Ok(email_id)
    }
}

#[cfg(test)]
mod tests;
