//! What a stream has to say, and how a transport turns it into bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::jmap::id::{AccountId, DataType, State};

/// Turns what a stream has to say into the bytes of one transport. A `static` each: views and
/// transports are told apart by its address.
#[derive(Debug)]
pub struct Codec {
    /// A state event with everything pending.
    pub state: fn(&Pending<'_>) -> Bytes,
    /// Something that keeps the connection alive and says nothing.
    pub keep_alive: fn() -> Bytes,
    /// A ping that names its interval in seconds.
    pub ping: fn(u32) -> Bytes,
    /// When to come back, before an end of our choosing.
    pub come_back: fn(Duration) -> Bytes,
    /// That upstream accepts the credential no longer; empty where a new connection says it.
    pub revoked: fn() -> Bytes,
    /// What ends the stream; empty where the connection's end does.
    pub end: fn() -> Bytes,
}

/// Everything that one subscriber has not been given yet.
#[derive(Debug)]
pub struct Pending<'a> {
    /// New states by account and type.
    pub changed: BTreeMap<&'a AccountId, BTreeMap<&'a DataType, &'a State>>,
    /// What the subscriber has been given once it has this (architecture D10).
    pub token: String,
}

/// The push object (§7.1), as JSON: `@type` first, since a client is known that looks there.
#[derive(Debug, Serialize)]
pub struct StateChange<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    changed: BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>,
    #[serde(rename = "pushState", skip_serializing_if = "Option::is_none")]
    push_state: Option<&'a str>,
}

impl Pending<'_> {
    /// The `StateChange` to send.
    #[must_use]
    pub fn state_change(&self) -> StateChange<'_> {
        let changed = self.changed.iter().map(|(account, types)| {
            let types = types.iter().map(|(name, state)| (name.as_str(), state.as_str()));
            (account.as_str(), types.collect())
        });
        StateChange { kind: "StateChange", changed: changed.collect(), push_state: None }
    }

    /// The same with the token in it (RFC 8887 §4.3.5.1), for a transport that has no other place.
    #[must_use]
    pub fn state_change_with_token(&self) -> StateChange<'_> {
        StateChange { push_state: Some(&self.token), ..self.state_change() }
    }
}
