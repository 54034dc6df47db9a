//! Cyrus whose events the proxy hears itself (`notify.cyrus.socket`). No probe comes by interval and
//! there is no Redis: what a client learns, it learns by an event.

use std::sync::Barrier;
use std::{fs, thread};

use serde_json::json;

use crate::support::{Client, Cyrus, Proxy, eventually};

/// Listens both ways.
fn both(cyrus: &Cyrus, proxy: &Proxy, user: &str) -> [Client; 2] {
    [Client::listen, Client::connect].map(|listen| listen(cyrus, &proxy.address, user))
}

#[test]
fn whatever_happens_in_a_mailbox_by_any_protocol_is_told() {
    let cyrus = Cyrus::telling();
    let proxy = Proxy::before(&cyrus).hearing(&cyrus).start();
    let mut alice = both(&cyrus, &proxy, "alice");
    let append = |folder: &str| format!("APPEND {folder} {{21+}}\r\nFrom: x@y.z\r\n\r\nHello\r\n");
    let (to_inbox, to_folder) = (append("INBOX"), append("Told"));
    let steps: [&[&str]; 10] = [
        &["CREATE Told"],
        &[&to_inbox, &to_folder],
        &["SELECT INBOX", "STORE 1 +FLAGS (\\Seen)", "STORE 1 +FLAGS (\\Flagged)"],
        &["SELECT INBOX", "COPY 1 Archive"],
        &["SELECT Told", "MOVE 1 Trash"],
        &["SELECT INBOX", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE"],
        &["RENAME Told Renamed"],
        &["CREATE Renamed/Below"],
        &["DELETE Renamed/Below"],
        &["DELETE Renamed"],
    ];
    // The first round shows the proxy that Cyrus' counts are states; in the second it asks only about what
    // was appended, once.
    for round in 0..2 {
        let probes = proxy.metric("jmap_push_probes_total");
        for step in steps {
            cyrus.by_imap("alice", step);
            alice.iter_mut().for_each(Client::agrees_with_server);
        }
        let asked = proxy.metric("jmap_push_probes_total") - probes;
        assert!(round == 0 || asked <= 3, "{asked} probes");
    }
    // By JMAP, past the proxy.
    let caller = cyrus.caller("alice");
    cyrus.deliver("alice");
    alice.iter_mut().for_each(Client::agrees_with_server);
    caller.flag(&caller.newest_email(), "$flagged", true);
    alice.iter_mut().for_each(Client::agrees_with_server);
    let created = caller.call(&[("Mailbox/set", json!({ "create": { "new": { "name": "J" } } }))]);
    alice.iter_mut().for_each(Client::agrees_with_server);
    caller.call(&[("Mailbox/set", json!({ "destroy": [created[0]["created"]["new"]["id"]] }))]);
    alice.iter_mut().for_each(Client::agrees_with_server);
    proxy.stop();
}

/// 1,000 mails to 50 users, each with an event source and a WebSocket, in ten deliveries at a time.
#[test]
fn a_flood_of_mail_reaches_everybody_it_is_for() {
    let cyrus = Cyrus::telling();
    let proxy = Proxy::before(&cyrus).hearing(&cyrus).start();
    let users: Vec<String> = (1..=50).map(|number| format!("user{number}")).collect();
    let ready = Barrier::new(10);
    thread::scope(|scope| {
        for users in users.chunks(5) {
            let (cyrus, proxy, ready) = (&cyrus, &proxy, &ready);
            scope.spawn(move || {
                let listen = |user: &String| (user.clone(), both(cyrus, proxy, user));
                let mut clients: Vec<_> = users.iter().map(listen).collect();
                ready.wait();
                cyrus.deliver_many(users, 100);
                for (user, clients) in &mut clients {
                    clients.iter_mut().for_each(|client| hears_of_twenty_mails(client, user));
                }
            });
        }
    });
    proxy.stop();
}

fn hears_of_twenty_mails(client: &mut Client, user: &str) {
    client.agrees_with_server();
    let told = client.told();
    assert!(told.iter().all(|(account, ..)| account == user), "{user}: {told:?}");
    let email = told.iter().filter(|(_, data_type, _)| data_type == "Email");
    let email: Vec<u64> = email.map(|(.., state)| state.parse().expect("a count")).collect();
    assert!(email.is_sorted(), "{user}: {email:?}");
    // The first may be the one from before: push is answered with it.
    assert!((1..=21).contains(&email.len()), "{user}: {email:?}");
}

#[test]
fn shares_that_are_given_and_taken_count_at_once() {
    let cyrus = Cyrus::telling();
    let proxy = Proxy::before(&cyrus).hearing(&cyrus).start();
    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");
    let mut bob = both(&cyrus, &proxy, "bob");

    let share = cyrus.share("alice", "bob");
    let state = cyrus.caller("alice").email_state();
    bob.iter_mut().for_each(|client| client.learns("alice", "Email", &state));
    cyrus.deliver("alice");
    alice.agrees_with_server();
    bob.iter_mut().for_each(Client::agrees_with_server);

    drop(share);
    // Minutes before bob's Session would have been read again.
    eventually("hers to be no longer told to him", || {
        let told = bob.each_ref().map(|client| client.told().len());
        cyrus.deliver("alice");
        alice.agrees_with_server();
        // What bob hears of his own mail comes after anything that he would have heard of hers.
        cyrus.deliver("bob");
        let state = cyrus.caller("bob").email_state();
        for (client, told) in bob.iter_mut().zip(told) {
            client.learns("bob", "Email", &state);
            let since = client.told().split_off(told);
            if since.iter().any(|(account, ..)| account == "alice") {
                return Err(since);
            }
        }
        Ok(())
    });
    proxy.stop();
}

#[test]
fn streams_outlive_the_death_of_cyrus_and_the_proxys_own() {
    let cyrus = Cyrus::telling();
    let mut proxy = Proxy::before(&cyrus).hearing(&cyrus).start();
    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");
    cyrus.deliver("alice");
    alice.agrees_with_server();

    cyrus.kill().end();
    cyrus.deliver("alice");
    alice.agrees_with_server();

    // The socket's file stays behind, and Cyrus sends into nothing.
    alice.away(|| proxy.killed(|| cyrus.deliver("alice")));
    alice.agrees_with_server();
    cyrus.deliver("alice");
    alice.agrees_with_server();
    proxy.stop();
}

#[test]
fn a_socket_that_vanishes_is_there_again_and_what_was_lost_is_asked_for() {
    let cyrus = Cyrus::telling();
    let proxy = Proxy::before(&cyrus).hearing(&cyrus).start();
    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");
    cyrus.deliver("alice");
    alice.agrees_with_server();

    fs::remove_file(cyrus.notify_socket()).expect("the socket");
    cyrus.deliver("alice");
    alice.agrees_with_server();
    cyrus.deliver("alice");
    alice.agrees_with_server();
    proxy.stop();
}
