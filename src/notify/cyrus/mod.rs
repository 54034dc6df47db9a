//! Cyrus IMAP as a source of notifications: the socket of `event_notifier: external`, bound by us in the
//! place of notifyd.
//!
//! Cyrus sends each event as one datagram *before* it answers the client that caused it, and waits when
//! ten of them are unread (`net.unix.max_dgram_qlen`): a reader that stops, stops the delivery of mail.
//! So this runs on a thread of its own, reads whatever is there and never waits for anybody: what
//! does not fit into the [`queue`](super::queue) becomes a gap. Without a socket Cyrus goes on and
//! the event is lost, so whenever the socket is there anew a gap is told, too.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::time::MissedTickBehavior;

use crate::http::listener::is_socket;
use crate::telemetry::health::{Health, Part};

use super::ear::Ear;
use super::message::{Notice, Who};
use super::{Event, Source};

pub mod event;

pub use event::Rights;

use event::{Change, Counted};

/// How often the socket's file is looked for, and bound anew where it is not: Cyrus' own start may
/// clear the folder it lies in.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Larger than any of Cyrus' (`NOTIFY_MAXSIZE`, 8 KB).
const MAX_DATAGRAM: usize = 64 * 1024;

/// Hears Cyrus' events at `path` for as long as it is polled. Dropped, it removes the socket.
pub async fn run(path: PathBuf, ear: Ear, health: Arc<Health>) {
    ear.listens_to(Source::Cyrus);
    loop {
        match Socket::bind(&path) {
            Ok(socket) => {
                health.recover(Part::Cyrus);
                ear.outbox.gap();
                socket.hear(&ear).await;
            }
            Err(fault) => {
                let reason = format!("{}: {fault}", path.display());
                health.degrade(Part::Cyrus, reason, fault.remedy());
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// Why the socket cannot be bound.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("another program listens there")]
    Taken,
    #[error("there is something else than a socket")]
    NoSocket,
    #[error("the folder is not there")]
    NoFolder,
    #[error(transparent)]
    Io(io::Error),
}

impl Fault {
    fn remedy(&self) -> &'static str {
        match self {
            Self::Taken => {
                "take `notify` out of cyrus.conf, whose notifyd listens there; one proxy only may have it"
            }
            Self::NoSocket => "move the file away, or correct notify.cyrus.socket",
            Self::NoFolder => "create it, or correct notify.cyrus.socket",
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "let the proxy's user write to the folder"
            }
            Self::Io(_) => "correct notify.cyrus.socket, or what the reason names",
        }
    }
}

/// The bound socket. Its file goes with it.
#[derive(Debug)]
struct Socket<'a> {
    socket: UnixDatagram,
    path: &'a Path,
    /// Device and inode of the file that is ours.
    file: (u64, u64),
}

impl<'a> Socket<'a> {
    fn bind(path: &'a Path) -> Result<Self, Fault> {
        if is_socket(path) {
            let somebody = std::os::unix::net::UnixDatagram::unbound().map_err(Fault::Io)?;
            match somebody.connect(path) {
                Ok(()) => return Err(Fault::Taken),
                // Nobody has it open: left over from a process that was killed.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(Fault::Io)?;
                }
                // A stream socket, for one.
                Err(error) => return Err(Fault::Io(error)),
            }
        } else if path.symlink_metadata().is_ok() {
            return Err(Fault::NoSocket);
        }
        let socket = UnixDatagram::bind(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::NoFolder,
            _ => Fault::Io(error),
        })?;
        // Cyrus has a user of its own. Who may come here is the folder's to say; they can have the proxy
        // ask upstream, and tell a state that stands until it does (`Agreement` bounds by how much).
        let open = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(path, open).map_err(Fault::Io)?;
        let file = identity(path).map_err(Fault::Io)?;
        Ok(Self { socket, path, file })
    }

    /// Until the socket's file is gone, or is another's.
    async fn hear(&self, ear: &Ear) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = look.tick() => {
                    if !self.is_there() {
                        tracing::warn!(socket = %self.path.display(), "the socket of Cyrus' events is gone: bound anew");
                        return;
                    }
                }
                read = self.socket.recv(&mut buffer) => match read {
                    Ok(length) => self.tell(buffer.get(..length).unwrap_or_default(), ear),
                    Err(error) => {
                        tracing::warn!(%error, "the socket of Cyrus' events fails: bound anew");
                        return tokio::time::sleep(LOOK_EVERY).await;
                    }
                }
            }
        }
    }

    fn tell(&self, datagram: &[u8], ear: &Ear) {
        let change = match event::parse(datagram) {
            Ok(Some(change)) => change,
            Ok(None) => return,
            Err(error) => {
                return ear.complain(Source::Cyrus, &self.path.display().to_string(), &error);
            }
        };
        let Change { accounts, types, counted, delivery, rights } = change;
        if rights != Rights::Nobody {
            ear.outbox.tell(Event::Rights(rights), Source::Cyrus);
        }
        let event = match (counted, &*accounts) {
            (_, []) => return,
            (Counted::Now(modseq), [account]) => {
                Event::Mail { account: account.clone(), modseq: Some(modseq), delivery }
            }
            (Counted::Elsewhere, [account]) => {
                Event::Mail { account: account.clone(), modseq: None, delivery }
            }
            _ => {
                let (who, changed) = (Who::Accounts(accounts), Vec::new());
                Event::Notice(Notice { who, changed, types, delivery }, Source::Cyrus)
            }
        };
        ear.outbox.tell(event, Source::Cyrus);
    }

    fn is_there(&self) -> bool {
        identity(self.path).is_ok_and(|file| file == self.file)
    }
}

impl Drop for Socket<'_> {
    fn drop(&mut self) {
        if self.is_there() {
            // Gone already is as good.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests;
