//! Listens to push that upstream has itself (RFC 8620 §7.3, RFC 8887; architecture D14), so that what
//! upstream tells one of its clients reaches all of ours, through each of our transports.
//!
//! ```text
//!  hub: whose streams come and go ──► roster ──► attempt ──► upstream's event source, else WebSocket
//!                                       ▲                          │ bytes
//!                                       └──── how it ended ── event_stream ─► change ─► hub: claims
//! ```
//!
//! One subscription for each user with live streams, never one for each client, by the credential of one
//! of them; for all types, since the hub knows who wants which. The event source is asked first: it is one
//! request and its answer, where a WebSocket has to be kept up by both.
//!
//! **What an event is worth.** It is a *claim* (architecture D7): states already known say nothing, others
//! are asked about. Not published as they are, because nothing orders an event against the responses that
//! pass: servers throttle their events (Stalwart by a second) and bring them through buses (James), so an
//! event may tell of a state that a response has left behind, and a client would go backwards. The price
//! is one probe a change; the gain, besides order, is that what is told is what `Foo/get` says (James
//! pushes a state of `VacationResponse` that its `/get` does not know). An account that the user's own
//! Session does not list is passed over (D9).
//!
//! **What may be missed.** Whatever changed while nobody listened, so each time a subscription opens, the
//! accounts of that user are asked about.
//!
//! | file | |
//! |---|---|
//! | [`roster`] | for whom, by whose credential, when again |
//! | [`template`] | upstream's URL, filled in |
//! | `attempt` | the request, and what its answer is |
//! | `listen` | one event stream, from its first byte to its end |
//! | `socket` | the same for a WebSocket |
//! | [`event_stream`] | bytes become events |
//! | [`change`] | events become claims |
//! | [`pulse`] | how long silence is borne |
//! | [`ended`] | why it ended, for the operator |
//! | [`relayed`] | all of it put together |

mod attempt;
pub mod change;
pub mod ended;
pub mod event_stream;
mod listen;
pub mod pulse;
pub mod relayed;
pub mod roster;
mod socket;
pub mod template;

pub use relayed::{Relay, Wiring};
