//! What the integration tests share: real servers to talk to, and waiting without sleeping.

pub(crate) mod bulk;
pub(crate) mod certificate;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod ledger;
pub(crate) mod log;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod rig;
pub(crate) mod scratch;
pub(crate) mod sse;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod wait;
pub(crate) mod ws;
