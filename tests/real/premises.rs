//! What the other tests believe of Cyrus, without the proxy: if one of these fails, the rest means
//! nothing.

use serde_json::json;

use crate::support::jmap::Caller;
use crate::support::{Cyrus, http};

#[test]
fn cyrus_has_no_push_of_its_own() {
    let alice = Cyrus::shared().caller("alice");
    let session = alice.session();
    let target = session["eventSourceUrl"].as_str().expect("it claims to have an event source");
    let target =
        target.replace("{types}", "*").replace("{closeafter}", "no").replace("{ping}", "0");

    // "Stop reconnecting", as the HTML standard reads it.
    let headers = [("Authorization", alice.authorization.as_str())];
    let response = http::send(&alice.address, "GET", &target, &headers, "").expect("an answer");
    assert_eq!(response.status, 204);

    let subscriptions = alice.call(&[("PushSubscription/get", json!({ "ids": [] }))]);
    assert_eq!(subscriptions[0]["type"], "unknownMethod");
}

#[test]
fn a_delivery_and_a_flag_move_the_states_of_mail() {
    let cyrus = Cyrus::shared();
    let alice = cyrus.caller("alice");
    let before = alice.states();
    cyrus.deliver("alice");
    let delivered = alice.states();
    let flagged = alice.flag(&alice.newest_email(), "$flagged", true);

    assert!(before.iter().all(|(key, state)| delivered[key] != *state), "{before:?} {delivered:?}");
    assert_eq!(flagged, alice.email_state());
    assert!(delivered.values().all(|state| *state != flagged));
}

#[test]
fn a_shared_mailbox_shows_its_account_to_whom_it_is_shared_with() {
    let cyrus = Cyrus::shared();
    let sees = |caller: &Caller| caller.states().keys().any(|(account, _)| account == "alice");
    {
        let _share = cyrus.share("alice", "bob");
        assert!(sees(&cyrus.caller("bob")));
        assert!(!sees(&cyrus.caller("carol")));
    }
    assert!(!sees(&cyrus.caller("bob")));
}

#[test]
fn vacation_response_kills_the_process_that_is_asked() {
    let alice = Cyrus::shared().caller("alice");
    let answer = alice.try_call(&[("VacationResponse/get", json!({}))]);
    assert!(answer.is_err(), "status {}", answer.map_or(0, |response| response.status));
    alice.states();
}

#[test]
fn cyrus_comes_back_from_death_with_what_it_had() {
    let cyrus = Cyrus::shared();
    cyrus.deliver("dave");
    let before = cyrus.caller("dave").states();
    cyrus.kill().end();
    assert_eq!(cyrus.caller("dave").states(), before);
}
