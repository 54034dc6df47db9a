//! Bad input from outside, class by class (hostile.md A7). Each test bears the ID of its class; where
//! pure tests hold most of a class, it says which.
//!
//! | class | held here by | and by |
//! |---|---|---|
//! | B1 smuggling | [`client`] | `downstream::guard::tests` (payloads, differential) |
//! | B4 slow clients | [`client`] | `event_source::life::a_reader_that_stalls_…` |
//! | B5 large heads | [`client`] | `downstream::guard::tests::machine` |
//! | B6 large bodies | [`client`] | `transparency::streaming` (flat memory of uploads) |
//! | B7 JSON bombs | [`json`] | `api::{request, scanner, skip}::tests`, fuzz targets |
//! | B10 SSE injection | [`json`] | `event_source::encode`, `jmap::id` |
//! | B11 Redis payloads | [`json`] | `redis::bad_messages_are_counted_…`, `notify::message::tests` |
//! | B13 upstream as attacker | [`upstream`] | `session::rewrite`, `auth` |

mod client;
mod json;
mod upstream;
