//! F8: each failure has a name, and ends without a restart.

use jmap_push_proxy::notify::Event;
use tokio::io::AsyncWriteExt as _;

use super::rig::{Rig, publish, settings};
use crate::support::redis::{Redis, free_port};
use crate::support::wait::until;

#[tokio::test]
async fn when_the_password_is_wrong_or_missing() {
    let Some(redis) = Redis::start(&[]).await else { return };
    redis.cli(&["CONFIG", "SET", "requirepass", "right"]);
    let mut rig = Rig::start(&settings(&redis.url()));
    rig.trouble("a password is needed and none is set").await;
    rig.end().await;

    let url = format!("redis://:canary-wrong@127.0.0.1:{}", redis.port());
    rig = Rig::start(&settings(&url));
    let trouble = rig.trouble("user or password is wrong").await;
    assert!(!format!("{trouble:?}").contains("canary"), "{trouble:?}");
    redis.cli(&[
        "-a",
        "right",
        "--no-auth-warning",
        "CONFIG",
        "SET",
        "requirepass",
        "canary-wrong",
    ]);
    rig.gap().await;
    rig.well().await;
    rig.end().await;
}

#[tokio::test]
async fn when_something_else_answers_at_the_port() {
    let http = speak(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::start(&settings(&format!("redis://127.0.0.1:{http}")));
    let trouble = rig.trouble("what answers there is not Redis").await;
    assert_eq!(trouble.remedy, "correct the port in redis.url");
    rig.end().await;
}

#[tokio::test]
async fn when_the_port_closes_without_a_word() {
    let mute = speak(b"").await;
    let rig = Rig::start(&settings(&format!("redis://127.0.0.1:{mute}")));
    rig.trouble("the connection is closed before any answer").await;
    rig.end().await;
}

#[tokio::test]
async fn when_nothing_resolves_the_host() {
    let rig = Rig::start(&settings("redis://no-such-host.invalid"));
    rig.trouble("the host name cannot be resolved").await;
    rig.end().await;
}

#[tokio::test]
async fn when_tls_meets_a_server_without() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let rig = Rig::start(&settings(&format!("rediss://127.0.0.1:{}", redis.port())));
    // Redis waits for the end of a line that TLS does not send.
    let trouble = rig.trouble("no answer to HELLO in time").await;
    assert!(trouble.remedy.contains("rediss:// to a port without TLS"), "{trouble:?}");
    rig.end().await;
}

#[tokio::test]
async fn when_the_certificate_is_not_trusted() {
    let port = free_port().to_string();
    let own = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let dir = std::env::temp_dir().join(format!("jmap-push-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let args = [
        "--tls-port",
        &port,
        "--tls-cert-file",
        cert,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        cert,
        "--tls-auth-clients",
        "no",
    ];
    let Some(_redis) = Redis::start(&args).await else { return };
    let rig = Rig::start(&settings(&format!("rediss://localhost:{port}")));
    rig.trouble("TLS fails: invalid peer certificate").await;
    rig.end().await;
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn when_the_server_is_a_read_only_replica() {
    let Some(master) = Redis::start(&[]).await else { return };
    let replica = Redis::replica(&master).await;
    let mut rig = Rig::start(&settings(&replica.url()));
    rig.trouble("the server is a read-only replica").await;
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    rig.gap().await;
    rig.well().await;
    // F6: a master that is demoted and stays alive.
    replica.cli(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    rig.trouble("the server is a read-only replica").await;
    rig.end().await;
}

#[tokio::test]
async fn when_the_server_is_out_of_memory_and_messages_still_arrive() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut rig = Rig::up(&redis.url()).await;
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    rig.trouble("out of memory").await;
    publish(&redis, "alice");
    rig.notice_of("alice").await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(rig.next().await, Event::Gap, "what could not be written was missed");
    rig.well().await;
    assert_eq!(rig.metrics.redis_connects.get(), 1, "the connection was kept");
    assert_eq!(rig.faults("out_of_memory"), 1, "counted once, not at every beat");
    rig.end().await;
}

#[tokio::test]
async fn when_the_server_is_still_loading() {
    let Some(mut redis) = Redis::start(&["--loading-process-events-interval-bytes", "1024"]).await
    else {
        return;
    };
    redis.cli(&["DEBUG", "POPULATE", "300", "key", "100"]);
    redis.cli(&["BGREWRITEAOF"]);
    until("rewritten file", || match redis.cli(&["INFO", "persistence"]) {
        info if info.contains("aof_rewrite_in_progress:0")
            && info.contains("aof_rewrite_scheduled:0") =>
        {
            Ok(())
        }
        info => Err(info),
    })
    .await;
    redis.kill();
    redis.slow_to_load();
    redis.launch();
    let mut rig = Rig::start(&settings(&redis.url()));
    rig.trouble("the server is still loading its data").await;
    rig.gap().await;
    rig.well().await;
    rig.end().await;
}

#[tokio::test]
async fn when_the_server_has_no_connection_left() {
    let Some(redis) = Redis::start(&[]).await else { return };
    redis.cli(&["CONFIG", "SET", "maxclients", "1"]);
    let mut rig = Rig::start(&settings(&redis.url()));
    // The server says why and closes; that its words outrun the end is a matter of luck.
    let trouble = rig.trouble("").await;
    let named = trouble.reason.contains("maxclients") || trouble.remedy.contains("maxclients");
    assert!(named, "{trouble:?}");
    until("more connections allowed", || {
        match redis.try_cli(&["CONFIG", "SET", "maxclients", "100"]).as_str() {
            "OK" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
    rig.gap().await;
    rig.well().await;
    rig.end().await;
}

#[tokio::test]
async fn when_a_right_is_missing() {
    let Some(redis) = Redis::start(&[]).await else { return };
    for (missing, named) in [
        ("subscribe", "the ACL does not allow SUBSCRIBE"),
        ("publish", "the ACL does not allow PUBLISH"),
        ("set", "the ACL does not allow SET"),
        ("xrevrange", "the ACL does not allow XREVRANGE"),
        ("xread", "the ACL does not allow XREAD"),
    ] {
        redis.cli(&[
            "ACL",
            "SETUSER",
            "some",
            "on",
            "nopass",
            "allkeys",
            "allchannels",
            "+@all",
            &format!("-{missing}"),
        ]);
        let url = format!("redis://some:any@127.0.0.1:{}", redis.port());
        let rig = Rig::start(&settings(&url));
        rig.trouble(named).await;
        rig.end().await;
    }
}

/// Something that is no Redis: says its piece to whoever connects, and closes.
async fn speak(piece: &'static [u8]) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.readable().await;
            let _ = socket.write_all(piece).await;
            let _ = socket.shutdown().await;
        }
    });
    port
}
