//! HTTP plumbing shared by both sides; knows nothing of JMAP.

pub mod body;
