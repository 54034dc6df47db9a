//! Mail that comes from outside, by LMTP: told through Redis, or found by the probe.

use crate::support::{Client, Cyrus, Proxy, Redis};

#[test]
fn mail_announced_through_redis_reaches_every_stream_of_its_owner() {
    let (cyrus, redis) = (Cyrus::shared(), Redis::shared());
    let proxy = Proxy::before(&cyrus).redis(&redis).start();
    let mut desk = Client::listen(&cyrus, &proxy.address, "alice");
    let mut phone = Client::listen(&cyrus, &proxy.address, "alice");

    cyrus.deliver("alice");

    let state = cyrus.caller("alice").email_state();
    desk.learns("alice", "Email", &state);
    phone.learns("alice", "Email", &state);
    desk.agrees_with_server();
    phone.agrees_with_server();
    proxy.stop();
}

#[test]
fn mail_announced_by_nobody_is_found_by_the_probe() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).set("PROBE__INTERVAL", "1s").start();
    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");

    cyrus.deliver("alice");

    alice.learns("alice", "Email", &cyrus.caller("alice").email_state());
    alice.agrees_with_server();
    proxy.stop();
}

#[test]
fn mail_that_came_while_a_client_was_away_is_told_on_its_return() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).set("PROBE__INTERVAL", "1s").start();
    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");
    cyrus.deliver("alice");
    alice.agrees_with_server();

    alice.away(|| cyrus.deliver("alice"));

    alice.agrees_with_server();
    proxy.stop();
}
