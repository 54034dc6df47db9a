//! Several addresses of one upstream: each user stays with one, and a dead one is passed over.

use std::collections::BTreeSet;
use std::time::Duration;

use jmap_push_proxy::config::UpstreamAddress;

use super::{Mute, deserted, upload};
use crate::support::certificate::Ca;
use crate::support::http::{asking, exchange};
use crate::support::rig::{EVENT_SOURCE, Rig};
use crate::support::upstream::{Door, SESSION, Seen, Upstream, account_of};

/// So many that of two addresses each is some users' one, but for once in a million.
fn users() -> Vec<String> {
    (0..20).map(|n| format!("user-{n}")).collect()
}

/// Who of the users has come to a server.
fn come(to: &Upstream) -> BTreeSet<String> {
    let bearer = |seen: Seen| {
        let authorization = seen.headers["authorization"].to_str().unwrap().to_owned();
        authorization.strip_prefix("Bearer ").unwrap().to_owned()
    };
    to.seen().into_iter().map(bearer).collect()
}

/// The first server, a proxy before both, and the second.
async fn two() -> (Rig, Upstream) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let other = second.configured.clone();
    (Rig::before(first, |config| config.upstream.addresses.push(other)), second)
}

#[tokio::test]
async fn a_user_goes_to_one_address_with_everything() {
    let (rig, second) = two().await;
    for user in users() {
        for upstream in [&rig.upstream, &second] {
            upstream.mail(|mail| mail.share(&user, &account_of(&user)));
        }
        rig.ask("GET", SESSION, &user).await;
        let stream = rig.events(&user, "types=*&closeafter=no&ping=0").await;
        rig.change(&user, "Email").await;
        exchange(rig.address, upload(&user, b"mail".to_vec())).await.unwrap();
        rig.ask("GET", "/jmap/download/a/b/c", &user).await;
        drop(stream);
    }
    let (first, second) = (come(&rig.upstream), come(&second));
    assert!(first.is_disjoint(&second), "{first:?} {second:?}");
    assert!(!first.is_empty() && !second.is_empty());
    rig.end().await;
}

#[tokio::test]
async fn every_replica_sends_a_user_to_the_same_address() {
    let (mut rig, second) = two().await;
    for user in users() {
        rig.ask("GET", "/file", &user).await;
    }
    rig.config.upstream.addresses.reverse();
    rig.restart().await;
    for user in users() {
        rig.ask("GET", "/file", &user).await;
    }
    let (first, second) = (come(&rig.upstream), come(&second));
    assert!(first.is_disjoint(&second), "{first:?} {second:?}");
    assert!(!first.is_empty() && !second.is_empty());
    rig.end().await;
}

#[tokio::test]
async fn a_dead_address_is_passed_over() {
    let nobody = deserted().await;
    let rig = Rig::start(|config| config.upstream.addresses.push(nobody)).await;
    for user in users() {
        assert_eq!(rig.ask("GET", "/file", &user).await.status(), 401);
        let uploaded = exchange(rig.address, upload(&user, b"mail".to_vec())).await.unwrap();
        assert_eq!(uploaded.status(), 401);
    }
    assert_eq!(rig.upstream.last("/jmap/upload/a/").length, 4);
    let _stream = rig.events("alice", "types=*&closeafter=no&ping=0").await;
    rig.end().await;
}

#[tokio::test]
async fn one_request_waits_for_an_address_that_does_not_answer_and_the_others_pass_it_over() {
    let (ca, mute) = (Ca::new(), Mute::start().await);
    let live = Upstream::behind(Door::Tls(ca.server(&["http/1.1"]))).await;
    let rig = Rig::before(live, |config| {
        config.upstream.addresses.push(mute.tls());
        config.upstream.ca_file = Some(ca.file().to_owned());
        config.upstream.connect_timeout = Duration::from_secs(1);
    });
    for user in users() {
        assert_eq!(rig.ask("GET", "/file", &user).await.status(), 401);
    }
    assert_eq!(mute.connections(), 1);
    rig.end().await;
}

#[tokio::test]
async fn without_a_live_address_the_failure_is_told() {
    let dead: Vec<UpstreamAddress> = vec![deserted().await, deserted().await];
    let rig = Rig::start(|config| config.upstream.addresses = dead).await;
    for _ in 0..3 {
        assert_eq!(rig.ask("GET", "/file", "alice").await.status(), 502);
    }
    let events = exchange(rig.address, asking("GET", EVENT_SOURCE, "alice")).await.unwrap();
    assert!(events.status().is_client_error() || events.status() == 502);
    rig.end().await;
}
