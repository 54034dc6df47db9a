//! Parts that die and come back: streams stay open, and nothing that happened meanwhile is lost.

use std::time::Duration;

use serde_json::json;

use crate::support::{Client, Cyrus, Instant, Proxy, Redis};

#[test]
fn streams_outlive_the_death_of_cyrus_and_learn_what_they_missed() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).set("PROBE__INTERVAL", "1s").start();
    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");
    let mut bob = Client::listen(&cyrus, &proxy.address, "bob");
    cyrus.deliver("alice");
    alice.agrees_with_server();

    let outage = cyrus.kill();
    let refused = proxy.caller("alice").try_call(&[("Email/get", json!({ "ids": [] }))]);
    assert_eq!(refused.expect("an answer").status, 502);
    outage.end();
    cyrus.deliver("alice");
    cyrus.deliver("bob");

    alice.agrees_with_server();
    bob.agrees_with_server();
    proxy.stop();
}

#[test]
fn streams_outlive_the_death_of_redis_and_learn_what_they_missed() {
    let (cyrus, redis) = (Cyrus::shared(), Redis::shared());
    let mut proxy = Proxy::before(&cyrus).redis(&redis).start();
    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");
    cyrus.deliver("alice");
    alice.agrees_with_server();

    let outage = redis.kill();
    proxy.wait_until_not_ready();
    // Nobody tells of this one: Redis, who should, is dead. That it is back must be enough.
    cyrus.deliver("alice");
    outage.end();

    alice.agrees_with_server();
    proxy.wait_until_ready();
    cyrus.deliver("alice");
    alice.agrees_with_server();
    proxy.stop();
}

#[test]
fn a_method_that_kills_its_server_process_is_502_and_no_stream_notices() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).set("PROBE__INTERVAL", "1s").start();
    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");

    // Cyrus 3.6 crashes on it.
    let begin = Instant::now();
    let response = proxy.caller("alice").try_call(&[("VacationResponse/get", json!({}))]);

    let response = response.expect("an answer");
    assert_eq!(response.status, 502);
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert!(begin.elapsed() < Duration::from_secs(5), "502 after {:?}", begin.elapsed());
    cyrus.deliver("alice");
    alice.agrees_with_server();
    proxy.stop();
}

#[test]
fn a_subscriber_to_a_type_that_kills_the_server_stops_nobodys_probes() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).set("PROBE__INTERVAL", "1s").start();
    let types = "VacationResponse,Email,Mailbox,Thread";
    let mut alice = Client::listen_to(&cyrus, &proxy.address, "alice", types);
    let mut bob = Client::listen(&cyrus, &proxy.address, "bob");

    for _ in 0..3 {
        cyrus.deliver("alice");
        cyrus.deliver("bob");
        alice.agrees_with_server();
        bob.agrees_with_server();
    }
    proxy.stop();
}
