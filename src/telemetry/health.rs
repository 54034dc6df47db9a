//! What works and what does not, in words an operator can act on: start-up lines, `/readyz`, log.
//!
//! A part that fails says so once, not at every try, and says when it is well again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

/// The neighbours and sources whose failure is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The JMAP server.
    Upstream,
    /// The Redis connection that carries notifications.
    Redis,
    /// The socket at which Cyrus IMAP tells its events.
    Cyrus,
    /// The TLS certificate files.
    Certificate,
    /// The probe as a source of changes.
    Probe,
    /// Upstream's own push as a source of changes.
    Relay,
}

impl Part {
    /// Whether others tell of changes through it: while it is away, nobody may tell.
    fn is_source(self) -> bool {
        match self {
            Self::Redis | Self::Cyrus | Self::Relay => true,
            Self::Upstream | Self::Certificate | Self::Probe => false,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upstream => "upstream",
            Self::Redis => "redis",
            Self::Cyrus => "cyrus",
            Self::Certificate => "certificate",
            Self::Probe => "probe",
            Self::Relay => "relay",
        })
    }
}

/// Why a part does not work, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// One line, no secrets.
    pub reason: String,
    /// What the operator can do.
    pub remedy: &'static str,
}

/// The troubles of the moment. A mutex because it is written once per change, never on a hot path.
#[derive(Debug, Default)]
pub struct Health {
    troubles: Mutex<BTreeMap<Part, Trouble>>,
    /// A part has failed or is well again. One waits: the prober.
    changed: Notify,
}

impl Health {
    /// Notes a trouble; logs it when it is new or has another reason.
    pub fn degrade(&self, part: Part, reason: impl Into<String>, remedy: &'static str) {
        let trouble = Trouble { reason: reason.into(), remedy };
        let mut troubles = self.lock();
        if troubles.get(&part) != Some(&trouble) {
            tracing::warn!(%part, reason = trouble.reason, remedy, "degraded");
            troubles.insert(part, trouble);
            self.changed.notify_one();
        }
    }

    /// Notes that a part works; logs it when it did not before.
    pub fn recover(&self, part: Part) {
        if self.lock().remove(&part).is_some() {
            tracing::info!(%part, "recovered");
            self.changed.notify_one();
        }
    }

    /// Whether a source of notifications does not work.
    #[must_use]
    pub fn has_lost_a_source(&self) -> bool {
        self.lock().keys().any(|part| part.is_source())
    }

    /// Waits until a part fails or is well again, or one has since this was last waited for.
    ///
    /// Cancel safety: nothing is lost when the future is dropped.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// All troubles now.
    #[must_use]
    pub fn troubles(&self) -> BTreeMap<Part, Trouble> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Part, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
