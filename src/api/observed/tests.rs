//! Which members of which responses become facts.

use super::*;

fn response(name: &str) -> MethodResponse {
    let (data_type, method) = Method::parse(name).unwrap();
    MethodResponse { account_id: AccountId::parse("a"), ..MethodResponse::new(data_type, method) }
}

fn state(text: &str) -> Option<State> {
    State::parse(text)
}

fn states(response: MethodResponse) -> Vec<(String, Option<State>, bool)> {
    let facts = facts(&[response]).pop().map(|(_, facts)| facts).unwrap_or_default();
    facts.into_iter().map(|f| (f.state.as_str().to_owned(), f.old_state, f.created)).collect()
}

/// ST1.
#[test]
fn the_state_of_a_get_is_a_fact() {
    let get = MethodResponse { state: state("1"), old_state: state("0"), ..response("Email/get") };
    assert_eq!(states(get), [("1".to_owned(), None, false)]);
}

/// ST3: "newState" is an intermediate state while there are more changes.
#[test]
fn the_new_state_of_changes_is_a_fact_only_when_there_are_no_more() {
    let changes = |has_more_changes| MethodResponse {
        state: state("not a member of /changes"),
        old_state: state("1"),
        new_state: state("2"),
        has_more_changes,
        created_is_empty: Some(false),
        ..response("Email/changes")
    };
    assert_eq!(states(changes(Some(false))), [("2".to_owned(), state("1"), true)]);
    assert_eq!(states(changes(Some(true))), []);
    assert_eq!(states(changes(None)), []);
}

/// ST4, ST6.
#[test]
fn the_new_state_of_a_change_is_a_fact_unless_it_is_the_old_one() {
    for name in ["Email/set", "Email/copy", "Email/import"] {
        let change = |old: &str| MethodResponse {
            old_state: state(old),
            new_state: state("2"),
            created_is_empty: Some(false),
            ..response(name)
        };
        assert_eq!(states(change("1")), [("2".to_owned(), state("1"), false)], "{name}");
        assert_eq!(states(change("2")), [], "{name}");
        let unknown_old = MethodResponse { old_state: None, ..change("1") };
        assert_eq!(states(unknown_old), [("2".to_owned(), None, false)], "{name}");
    }
}

#[test]
fn facts_are_sorted_by_account_and_keep_their_order() {
    let get = |account: &str, text: &str| MethodResponse {
        account_id: AccountId::parse(account),
        state: state(text),
        ..response("Email/get")
    };
    let facts = facts(&[get("b", "1"), get("a", "2"), get("b", "3"), get("", "4")]);
    let facts: Vec<_> = facts
        .iter()
        .map(|(id, facts)| (id.as_str(), facts.iter().map(|f| f.state.as_str()).collect()))
        .collect::<Vec<(_, Vec<_>)>>();
    assert_eq!(facts, [("b", vec!["1", "3"]), ("a", vec!["2"])]);
}
