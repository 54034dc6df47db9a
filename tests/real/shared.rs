//! Accounts that several users see (RFC 8620 §1.6.2): each hears of what its own Session lists, and
//! of nothing else.

use crate::support::{Client, Cyrus, Proxy, Redis};

#[test]
fn a_change_in_a_shared_mailbox_reaches_who_may_read_it_and_nobody_else() {
    let (cyrus, redis) = (Cyrus::shared(), Redis::shared());
    let _share = cyrus.share("alice", "bob");
    let proxy = Proxy::before(&cyrus).redis(&redis).start();
    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");
    let mut bob = Client::listen(&cyrus, &proxy.address, "bob");
    let mut carol = Client::listen(&cyrus, &proxy.address, "carol");

    cyrus.deliver("alice");

    let state = cyrus.caller("alice").email_state();
    alice.learns("alice", "Email", &state);
    bob.learns("alice", "Email", &state);
    // What carol hears of her own mail comes after anything that she would have heard of alice's.
    cyrus.deliver("carol");
    carol.learns("carol", "Email", &cyrus.caller("carol").email_state());
    for client in [&mut alice, &mut bob, &mut carol] {
        client.agrees_with_server();
    }
    assert!(!carol.was_told_of("alice"));
    assert!(!alice.was_told_of("carol"));
    proxy.stop();
}

#[test]
fn a_flag_set_by_its_owner_reaches_who_a_mailbox_is_shared_with() {
    let cyrus = Cyrus::shared();
    cyrus.deliver("alice");
    let _share = cyrus.share("alice", "bob");
    let proxy = Proxy::before(&cyrus).start();
    let mut bob = Client::listen(&cyrus, &proxy.address, "bob");
    let mut carol = Client::listen(&cyrus, &proxy.address, "carol");
    let alice = proxy.caller("alice");

    let state = alice.flag(&alice.newest_email(), "$flagged", true);

    bob.learns("alice", "Email", &state);
    cyrus.deliver("carol");
    let caller = proxy.caller("carol");
    let state = caller.flag(&caller.newest_email(), "$seen", true);
    carol.learns("carol", "Email", &state);
    assert!(!carol.was_told_of("alice"));
    bob.agrees_with_server();
    proxy.stop();
}

#[test]
fn who_a_mailbox_is_shared_with_hears_of_it_before_its_owner_ever_came() {
    let (cyrus, redis) = (Cyrus::shared(), Redis::shared());
    let share = cyrus.share("alice", "bob");
    let proxy = Proxy::before(&cyrus).redis(&redis).start();
    let mut bob = Client::listen(&cyrus, &proxy.address, "bob");
    let mut carol = Client::listen(&cyrus, &proxy.address, "carol");

    cyrus.deliver("alice");

    // Known by his credentials only: the proxy has never seen hers.
    bob.learns("alice", "Email", &cyrus.caller("alice").email_state());
    bob.agrees_with_server();
    let mut alice = Client::listen(&cyrus, &proxy.address, "alice");
    drop(share);
    let mut again = Client::listen(&cyrus, &proxy.address, "bob");
    cyrus.deliver("alice");
    alice.agrees_with_server();
    // What they hear of their own mail comes after anything that they would have heard of hers.
    for (user, client) in [("bob", &mut again), ("carol", &mut carol)] {
        cyrus.deliver(user);
        client.learns(user, "Email", &cyrus.caller(user).email_state());
        assert!(!client.was_told_of("alice"), "{user}");
        client.agrees_with_server();
    }
    proxy.stop();
}
