//! The side of the clients: what a connection goes through before a handler sees a request.

pub mod guard;
