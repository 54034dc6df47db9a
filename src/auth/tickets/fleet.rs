//! Which tickets have been used, as far as all processes at one Redis know: what makes them single-use
//! throughout a fleet, and lets a browser come back to another of it, or after a restart.
//!
//! | value of a ticket's key | |
//! |---|---|
//! | `used` | nobody may use it again |
//! | milliseconds since the epoch | until when an event source may come back with it |
//!
//! Without Redis, and while it is away, each process knows of its own ([`super::used`]).

use std::time::Duration;

use super::seal::TicketId;
use crate::redis::Commands;

/// Nobody may use it again.
const USED: &str = "used";

/// What the others know of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing, or they cannot be asked.
    Nothing,
    /// Nobody may use it again.
    Used,
    /// An event source may come back with it until then.
    Granted(Duration),
}

/// See the module.
#[derive(Clone)]
pub(super) struct Fleet(pub(super) Commands);

impl Fleet {
    /// What is known of a ticket's use; if nothing, and it can still be used first, tells the others of
    /// the use that is just made, `granted` until then.
    pub(super) async fn claim(
        &self,
        id: TicketId,
        expires: Duration,
        granted: Option<Duration>,
        now: Duration,
    ) -> Known {
        let key = key(id);
        let known = if expires <= now {
            self.0.read(&key).await
        } else {
            let value = granted.map_or(USED.to_owned(), |end| end.as_millis().to_string());
            let life = granted.map_or(expires, |end| end.max(expires)).saturating_sub(now);
            self.0.claim(&key, &value, life).await
        };
        match known {
            Ok(Some(known)) => {
                known.parse().map_or(Known::Used, |end| Known::Granted(Duration::from_millis(end)))
            }
            Ok(None) | Err(_) => Known::Nothing,
        }
    }

    /// Tells the others for so long that nobody may use a ticket; `false` if they cannot be told.
    pub(super) async fn revoke(&self, id: TicketId, life: Duration) -> bool {
        self.0.write(&key(id), USED, life).await.is_ok()
    }
}

fn key(id: TicketId) -> String {
    format!("ticket:{id}")
}
