//! docs/notify.md: three ways to publish, the rights that are needed. These are its commands.

use std::process::{Command, Stdio};

use jmap_push_proxy::notify::{Event, Source};

use super::rig::{Rig, STREAM, add, parse, publish, shell};
use crate::support::redis::{Redis, free_port};

const DOCUMENT: &str = include_str!("../../../docs/notify.md");

#[tokio::test]
async fn shows_how_to_publish_to_the_channel() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    shell(&redis, command("publish")).await;
    let said = r#"{"accountId":"u1","types":["Email","Mailbox","Thread"],"delivery":true}"#;
    assert_eq!(rig.next().await, Event::Notice(parse(said), Source::RedisChannel));
    rig.end().await;
}

#[tokio::test]
async fn shows_how_to_add_to_the_stream() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    shell(&redis, command("xadd")).await;
    let said = r#"{"accountIds":["u1","shared"],"changed":{"Email":"s1204","Mailbox":null}}"#;
    assert_eq!(rig.next().await, Event::Notice(parse(said), Source::RedisStream));
    rig.end().await;
}

#[tokio::test]
async fn shows_a_delivery_hook_that_tells_after_the_mail_is_stored() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    let stored = redis.dir().join("mail");
    let store = ["sh", "-c", "cat > \"$0\"", stored.to_str().unwrap()];
    let status = deliver(&redis.url(), "alice@example.org", &store);
    assert_eq!(status, Some(0));
    assert_eq!(std::fs::read_to_string(&stored).unwrap(), "a mail\n");
    let said = r#"{"user":"alice@example.org","types":["Email","Mailbox","Thread"],
        "delivery":true}"#;
    assert_eq!(rig.next().await, Event::Notice(parse(said), Source::RedisStream));
    rig.end().await;
}

#[tokio::test]
async fn shows_a_delivery_hook_whose_outcome_is_that_of_the_delivery() {
    let Some(redis) = Redis::start(&[]).await else { return };
    assert_eq!(deliver(&redis.url(), "alice", &["sh", "-c", "exit 75"]), Some(75));
    assert_eq!(deliver(&redis.url(), r#"a","x":""#, &["true"]), Some(0));
    assert_eq!(redis.cli(&["EXISTS", STREAM]), "0", "a failure and an odd name: not told");
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    assert_eq!(deliver(&nobody, "alice", &["true"]), Some(0), "delivered without Redis");
}

#[tokio::test]
async fn shows_all_the_rights_that_are_needed() {
    let Some(redis) = Redis::start(&[]).await else { return };
    shell(&redis, command("acl")).await;
    let url = format!("redis://jmap-push-proxy:a-password@127.0.0.1:{}", redis.port());
    let mut rig = Rig::up(&url).await;
    add(&redis, "alice");
    rig.notice_of("alice").await;
    publish(&redis, "bob");
    rig.notice_of("bob").await;
    rig.end().await;
}

#[test]
fn shows_messages_that_are_understood() {
    let examples = DOCUMENT.split_once("```json\n").unwrap().1.split_once("```").unwrap().0;
    assert_eq!(examples.lines().map(parse).count(), 3);
}

fn deliver(url: &str, user: &str, store: &[&str]) -> Option<i32> {
    let mut child = Command::new("sh")
        .args(["-c", command("jmap-deliver"), "jmap-deliver", user])
        .args(store)
        .env("REDIS_URL", url)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A command that does not read its input closes it.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a mail\n");
    child.wait().unwrap().code()
}

/// The shell command that docs/notify.md marks with this name.
fn command(name: &str) -> &'static str {
    let mark = format!("<!-- run: {name} -->\n```sh\n");
    DOCUMENT.split_once(&mark).unwrap().1.split_once("\n```").unwrap().0
}
