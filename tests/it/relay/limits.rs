//! How many are listened for, and over how many connections.

use jmap_push_proxy::config::UpstreamPush;

use super::{MAIL, relayed, rig, watch};
use crate::support::certificate::Ca;
use crate::support::ledger::settle;
use crate::support::rig::Rig;
use crate::support::upstream::{Door, TEMPLATE, Upstream};
use crate::support::wait::until;

#[tokio::test]
async fn beyond_the_limit_users_are_served_by_the_probe_and_that_is_no_trouble() {
    let rig = rig(|config| {
        config.upstream.push = UpstreamPush::Relay;
        config.upstream.relay_connections = 1;
        config.probe.interval = std::time::Duration::from_secs(1);
    })
    .await;
    let mut hers = watch(&rig, "alice").await;
    let mut his = rig.events("bob", MAIL).await;
    until("user who waits", || match rig.metrics.relays_waiting.get() {
        1 => Ok(()),
        waiting => Err(waiting),
    })
    .await;
    assert_eq!(rig.metrics.relays.get(), 1);
    rig.upstream.deliver("alice");
    rig.upstream.deliver("bob");
    settle(&rig.upstream, [&mut hers, &mut his]).await;
    assert_eq!(rig.upstream.streams("bob"), 0);
    assert!(rig.troubles().is_empty());
    drop(hers);
    relayed(&rig, "bob").await;
    rig.end().await;
}

#[tokio::test]
async fn over_http2_users_share_connections() {
    let ca = Ca::new();
    let upstream = Upstream::behind(Door::Tls(ca.server(&["h2", "http/1.1"]))).await;
    let rig = Rig::before(upstream.with_events(TEMPLATE), |config| {
        config.upstream.ca_file = Some(ca.file().to_owned());
    });
    let (mut hers, mut his) = (watch(&rig, "alice").await, watch(&rig, "bob").await);
    assert!(rig.upstream.subscriptions().iter().all(|seen| seen.version == http::Version::HTTP_2));
    rig.upstream.deliver("alice");
    rig.upstream.deliver("bob");
    settle(&rig.upstream, [&mut hers, &mut his]).await;
    drop(hers);
    rig.upstream.has_streams("alice", 0).await;
    assert_eq!(rig.upstream.streams("bob"), 1);
    rig.end().await;
}
