//! JMAP over WebSocket (RFC 8887): API calls and push on one connection.

pub mod wire;
