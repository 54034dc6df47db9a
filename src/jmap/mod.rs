//! The words of JMAP as Rust types: pure, no I/O.
//!
//! | RFC 8620 | file |
//! |---|---|
//! | §1.2 Id, §5 state strings, data type names | [`id`] |
//! | §1.4 `UTCDate` | [`date`] |
//! | §2 Session resource | [`session`] |
//! | §3.6.1 request-level errors | [`problem`] |
//! | §3.7 result references | [`mod@reference`] |
//! | an object's members, for edits | [`object`] |
//! | values that are I-JSON | [`strict`] |
//! | which data types a capability brings | [`capability`] |
//! | the URLs of a Session | [`url`] |

pub mod capability;
pub mod date;
pub mod id;
pub mod object;
pub mod problem;
pub mod reference;
pub mod session;
pub mod strict;
pub mod url;
