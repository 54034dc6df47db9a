//! Tickets: credentials sealed for the one place where a browser's script can put them, a URL
//! (`com:linagora:params:jmap:ws:ticket`, tmail-backend's `ticketAuthentication.adoc`; protocol.md §3).
//!
//! | file | |
//! |---|---|
//! | `seal` | the text that a client carries, and what it stands for |
//! | `used` | which have been used, so that none is used twice |
//! | `fleet` | the same, as far as other processes know |
//! | `endpoint` | where they are given out and revoked |
//!
//! A ticket is no key of its own: it stands for the credential it was given for, and upstream is asked
//! about that as of any other. Sealed, so that every process with the same key takes it without being
//! told of it.
//!
//! Good for one use within `auth.ticket_valid`. A browser's `EventSource` connects again to the URL it was
//! given, and gives up for ever when that is refused: so what an event source has taken it takes again
//! for `auth.ticket_grant`.

mod endpoint;
mod fleet;
mod seal;
mod used;

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;

use self::fleet::{Fleet, Known};
use self::seal::{Seal, Ticket, TicketId, Unsealable};
use self::used::{OwnTicket, Used};
use super::authority::Authority;
use super::credentials::Credentials;
use super::principal::Principal;
use crate::config::secret::Key;
use crate::config::{self, TicketBind};
use crate::jmap::date::UtcDate;
use crate::redis::Commands;

/// Gives tickets out, takes them, and revokes them.
pub struct Tickets {
    settings: config::Tickets,
    authority: Arc<Authority>,
    seal: Seal,
    /// Held for map operations only, never across an await.
    used: Mutex<Used>,
    owners: RandomState,
    fleet: Option<Fleet>,
}

/// What a client is given, in the words of the extension.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Given<'a> {
    value: String,
    client_address: String,
    generated_on: UtcDate,
    valid_until: UtcDate,
    username: &'a str,
}

/// Why the end of a ticket is not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Unrevoked {
    /// It is no ticket, or another user's.
    #[error("this is no ticket of yours")]
    NotTheirs,
    /// There is no room to remember it, or Redis is away, which may remember a grant: a new try may do.
    #[error("the ticket's end cannot be told to all replicas now: try again")]
    Untold,
}

/// What a ticket is to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A connection that its page opens anew with a new ticket.
    Once,
    /// A stream that the browser itself comes back to.
    Again,
}

impl Tickets {
    /// By `auth.ticket_*`; who may have one is asked of `authority`. Other processes are told of uses
    /// through `redis`.
    #[must_use]
    pub fn new(
        settings: config::Tickets,
        authority: Arc<Authority>,
        redis: Option<Commands>,
    ) -> Self {
        // Nobody else takes what a key of our own has sealed.
        let fleet = settings.key.as_ref().and(redis).map(Fleet);
        let seal = Seal::new(&settings.key.clone().unwrap_or_else(Key::random));
        Self {
            settings,
            authority,
            seal,
            used: Mutex::default(),
            owners: RandomState::new(),
            fleet,
        }
    }

    /// A ticket for what `headers` authenticate by, whom upstream takes for `principal`.
    fn give<'a>(
        &self,
        principal: &'a Principal,
        headers: &HeaderMap,
        client: Option<IpAddr>,
        now: Duration,
    ) -> Result<Given<'a>, Unsealable> {
        let address = client.map(|address| address.to_canonical());
        let expires = now.saturating_add(self.settings.valid);
        let ticket = Ticket {
            issued: now,
            expires,
            address,
            owner: principal.username.clone(),
            credentials: Credentials::from_headers(headers),
        };
        Ok(Given {
            value: self.seal.seal(&ticket)?,
            // RFC 7239 §6.2: on a Unix socket nobody has one.
            client_address: address.map_or("unknown".to_owned(), |address| address.to_string()),
            generated_on: UtcDate::at(now),
            valid_until: UtcDate::at(expires),
            username: &principal.username,
        })
    }

    /// What a ticket stands for, if the client at this address may use it now. That is a use of it.
    pub(super) async fn redeem(
        &self,
        text: &str,
        purpose: Use,
        client: Option<IpAddr>,
        now: Duration,
    ) -> Option<Credentials> {
        let (id, ticket) = self.seal.open(text)?;
        let address = client.map(|address| address.to_canonical());
        if self.settings.bind == TicketBind::Address && ticket.address != address {
            return None;
        }
        let again = purpose == Use::Again && !self.settings.grant.is_zero();
        let granted = again.then(|| now.saturating_add(self.settings.grant));
        let own = self.own(id, &ticket);
        let mut is_good = self.used().claim(own, ticket.expires, granted, now);
        if let Some(fleet) = &self.fleet {
            match fleet.claim(id, ticket.expires, granted, now).await {
                Known::Nothing => {}
                Known::Granted(end) => is_good = again && now < end,
                Known::Used => {
                    self.used().revoke(own, ticket.expires, now);
                    is_good = false;
                }
            }
        }
        is_good.then_some(ticket.credentials)
    }

    /// Makes a ticket of this user's useless, here whatever is said of the others.
    async fn revoke(
        &self,
        text: &str,
        principal: &Principal,
        now: Duration,
    ) -> Result<(), Unrevoked> {
        let opened = self.seal.open(text);
        let theirs = opened.filter(|(_, ticket)| ticket.owner == principal.username);
        let (id, ticket) = theirs.ok_or(Unrevoked::NotTheirs)?;
        let is_known = self.used().revoke(self.own(id, &ticket), ticket.expires, now);
        let unused = ticket.expires.saturating_sub(now);
        let is_told = match &self.fleet {
            Some(fleet) => fleet.revoke(id, unused.max(self.settings.grant)).await,
            None => true,
        };
        if is_known && is_told { Ok(()) } else { Err(Unrevoked::Untold) }
    }

    fn own(&self, id: TicketId, ticket: &Ticket) -> OwnTicket {
        OwnTicket { owner: self.owners.hash_one(&ticket.owner), id }
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
