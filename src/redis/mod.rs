//! The one door to Redis: only this folder names the `redis` crate (architecture D11).
//!
//! [`Link`] keeps a subscription and a stream reader alive and says when they were not. What the
//! messages mean is its user's affair ([`crate::notify::redis`]).
//!
//! Why no connection manager of the crate (1.8.1): after a reconnect it ignores the answer to its
//! re-subscription (`let _ = pipeline.exec_async(…)`), so that a refused one leaves a connection
//! that is up and deaf; and after a finite number of tries it gives up until somebody sends a
//! command, which a subscriber never does. Its plain multiplexed connection is sound: the push
//! sender is told of a lost connection at once, and `SUBSCRIBE` returns the server's refusal.
//!
//! | what | file |
//! |---|---|
//! | where to connect, from `redis.url` | [`address`] |
//! | what can go wrong, in an operator's words | [`fault`] |
//! | one subscribed connection and its heartbeat | `subscription` |
//! | one connection that reads the stream | `stream` |
//! | the loop that keeps both alive | [`link`] |
//! | values that processes share | [`commands`] |

pub mod address;
pub mod commands;
pub mod fault;
pub mod link;
mod stream;
mod subscription;

pub use commands::Commands;
pub use link::{Arrival, Link};
