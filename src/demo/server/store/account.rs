//! One account: its mailboxes, Emails and the rest, and what one change does to the others.
//!
//! **Invariant:** every Email is in at least one existing Mailbox and in exactly one Thread, and
//! each change of an Email that a Mailbox's counts show is in that Mailbox's change log.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::Id;
use super::record::{Email, EmailSubmission, Filing, Identity, Mailbox, Thread, VacationResponse};
use super::table::Table;
use crate::demo::server::date::UtcDate;
use crate::demo::server::message::Message;

/// Octets of all Emails of an account. When full: nothing more is taken in (`overQuota`).
pub(crate) const QUOTA: usize = 64 << 20;

/// Octets of all uploads of an account that wait for use. When full: the oldest goes (RFC 8620 §6.1
/// allows that).
const UPLOADS: usize = 32 << 20;

/// The id of the only `VacationResponse` (RFC 8621 §8).
pub(crate) const SINGLETON: &str = "singleton";

/// Why an Email was not taken in or filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("an Email is in at least one Mailbox")]
    NoMailbox,
    #[error("there is no such Mailbox")]
    UnknownMailbox,
    #[error("the account is full")]
    OverQuota,
}

/// An account of the Session (RFC 8620 §1.6.2).
#[derive(Debug)]
pub(crate) struct Account {
    /// Shown to people.
    pub(crate) name: String,
    /// Where its mail arrives.
    pub(crate) address: String,
    pub(crate) identities: Table<Identity>,
    pub(crate) submissions: Table<EmailSubmission>,
    pub(crate) vacation: Table<VacationResponse>,
    mailboxes: Table<Mailbox>,
    emails: Table<Email>,
    threads: Table<Thread>,
    uploads: VecDeque<Upload>,
    next_blob: u64,
    used: usize,
}

#[derive(Debug)]
struct Upload {
    blob_id: Id,
    media_type: String,
    content: Bytes,
}

impl Account {
    /// An account with the usual Mailboxes and one Identity.
    pub(crate) fn new(epoch: &str, name: &str, address: &str) -> Self {
        let mut account = Self {
            name: name.to_owned(),
            address: address.to_owned(),
            identities: Table::new('I', epoch),
            submissions: Table::new('S', epoch),
            vacation: Table::new('V', epoch),
            mailboxes: Table::new('M', epoch),
            emails: Table::new('E', epoch),
            threads: Table::new('T', epoch),
            uploads: VecDeque::new(),
            next_blob: 1,
            used: 0,
        };
        let roles = ["Inbox", "Drafts", "Sent", "Archive", "Trash"];
        for (sort_order, name) in (1..).zip(roles) {
            account.mailboxes.create(Mailbox {
                name: name.to_owned(),
                parent_id: None,
                role: Some(name.to_ascii_lowercase()),
                sort_order,
                is_subscribed: true,
            });
        }
        account.identities.create(Identity::new(name, address));
        account.vacation.create_as(SINGLETON, VacationResponse::default());
        account
    }

    pub(crate) fn mailboxes(&self) -> &Table<Mailbox> {
        &self.mailboxes
    }

    /// For changes of Mailboxes themselves; [`Self::destroy_mailbox`] is the one that needs more.
    pub(crate) fn mailboxes_mut(&mut self) -> &mut Table<Mailbox> {
        &mut self.mailboxes
    }

    pub(crate) fn emails(&self) -> &Table<Email> {
        &self.emails
    }

    pub(crate) fn threads(&self) -> &Table<Thread> {
        &self.threads
    }

    /// The Mailbox of a role (RFC 8621 §2: at most one).
    pub(crate) fn mailbox_with_role(&self, role: &str) -> Option<&Id> {
        let mut mailboxes = self.mailboxes.iter();
        mailboxes.find(|(_, mailbox)| mailbox.role.as_deref() == Some(role)).map(|(id, _)| id)
    }

    /// The Emails in a Mailbox.
    pub(crate) fn emails_in<'a>(
        &'a self,
        mailbox_id: &'a str,
    ) -> impl Iterator<Item = (&'a Id, &'a Email)> {
        self.emails.iter().filter(move |(_, email)| email.filing.mailbox_ids.contains(mailbox_id))
    }

    /// Takes in a message.
    ///
    /// # Errors
    /// See [`Refused`]; nothing has changed then.
    pub(crate) fn add_email(
        &mut self,
        raw: Bytes,
        filing: Filing,
        received_at: UtcDate,
    ) -> Result<Id, Refused> {
        self.check(&filing)?;
        if self.used + raw.len() > QUOTA {
            return Err(Refused::OverQuota);
        }
        self.used += raw.len();
        let message = Message::parse(&raw);
        let thread_id = self.thread_of(&message);
        let mailbox_ids = filing.mailbox_ids.clone();
        let blob_id = self.new_blob_id();
        let email =
            Email { blob_id, thread_id: thread_id.clone(), filing, received_at, raw, message };
        let id = self.emails.create(email);
        self.threads.update(&thread_id, |thread| thread.email_ids.push(id.clone()));
        self.count(&mailbox_ids);
        Ok(id)
    }

    /// Moves an Email or changes its keywords. Whether it exists is the caller's to know.
    ///
    /// # Errors
    /// See [`Refused`]; nothing has changed then.
    pub(crate) fn file_email(&mut self, id: &str, filing: Filing) -> Result<(), Refused> {
        self.check(&filing)?;
        let Some(before) = self.emails.get(id).map(|email| email.filing.clone()) else {
            return Ok(());
        };
        if before == filing {
            return Ok(());
        }
        let moved = before.mailbox_ids != filing.mailbox_ids;
        if moved || before.is_unread() != filing.is_unread() {
            self.count(&before.mailbox_ids.union(&filing.mailbox_ids).cloned().collect());
        }
        self.emails.update(id, |email| email.filing = filing);
        Ok(())
    }

    /// Removes an Email; `false` when there is none.
    pub(crate) fn destroy_email(&mut self, id: &str) -> bool {
        let Some(email) = self.emails.destroy(id) else { return false };
        self.used = self.used.saturating_sub(email.raw.len());
        self.threads.update(&email.thread_id, |thread| thread.email_ids.retain(|it| it != id));
        if self.threads.get(&email.thread_id).is_some_and(|thread| thread.email_ids.is_empty()) {
            self.threads.destroy(&email.thread_id);
        }
        self.count(&email.filing.mailbox_ids);
        true
    }

    /// Removes a Mailbox, and the Emails that are nowhere else.
    pub(crate) fn destroy_mailbox(&mut self, id: &str) {
        let inside: Vec<(Id, Filing)> =
            self.emails_in(id).map(|(id, email)| (id.clone(), email.filing.clone())).collect();
        for (email_id, mut filing) in inside {
            filing.mailbox_ids.remove(id);
            if self.file_email(&email_id, filing).is_err() {
                self.destroy_email(&email_id);
            }
        }
        self.mailboxes.destroy(id);
    }

    /// Keeps an upload (RFC 8620 §6.1) until others push it out.
    pub(crate) fn upload(&mut self, media_type: &str, content: Bytes) -> Id {
        let blob_id = self.new_blob_id();
        let media_type = media_type.to_owned();
        self.uploads.push_back(Upload { blob_id: blob_id.clone(), media_type, content });
        while self.uploads.iter().map(|upload| upload.content.len()).sum::<usize>() > UPLOADS {
            self.uploads.pop_front();
        }
        blob_id
    }

    /// Media type and content of an upload, an Email, or a part of one.
    pub(crate) fn blob(&self, blob_id: &str) -> Option<(String, Bytes)> {
        if let Some(upload) = self.uploads.iter().find(|upload| upload.blob_id == blob_id) {
            return Some((upload.media_type.clone(), upload.content.clone()));
        }
        let (email_blob, part_id) =
            blob_id.split_once('-').map_or((blob_id, None), |(blob, part)| (blob, Some(part)));
        let (_, email) = self.emails.iter().find(|(_, email)| email.blob_id == email_blob)?;
        let Some(part_id) = part_id else {
            return Some(("message/rfc822".to_owned(), email.raw.clone()));
        };
        let leaves = email.message.root.leaves();
        let part = leaves.into_iter().find(|part| part.part_id.as_deref() == Some(part_id))?;
        Some((part.media_type.clone(), part.content()))
    }

    fn check(&self, filing: &Filing) -> Result<(), Refused> {
        if filing.mailbox_ids.is_empty() {
            return Err(Refused::NoMailbox);
        }
        let known = filing.mailbox_ids.iter().all(|id| self.mailboxes.contains(id));
        if known { Ok(()) } else { Err(Refused::UnknownMailbox) }
    }

    fn count(&mut self, mailbox_ids: &BTreeSet<Id>) {
        for id in mailbox_ids {
            self.mailboxes.counted(id);
        }
    }

    /// RFC 8621 §3 leaves the algorithm open: a message joins the Thread of one it refers to.
    fn thread_of(&mut self, message: &Message) -> Id {
        let referred: Vec<String> = ["references", "in-reply-to"]
            .into_iter()
            .flat_map(|name| message.message_ids(name).unwrap_or_default())
            .collect();
        let found = self.emails.iter().find_map(|(_, email)| {
            let ids = email.message.message_ids("message-id").unwrap_or_default();
            ids.iter().any(|id| referred.contains(id)).then(|| email.thread_id.clone())
        });
        found.unwrap_or_else(|| self.threads.create(Thread::default()))
    }

    fn new_blob_id(&mut self) -> Id {
        let id = format!("B{:04}", self.next_blob);
        self.next_blob += 1;
        id
    }
}
