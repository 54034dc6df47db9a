//! Sources of notifications: others telling us that something changed at the JMAP server.
//!
//! Each source is one file and says what it hears as an [`Event`] into one bounded [`queue`], through its
//! [`ear`]. What a notification looks like is [`message`] and, for people, docs/notify.md. What is done
//! about it (believe, probe, publish) is decided in `state/` (architecture D7).
//!
//! | source | file |
//! |---|---|
//! | a Redis channel and a Redis stream | [`redis`] |
//! | Cyrus IMAP's events | [`cyrus`] |
//! | HTTP, and Dovecot by it | [`http`] |

use std::fmt;

use crate::jmap::id::AccountId;

pub mod cyrus;
pub mod ear;
pub mod http;
pub mod message;
pub mod queue;
pub mod redis;

/// What the sources say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something changed.
    Notice(message::Notice, Source),
    /// Cyrus counted a change of an account's mail.
    Mail {
        /// Whose.
        account: AccountId,
        /// The count after it, which JMAP's states may equal; `None` where another event tells it.
        modseq: Option<u64>,
        /// A mail was delivered.
        delivery: bool,
    },
    /// Sessions may list other accounts from now on.
    Rights(cyrus::Rights),
    /// Notices may have been missed: no watched account is known to be up to date any more.
    Gap,
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `PUBLISH` to `redis.channel`.
    RedisChannel,
    /// `XADD` to `redis.stream`.
    RedisStream,
    /// Cyrus IMAP, at `notify.cyrus.socket`.
    Cyrus,
    /// `POST /notify` at `notify.http.listen`.
    Http,
    /// Dovecot's push notifications, at the same.
    Dovecot,
    /// The demo's own server.
    Demo,
}

impl Source {
    /// Its name in metrics and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RedisChannel => "redis channel",
            Self::RedisStream => "redis stream",
            Self::Cyrus => "cyrus",
            Self::Http => "http",
            Self::Dovecot => "dovecot",
            Self::Demo => "demo",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
