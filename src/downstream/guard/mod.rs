//! Judges every HTTP/1 request head by its raw bytes, before hyper parses it (RFC 9112; architecture
//! D15; hostile.md finding 4, A7, B1, B5).
//!
//! Request smuggling lives on two parsers that disagree. hyper is lenient where an edge must not be:
//! it removes `Content-Length` beside `Transfer-Encoding`, takes `Transfer-Encoding: gzip, chunked`,
//! two `Host` fields, bare LF, and hides all of this from the service. So [`GuardedIo`], between
//! socket and hyper, follows the message boundaries itself with a [`Guard`] and hands on only what
//! leaves nothing to interpret: a head that breaks a rule, and all that follows it, never reaches
//! hyper. The body is followed as strictly, since a chunk size read differently is a head read
//! differently.
//!
//! **A refusal is answered in turn.** Responses to requests before the refused one may still be due,
//! and hyper drops them when it reads an end of file. The refused head is therefore replaced by a
//! stand-in, `TRACE * HTTP/1.1` with `Connection: close`. No client can send `TRACE` past the guard,
//! so the service that sees one asks [`Handle::refusal`] for the reason and answers it like any
//! request: [`Rejection::response`]. hyper keeps the order and closes. Only a body that breaks off in
//! the middle (its chunks are malformed) becomes an end of file; the handler then sees its body fail
//! and finds the reason in [`Handle::rejection`]. Afterwards [`linger`] keeps the reset that follows
//! unread bytes from overtaking the answer (RFC 9112 §9.6).
//!
//! **Decided here:**
//! - Names with `_` in place of `-` are refused where the `-` name is one that somebody trusts
//!   (`X_Forwarded_For`, `Content_Length`: gateways of the CGI family read both as one); other names
//!   with `_` pass. Dropping them would need the head to be rewritten.
//! - `Expect` with anything but `100-continue` is 417 (RFC 9110 §10.1.1 allows it): a forwarded
//!   expectation that the next hop reads otherwise shifts the body against the head.
//! - `Content-Length: 5, 5` and a repeated equal one are refused, though RFC 9112 §6.3 would let a
//!   recipient repair them. So are whitespace around a chunk size and `Host: `.
//! - Whole heads pass without a copy of their own or an allocation; parts wait in a buffer of at
//!   most [`Limits::head_bytes`], half of it again, and one read.
//!
//! A head of HTTP/2 has no bytes to disagree on; [`judge`] holds it to what is left of these rules once
//! it is parsed.
//!
//! Not done here: routing, which fields a forwarded request may keep, timers (the connection's driver
//! reads [`Handle::state`]).

mod body;
mod bytes;
mod head;
mod io;
mod line;
mod machine;
mod parsed;
mod rejection;

pub use io::{GuardedIo, Handle, linger};
pub use machine::{Guard, Limits, State};
pub use parsed::{clean_trailers, judge};
pub use rejection::Rejection;

#[cfg(test)]
mod tests;
