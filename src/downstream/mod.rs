//! The side of the clients: what a connection goes through before a handler sees a request.
//!
//! | file | |
//! |---|---|
//! | [`listener`] | addresses, accepting, how many connections |
//! | [`tls`] | certificates, which change while we run |
//! | [`connection`] | one connection: HTTP/1 or 2, time limits, streams taken out of hyper |
//! | [`guard`] | what HTTP/1 heads are let through to hyper at all |
//! | [`dispatch`] | what every request goes through, then its handler |
//! | [`router`] | which request is whose |
//! | [`cors`] | cross-origin answers |

pub mod connection;
pub mod cors;
pub mod dispatch;
pub mod guard;
pub mod listener;
pub mod router;
pub mod tls;
