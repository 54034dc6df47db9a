//! What is there at the start: the store with what is in it, and the VAPID keys (RFC 9749 §5), made where
//! there are none. Serves nothing yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::keys::VapidKeys;
use super::store::{self, Store, VapidStep};
use super::subscription::Subscription;
use super::today;
use super::vapid::{self, VapidKey};
use crate::config;
use crate::http::tls;

/// Subscriptions cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`store::Error`].
    #[error("{0}; set push.store to a file that can be written, or to \"memory\"")]
    Store(#[from] store::Error),
    /// `push.vapid_key_file`.
    #[error("read push.vapid_key_file {path}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyFileFault,
    },
    /// The store's key.
    #[error("read a VAPID key of the store")]
    StoredKey(#[from] vapid::InvalidKey),
    /// No key could be made.
    #[error(transparent)]
    Unsignable(#[from] vapid::Unsignable),
    /// TLS towards push services.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// No runtime.
    #[error("start the runtime that opens the store of PushSubscriptions")]
    Runtime(#[from] std::io::Error),
}

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileFault {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// It holds no key of the right kind.
    #[error(transparent)]
    Key(#[from] vapid::InvalidKey),
}

/// The store, its keys, and what is in it. `given` is to be the key that is advertised. Blocks: nothing
/// else runs yet.
pub(super) fn open_store(
    settings: &config::Push,
    given: Option<&VapidKey>,
) -> Result<Opened, Error> {
    let open = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(opened(settings, given))
    };
    // A thread of its own: the one we are on runs others' tasks, and may not block on one.
    let joined = std::thread::scope(|scope| scope.spawn(open).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

type Opened = (Store, VapidKeys, Vec<Arc<Subscription>>);

async fn opened(settings: &config::Push, given: Option<&VapidKey>) -> Result<Opened, Error> {
    let (store, subscriptions) = match &settings.store {
        None => (Store::memory(), Vec::new()),
        Some(path) => {
            Store::open(&store::Settings { path: path.clone(), key: settings.key.clone() })?
        }
    };
    let new = given.map_or_else(|| VapidKey::generate()?.to_pkcs8(), VapidKey::to_pkcs8)?;
    let mut keys = VapidKeys::read(&store.vapid(VapidStep::Ensure(new.clone()), today()).await?)?;
    if let (Some(known), Some(given)) = (&keys, given)
        && known.current().application_server_key() != given.application_server_key()
    {
        keys = VapidKeys::read(&store.vapid(VapidStep::Rotate(new), today()).await?)?;
    }
    // There is one after that step.
    let keys = keys.ok_or(vapid::Unsignable)?;
    Ok((store, keys, subscriptions))
}

pub(super) fn vapid_key(path: &Path) -> Result<VapidKey, Error> {
    let read = || -> Result<VapidKey, KeyFileFault> {
        let pem = Zeroizing::new(std::fs::read(path)?);
        Ok(VapidKey::from_pem(&pem)?)
    };
    read().map_err(|source| Error::KeyFile { path: path.to_owned(), source })
}
