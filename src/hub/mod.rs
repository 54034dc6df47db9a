//! One seam for fan-out: who watches what, and who is told (RFC 8620 §7.1; architecture D3, D7, D9).
//!
//! In go observations, hints and probe answers; the [`Tracker`](crate::state::tracker::Tracker)
//! decides what is news. Out come wake-ups: a [`Subscriber`] then [takes](Subscriber::take) one
//! event with everything pending for it. Nothing queues here, so nothing can overflow.
//!
//! How little a subscriber costs: it remembers the number of the last publication it has been given
//! ([`Tracker::seq`](crate::state::tracker::Tracker::seq)); every state knows the number it was
//! published under; what is pending is what has a greater number. Subscribers with the same
//! credential, filter and transport share a [`view`], and the encoded event.
//!
//! An **audience** is all live subscribers that authenticated alike: they see the same accounts, and
//! are revalidated, re-accounted and ended together (D9).
//!
//! | file | |
//! |---|---|
//! | [`audience`] | who is there, and which accounts they see |
//! | [`members`] | who comes, wants something else, and goes |
//! | [`absent`] | subscribers for whom upstream cannot be asked |
//! | [`act`] | does what the tracker decides |
//! | [`changes`] | what the hub is told |
//! | [`relayed`] | what it is told by upstream's own push |
//! | [`resume`] | what one that comes back has been given |
//! | [`view`] | members, encoded events, what is pending |
//! | [`codec`] | what a stream has to say, as bytes |
//! | [`wake`] | a subscriber's bell |
//! | [`probes`] | the accounts upstream must be asked about |

mod absent;
mod act;
mod audience;
mod changes;
mod codec;
mod members;
pub mod probes;
pub mod relayed;
mod resume;
mod view;
mod wake;

pub use audience::{Hub, Limits, TooMany, Wish};
pub use changes::{Observed, ProbeSubject, Seen};
pub use codec::{Codec, Pending};
pub use relayed::Claim;
pub use view::Subscriber;
pub use wake::Wake;

#[cfg(test)]
mod tests;
