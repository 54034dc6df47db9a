//! Dovecot that tells by its push-notification plugin (docs/notify.md): what happens in its mailboxes
//! happens in the JMAP server's, too, and nobody else tells of that.
//!
//! No probe comes by interval and there is no Redis: what a client learns, it learns by Dovecot.

use std::net::TcpListener;

use crate::support::proxy::free_address;
use crate::support::{Client, Cyrus, Dovecot, Proxy};

const TOKEN: &str = "a-token";

/// A proxy that is told by HTTP, and where.
fn proxy_before(cyrus: &Cyrus) -> (Proxy, String) {
    let door = free_address();
    (Proxy::before(cyrus).told_by_http(&door, TOKEN).start(), door)
}

fn every_delivery_is_told(cyrus: &Cyrus, proxy: &Proxy, dovecot: &Dovecot) {
    let mut alice = Client::listen(cyrus, &proxy.address, "alice");
    for _ in 0..3 {
        cyrus.deliver("alice");
        dovecot.deliver("alice");
        alice.learns("alice", "Email", &cyrus.caller("alice").email_state());
        alice.agrees_with_server();
    }
    let told = alice.told();
    assert!(told.iter().any(|(_, data_type, _)| data_type == "EmailDelivery"), "{told:?}");
}

#[test]
fn dovecots_driver_ox_tells_of_deliveries() {
    let cyrus = Cyrus::shared();
    let (proxy, door) = proxy_before(&cyrus);
    let dovecot = Dovecot::telling_by_ox(&door, TOKEN);
    every_delivery_is_told(&cyrus, &proxy, &dovecot);
    proxy.stop();
}

#[test]
fn dovecots_script_tells_of_deliveries_and_of_all_that_is_done_by_imap() {
    let cyrus = Cyrus::shared();
    let (proxy, door) = proxy_before(&cyrus);
    let dovecot = Dovecot::telling_by_lua(&door, TOKEN);
    every_delivery_is_told(&cyrus, &proxy, &dovecot);

    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");
    let steps: [&[&str]; 12] = [
        &["CREATE Dovecot"],
        &["CREATE Dovecot/Below"],
        &["APPEND Dovecot {21+}\r\nFrom: x@y.z\r\n\r\nHello\r\n"],
        &["SELECT Dovecot", "STORE 1 +FLAGS (\\Seen)"],
        &["SELECT Dovecot", "STORE 1 -FLAGS (\\Seen)"],
        &["SELECT Dovecot", "STORE 1 +FLAGS (a-keyword)"],
        &["SELECT Dovecot", "COPY 1 Dovecot/Below"],
        &["SELECT Dovecot", "MOVE 1 Dovecot/Below"],
        &["SELECT Dovecot/Below", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE"],
        &["RENAME Dovecot/Below Renamed"],
        &["DELETE Renamed"],
        &["DELETE Dovecot"],
    ];
    for step in steps {
        let before = cyrus.caller("alice").states();
        cyrus.by_imap("alice", step);
        assert_ne!(cyrus.caller("alice").states(), before, "{step:?} changes nothing");
        dovecot.by_imap("alice", step);
        alice.agrees_with_server();
    }
    proxy.stop();
}

/// A mail is taken at once, or as soon as Dovecot gives up: what waits here for its 250 waits 20 s.
#[test]
fn no_mail_is_held_up_by_a_proxy_that_is_away_or_hangs() {
    let door = free_address();
    for dovecot in [Dovecot::telling_by_lua(&door, TOKEN), Dovecot::telling_by_ox(&door, TOKEN)] {
        dovecot.deliver("alice");
        // Connections are made, and nobody ever answers.
        let mute = TcpListener::bind(&door).expect("a free port");
        dovecot.deliver("alice");
        drop(mute);
        dovecot.deliver("alice");
    }
}
