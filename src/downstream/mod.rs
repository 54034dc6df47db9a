//! The side of the clients: what a connection goes through before a handler sees a request.
//!
//! | file | |
//! |---|---|
//! | [`listener`] | addresses, accepting, how many connections |
//! | [`tls`] | certificates, which change while we run |
//! | [`connection`] | one connection: HTTP/1 or 2 |
//! | [`http1`] | time limits of HTTP/1, streams taken out of hyper |
//! | [`http2`] | time limits of HTTP/2, of the connection and of each of its streams |
//! | [`guard`] | what HTTP/1 heads are let through to hyper at all |
//! | [`dispatch`] | what every request goes through, then its handler |
//! | [`router`] | which request is whose |
//! | [`cors`] | cross-origin answers |
//! | [`redirect`] | where redirects to upstream itself lead |

pub mod connection;
pub mod cors;
pub mod dispatch;
pub mod guard;
mod http1;
mod http2;
pub mod listener;
pub mod redirect;
pub mod router;
pub mod tls;
mod upgrade;
