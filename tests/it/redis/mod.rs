//! Redis as a source of notifications, against a real redis-server (architecture D11;
//! hostile.md F5, F6, F8, B11; docs/notify.md).

use std::sync::Arc;
use std::time::Duration;

use jmap_push_proxy::config;
use jmap_push_proxy::config::secret::Secret;
use jmap_push_proxy::notify::ear::Ear;
use jmap_push_proxy::notify::queue::queue;
use jmap_push_proxy::notify::{self, Event, Source};
use jmap_push_proxy::telemetry::metrics::Metrics;

use crate::support::redis::Redis;
use crate::support::wait::until;

use rig::{CHANNEL, Rig, STREAM, add, parse, publish, settings, shell};

mod document;
mod failure;
mod loss;
mod rig;
mod tls;
mod url;

#[tokio::test]
async fn a_message_on_the_channel_arrives() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    redis.cli(&["PUBLISH", CHANNEL, r#"{"accountId":"u1","changed":{"Email":"s1"}}"#]);
    let notice = parse(r#"{"accountId":"u1","changed":{"Email":"s1"}}"#);
    assert_eq!(rig.next().await, Event::Notice(notice, Source::RedisChannel));
    rig.end().await;
}

#[tokio::test]
async fn entries_of_the_stream_arrive_in_order_from_the_end_it_had_at_the_start() {
    let Some(redis) = Redis::start(&[]).await else { return };
    add(&redis, "before");
    // A server that waits for its disk holds up the heartbeat, which is not what this is about.
    let mut settings = settings(&redis.url());
    settings.heartbeat = Duration::from_secs(60);
    let mut rig = Rig::start(&settings);
    assert_eq!(rig.next().await, Event::Gap);
    rig.well().await;
    let entry = |number| format!("XADD {STREAM} * change '{{\"user\":\"user{number}\"}}'\n");
    let commands: String = (0..100).map(entry).collect();
    std::fs::write(redis.dir().join("commands"), commands).unwrap();
    shell(&redis, "redis-cli -u $REDIS_URL < commands").await;
    for number in 0..100 {
        let notice = parse(&format!(r#"{{"user":"user{number}"}}"#));
        assert_eq!(rig.next().await, Event::Notice(notice, Source::RedisStream));
    }
    rig.end().await;
}

#[tokio::test]
async fn a_unix_socket_password_and_database_are_used() {
    let Some(redis) = Redis::start(&["--unixsocket", "socket"]).await else { return };
    redis.cli(&["CONFIG", "SET", "requirepass", "canary-p@ss"]);
    let socket = redis.dir().join("socket");
    let url = format!("redis+unix://{}?db=5&pass=wrong", socket.display());
    let mut settings = settings(&url);
    settings.password = Some(Secret::new("canary-p@ss".into()));
    let mut rig = Rig::start(&settings);
    rig.gap().await;
    rig.well().await;
    redis.cli(&[
        "-a",
        "canary-p@ss",
        "--no-auth-warning",
        "-n",
        "5",
        "XADD",
        STREAM,
        "*",
        "change",
        r#"{"user":"five"}"#,
    ]);
    rig.notice_of("five").await;
    rig.end().await;
}

#[tokio::test]
async fn nothing_is_left_at_the_server_once_the_link_has_ended() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let rig = Rig::up(&redis.url()).await;
    assert_eq!(redis.cli(&["CLIENT", "LIST"]).lines().count(), 3, "ours are two");
    rig.end().await;
    until("closed connections", || match redis.cli(&["CLIENT", "LIST"]) {
        list if list.lines().count() == 1 => Ok(()),
        list => Err(list),
    })
    .await;
}

/// B11.
#[tokio::test]
async fn bad_messages_are_counted_and_dropped_and_good_ones_among_them_arrive() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    let huge = redis.dir().join("huge");
    std::fs::write(&huge, vec![b'x'; 10 << 20]).unwrap();
    for message in ["", "{}", "null", "{\"user\":7}", "\u{7f}\u{1}"] {
        redis.cli(&["PUBLISH", CHANNEL, message]);
    }
    shell(&redis, &format!("redis-cli -u $REDIS_URL -x PUBLISH {CHANNEL} < huge")).await;
    redis.cli(&["XADD", STREAM, "*", "changed", "{}"]);
    redis.cli(&["XADD", STREAM, "*", "change", "no JSON"]);
    shell(&redis, &format!("printf '\\377' | redis-cli -u $REDIS_URL -x XADD {STREAM} '*' change"))
        .await;
    add(&redis, "alice");
    rig.notice_of("alice").await;
    publish(&redis, "bob");
    rig.notice_of("bob").await;
    assert_eq!(rig.metrics.notices_bad.get(), 9);
    for source in [Source::RedisChannel, Source::RedisStream] {
        let count = rig.metrics.notices.get_or_create(&[("source", source.as_str())]).get();
        assert_eq!(count, 1, "{source}");
    }
    assert_eq!(rig.metrics.redis_connects.get(), 1, "the connection was kept");
    rig.end().await;
}

#[test]
fn no_redis_is_no_link_and_nothing_to_read_is_a_mistake() {
    let (outbox, _inbox) = queue(Metrics::default());
    let mut settings = settings("redis://127.0.0.1");
    (settings.channel, settings.stream) = (String::new(), String::new());
    let source = |settings: &config::Redis| {
        let ear = Ear::new(outbox.clone(), Metrics::default());
        notify::redis::source(settings, ear, Arc::default(), &Metrics::default())
    };
    assert!(source(&settings).unwrap_err().to_string().contains("both empty"));
    settings.url = None;
    assert!(source(&settings).unwrap().is_none());
}
