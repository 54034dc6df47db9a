//! Asks upstream for states that no response has shown (architecture D7, D8; RFC 8620 §5.1).
//!
//! One request per view of an account holds a `Foo/get` with `ids: []` for every data type wanted. The
//! pure parts decide, [`prober`] is the task that carries it out, account by account in `visit`:
//!
//! | question | file |
//! |---|---|
//! | when is which account asked? | [`schedule`], with the request rate in [`budget`] and the number in flight in [`window`] |
//! | how many requests may one user have in flight? | [`lane`] |
//! | how is a type asked for? | [`plan`] |
//! | what did upstream say? | [`answer`] |
//! | the request broke: which type was it? | [`round`] |
//! | which types are left alone for now? | [`quarantine`] |
//! | for whom is the service's own credential no good? | [`refusals`] |
//!
//! Which types are wanted and what a state is worth is decided in [`crate::state`], who is told in the
//! hub; credentials and connections come from whoever starts the [`Prober`].

pub mod answer;
pub mod budget;
mod desk;
pub mod lane;
pub mod plan;
pub mod prober;
pub mod quarantine;
pub mod refusals;
pub mod round;
pub mod schedule;
mod visit;
pub mod window;

pub use answer::{AccountError, Lost, Reply};
pub use plan::{Subject, offered};
pub use prober::{Answers, Ask, Handle, Prober, Told, Wiring};
pub use quarantine::Quarantined;
pub use refusals::Refusals;
pub use schedule::Why;
pub use schedule::evidence::Passed;
