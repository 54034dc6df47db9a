//! Logs, metrics and health. Secrets never reach any of them: credentials and push URLs are types
//! whose `Debug` is redacted.

pub mod health;
pub mod logging;
pub mod metrics;
