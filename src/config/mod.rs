//! The settings: `proxy.toml`, environment and flags made into one [`Config`].
//!
//! `proxy.toml` at the root is documentation, defaults and example at once; it is compiled in and
//! every key of it is a field here (tests hold the two together). Precedence: flag > environment
//! (`JMAP_PUSH_PROXY__SECTION__KEY`) > file > default.
//!
//! ```text
//! Sources ──► raw: layered, unknown keys ──► check: sections by reader, address, quantity ──► Config
//!                        └──────────── mistake ◄──┘ ──► report
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use ipnet::IpNet;

use secret::Secret;

pub use auth::{Auth, TicketBind, Tickets};
pub use load::{Flag, SettingsFile, Sources};
pub use mistake::Mistakes;
pub use notify::{HttpNotify, Notify};
pub use push::{Push, PushBind, PushContentType, PushMode};
pub use raw::{DEFAULTS, ENVIRONMENT_PREFIX, variable};
pub use template::HeaderTemplate;

mod address;
mod auth;
mod check;
mod doors;
mod load;
mod mistake;
mod notify;
mod push;
mod quantity;
mod raw;
mod reader;
mod redis_url;
mod report;
pub mod secret;
mod streams;
mod template;
#[cfg(test)]
mod tests;

/// Everything the operator can set, checked and typed.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each section's meaning is its type's")]
pub struct Config {
    pub downstream: Downstream,
    pub upstream: Upstream,
    pub event_source: EventSource,
    pub websocket: WebSocket,
    pub probe: Probe,
    pub notify: Notify,
    pub push: Push,
    pub auth: Auth,
    pub limits: Limits,
    pub cors: Cors,
    pub redis: Redis,
    pub admin: Admin,
    pub drain: Drain,
    pub log: Log,
}

impl Config {
    /// The tickets that are given out: none where upstream's push is left to it, for they would open
    /// nothing.
    #[must_use]
    pub fn tickets(&self) -> Option<&Tickets> {
        let ours = self.upstream.push != UpstreamPush::Passthrough;
        self.auth.tickets.as_ref().filter(|_| ours)
    }
}

/// `[downstream]`: the side of the clients.
#[derive(Debug, Clone)]
pub struct Downstream {
    /// Where clients connect.
    pub listen: Vec<Listen>,
    /// The origin clients see (`https://mail.example.org`), `None` to take it from the request.
    pub public_url: Option<Uri>,
    /// Peers whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// From the first byte of a request head to its end.
    pub header_timeout: Duration,
    /// Bytes of one request head; more is 431.
    pub header_size: usize,
    /// How long a connection without a request stays open.
    pub keep_alive: Duration,
    /// Longest silence in the middle of a request body.
    pub body_timeout: Duration,
    /// A client that takes no byte of its response for this long is given up.
    pub write_timeout: Duration,
    /// Whether HTTP/2 is served (ALPN `h2` over TLS, prior knowledge without).
    pub http2: bool,
    /// Certificate and key, `None` without TLS.
    pub tls: Option<TlsFiles>,
    /// Name in `Via`, by which loops are seen.
    pub via: String,
}

/// An address to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// IP address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket path (`unix:/run/proxy.sock`).
    Unix(PathBuf),
}

/// PEM files of one certificate, read again when they change.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Chain, leaf first.
    pub cert_file: PathBuf,
    /// Private key, PKCS#8, PKCS#1 or SEC1.
    pub key_file: PathBuf,
}

/// `[upstream]`: the JMAP server.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// One or more addresses of the same server or cluster.
    pub addresses: Vec<UpstreamAddress>,
    /// Path at which the Session is asked for.
    pub session_path: String,
    /// HTTP version spoken.
    pub http: UpstreamHttp,
    /// CA certificates (PEM) besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Time to connect, TLS included.
    pub connect_timeout: Duration,
    /// Time from the request's end to the response's head.
    pub response_timeout: Duration,
    /// Longest silence in the middle of a response body, and longest standstill of a request body.
    pub body_timeout: Duration,
    /// How long an idle pooled connection is kept.
    pub keep_alive: Duration,
    /// Headers put on requests of our own (Session fetch, probe).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What becomes of upstream's own push (architecture D14).
    pub push: UpstreamPush,
    /// Users for whom upstream's own push is listened to at one time.
    pub relay_connections: usize,
    /// Whether account ids mean the same to every user (protocol.md §5.2.8).
    pub account_scope: AccountScope,
}

/// One upstream address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// TLS or not.
    pub tls: bool,
    /// Where to connect.
    pub target: UpstreamTarget,
    /// What goes into `Host` of our own requests, and the TLS server name with its port cut off.
    pub authority: String,
}

/// See [`UpstreamAddress::target`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamTarget {
    /// Host name or IP address, and port.
    Tcp(String, u16),
    /// A Unix socket (`unix:/run/jmap.sock`).
    Unix(PathBuf),
}

/// `upstream.http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamHttp {
    /// HTTP/2 where ALPN offers it, else HTTP/1.1.
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only, by prior knowledge without TLS.
    Http2,
}

/// `upstream.push`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamPush {
    /// Replace what upstream offers by ours, and learn of changes from it where it works.
    Auto,
    /// The same, and it is a trouble where it does not work.
    Relay,
    /// Replace what upstream offers by ours, and do not listen to it.
    Ignore,
    /// Leave upstream's `EventSource` and WebSocket in place, led through us.
    Passthrough,
}

/// `upstream.account_scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountScope {
    /// One account id is one account, whoever asks.
    Global,
    /// Each user has account ids of their own.
    PerUser,
}

/// `[event_source]` (§7.3).
#[derive(Debug, Clone)]
pub struct EventSource {
    /// Our path, accepted with and without trailing slash.
    pub path: String,
    /// Least time between two `state` events on one stream; zero sends each at once.
    pub throttle: Duration,
    /// Least ping interval granted; at most 30 s.
    pub ping_min: Duration,
    /// Greatest ping interval granted; at least 300 s.
    pub ping_max: Duration,
    /// A comment after this much silence, so that middleboxes keep the connection; zero sends none.
    pub keep_alive: Duration,
    /// How parameters are judged.
    pub query: QueryMode,
    /// Bounds of the random `retry:` given to clients.
    pub retry: (Duration, Duration),
    /// A stream that accepts no byte for this long is closed.
    pub write_timeout: Duration,
    /// `SO_SNDBUF` of a stream's socket, in bytes.
    pub send_buffer: usize,
    /// Streams end after this long (with jitter); zero means never.
    pub max_age: Duration,
}

/// `[websocket]` (RFC 8887).
#[derive(Debug, Clone)]
pub struct WebSocket {
    /// Our path, accepted with and without trailing slash.
    pub path: String,
    /// Least time between two `StateChange` messages on one connection; zero sends each at once.
    pub throttle: Duration,
    /// A ping after this much silence of ours; zero sends none.
    pub ping: Duration,
    /// A ping must be answered within this time.
    pub pong_timeout: Duration,
    /// A connection without push is closed after this long without a request; zero means never.
    pub idle: Duration,
    /// Connections end after this long (with jitter); zero means never.
    pub max_age: Duration,
    /// A connection that accepts no byte for this long is closed.
    pub write_timeout: Duration,
    /// Bytes the kernel keeps for a client that does not read.
    pub send_buffer: usize,
    /// Bytes of API responses held for all connections together.
    pub memory: usize,
    /// The largest API response sent, in bytes: it is held whole.
    pub response_size: usize,
    /// Whether permessage-deflate (RFC 7692) is agreed to.
    pub compression: bool,
    /// Whether a request of nothing but `Core/echo` is answered without asking upstream.
    pub answer_echo: bool,
}

/// `event_source.query`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryMode {
    /// Missing parameters take defaults, unknown types are accepted.
    Lenient,
    /// Missing parameters and unknown types are 400.
    Strict,
}

/// `[probe]` (architecture D8).
#[derive(Debug, Clone)]
pub struct Probe {
    /// How often each account with a live subscriber is asked for; zero turns it off.
    pub interval: Duration,
    /// The same for an account in which a probe has just found what nobody had told; above `interval`
    /// it counts as that.
    pub interval_min: Duration,
    /// The same while others tell of every change; below `interval` it counts as that.
    pub interval_told: Duration,
    /// Probe requests a second, all accounts together.
    pub budget: u32,
    /// Time for one probe.
    pub timeout: Duration,
    /// First pause of a data type that makes upstream fail; doubles up to an hour.
    pub quarantine: Duration,
    /// What to authenticate by in place of the subscribers' own credentials; empty for these.
    pub headers: Vec<HeaderTemplate>,
}

/// `[limits]`. Zero means none unless said otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Live streams in all; zero takes what the descriptor limit allows.
    pub streams: usize,
    /// Live streams of one user.
    pub streams_per_user: usize,
    /// Connections in all; zero takes what the descriptor limit allows.
    pub connections: usize,
    /// Bytes of one API request when upstream's Session names no `maxSizeRequest`.
    pub request_size: usize,
    /// Bytes of API requests held in memory, all together.
    pub request_memory: usize,
    /// Bytes of a Session body read.
    pub session_size: usize,
    /// Accounts whose last states are remembered, watched ones included.
    pub accounts: usize,
}

/// `[cors]`.
#[derive(Debug, Clone)]
pub struct Cors {
    /// Who answers cross-origin requests.
    pub mode: CorsMode,
    /// Exact origins (`https://webmail.example.org`).
    pub origins: Vec<String>,
}

/// `cors.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorsMode {
    /// We answer for the listed origins and drop upstream's CORS headers.
    Own,
    /// Upstream answers; we add to our own paths only what `origins` lists.
    Upstream,
}

/// `[redis]` (architecture D11). Off when `url` is empty.
#[derive(Debug, Clone)]
pub struct Redis {
    /// `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://`, `rediss+sentinel://`; may carry
    /// user, password, database.
    pub url: Option<Secret>,
    /// Password, over the one in the URL.
    pub password: Option<Secret>,
    /// CA certificates (PEM) in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Pub/sub channel of change notifications; empty for none.
    pub channel: String,
    /// Stream of change notifications; empty for none.
    pub stream: String,
    /// Time to connect and to wait for an answer.
    pub timeout: Duration,
    /// How often the nonce travels; late by more than two of these means degraded.
    pub heartbeat: Duration,
}

/// `[admin]` and `[probes]`: the side doors (architecture D13).
#[derive(Debug, Clone)]
pub struct Admin {
    /// Console, metrics and control; `None` when off.
    pub listen: Option<Listen>,
    /// `/livez`, `/readyz`, `/startupz`; `None` when off.
    pub probes: Option<Listen>,
    /// What `/readyz` demands beyond the listeners.
    pub ready_requires: Vec<Requirement>,
}

/// `admin.ready_requires`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Upstream answered its last request.
    Upstream,
    /// Every configured source of changes works.
    Push,
}

/// `[drain]` (architecture D12).
#[derive(Debug, Clone)]
pub struct Drain {
    /// Not ready, yet still accepting, for this long after SIGTERM.
    pub pre_stop: Duration,
    /// Streams close and requests finish within this.
    pub window: Duration,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a tracing filter.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// For a person.
    Human,
    /// One JSON object a line.
    Json,
}
