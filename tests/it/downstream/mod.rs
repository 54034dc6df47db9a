//! What a client's connection goes through before a handler sees a request, and after: TLS, time
//! limits, aborts.

mod cors;
mod exchanges;
mod forwarding;
mod limits;
mod tls;
