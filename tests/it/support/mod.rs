//! What the integration tests share: real servers to talk to, and waiting without sleeping.

pub(crate) mod http;
pub(crate) mod ledger;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod rig;
pub(crate) mod sse;
pub(crate) mod upstream;
pub(crate) mod wait;
