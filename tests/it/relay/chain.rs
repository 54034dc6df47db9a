//! A proxy before a proxy: a real event source (RFC 8620 §7.3) as upstream, ours.

use std::time::Duration;

use jmap_push_proxy::config::Config;
use serde_json::json;

use super::{MAIL, rig};
use crate::support::ledger::settle;
use crate::support::rig::{Rig, address_of};
use crate::support::wait::until;
use crate::support::ws::Ws;

/// A proxy before `inner`, which is one itself.
async fn before(inner: &Rig) -> Rig {
    let address = address_of(inner.address);
    Rig::start(|config| {
        config.downstream.via = "outer".into();
        config.upstream.addresses = vec![address];
    })
    .await
}

/// A chain of two.
async fn chain(tweak: impl FnOnce(&mut Config)) -> (Rig, Rig) {
    let inner = rig(tweak).await;
    let outer = before(&inner).await;
    (inner, outer)
}

/// Waits until the outer one is listened for at the inner one, and that at upstream.
async fn relayed(inner: &Rig, outer: &Rig) {
    for rig in [outer, inner] {
        until("relay", || match rig.metrics.relays.get() {
            1 => Ok(()),
            relays => Err(relays),
        })
        .await;
    }
}

#[tokio::test]
async fn a_change_passes_through_both() {
    let (inner, outer) = chain(|_| {}).await;
    let mut stream = outer.events("alice", MAIL).await;
    let mut ws = Ws::open(&outer, "alice").await;
    ws.enable(json!({ "dataTypes": null })).await;
    relayed(&inner, &outer).await;
    for _ in 0..3 {
        inner.upstream.deliver("alice");
        settle(&inner.upstream, [&mut stream]).await;
        settle(&inner.upstream, [&mut ws]).await;
    }
    let state = inner.change("alice", "Identity").await;
    ws.told("a-alice", "Identity", &state).await;
    assert_eq!((outer.metrics.relays.get(), inner.metrics.streams.get()), (1, 1));
    assert_eq!(outer.metrics.relay_events_bad.get(), 0);
    drop((stream, ws));
    until("end of the inner stream", || match inner.metrics.streams.get() {
        0 => Ok(()),
        streams => Err(streams),
    })
    .await;
    outer.end().await;
    inner.end().await;
}

#[tokio::test]
async fn streams_that_the_inner_one_ends_now_and_then_lose_nothing() {
    let (inner, outer) = chain(|config| {
        config.event_source.max_age = Duration::from_secs(1);
        config.event_source.retry = (Duration::from_millis(1), Duration::from_millis(2));
    })
    .await;
    let mut stream = outer.events("alice", MAIL).await;
    relayed(&inner, &outer).await;
    until("another stream", || {
        inner.upstream.deliver("alice");
        match inner.metrics.streams_opened.get() {
            2.. => Ok(()),
            opened => Err(opened),
        }
    })
    .await;
    settle(&inner.upstream, [&mut stream]).await;
    outer.end().await;
    inner.end().await;
}
