//! What the integration tests share: real servers to talk to, and waiting without sleeping.

pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod wait;
