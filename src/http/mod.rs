//! HTTP plumbing shared by both sides; knows nothing of JMAP.

pub mod body;
pub mod decode;
pub mod forwarded;
pub mod headers;
pub mod listener;
pub mod placed;
pub mod prefixed;
pub mod reply;
pub mod side_door;
pub mod socket;
pub mod tls;

pub use body::Body;
