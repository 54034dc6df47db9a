//! The database as the rest of the process sees it: asks the thread that owns it, and waits.

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::vapid::{VapidKey, VapidStep};
use super::writer::{Done, Job, Writer};
use super::{Error, Settings, key, rows, schema};
use crate::jmap::date::UtcDate;
use crate::push::subscription::{Change, Subscription, SubscriptionId};
use crate::push::vault::Vault;

/// Jobs that may wait for the disk. When full: [`Error::Busy`].
const MOST_WAITING: usize = 1024;

/// A database that is open.
#[derive(Debug)]
pub struct Sqlite {
    vault: Arc<Vault>,
    jobs: SyncSender<Job>,
    given: Arc<Given>,
}

/// What subscriptions have been given since it was last written: the last token of each, so no more
/// than there are subscriptions. Held for map operations only.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<Tokens>);

/// The resume token of each.
pub(super) type Tokens = HashMap<SubscriptionId, Box<str>>;

impl Given {
    pub(super) fn lock(&self) -> MutexGuard<'_, Tokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sqlite {
    pub(super) fn open(settings: &Settings) -> Result<(Self, Vec<Arc<Subscription>>), Error> {
        let key = match &settings.key {
            Some(key) => key.clone(),
            None => key::beside(&settings.path)?,
        };
        let vault = Arc::new(Vault::new(&key));
        let connection = schema::open(&settings.path, &vault)?;
        let subscriptions = rows::load(&connection)?;
        let given = Arc::new(Given::default());
        let path = settings.path.clone();
        let writer = Writer::new(path, connection, Arc::clone(&vault), Arc::clone(&given));
        let (jobs, waiting) = sync_channel(MOST_WAITING);
        std::thread::Builder::new()
            .name("push-store".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(Error::Thread)?;
        Ok((Self { vault, jobs, given }, subscriptions))
    }

    pub(super) fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    pub(super) async fn apply(&self, changes: Vec<Change>) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        self.ask(|done| Job::Apply { changes, done }).await
    }

    pub(super) async fn load(&self) -> Result<Vec<Arc<Subscription>>, Error> {
        self.ask(|done| Job::Load { done }).await
    }

    pub(super) async fn vapid(
        &self,
        step: VapidStep,
        now: UtcDate,
    ) -> Result<Vec<VapidKey>, Error> {
        self.ask(|done| Job::Vapid { step, now, done }).await
    }

    pub(super) fn note_given(&self, id: SubscriptionId, token: &str) {
        let mut given = self.given.lock();
        let is_first = given.is_empty();
        given.insert(id, token.into());
        drop(given);
        if is_first {
            // A thread with so much to do that this does not fit looks at the map anyway.
            let _ = self.jobs.try_send(Job::Look);
        }
    }

    pub(super) async fn close(&self) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let jobs = self.jobs.clone();
        // It waits for its turn, whatever else does.
        let sent = tokio::task::spawn_blocking(move || jobs.send(Job::Close { done }).is_ok());
        match sent.await {
            Ok(true) => answer.await.unwrap_or(Err(Error::Closed)),
            _ => Err(Error::Closed),
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(Done<T>) -> Job) -> Result<T, Error> {
        let (done, answer) = oneshot::channel();
        self.jobs.try_send(job(done)).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::Busy,
            TrySendError::Disconnected(_) => Error::Closed,
        })?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}
