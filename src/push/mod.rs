//! Push to URLs (RFC 8620 §7.2): encryption (RFC 8291), voluntary identification (RFC 8292), and the
//! way to a push service (RFC 8030, policy of RFC 8620 §8.6).

pub mod encrypt;
pub mod target;
pub mod vapid;
