//! JMAP over WebSocket (RFC 8887): calls and push on one connection, in front of a server that has
//! neither.

use serde_json::{Value, json};

use crate::support::{Client, Cyrus, Proxy, Redis};

/// The types that the client of JAMES-3491 asks for.
const TYPES: [&str; 2] = ["Email", "Mailbox"];

#[test]
fn the_six_steps_of_james_3491() {
    let (cyrus, redis) = (Cyrus::shared(), Redis::shared());
    let _share = cyrus.share("alice", "bob");
    let proxy = Proxy::before(&cyrus).redis(&redis).start();
    // 1 and 2: connects, authenticates, and enables push of two types.
    let mut alice = Client::connect_for(&cyrus, &proxy.address, "alice", &json!(TYPES));
    let mut bob = Client::connect_for(&cyrus, &proxy.address, "bob", &json!(TYPES));
    let synchronized = |client: &mut Client, account| TYPES.map(|ty| client.knows(account, ty));
    let known = synchronized(&mut alice, "alice");
    let known_of_bob = synchronized(&mut bob, "bob");

    // 3: from outside.
    cyrus.deliver("alice");
    cyrus.deliver("bob");

    // 4: for each account concerned; Bob sees a mailbox of Alice's.
    for client in [&mut alice, &mut bob] {
        let states = cyrus.caller("alice").states();
        for data_type in TYPES {
            client.learns("alice", data_type, &states[&("alice".into(), data_type.into())]);
        }
        client.agrees_with_server();
    }
    // 5 and 6.
    resynchronizes(&mut alice, "alice", &known);
    resynchronizes(&mut bob, "alice", &known);
    resynchronizes(&mut bob, "bob", &known_of_bob);
    assert!(!alice.was_told_of("bob"));
    assert!(alice.told().iter().all(|(_, data_type, _)| TYPES.contains(&data_type.as_str())));

    // What the one changes by its WebSocket is the very next that both hear.
    let (before, before_of_bob) = (alice.told().len(), bob.told().len());
    let changed = alice.flag("$flagged", true);
    let told = [("alice".to_owned(), "Email".to_owned(), changed.clone())];
    for (client, before) in [(&mut alice, before), (&mut bob, before_of_bob)] {
        client.learns("alice", "Email", &changed);
        assert_eq!(client.told()[before..], told);
        client.agrees_with_server();
    }
    proxy.stop();
}

/// Fetches by one request what has changed in an account since these states, and is told that it has
/// what was pushed; nothing more is pushed then.
fn resynchronizes(client: &mut Client, account: &str, since: &[String; 2]) {
    let before = client.told();
    let result =
        |of: &str, name: &str, path: &str| json!({ "resultOf": of, "name": name, "path": path });
    let [email, mailbox] = since;
    let answers = client.call(&[
        ("Email/changes", json!({ "accountId": account, "sinceState": email })),
        (
            "Email/get",
            json!({
                "accountId": account,
                "#ids": result("0", "Email/changes", "/created"),
                "properties": ["subject", "mailboxIds"],
            }),
        ),
        ("Mailbox/changes", json!({ "accountId": account, "sinceState": mailbox })),
        (
            "Mailbox/get",
            json!({
                "accountId": account,
                "#ids": result("2", "Mailbox/changes", "/updated"),
                "#properties": result("2", "Mailbox/changes", "/updatedProperties"),
            }),
        ),
    ]);
    let [email_changes, emails, mailbox_changes, mailboxes] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    for (data_type, answers) in
        TYPES.iter().zip([[email_changes, emails], [mailbox_changes, mailboxes]])
    {
        let pushed = client.knows(account, data_type);
        assert_eq!(answers[0]["newState"], pushed.as_str(), "{data_type} of {account}");
        assert_eq!(answers[1]["state"], pushed.as_str(), "{data_type} of {account}");
    }
    assert_eq!(count(&emails["list"]), 1, "{emails}");
    assert_eq!(count(&mailboxes["list"]), 1, "{mailboxes}");
    // Pushes go before answers, so that what was asked after the resynchronization comes behind all
    // that it would have caused.
    client.call(&[("Core/echo", json!({}))]);
    assert_eq!(client.told(), before);
}

fn count(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

#[test]
fn a_flag_set_by_websocket_reaches_event_sources_and_the_reverse() {
    let cyrus = Cyrus::shared();
    cyrus.deliver("alice");
    let _share = cyrus.share("alice", "bob");
    let proxy = Proxy::before(&cyrus).start();
    let mut desk = Client::connect(&cyrus, &proxy.address, "alice");
    let mut phone = Client::listen(&cyrus, &proxy.address, "alice");
    let mut bob = Client::listen(&cyrus, &proxy.address, "bob");
    let mut tablet = Client::connect(&cyrus, &proxy.address, "bob");

    let state = desk.flag("$flagged", true);
    for client in [&mut desk, &mut phone, &mut bob, &mut tablet] {
        client.learns("alice", "Email", &state);
    }
    let caller = proxy.caller("alice");
    let state = caller.flag(&caller.newest_email(), "$flagged", false);
    for client in [&mut desk, &mut phone, &mut bob, &mut tablet] {
        client.learns("alice", "Email", &state);
        client.agrees_with_server();
    }
    proxy.stop();
}

#[test]
fn mail_announced_by_nobody_is_pushed_over_websockets() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).set("PROBE__INTERVAL", "1s").start();
    let mut alice = Client::connect(&cyrus, &proxy.address, "alice");

    cyrus.deliver("alice");

    alice.learns("alice", "Email", &cyrus.caller("alice").email_state());
    alice.agrees_with_server();
    proxy.stop();
}

/// W11. Nobody announces what came; the first probe after the return finds it.
#[test]
fn who_comes_back_with_its_push_state_learns_what_it_missed() {
    let cyrus = Cyrus::shared();
    cyrus.deliver("alice");
    let mut proxy = Proxy::before(&cyrus).start();
    let mut alice = Client::connect(&cyrus, &proxy.address, "alice");
    let state = alice.flag("$answered", true);
    alice.learns("alice", "Email", &state);

    // To the same proxy, and to one that has never seen it.
    alice.away(|| cyrus.deliver("alice"));
    alice.agrees_with_server();
    proxy.killed(|| cyrus.deliver("alice"));
    alice.away(|| {});
    alice.agrees_with_server();

    // Nothing is missed, and nothing is told.
    let before = alice.told();
    alice.away(|| {});
    alice.call(&[("Core/echo", json!({}))]);
    assert_eq!(alice.told(), before);
    alice.agrees_with_server();
    proxy.stop();
}

#[test]
fn websockets_outlive_the_death_of_cyrus_and_learn_what_they_missed() {
    let cyrus = Cyrus::shared();
    let mut proxy = Proxy::before(&cyrus).set("PROBE__INTERVAL", "1s").start();
    let mut alice = Client::connect(&cyrus, &proxy.address, "alice");
    let mut bob = Client::connect(&cyrus, &proxy.address, "bob");
    cyrus.deliver("alice");
    alice.agrees_with_server();

    let outage = cyrus.kill();
    let refused = alice.try_call(&[("Email/get", json!({ "ids": [] }))]);
    assert_eq!(refused["@type"], "RequestError", "{refused}");
    assert_eq!(refused["status"], 502, "{refused}");
    outage.end();
    cyrus.deliver("alice");
    cyrus.deliver("bob");

    // On the same connections.
    alice.agrees_with_server();
    bob.agrees_with_server();
    proxy.wait_until_ready();
    let answers = alice.call(&[("Email/get", json!({ "ids": [] }))]);
    assert_eq!(answers[0]["state"], alice.knows("alice", "Email").as_str());
    proxy.stop();
}

#[test]
fn a_method_that_kills_its_server_process_is_an_error_and_no_websocket_notices() {
    let cyrus = Cyrus::shared();
    let proxy = Proxy::before(&cyrus).set("PROBE__INTERVAL", "1s").start();
    let mut alice = Client::connect(&cyrus, &proxy.address, "alice");

    // Cyrus 3.6 crashes on it.
    let refused = alice.try_call(&[("VacationResponse/get", json!({}))]);

    assert_eq!(refused["@type"], "RequestError", "{refused}");
    assert_eq!(refused["status"], 502, "{refused}");
    cyrus.deliver("alice");
    alice.agrees_with_server();
    proxy.stop();
}
