//! The API endpoint (§3): what is learnt from requests and responses that pass through.
//!
//! | what | file |
//! |---|---|
//! | which methods a request calls, on which accounts | [`request`] |
//! | the states a response tells, read while it streams; where `sessionState` ends | [`scanner`] |
//! | getting over a nested value at little cost | [`skip`] |
//! | requests that are answered partly here | [`batch`] |
//! | requests in memory, all within one limit | [`memory`] |
//! | how many requests each user has under way | [`turns`] |
//! | what is read from a response, and the facts that follow from it | [`observed`] |
//!
//! Nothing here delays, alters or refuses anything: on doubt the answer is "unknown", the bytes are
//! forwarded as they came, and the probe asks upstream (architecture D5). A [`batch`] alone is taken
//! apart, and refused where that cannot be done.

pub mod batch;
mod caller;
pub mod calls;
mod invocation;
pub mod memory;
pub mod observed;
pub mod request;
pub mod scanner;
pub mod skip;
mod tap;
mod text;
pub mod turns;

pub use calls::Calls;
pub use observed::{Method, MethodError, MethodResponse, Observed, Verdict, facts};
pub use request::{Changes, Request};
pub use scanner::Scanner;
