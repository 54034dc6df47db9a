//! Many changes of all kinds, and parts that die between them, against the delivery ledger: each user
//! listens by an event source and by a WebSocket.
//!
//! Lasts `SOAK_SECONDS`, a few by default: long enough to run each kind of step.

use std::time::Duration;

use serde_json::json;

use crate::support::{Client, Cyrus, Instant, Proxy, Redis};

const USERS: [&str; 3] = ["alice", "bob", "carol"];

#[test]
fn a_long_soak_loses_nothing() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(5, |text| text.parse().expect("seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (cyrus, redis) = (Cyrus::shared(), Redis::shared());
    let _share = cyrus.share("alice", "bob");
    let mut proxy = Proxy::before(&cyrus).redis(&redis).start();
    let mut clients = USERS.map(|user| {
        [Client::listen, Client::connect].map(|listen| listen(&cyrus, &proxy.address, user))
    });
    for user in USERS {
        cyrus.deliver(user);
    }

    for step in 0_usize.. {
        let user = USERS[step % USERS.len()];
        let caller = proxy.caller(user);
        match step % 16 {
            5 => redis.kill().end(),
            11 => {
                // What it dies with untold, only the probe would find.
                for client in clients.iter_mut().flatten() {
                    client.agrees_with_server();
                }
                cyrus.kill().end();
                // A change must not meet the moment in which the proxy still thinks it away.
                proxy.wait_until_ready();
            }
            1 | 6 | 12 => {
                let create = json!({ "create": { "new": { "name": format!("Soak {step}") } } });
                let created = caller.call(&[("Mailbox/set", create)]);
                let id = &created[0]["created"]["new"]["id"];
                caller.call(&[("Mailbox/set", json!({ "destroy": [id] }))]);
            }
            4 | 9 | 15 => {
                clients[step % USERS.len()][step % 2].away(|| cyrus.deliver(user));
            }
            2 | 7 | 13 => {
                let email = caller.newest_email();
                caller.flag(&email, "$flagged", true);
                caller.flag(&email, "$flagged", false);
            }
            _ => cyrus.deliver(user),
        }
        if step % 4 == 3 {
            for client in clients.iter_mut().flatten() {
                client.agrees_with_server();
            }
            if Instant::now() > end && step >= 16 {
                break;
            }
        }
    }
    assert!(!clients[2][1].was_told_of("alice"));
    proxy.stop();
}
