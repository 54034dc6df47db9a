//! A reverse-proxy sidecar that adds push to JMAP servers that lack it.
//!
//! ```text
//!             downstream                                                        upstream
//!  client ───► listener ──► guard ──► router ──┬─► session        Session resource §2 ──────► JMAP
//!                                              ├─► api            POST apiUrl §3      ──────► server
//!                                              │     └─ tap ───┐
//!                                              ├─► forward     │  everything else     ──────►
//!                                              │               ▼
//!    notify (Cyrus, HTTP, Redis), relay ───────┼─► state: observe ─► tracker ◄─ probe (asks upstream)
//!                                              │               │ StateChange §7.1
//!                                              │               ▼
//!                                              │              hub
//!                                              │        ┌──────┴─────┐
//!                                              ├─► event_source §7.3 │
//!                                              └─► websocket RFC 8887 ◄┘   (its requests go to: api)
//!                                                    both hold their sockets in: streams
//!
//!  side doors:  admin (health, metrics)   config   auth (who may see which accounts)   drain
//! ```
//!
//! Section signs (§) name RFC 8620 unless another RFC is named. Everything flows left to right and
//! then down; nothing reaches back: a module uses only modules declared above it (docs/architecture.md
//! has the rules, `tests/it/tidy` keeps them).

// The wire vocabulary: pure, no tokio, no hyper, no redis.
pub mod jmap;

// What every part may use; these use nothing of ours but `jmap`.
pub mod clock;
pub mod config;
pub mod drain;
pub mod http;
pub mod telemetry;

// The one door to Redis.
pub mod redis;

// The JMAP server.
pub mod upstream;

// Change detection.
pub mod state;

// Who may see which accounts.
pub mod auth;

// Fan-out.
pub mod hub;
pub mod streams;

// Others who tell of changes.
pub mod notify;

pub mod event_source;

// Asks upstream for states.
pub mod probe;

// Those who are told while they are not connected.
pub mod push;

// The routes, and the way to them.
pub mod session;

pub mod api;

pub mod websocket;

// Upstream's own push; it speaks the transports' protocols, from their other side.
pub mod relay;

pub mod downstream;

// Health and metrics.
pub mod admin;

// The command line.
pub mod cli;

// The first minute: a JMAP server without push to be shown in front of.
pub mod demo;

// All of it put together.
pub mod app;
