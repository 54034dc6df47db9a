//! The thread that owns the connection: what has come together while it wrote goes into one transaction (ten
//! thousand updates do not cost ten thousand `fsync`s; what was acknowledged is there after any death, F9),
//! what was destroyed is soon out of the write-ahead log too (P11), and a disk that was full or failing is
//! tried again with every job (F10).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::sqlite::Given;
use super::vapid::{VapidKey, VapidStep};
use super::{Error, rows, schema};
use crate::clock::Moment;
use crate::jmap::date::UtcDate;
use crate::push::subscription::{Change, Subscription};
use crate::push::vault::Vault;

/// How long tokens wait, for others to come.
const GIVEN_WAITS: Duration = Duration::from_secs(1);

/// How long what was destroyed may lie in the write-ahead log, for more to be destroyed.
const ERASURE_WAITS: Duration = Duration::from_secs(2);

/// Jobs in one transaction.
const MOST_TOGETHER: usize = 256;

/// Where an answer goes.
pub(super) type Done<T> = oneshot::Sender<Result<T, Error>>;

/// What the thread can be asked for.
pub(super) enum Job {
    /// To keep changes, all or none.
    Apply { changes: Vec<Change>, done: Done<()> },
    /// To read everything.
    Load { done: Done<Vec<Arc<Subscription>>> },
    /// To do something with the VAPID keys.
    Vapid { step: VapidStep, now: UtcDate, done: Done<Vec<VapidKey>> },
    /// To look at what has been given.
    Look,
    /// To end.
    Close { done: Done<()> },
}

/// See the module.
pub(super) struct Writer {
    path: PathBuf,
    vault: Arc<Vault>,
    /// `None` after it failed: it is opened anew for the next job.
    connection: Option<Connection>,
    given: Arc<Given>,
    flush_by: Moment,
    erase_by: Moment,
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        connection: Connection,
        vault: Arc<Vault>,
        given: Arc<Given>,
    ) -> Self {
        let never = Moment::NEVER;
        let connection = Some(connection);
        // A process that was killed may have left what it was still to erase.
        let erase_by = Moment::now();
        Self { path, vault, connection, given, flush_by: never, erase_by }
    }

    /// Until it is told to close, or nobody is left who could.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let mut next = match self.next(jobs) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => Some(Job::Look),
                Err(RecvTimeoutError::Disconnected) => {
                    if let Err(error) = self.end() {
                        tracing::error!(%error, "the store was not closed well");
                    }
                    return;
                }
            };
            while let Some(job) = next.take() {
                match job {
                    Job::Apply { changes, done } => {
                        next = self.apply_with_others((changes, done), jobs);
                    }
                    Job::Load { done } => answer(done, self.with_connection(|it| rows::load(it))),
                    Job::Vapid { step, now, done } => answer(done, self.vapid(&step, now)),
                    Job::Look => {}
                    Job::Close { done } => {
                        let ended = self.end();
                        // The file is closed before anybody is told so.
                        drop(self);
                        return answer(done, ended);
                    }
                }
            }
            self.keep_up(Moment::now());
        }
    }

    fn next(&self, jobs: &Receiver<Job>) -> Result<Option<Job>, RecvTimeoutError> {
        let due = self.flush_by.min(self.erase_by);
        if due == Moment::NEVER {
            return jobs.recv().map(Some).map_err(|_| RecvTimeoutError::Disconnected);
        }
        jobs.recv_timeout(due.since(Moment::now())).map(Some)
    }

    /// Writes what is due.
    fn keep_up(&mut self, now: Moment) {
        if self.flush_by <= now {
            // If it fails, the disk's own trouble has been told by then, or will be by the next change.
            self.flush_by = Moment::NEVER;
            if let Err(error) = self.flush() {
                tracing::debug!(%error, "what was given is not written yet");
            }
        }
        if self.flush_by == Moment::NEVER && !self.given.lock().is_empty() {
            self.flush_by = now.after(GIVEN_WAITS);
        }
        if self.erase_by <= now {
            let is_erased = self.erase().unwrap_or(false);
            self.erase_by = if is_erased { Moment::NEVER } else { now.after(ERASURE_WAITS) };
        }
    }

    /// Makes this change and those that wait behind it; the first job that is none.
    fn apply_with_others(
        &mut self,
        first: (Vec<Change>, Done<()>),
        jobs: &Receiver<Job>,
    ) -> Option<Job> {
        let mut together = vec![first];
        let mut other = None;
        while together.len() < MOST_TOGETHER
            && other.is_none()
            && let Ok(job) = jobs.try_recv()
        {
            match job {
                Job::Apply { changes, done } => together.push((changes, done)),
                job => other = Some(job),
            }
        }
        self.commit(together);
        other
    }

    fn commit(&mut self, together: Vec<(Vec<Change>, Done<()>)>) {
        let erases = together.iter().flat_map(|(changes, _)| changes);
        if erases.into_iter().any(|change| matches!(change, Change::Destroy(_))) {
            self.erase_soon();
        }
        let all = |transaction: &Transaction<'_>| {
            rows::apply(transaction, together.iter().flat_map(|(changes, _)| changes))
        };
        if together.len() > 1 && self.transaction(all).is_ok() {
            together.into_iter().for_each(|(_, done)| answer(done, Ok(())));
            return;
        }
        // One of them may be at fault: each for itself. But they do not wait for a lock one by one.
        let mut is_locked = false;
        for (changes, done) in together {
            let applied = match is_locked {
                true => Err(Error::Locked),
                false => self.transaction(|transaction| rows::apply(transaction, &changes)),
            };
            is_locked |= matches!(applied, Err(Error::Locked));
            answer(done, applied);
        }
    }

    fn vapid(&mut self, step: &VapidStep, now: UtcDate) -> Result<Vec<VapidKey>, Error> {
        self.erase_soon();
        let vault = Arc::clone(&self.vault);
        self.transaction(|transaction| step.take(transaction, &vault, now))
    }

    /// Writes what has been given; what cannot be written waits on.
    fn flush(&mut self) -> Result<(), Error> {
        let tokens = std::mem::take(&mut *self.given.lock());
        if tokens.is_empty() {
            return Ok(());
        }
        let flushed = self.transaction(|transaction| rows::note_given(transaction, tokens.iter()));
        if flushed.is_err() {
            let mut given = self.given.lock();
            for (id, token) in tokens {
                given.entry(id).or_insert(token);
            }
        }
        flushed
    }

    fn erase_soon(&mut self) {
        self.erase_by = self.erase_by.min(Moment::now().after(ERASURE_WAITS));
    }

    /// Moves the write-ahead log into the database, where what was deleted is overwritten, and empties
    /// it; `false` when another process is reading.
    fn erase(&mut self) -> Result<bool, Error> {
        self.with_connection(|connection| {
            let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
            let busy: i64 = connection.query_row(checkpoint, [], |row| row.get(0))?;
            Ok(busy == 0)
        })
    }

    fn end(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.erase()?;
        Ok(())
    }

    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.with_connection(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    fn with_connection<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(schema::open(&self.path, &self.vault)?),
        };
        let done = work(connection);
        if let Err(error) = &done
            && leaves_doubt(error)
        {
            tracing::error!(%error, "the store fails; it is opened anew with the next change");
            self.connection = None;
        }
        done
    }
}

/// Whether a connection may be of no more use after it: of what is said while it is, nothing is.
fn leaves_doubt(error: &Error) -> bool {
    match error {
        Error::Unavailable(error) => {
            error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation)
        }
        _ => false,
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            _ => Self::Unavailable(error),
        }
    }
}

/// Whoever does not wait any more is told nothing.
fn answer<T>(done: Done<T>, answer: Result<T, Error>) {
    let _ = done.send(answer);
}
