//! Each rule, seen to fail on a log that breaks it, and to let pass what only looks like it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Ledger, Log, Rule};

/// What a scenario writes: upstream with an account of alice's, and one stream of hers.
struct Scene {
    ledger: Ledger,
    log: Log,
}

/// alice sees `a`, in which Email and Mailbox are at `1`; her stream is open.
fn scene(types: Option<&[&str]>) -> Scene {
    let mut ledger = Ledger::default();
    ledger.granted("alice", "a", "a");
    ledger.granted("bob", "b", "b");
    for (account, data_type) in [("a", "Email"), ("a", "Mailbox"), ("b", "Email")] {
        ledger.changed(account, data_type, "1", None);
    }
    let mut log = Log::new("alice", types);
    log.opened(false);
    Scene { ledger, log }
}

impl Scene {
    fn change(&mut self, data_type: &str, state: &str) {
        self.ledger.changed("a", data_type, state, None);
    }

    fn tell(&mut self, account: &str, data_type: &str, state: &str) {
        let types = BTreeMap::from([(data_type.to_owned(), state.to_owned())]);
        self.log.told(BTreeMap::from([(account.to_owned(), types)]));
    }

    /// The rule that is broken.
    fn broken(&self) -> Option<Rule> {
        self.ledger.judge(&self.log).err().map(|fault| fault.rule)
    }
}

#[test]
fn who_was_told_every_change_once_and_in_order_is_well() {
    let mut scene = scene(None);
    for state in ["2", "3"] {
        scene.change("Email", state);
        scene.tell("a", "Email", state);
    }
    assert_eq!(scene.broken(), None);
}

#[test]
fn who_read_the_last_state_itself_need_not_be_told() {
    let mut scene = scene(None);
    assert_eq!(scene.broken(), None);
    scene.change("Email", "2");
    assert_eq!(scene.broken(), Some(Rule::Stale));
    scene.log.closed();
    scene.log.opened(false);
    assert_eq!(scene.broken(), None);
}

#[test]
fn a_change_between_two_others_need_not_be_told() {
    let mut scene = scene(None);
    scene.change("Email", "2");
    scene.change("Email", "3");
    scene.tell("a", "Email", "3");
    assert_eq!(scene.broken(), None);
}

#[test]
fn a_last_state_that_is_missing_is_seen() {
    let mut scene = scene(None);
    scene.change("Email", "2");
    scene.tell("a", "Email", "2");
    scene.change("Mailbox", "2");
    assert_eq!(scene.broken(), Some(Rule::Stale));
    // Not of types that are not wanted, nor of who is not there.
    scene.log.wished(Some(&["Email"]), true);
    assert_eq!(scene.broken(), None);
    scene.log.wished(None, true);
    scene.log.closed();
    assert_eq!(scene.broken(), None);
}

#[test]
fn who_comes_back_with_a_token_must_be_told_what_it_missed() {
    let mut scene = scene(None);
    scene.log.closed();
    scene.change("Email", "2");
    scene.log.opened(true);
    assert_eq!(scene.broken(), Some(Rule::Stale));
    scene.tell("a", "Email", "2");
    assert_eq!(scene.broken(), None);
}

#[test]
fn mail_that_was_added_and_not_told_is_seen() {
    let mut scene = scene(Some(&["EmailDelivery"]));
    scene.change("Email", "2");
    assert_eq!(scene.broken(), None, "nothing was added");
    scene.ledger.added("a", "3", None);
    scene.change("Email", "4");
    assert_eq!(scene.broken(), Some(Rule::Stale));
    scene.tell("a", "EmailDelivery", "2");
    assert_eq!(scene.broken(), Some(Rule::Stale), "told before it was added");
    scene.tell("a", "EmailDelivery", "3");
    assert_eq!(scene.broken(), None);
}

#[test]
fn an_account_of_others_is_seen() {
    let mut scene = scene(None);
    scene.tell("b", "Email", "1");
    assert_eq!(scene.broken(), Some(Rule::NotTheirs));
}

#[test]
fn an_account_is_told_of_until_its_withdrawal_is_known_and_no_longer() {
    let mut scene = scene(None);
    scene.ledger.withdrawn("alice", "a");
    scene.change("Email", "2");
    scene.tell("a", "Email", "2");
    assert_eq!(scene.broken(), None, "nobody knows yet");
    scene.log.withdrawn("a");
    scene.change("Email", "3");
    assert_eq!(scene.broken(), None, "she need not know any more");
    scene.tell("a", "Email", "3");
    assert_eq!(scene.broken(), Some(Rule::NotTheirs));
}

#[test]
fn an_account_that_comes_must_be_told_whole() {
    let mut scene = scene(Some(&["Email"]));
    scene.ledger.granted("alice", "b", "b");
    scene.log.granted("b");
    assert_eq!(scene.broken(), Some(Rule::Stale));
    scene.tell("b", "Email", "1");
    assert_eq!(scene.broken(), None);
}

#[test]
fn an_account_that_came_while_the_client_was_away_it_reads_itself() {
    let mut scene = scene(Some(&["Email"]));
    scene.log.closed();
    scene.ledger.granted("alice", "b", "b");
    scene.log.opened(true);
    assert_eq!(scene.broken(), None);
    scene.ledger.changed("b", "Email", "2", None);
    assert_eq!(scene.broken(), Some(Rule::Stale));
}

#[test]
fn a_type_that_was_not_asked_for_is_seen() {
    let mut scene = scene(Some(&["Email"]));
    scene.change("Mailbox", "2");
    scene.tell("a", "Mailbox", "2");
    assert_eq!(scene.broken(), Some(Rule::NotWanted));
}

#[test]
fn a_former_wish_counts_until_the_new_one_was_heard() {
    let mut scene = scene(Some(&["Email"]));
    scene.change("Mailbox", "2");
    scene.change("Email", "2");
    scene.log.asked(Some(&["Mailbox"]));
    scene.tell("a", "Mailbox", "2");
    scene.tell("a", "Email", "2");
    scene.log.wished(Some(&["Mailbox"]), false);
    assert_eq!(scene.broken(), None);
    scene.change("Email", "3");
    scene.tell("a", "Email", "3");
    assert_eq!(scene.broken(), Some(Rule::NotWanted));
}

#[test]
fn a_state_that_never_was_is_seen() {
    let mut scene = scene(None);
    scene.tell("a", "Email", "forged");
    assert_eq!(scene.broken(), Some(Rule::Invented));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_told_before_it_is_there_is_seen() {
    let mut scene = scene(None);
    scene.tell("a", "Email", "2");
    tokio::time::advance(Duration::from_millis(1)).await;
    scene.change("Email", "2");
    assert_eq!(scene.broken(), Some(Rule::Invented));
}

#[test]
fn a_state_of_anothers_view_is_seen() {
    let mut scene = scene(None);
    scene.ledger.changed("a", "Thread", "alice-1", Some("alice"));
    scene.ledger.changed("a", "Thread", "bob-1", Some("bob"));
    scene.tell("a", "Thread", "alice-1");
    assert_eq!(scene.broken(), None);
    scene.tell("a", "Thread", "bob-1");
    assert_eq!(scene.broken(), Some(Rule::Invented));
}

#[test]
fn a_change_heard_of_by_anothers_state_counts_where_views_are_not_known_yet() {
    let mut scene = scene(Some(&["Thread"]));
    scene.log.may_hear_others();
    for (user, state) in [("alice", "alice-1"), ("bob", "bob-1")] {
        scene.ledger.changed("a", "Thread", state, Some(user));
    }
    assert_eq!(scene.broken(), Some(Rule::Stale));
    scene.tell("a", "Thread", "bob-1");
    assert_eq!(scene.broken(), None);
    scene.tell("a", "Thread", "bob-2");
    assert_eq!(scene.broken(), Some(Rule::Invented));
}

#[test]
fn an_older_state_after_a_newer_one_is_seen() {
    let mut scene = scene(None);
    scene.change("Email", "2");
    scene.change("Email", "3");
    scene.tell("a", "Email", "3");
    scene.tell("a", "Email", "2");
    scene.tell("a", "Email", "3");
    assert_eq!(scene.broken(), Some(Rule::Backwards));
}

#[test]
fn an_older_state_is_not_excused_by_a_new_connection() {
    let mut scene = scene(None);
    scene.change("Email", "2");
    scene.change("Email", "3");
    scene.tell("a", "Email", "3");
    scene.log.closed();
    scene.log.opened(true);
    scene.tell("a", "Email", "2");
    assert_eq!(scene.broken(), Some(Rule::Backwards));
}

#[test]
fn a_true_return_to_an_older_state_is_well() {
    let mut scene = scene(None);
    for state in ["2", "1", "2"] {
        scene.change("Email", state);
        scene.tell("a", "Email", state);
    }
    assert_eq!(scene.broken(), None);
    scene.tell("a", "Email", "1");
    assert_eq!(scene.broken(), Some(Rule::Backwards));
}

#[test]
fn the_same_again_is_seen_unless_there_is_a_reason() {
    let mut scene = scene(None);
    scene.change("Email", "2");
    scene.tell("a", "Email", "2");
    scene.log.closed();
    scene.log.opened(true);
    scene.tell("a", "Email", "2");
    assert_eq!(scene.broken(), None);
    scene.tell("a", "Email", "2");
    assert_eq!(scene.broken(), Some(Rule::Amplified));
}

#[test]
fn a_state_that_was_left_and_taken_again_may_be_told_again_once() {
    let mut scene = scene(None);
    scene.change("Email", "2");
    scene.tell("a", "Email", "2");
    scene.change("Email", "3");
    scene.change("Email", "2");
    scene.tell("a", "Email", "2");
    assert_eq!(scene.broken(), None);
    scene.tell("a", "Email", "2");
    assert_eq!(scene.broken(), Some(Rule::Amplified));
}

#[test]
fn an_event_that_tells_nothing_is_seen() {
    let mut scene = scene(None);
    scene.log.told(BTreeMap::new());
    assert_eq!(scene.broken(), Some(Rule::Empty));
}

#[test]
fn a_fault_shows_what_led_to_it() {
    let mut scene = scene(None);
    scene.change("Mailbox", "7");
    scene.change("Email", "2");
    scene.change("Email", "3");
    scene.tell("a", "Email", "3");
    scene.tell("a", "Email", "2");
    let shown = scene.ledger.judge(&scene.log).unwrap_err().to_string();
    for part in ["Backwards: alice a Email", "upstream: a Email is 2", "alice: told 3"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    assert!(!shown.contains("Mailbox"), "{shown}");
}
