//! F5, F6: what the link does when Redis goes away, and comes back.

use std::process::Stdio;

use jmap_push_proxy::notify::{Event, Source};

use super::rig::{Rig, STREAM, add, parse, publish, settings};
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use crate::support::wait::until;

#[tokio::test]
async fn is_waited_for_from_the_start() {
    let Some(mut redis) = Redis::start(&[]).await else { return };
    redis.kill();
    let mut rig = Rig::start(&settings(&redis.url()));
    let trouble = rig.trouble("nothing listens there").await;
    assert_eq!(trouble.reason, format!("{}: nothing listens there", redis.url()));
    redis.restart().await;
    rig.gap().await;
    rig.well().await;
    rig.end().await;
}

#[tokio::test]
async fn that_is_killed_costs_a_gap_and_nothing_of_the_stream() {
    let Some(mut redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    add(&redis, "first");
    rig.notice_of("first").await;
    redis.kill();
    rig.trouble("").await;
    redis.restart().await;
    // Before the link is back, most likely; it must not matter.
    add(&redis, "second");
    let mut events = vec![rig.next().await, rig.next().await];
    events.sort_by_key(|event| *event == Event::Gap);
    let second = Event::Notice(parse(r#"{"user":"second"}"#), Source::RedisStream);
    assert_eq!(events, [second, Event::Gap]);
    rig.well().await;
    publish(&redis, "third");
    rig.notice_of("third").await;
    rig.end().await;
}

#[tokio::test]
async fn that_comes_back_empty_is_read_from_its_new_beginning() {
    let Some(mut redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    add(&redis, "first");
    rig.notice_of("first").await;
    redis.kill();
    redis.forget();
    redis.restart().await;
    rig.gap().await;
    // Ids lower than those of before: a clock set back, another master.
    redis.cli(&["XADD", STREAM, "5-1", "change", r#"{"user":"second"}"#]);
    // Either it was there when the new end was looked for, and is covered by the gap that
    // follows, or it is read.
    rig.gap_or_notice_of("second").await;
    redis.cli(&["XADD", STREAM, "5-2", "change", r#"{"user":"third"}"#]);
    rig.notice_of("third").await;
    assert!(rig.metrics.notify_gaps.get() > rig.metrics.redis_connects.get());
    rig.end().await;
}

#[tokio::test]
async fn that_drops_the_subscriber_is_subscribed_to_again() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    rig.gap().await;
    publish(&redis, "alice");
    rig.notice_of("alice").await;
    rig.end().await;
}

#[tokio::test]
async fn that_drops_the_stream_reader_is_read_again() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    rig.gap().await;
    add(&redis, "alice");
    rig.notice_of("alice").await;
    rig.end().await;
}

/// The failure that ruins trust: everything answers, nothing arrives (hostile.md A1.1).
#[tokio::test]
async fn whose_subscription_is_dead_is_noticed_by_the_heartbeat() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut relay = Relay::to(redis.port()).await;
    let mut rig = Rig::up(&format!("redis://127.0.0.1:{}", relay.port())).await;
    relay.deafen();
    rig.gap().await;
    assert_eq!(rig.faults("silent"), 1);
    rig.well().await;
    publish(&redis, "alice");
    rig.notice_of("alice").await;
    rig.end().await;
}

#[tokio::test]
async fn behind_a_network_that_drops_everything_is_noticed_by_the_heartbeat() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut relay = Relay::to(redis.port()).await;
    let mut rig = Rig::up(&format!("redis://127.0.0.1:{}", relay.port())).await;
    relay.freeze();
    rig.gap().await;
    assert_eq!(rig.faults("silent"), 1);
    rig.end().await;
}

#[tokio::test]
async fn that_hangs_is_named_and_recovers() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    let mut sleep = redis.client(&["DEBUG", "SLEEP", "4"]).stdout(Stdio::null()).spawn();
    rig.trouble("the subscription is dead").await;
    rig.gap().await;
    rig.well().await;
    sleep.as_mut().unwrap().wait().unwrap();
    publish(&redis, "alice");
    rig.notice_of("alice").await;
    rig.end().await;
}

/// F6: the master is killed and its replica takes over; and a demoted master that stays alive.
#[tokio::test]
async fn kept_by_sentinels_is_followed_to_its_new_master() {
    for killed in [true, false] {
        let Some(mut master) = Redis::start(&[]).await else { return };
        let replica = Redis::replica(&master).await;
        let sentinel = Redis::sentinel(&master, &replica).await;
        let mut rig =
            Rig::up(&format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port())).await;
        add(&master, "first");
        rig.notice_of("first").await;
        if killed {
            master.kill();
        } else {
            // Refused while the Sentinel does not yet know the replica to be fit.
            until("fail-over", || match sentinel.try_cli(&["SENTINEL", "FAILOVER", "main"]) {
                reply if reply == "OK" => Ok(()),
                reply => Err(reply),
            })
            .await;
        }
        until("promotion", || match replica.cli(&["INFO", "replication"]) {
            info if info.contains("role:master") => Ok(()),
            info => Err(info),
        })
        .await;
        rig.gap().await;
        add(&replica, "second");
        rig.notice_of("second").await;
        publish(&replica, "third");
        rig.notice_of("third").await;
        rig.end().await;
    }
}
