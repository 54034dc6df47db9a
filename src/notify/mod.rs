//! Sources of notifications: others telling us that something changed at the JMAP server.
//!
//! Each source is one file and says what it hears as an [`Event`] into one bounded [`queue`]. What
//! a notification looks like is [`message`] and, for people, docs/notify.md. What is done about it
//! (believe, probe, publish) is decided in `state/` (architecture D7).
//!
//! | source | file |
//! |---|---|
//! | a Redis channel and a Redis stream | [`redis`] |

use std::fmt;

pub mod message;
pub mod queue;
pub mod redis;

/// What the sources say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something changed.
    Notice(message::Notice, Source),
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
    /// The demo's own server.
    Demo,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RedisChannel => "redis channel",
            Self::RedisStream => "redis stream",
            Self::Demo => "demo",
        })
    }
}
