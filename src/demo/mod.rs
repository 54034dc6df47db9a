//! `demo`: a built-in JMAP server without push and the proxy before it, for the first minute.

pub mod server;
