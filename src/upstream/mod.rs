//! The JMAP server's side: where it is, how it is reached, what its failures mean.
//!
//! Failures become problem details in one place ([`Failure::problem`]): refusal and broken
//! connections are 502, silence is 504, both at once or after the time `[upstream]` sets; no
//! descriptor for a connection is 503 ([`Room`]).
//!
//! Of several addresses (architecture D4) a user's credential picks one, by a hash that is the same on
//! every replica (`affinity`, `addresses`). An address that cannot be connected to is passed over for
//! the next for ten seconds; then one request tries it. A request is sent to another address only
//! while no byte of it has left; it is never sent twice.

mod addresses;
mod affinity;
mod ask;
mod client;
mod connect;
mod failure;
mod forward;
mod names;
mod outgoing;
mod paths;
mod room;
mod session;
mod subscribe;

pub use ask::Asked;
pub use client::Upstream;
pub use connect::TlsError;
pub use failure::Failure;
pub use paths::Paths;
pub use room::{Kept, Probe, Room, Subscription};
pub use session::Fetched;
