//! How a change becomes known: observed, hinted or probed (RFC 8620 §5.1, §7.1; architecture D7).
//!
//! A state string is worth what is known about *when* and *for whom* it was true:
//!
//! - An **exact** state stands in a response of upstream. It was true at some moment between the
//!   sending of the request and the arrival of the response, for the principal that asked. Two
//!   responses that were under way at once cannot be ordered (states are opaque, §5.1), so a state
//!   is taken as newer only when its request was sent after the last accepted one had arrived.
//! - A **hint** says that something may have changed, not to what: a notification, a broken
//!   response to a request that may have written, an exact state that cannot be ordered, or one of
//!   another principal's view.
//! - A **probe** settles what hints leave open: it asks upstream (`Foo/get` with `ids: []`) and its
//!   answer is the truth for the moment it was sent.
//!
//! | file | |
//! |---|---|
//! | [`fact`] | what is fed in: who saw which state, and when |
//! | [`types`] | data types as bits; what a subscriber wants |
//! | [`tracker`] | every account's states, and what to publish or to probe next |
//! | [`agreement`] | whether a counter that the mail server tells is a state |
//! | [`token`] | the resume token: what one subscriber has been given (D10) |
//!
//! Everything here is pure: no clock, no task, no I/O. Who may see an account is decided by `auth`,
//! who sends the probes by `probe`, who is told by the hub.

pub mod agreement;
pub mod fact;
pub mod token;
pub mod tracker;
pub mod types;
