//! The JMAP server's side: where it is, how it is reached, what its failures mean.
//!
//! Failures become problem details in one place ([`Failure::problem`]): refusal and broken
//! connections are 502, silence is 504, both at once or after the time `[upstream]` sets. A request
//! is sent to another address only while no byte of it has left (architecture D4); it is never
//! sent twice.

mod addresses;
mod client;
mod connect;
mod failure;
mod forward;
mod paths;
mod session;

pub use addresses::Affinity;
pub use client::Upstream;
pub use connect::TlsError;
pub use failure::Failure;
pub use paths::Paths;
pub use session::Fetched;
