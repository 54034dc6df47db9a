//! How long streams live, and what bounds them: room, throttle, slow readers, credentials, accounts,
//! the end of the process (architecture D3, D9, D12).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use super::ALL;
use crate::support::http::exchange;
use crate::support::ledger::settle;
use crate::support::rig::{EVENT_SOURCE, Rig, call, setting};
use crate::support::sse::EventStream;
use crate::support::upstream::{Fault, SESSION, account_of};
use crate::support::wait::{until, within};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_user_with_too_many_streams_is_told_when_to_try_again() {
    let rig = Rig::start(|config| config.limits.streams_per_user = 2).await;
    let (first, second) = (rig.events("alice", ALL).await, rig.events("alice", ALL).await);
    let response = rig.ask("GET", &format!("{EVENT_SOURCE}?{ALL}"), "alice").await;
    assert_eq!(response.status(), 429);
    assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u32>().is_ok());
    // Others have room, and so has she when she closes one.
    rig.events("bob", ALL).await;
    drop(first);
    until("end of the closed streams", || match rig.metrics.streams.get() {
        1 => Ok(()),
        live => Err(live),
    })
    .await;
    rig.events("alice", ALL).await;
    drop(second);
    rig.end().await;
}

/// P14: a client may keep its socket for a while, and open the next.
#[tokio::test]
async fn a_stream_that_has_ended_takes_no_room() {
    let rig = Rig::start(|config| config.limits.streams_per_user = 1).await;
    let mut first = rig.events("alice", "types=*&closeafter=state&ping=0").await;
    rig.change("alice", "Email").await;
    while first.next().await.is_some() {}
    let second = rig.events("alice", ALL).await;
    drop((first, second));
    rig.end().await;
}

#[tokio::test]
async fn a_proxy_without_room_says_when_to_try_again() {
    let rig = Rig::start(|config| config.limits.streams = 1).await;
    let first = rig.events("alice", ALL).await;
    let response = rig.ask("GET", &format!("{EVENT_SOURCE}?{ALL}"), "bob").await;
    assert_eq!(response.status(), 503);
    assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u32>().is_ok());
    drop(first);
    rig.end().await;
}

#[tokio::test]
async fn a_throttled_stream_is_given_merged_events() {
    let rig = Rig::start(|config| config.event_source.throttle = SECOND).await;
    let mut stream = rig.events("alice", ALL).await;
    rig.change("alice", "Email").await;
    assert_eq!(stream.state().await.types(), ["Email"]);
    for data_type in ["Mailbox", "Email", "Mailbox", "Thread"] {
        rig.change("alice", data_type).await;
    }
    let last = rig.change("alice", "Email").await;
    let account = account_of("alice");
    let mut events = 0;
    while !stream.log.has(&account, "Email", &last) {
        stream.state().await;
        events += 1;
    }
    assert!(events < 5, "{events} events for five changes");
    rig.end().await;
}

#[tokio::test]
async fn a_reader_that_stalls_is_closed_and_nobody_else_waits() {
    let rig = Rig::start(|config| {
        config.event_source.send_buffer = 4096;
        config.event_source.write_timeout = SECOND;
    })
    .await;
    // Long ids make long events.
    let accounts: Vec<String> = (0..16).map(|n| format!("{n}-{}", "x".repeat(240))).collect();
    for account in &accounts {
        rig.upstream.mail(|mail| mail.share("alice", account));
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let target = format!("{EVENT_SOURCE}?{ALL}");
    let headers = [("Authorization", "Bearer alice")];
    let stalled = EventStream::open_on(socket, rig.address, &target, &headers).await;
    let mut reader = rig.events("alice", ALL).await;
    let calls: Value = accounts
        .iter()
        .map(|id| json!(["Email/set", { "accountId": id, "update": {} }, "0"]))
        .collect();
    within("closed stream", async {
        while rig.metrics.slow_closed.get() == 0 {
            rig.call("alice", &calls).await;
            let last = rig.upstream.mail(|mail| mail.state(&accounts[15], "Email"));
            reader.told(&accounts[15], "Email", &last).await;
        }
    })
    .await;
    drop(stalled);
    rig.end().await;
}

#[tokio::test]
async fn a_revoked_credential_ends_its_streams_and_no_others() {
    let rig = Rig::start(|config| config.auth.revalidate = SECOND).await;
    let (mut hers, mut his) = (rig.events("alice", ALL).await, rig.events("bob", ALL).await);
    rig.upstream.mail(|mail| mail.refuse("alice"));
    assert!(hers.next().await.is_none(), "a whole response");
    let new = rig.change("bob", "Email").await;
    his.told(&account_of("bob"), "Email", &new).await;
    rig.end().await;
}

#[tokio::test]
async fn an_account_withdrawn_is_told_of_no_more() {
    let rig = Rig::start(|config| config.auth.revalidate = SECOND).await;
    let hers = account_of("alice");
    rig.upstream.mail(|mail| mail.share("bob", &hers));
    let mut stream = rig.events("bob", ALL).await;
    let new = rig.change("alice", "Email").await;
    stream.told(&hers, "Email", &new).await;
    rig.upstream.mail(|mail| mail.withdraw("bob", &hers));
    rig.upstream.revalidated("bob").await;
    stream.log.withdrawn(&hers);
    rig.change("alice", "Email").await;
    rig.change("bob", "Email").await;
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn an_account_that_comes_is_told_of() {
    let rig = Rig::start(|config| config.auth.revalidate = SECOND).await;
    let mut stream = rig.events("bob", ALL).await;
    let hers = account_of("alice");
    rig.upstream.mail(|mail| mail.share("bob", &hers));
    rig.upstream.revalidated("bob").await;
    stream.log.granted(&hers);
    rig.change("alice", "Mailbox").await;
    settle(&rig.upstream, [&mut stream]).await;
    rig.end().await;
}

#[tokio::test]
async fn a_drain_ends_streams_as_whole_responses_that_say_when_to_come_back() {
    let rig = Rig::start(|config| config.drain.window = 3 * SECOND).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = rig.events("alice", ALL).await;
        stream.chunk().await.unwrap();
        streams.push(stream);
    }
    let ending = async {
        for stream in &mut streams {
            assert!(stream.next().await.is_none());
            let last = stream.comments.last().unwrap();
            assert!(last.starts_with(b"retry: ") && last.ends_with(b"\n"), "{last:?}");
        }
    };
    tokio::join!(rig.drain(), ending);
}

#[tokio::test]
async fn a_request_under_way_finishes_while_draining() {
    let rig = Rig::start(|config| config.drain.window = 5 * SECOND).await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail("Email/set", Fault::Hold(Arc::clone(&gate)), 1);
    let mut stream = rig.events("alice", ALL).await;
    let request = call("alice", &setting(&account_of("alice"), "Email"));
    let asking = exchange(rig.address, request);
    let draining = async {
        rig.upstream.asked("Email/set", 1).await;
        let address = rig.address;
        let released = async {
            // Nobody is let in any more: the drain has begun.
            until("refused connection", || match std::net::TcpStream::connect(address) {
                Ok(_) => Err(()),
                Err(_) => Ok(()),
            })
            .await;
            gate.add_permits(1);
            while stream.next().await.is_some() {}
        };
        tokio::join!(rig.drain(), released);
    };
    let (answer, ()) = tokio::join!(asking, draining);
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn many_streams_of_one_credential_ask_upstream_once() {
    let rig = Rig::start(|_| {}).await;
    let gate = Arc::new(Semaphore::new(0));
    rig.upstream.fail(SESSION, Fault::Hold(Arc::clone(&gate)), 1);
    let opening = || rig.events("alice", ALL);
    let released = async {
        rig.upstream.asked(SESSION, 1).await;
        gate.add_permits(1);
    };
    let streams = async { tokio::join!(opening(), opening(), opening(), opening(), opening()) };
    let (_streams, ()) = tokio::join!(streams, released);
    assert_eq!(rig.upstream.sessions_of("alice"), 1);
    rig.end().await;
}

#[tokio::test]
async fn streams_outlive_an_upstream_that_is_out_of_order() {
    let rig = Rig::start(|config| config.auth.revalidate = SECOND).await;
    let mut stream = rig.events("alice", ALL).await;
    rig.upstream.fail(SESSION, Fault::Status(503), 1);
    rig.upstream.asked(SESSION, 2).await;
    let new = rig.change("alice", "Email").await;
    stream.told(&account_of("alice"), "Email", &new).await;
    rig.end().await;
}

/// What comes after the head must be told, so what the stream starts from is known before it.
#[tokio::test]
async fn upstream_is_asked_before_the_head_is_sent() {
    let rig = Rig::start(|config| config.probe.interval = SECOND).await;
    let mut stream = rig.events("alice", ALL).await;
    assert!(rig.upstream.times_asked(&account_of("alice")) > 0);
    let new = rig.upstream.mail(|mail| mail.change(&account_of("alice"), "Identity"));
    stream.told(&account_of("alice"), "Identity", &new).await;
    rig.end().await;
}

/// The first probe is slow: what changed since the client fetched its states, nobody knows.
#[tokio::test]
async fn what_a_stream_starts_from_is_told_if_it_was_not_known_in_time() {
    let rig = Rig::start(|_| {}).await;
    let answers = Arc::new(Semaphore::new(0));
    rig.upstream.fail(&account_of("alice"), Fault::Hold(Arc::clone(&answers)), 1);
    let mut stream = rig.events("alice", ALL).await;
    answers.add_permits(1);
    let changed = stream.state().await.changed();
    let now = rig.upstream.mail(|mail| mail.state(&account_of("alice"), "Identity"));
    assert_eq!(changed[&account_of("alice")]["Identity"], now);
    rig.end().await;
}
