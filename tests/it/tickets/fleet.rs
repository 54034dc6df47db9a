//! Tickets at several proxies that share a key and a Redis.

use jmap_push_proxy::config::secret::Secret;

use super::*;
use crate::support::redis::Redis;
use crate::support::wait::until;

/// Proxies of one fleet, before the upstream of the first.
async fn fleet<const N: usize>(redis: &Redis, tweak: impl Fn(&mut Tickets)) -> [Rig; N] {
    let key = Key::random();
    let mut rigs: Vec<Rig> = Vec::new();
    for _ in 0..N {
        let upstream = rigs.first().map(|rig| rig.upstream.configured.clone());
        let rig = started(|config| {
            config.redis.url = Some(Secret::new(redis.url()));
            config.redis.heartbeat = Duration::from_millis(100);
            tickets(config).key = Some(key.clone());
            tweak(tickets(config));
            if let Some(upstream) = upstream {
                config.upstream.addresses = vec![upstream];
            }
        })
        .await;
        linked(&rig).await;
        rigs.push(rig);
    }
    rigs.try_into().unwrap_or_else(|_| panic!("as many as were started"))
}

async fn linked(rig: &Rig) {
    until("link to Redis", || match rig.metrics.redis_up.get() {
        1 => Ok(()),
        _ => Err(rig.troubles()),
    })
    .await;
}

/// Long enough for a slow machine to use a ticket.
const VALID: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_ticket_that_one_has_taken_is_used_for_all() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [one, other] = fleet(&redis, |tickets| tickets.grant = Duration::ZERO).await;
    let ticket = ticket(&one, "alice").await;
    assert_eq!(status(&other, &url(&ticket), &[]).await, 200);
    for rig in [&one, &other] {
        assert_eq!(status(rig, &url(&ticket), &[]).await, 401);
    }
    assert!(!redis.cli(&["KEYS", "*"]).contains(&ticket));
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_browser_comes_back_to_another_and_after_a_restart() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [mut one, other] = fleet(&redis, |tickets| tickets.valid = VALID).await;
    let (used, unused) = (ticket(&other, "alice").await, ticket(&other, "alice").await);
    let expired = tokio::time::Instant::now() + VALID;
    assert_eq!(status(&one, &url(&used), &[]).await, 200);
    one.restart().await;
    linked(&one).await;
    until("end of the ticket's first time", || {
        if tokio::time::Instant::now() > expired { Ok(()) } else { Err(()) }
    })
    .await;
    for rig in [&one, &other] {
        assert_eq!(status(rig, &url(&used), &[]).await, 200);
        assert_eq!(status(rig, &url(&unused), &[]).await, 401);
    }
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_ticket_revoked_at_one_opens_nothing_at_any() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [one, other] = fleet(&redis, |_| {}).await;
    let (used, unused) = (ticket(&one, "alice").await, ticket(&one, "alice").await);
    open(&other, &used, &[]).await;
    for ticket in [used, unused] {
        let revoked = from_page(&one, "DELETE", &format!("{TICKETS}/{ticket}"), "alice").await;
        assert_eq!(revoked.status(), 204);
        for rig in [&one, &other] {
            assert_eq!(status(rig, &url(&ticket), &[]).await, 401);
        }
    }
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn without_redis_for_a_while_each_goes_on_by_itself() {
    let Some(mut redis) = Redis::start(&[]).await else { return };
    let [one] = fleet(&redis, |_| {}).await;
    let (used, unused) = (ticket(&one, "alice").await, ticket(&one, "alice").await);
    open(&one, &used, &[]).await;
    redis.kill();
    until("trouble", || match one.metrics.redis_up.get() {
        0 => Ok(()),
        up => Err(up),
    })
    .await;
    for ticket in [used, unused] {
        for _ in 0..2 {
            assert_eq!(status(&one, &url(&ticket), &[]).await, 200);
        }
    }
    one.end().await;
}

/// Redis may come back with the grant that it knows of.
#[tokio::test]
async fn no_end_is_confirmed_that_the_others_cannot_be_told_of() {
    let Some(mut redis) = Redis::start(&[]).await else { return };
    let [one] = fleet(&redis, |_| {}).await;
    let ticket = ticket(&one, "alice").await;
    redis.kill();
    until("trouble", || match one.metrics.redis_up.get() {
        0 => Ok(()),
        up => Err(up),
    })
    .await;
    let revoked = from_page(&one, "DELETE", &format!("{TICKETS}/{ticket}"), "alice").await;
    assert_eq!(revoked.status(), 503);
    assert!(revoked.headers().contains_key("retry-after"));
    assert_eq!(status(&one, &url(&ticket), &[]).await, 401, "what can be done is");
    one.end().await;
}
