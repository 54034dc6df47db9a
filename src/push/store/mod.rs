//! Where subscriptions survive a restart (architecture D11; RFC 8620 §7.2, P11): a closed set of
//! stores behind one enum. Serves nobody: who is told of what is decided from memory.
//!
//! | file | |
//! |---|---|
//! | `sqlite` | the database as the rest of the process sees it |
//! | `writer` | the thread that owns the connection: group commit, erasure, recovery |
//! | `schema` | how a database is opened, checked and brought up to date |
//! | `rows` | records as rows |
//! | `vapid` | the keys that messages are signed with |
//! | `key` | the key that secrets are sealed under, in a file beside the database |

mod key;
mod rows;
mod schema;
mod sqlite;
mod vapid;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::subscription::{Change, Subscription, SubscriptionId};
use super::vault::{Unsealable, Vault};
use crate::config::secret::Key;
use crate::jmap::date::UtcDate;

pub use key::KeyFileError;
use sqlite::Sqlite;
pub use vapid::{VapidKey, VapidStep};

/// Where the database is, and what its secrets are sealed under.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database; `-wal` and `-shm` come beside it.
    pub path: PathBuf,
    /// The key; without one it is in `<path>.key`, made when the database is.
    pub key: Option<Key>,
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened or read at all.
    #[error("open the store {path}")]
    Open {
        /// Its place.
        path: PathBuf,
        /// What `SQLite` says.
        #[source]
        source: rusqlite::Error,
    },
    /// A later version of this program has written it.
    #[error(
        "open the store {path}: its schema is version {found}, this program knows {known}; use the newer program, or another path"
    )]
    Newer {
        /// Its place.
        path: PathBuf,
        /// The version it has.
        found: i64,
        /// The version we write.
        known: i64,
    },
    /// Another program's database.
    #[error("open the store {path}: it is a database, but not of this program")]
    Foreign {
        /// Its place.
        path: PathBuf,
    },
    /// It was sealed under another key.
    #[error(
        "open the store {path}: it was made with another key; give the old one, or move the store away (every client then subscribes anew)"
    )]
    WrongKey {
        /// Its place.
        path: PathBuf,
    },
    /// There is no key to be had.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// No thread could be started.
    #[error("start the store's thread")]
    Thread(#[source] std::io::Error),
    /// The disk is full (hostile.md F10): nothing was changed, and later it may work again.
    #[error("write to the store: there is no space")]
    Full,
    /// Another process keeps it locked.
    #[error("write to the store: another process has it locked")]
    Locked,
    /// The disk fails, or is read-only: nothing was changed, and later it may work again.
    #[error("use the store")]
    Unavailable(#[source] rusqlite::Error),
    /// Too much is waiting to be written: nothing was changed.
    #[error("write to the store: it cannot keep up")]
    Busy,
    /// [`Store::close`] has been called.
    #[error("use the store: it is closed")]
    Closed,
    /// See [`Unsealable`].
    #[error(transparent)]
    Unsealable(#[from] Unsealable),
}

/// See the module.
#[derive(Debug)]
pub enum Store {
    /// Keeps nothing: a restart loses all subscriptions, and what clients were given.
    Memory(Memory),
    /// A file (D11).
    Sqlite(Sqlite),
}

/// What a store in memory has to remember.
#[derive(Debug)]
pub struct Memory {
    vault: Arc<Vault>,
    vapid: Mutex<Vec<VapidKey>>,
}

impl Store {
    /// One that keeps nothing; its key is known to this process only.
    #[must_use]
    pub fn memory() -> Self {
        let vault = Arc::new(Vault::new(&Key::random()));
        Self::Memory(Memory { vault, vapid: Mutex::default() })
    }

    /// Opens the database, or makes it; with all that is in it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(settings: &Settings) -> Result<(Self, Vec<Arc<Subscription>>), Error> {
        let (sqlite, subscriptions) = Sqlite::open(settings)?;
        Ok((Self::Sqlite(sqlite), subscriptions))
    }

    /// What the secrets of this store's subscriptions are sealed by.
    #[must_use]
    pub fn vault(&self) -> &Arc<Vault> {
        match self {
            Self::Memory(memory) => &memory.vault,
            Self::Sqlite(sqlite) => sqlite.vault(),
        }
    }

    /// Keeps changes, all of them or none; they are on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Locked`], [`Error::Unavailable`], [`Error::Busy`], [`Error::Closed`].
    pub async fn apply(&self, changes: Vec<Change>) -> Result<(), Error> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Sqlite(sqlite) => sqlite.apply(changes).await,
        }
    }

    /// Keeps what a subscription has been given, within a second or two: what a crash loses of it is
    /// given again.
    pub fn note_given(&self, id: SubscriptionId, token: &str) {
        match self {
            Self::Memory(_) => {}
            Self::Sqlite(sqlite) => sqlite.note_given(id, token),
        }
    }

    /// All subscriptions as they are on the disk now: another process may have had it open too.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn load(&self) -> Result<Vec<Arc<Subscription>>, Error> {
        match self {
            Self::Memory(_) => Ok(Vec::new()),
            Self::Sqlite(sqlite) => sqlite.load().await,
        }
    }

    /// Takes a step with the VAPID keys (RFC 9749 §5), and tells all there are then, oldest first.
    ///
    /// # Errors
    /// As [`Self::apply`], and [`Error::Unsealable`].
    pub async fn vapid(&self, step: VapidStep, now: UtcDate) -> Result<Vec<VapidKey>, Error> {
        match self {
            Self::Memory(memory) => {
                let mut keys = memory.vapid.lock().unwrap_or_else(PoisonError::into_inner);
                step.take_in_memory(&mut keys, now);
                Ok(keys.clone())
            }
            Self::Sqlite(sqlite) => sqlite.vapid(step, now).await,
        }
    }

    /// Writes what is waiting, and leaves nothing of what was destroyed in any file. Nothing can be
    /// written thereafter.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn close(&self) -> Result<(), Error> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Sqlite(sqlite) => sqlite.close().await,
        }
    }
}

#[cfg(test)]
mod tests;
