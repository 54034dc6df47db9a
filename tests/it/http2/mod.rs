//! Clients that speak HTTP/2 (RFC 9113): by prior knowledge, or over TLS.

mod heads;
mod limits;
mod secrets;
mod serving;
