//! Small values that processes share, over the connection that notifications come by. While that does
//! not stand nothing is known: who asks must do without.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, cmd};

/// The longest that an answer is waited for: a client waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// A way to send commands. Clones share the connection.
#[derive(Clone, Default)]
pub struct Commands(Arc<ArcSwapOption<(MultiplexedConnection, String)>>);

/// Redis cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ask Redis")]
pub struct Away;

impl Commands {
    /// The connection that is to be used from now on, and what keys begin with.
    pub(super) fn connect(&self, connection: MultiplexedConnection, prefix: String) {
        self.0.store(Some(Arc::new((connection, prefix))));
    }

    /// There is no connection any more; this lets it close.
    pub(super) fn disconnect(&self) {
        self.0.store(None);
    }

    /// Writes a value that lasts for `life`, unless there is one. Gives that, or `None` after writing.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn claim(
        &self,
        key: &str,
        value: &str,
        life: Duration,
    ) -> Result<Option<String>, Away> {
        let written = self.ask("SET", key, |set| set.arg(value).arg("NX").arg("PX").arg(px(life)));
        let written: Option<String> = written.await?;
        // Between the two it may have ended: then it was there.
        if written.is_some() {
            Ok(None)
        } else {
            self.read(key).await.map(|value| Some(value.unwrap_or_default()))
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn read(&self, key: &str) -> Result<Option<String>, Away> {
        self.ask("GET", key, |get| get).await
    }

    /// Writes a value that lasts for `life`, whatever there is.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn write(&self, key: &str, value: &str, life: Duration) -> Result<(), Away> {
        self.ask("SET", key, |set| set.arg(value).arg("PX").arg(px(life))).await
    }

    async fn ask<T: FromRedisValue>(
        &self,
        name: &str,
        key: &str,
        arguments: impl FnOnce(&mut Cmd) -> &mut Cmd,
    ) -> Result<T, Away> {
        let (mut connection, prefix) = match self.0.load().as_deref() {
            Some((connection, prefix)) => (connection.clone(), prefix.clone()),
            None => return Err(Away),
        };
        let mut command = cmd(name);
        arguments(command.arg(format!("{prefix}:{key}")));
        let answer = tokio::time::timeout(PATIENCE, command.query_async(&mut connection)).await;
        answer.map_err(|_| Away)?.map_err(|error| {
            tracing::debug!(command = name, %error, "Redis does not take a command");
            Away
        })
    }
}

/// Milliseconds, at least one: Redis takes no less.
fn px(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
}
