//! `PushSubscription` (RFC 8620 §7.2): those who are told while they are not connected.

pub mod binding;
pub mod encrypt;
pub mod methods;
pub mod rates;
pub mod store;
pub mod subscription;
pub mod target;
pub mod vapid;
pub mod vault;
