//! What can go wrong with Redis, told the way an operator can act on (operators.md B3).
//!
//! One failure has one text that does not change from try to try, so that it is logged once
//! ([`crate::telemetry::health::Health`]). The texts hold what the server said, never a secret.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What the link was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Asking Sentinels for the master.
    Sentinel,
    /// Connecting, TLS and `HELLO` with user and password.
    Connect,
    /// `SUBSCRIBE` to the channels.
    Subscribe,
    /// `PUBLISH` of the heartbeat.
    Publish,
    /// `SET` of the heartbeat key, which shows whether publishers can write.
    Write,
    /// `XREVRANGE`: where the stream ends.
    Position,
    /// `XRANGE` and `XREAD` of the stream.
    Read,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sentinel => "SENTINEL MASTERS",
            Self::Connect => "HELLO",
            Self::Subscribe => "SUBSCRIBE",
            Self::Publish => "PUBLISH",
            Self::Write => "SET",
            Self::Position => "XREVRANGE",
            Self::Read => "XREAD",
        })
    }
}

/// Why notifications do not flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says itself")]
pub enum Fault {
    #[error("nothing listens there")]
    Refused,
    #[error("the host name cannot be resolved")]
    Unresolved,
    #[error("no answer to {step} in time")]
    Slow { step: Step },
    #[error("user or password is wrong")]
    WrongPassword,
    #[error("a password is needed and none is set")]
    NoPassword,
    #[error("what answers there is not Redis")]
    NotRedis,
    #[error("the connection is closed before any answer")]
    ClosedAtOnce,
    #[error("the server is older than Redis 6 and has no RESP3")]
    TooOld,
    #[error("TLS fails: {said}")]
    Tls { said: Box<str> },
    #[error("the server is a read-only replica")]
    ReadOnly,
    #[error("the server refuses writes: out of memory (maxmemory)")]
    OutOfMemory,
    #[error("the server refuses writes: it cannot save to disk")]
    DiskTrouble,
    #[error("the server is still loading its data")]
    Loading,
    #[error("the server has no free connection (maxclients)")]
    TooManyClients,
    #[error("the ACL does not allow {step}: {said}")]
    NotPermitted { step: Step, said: Box<str> },
    #[error("the server belongs to a Redis Cluster")]
    Cluster,
    #[error("the Sentinels know no master of that name")]
    NoMaster,
    #[error("the connection was lost")]
    Lost,
    #[error("the subscription is dead: the heartbeat does not come back")]
    Silent,
    #[error("{step} fails: {said}")]
    Other { step: Step, said: Box<str> },
}

impl Fault {
    /// Every [`Self::label`], so that each has its series before it happens.
    pub const LABELS: [&str; 20] = [
        "refused",
        "unresolved",
        "slow",
        "wrong_password",
        "no_password",
        "not_redis",
        "closed_at_once",
        "too_old",
        "tls",
        "read_only",
        "out_of_memory",
        "disk_trouble",
        "loading",
        "too_many_clients",
        "not_permitted",
        "cluster",
        "no_master",
        "lost",
        "silent",
        "other",
    ];

    /// What `error` means when it comes of `step`.
    pub(super) fn of(step: Step, error: &RedisError, tls: bool) -> Self {
        // A pipeline wraps the server's words; the first refusal is the one that matters.
        if let Some((_, refusal)) =
            error.clone().into_server_errors().as_deref().and_then(<[_]>::first)
        {
            return Self::of_refusal(step, refusal.code(), refusal.details().unwrap_or_default());
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::WrongPassword,
            ErrorKind::RESP3NotSupported => Self::TooOld,
            ErrorKind::MasterNameNotFoundBySentinel => Self::NoMaster,
            ErrorKind::Server(ServerErrorKind::ResponseError) => {
                Self::of_refusal(step, "ERR", error.detail().unwrap_or_default())
            }
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::NotRedis,
            _ => match io_error(error) {
                Some(source) => Self::of_io(step, source, tls),
                None if error.is_connection_dropped() => Self::of_loss(step),
                None if tls && step == Step::Connect => {
                    Self::Tls { said: error.to_string().into() }
                }
                None => Self::Other { step, said: error.to_string().into() },
            },
        }
    }

    /// An error the server answered with.
    fn of_refusal(step: Step, code: &str, said: &str) -> Self {
        match code {
            "WRONGPASS" => Self::WrongPassword,
            "NOAUTH" => Self::NoPassword,
            "NOPERM" => Self::NotPermitted { step, said: said.into() },
            // UNBLOCKED: a blocked reader is sent away because its master became a replica.
            "READONLY" | "UNBLOCKED" | "MASTERDOWN" => Self::ReadOnly,
            "OOM" => Self::OutOfMemory,
            "MISCONF" => Self::DiskTrouble,
            "LOADING" => Self::Loading,
            "MOVED" | "ASK" | "CLUSTERDOWN" | "CROSSSLOT" => Self::Cluster,
            "ERR" if said.starts_with("max number of clients") => Self::TooManyClients,
            "ERR" | "NOPROTO" if step == Step::Connect && said.contains("HELLO") => Self::TooOld,
            _ => Self::Other { step, said: format!("{code} {said}").into() },
        }
    }

    fn of_io(step: Step, error: &io::Error, tls: bool) -> Self {
        use io::ErrorKind as K;
        let inner_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        match error.kind() {
            K::ConnectionRefused | K::NotFound => Self::Refused,
            K::TimedOut | K::WouldBlock => Self::Slow { step },
            _ if inner_tls => Self::Tls { said: error.to_string().into() },
            K::UnexpectedEof if tls && step == Step::Connect => {
                Self::Tls { said: error.to_string().into() }
            }
            K::BrokenPipe
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::NotConnected
            | K::UnexpectedEof => Self::of_loss(step),
            // What getaddrinfo says has no kind of its own.
            _ if step == Step::Connect && error.to_string().contains("lookup address") => {
                Self::Unresolved
            }
            _ => Self::Other { step, said: error.to_string().into() },
        }
    }

    fn of_loss(step: Step) -> Self {
        match step {
            Step::Connect => Self::ClosedAtOnce,
            _ => Self::Lost,
        }
    }

    /// Whether the connection still carries notifications: only publishers suffer.
    pub(super) fn only_writes(&self) -> bool {
        matches!(self, Self::OutOfMemory | Self::DiskTrouble)
    }

    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Refused => "start Redis, or correct host, port or socket path in redis.url",
            Self::Unresolved => "correct the host in redis.url, or the DNS",
            Self::Slow { step: Step::Connect } => {
                "see whether a firewall drops packets or Redis is overloaded; rediss:// to a port \
                 without TLS looks the same"
            }
            Self::Slow { .. } => "see whether Redis is overloaded (SLOWLOG)",
            Self::WrongPassword => "correct redis.password or the user in redis.url",
            Self::NoPassword => "set redis.password",
            Self::NotRedis => "correct the port in redis.url",
            Self::ClosedAtOnce => {
                "correct the port in redis.url, use rediss:// where TLS is wanted, or raise \
                 maxclients where Redis is full"
            }
            Self::TooOld => "use Redis 6 or later, or Valkey",
            Self::Tls { .. } => {
                "correct host and port, or name the CA in redis.ca_file; redis:// is without TLS"
            }
            Self::ReadOnly => "point redis.url to the master, or use redis+sentinel://",
            Self::OutOfMemory => "raise maxmemory, or bound the stream with XADD MAXLEN ~",
            Self::DiskTrouble => "make room on the disk of Redis (see rdb_last_bgsave_status)",
            Self::Loading => "wait; if it stays, look at the log of Redis",
            Self::TooManyClients => {
                "raise maxclients, or find who holds the connections (CLIENT LIST)"
            }
            Self::NotPermitted { .. } => "grant the user what docs/notify.md lists",
            Self::Cluster => "use a single server or Sentinel: Redis Cluster is not supported",
            Self::NoMaster => "correct the service name in redis.url, or look at the Sentinels",
            Self::Lost => "none, if it comes back by itself; else look at the log of Redis",
            Self::Silent => "see whether Redis hangs or the network between drops packets",
            Self::Other { .. } => "look at the log of Redis",
        }
    }

    /// The metric label: a closed set.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unresolved => "unresolved",
            Self::Slow { .. } => "slow",
            Self::WrongPassword => "wrong_password",
            Self::NoPassword => "no_password",
            Self::NotRedis => "not_redis",
            Self::ClosedAtOnce => "closed_at_once",
            Self::TooOld => "too_old",
            Self::Tls { .. } => "tls",
            Self::ReadOnly => "read_only",
            Self::OutOfMemory => "out_of_memory",
            Self::DiskTrouble => "disk_trouble",
            Self::Loading => "loading",
            Self::TooManyClients => "too_many_clients",
            Self::NotPermitted { .. } => "not_permitted",
            Self::Cluster => "cluster",
            Self::NoMaster => "no_master",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Other { .. } => "other",
        }
    }
}

/// The input or output error inside. The crate hands it out within an `Arc`.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    let source = error.source()?;
    match source.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        Some(shared) => shared.downcast_ref(),
        None => source.downcast_ref(),
    }
}
