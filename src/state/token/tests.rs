//! The token against hostile, large and changed input.

use proptest::prelude::*;

use super::*;

type Owned = (AccountId, DataType, State);

fn entry(id: &str, name: &str, text: &str) -> Owned {
    let state = State::parse(text).unwrap();
    (AccountId::parse(id).unwrap(), DataType::parse(name).unwrap(), state)
}

fn refs(entries: &[Owned]) -> impl Iterator<Item = Entry<'_>> {
    entries.iter().map(|(id, name, state)| (id, name, state))
}

fn missed<'a>(token: &str, current: &'a [Owned]) -> Vec<(&'a str, &'a str)> {
    let missed = Token::parse(token).unwrap().missed(refs(current));
    missed.into_iter().map(|(id, name)| (id.as_str(), name.as_str())).collect()
}

fn accounts(count: usize, types: usize) -> Vec<Owned> {
    let of = |n| (0..types).map(move |t| entry(&format!("u{n}"), &format!("T{t}"), "s"));
    (0..count).flat_map(of).collect()
}

/// If this fails, tokens of other replicas and versions mean nothing any more (D10): undo the
/// change or make a version 2.
#[test]
fn the_format_is_fixed_for_ever() {
    let states =
        [entry("A1", "Email", "e7"), entry("A1", "Mailbox", "m3"), entry("ü", "Email", "")];
    assert_eq!(Token::encode(refs(&states)), "1sJNDLOKdPQM14mTHnnSY2trbBUXWW60ey");
}

#[test]
fn a_changed_state_is_missed_and_nothing_else() {
    let mut states = [entry("A", "Email", "1"), entry("A", "Quota", "1"), entry("B", "Email", "1")];
    let token = Token::encode(refs(&states));
    assert_eq!(missed(&token, &states), []);
    states[2] = entry("B", "Email", "2");
    assert_eq!(missed(&token, &states), [("B", "Email")]);
}

#[test]
fn a_type_the_token_does_not_know_is_missed() {
    let token = Token::encode(refs(&[]));
    assert_eq!(missed(&token, &[entry("A", "Email", "1")]), [("A", "Email")]);
}

#[test]
fn the_same_words_differently_cut_are_another_state() {
    let token = Token::encode(refs(&[entry("AE", "mail", "1")]));
    assert_eq!(missed(&token, &[entry("A", "Email", "1")]).len(), 1);
}

#[test]
fn a_delivery_state_made_anew_by_a_restart_is_not_missed_while_email_is_the_same() {
    let token = Token::encode(refs(&[entry("A", "Email", "9"), entry("A", "EmailDelivery", "7")]));
    let restarted = [entry("A", "Email", "9"), entry("A", "EmailDelivery", "9")];
    assert_eq!(missed(&token, &restarted), []);
    let unjudged = Token::encode(refs(&[entry("A", "Email", "9")]));
    assert_eq!(missed(&unjudged, &restarted), [("A", "EmailDelivery")]);
    let moved = [entry("A", "Email", "10"), entry("A", "EmailDelivery", "10")];
    assert_eq!(missed(&token, &moved).len(), 2);
}

#[test]
fn with_many_accounts_a_change_means_all_of_its_account() {
    let mut states = accounts(100, 3);
    let token = Token::encode(refs(&states));
    assert!(token.starts_with("1a"));
    assert_eq!(missed(&token, &states), []);
    states[0] = entry("u0", "T0", "other");
    assert_eq!(missed(&token, &states), [("u0", "T0"), ("u0", "T1"), ("u0", "T2")]);
}

#[test]
fn with_too_many_accounts_a_change_means_everything() {
    let mut states = accounts(200, 2);
    let token = Token::encode(refs(&states));
    assert!(token.starts_with("1e"));
    assert_eq!(missed(&token, &states), []);
    states[0] = entry("u0", "T0", "other");
    assert_eq!(missed(&token, &states).len(), 400);
}

#[test]
fn what_we_did_not_write_is_no_token() {
    let valid = Token::encode(refs(&[entry("A", "Email", "1"), entry("A", "Quota", "1")]));
    let mut digests = URL_SAFE_NO_PAD.decode(valid.strip_prefix("1s").unwrap()).unwrap();
    digests.rotate_left(8);
    let descending = format!("1s{}", URL_SAFE_NO_PAD.encode(&digests));
    let twice = format!("1s{}", URL_SAFE_NO_PAD.encode([digests.as_slice(), &digests].concat()));
    let two_for_all = valid.replacen("1s", "1e", 1);
    let next_version = valid.replacen("1s", "2s", 1);
    let long = format!("1s{}", "A".repeat(MAX_TOKEN_BYTES));
    let cut = valid.get(..valid.len() - 1).unwrap();
    let crafted = [&descending, &twice, &two_for_all, &next_version, &long, cut];
    let plain = ["", "1", "2s", "1x", "1sA", "1s====", "1s\n", "s1234", "1e", "0"];
    for text in plain.into_iter().chain(crafted) {
        assert_eq!(Token::parse(text), None, "{text:?}");
    }
}

fn any_entry() -> impl Strategy<Value = Owned> {
    let id = "\\PC{1,12}".prop_filter_map("id", |text| AccountId::parse(&text));
    let name = "[A-Z][a-z]{0,6}".prop_filter_map("type", |text| DataType::parse(&text));
    let state = any::<String>().prop_filter_map("state", |text| State::parse(&text));
    (id, name, state)
}

fn one_state_per_type(mut entries: Vec<Owned>) -> Vec<Owned> {
    let mut seen = BTreeSet::new();
    entries.retain(|(id, name, _)| seen.insert((id.clone(), name.clone())));
    entries
}

proptest! {
    /// T-SSE-9, hostile.md B10: nothing of an account, a type or a state reaches the wire.
    #[test]
    fn any_states_round_trip_in_any_order_and_inject_nothing(
        entries in prop::collection::vec(any_entry(), 0..200),
    ) {
        let mut entries = one_state_per_type(entries);
        let token = Token::encode(refs(&entries));
        prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        prop_assert_eq!(Token::parse(&token).unwrap().to_text(), token.clone());
        prop_assert!(Token::parse(&token).unwrap().missed(refs(&entries)).is_empty());
        entries.reverse();
        prop_assert_eq!(Token::encode(refs(&entries)), token);
    }

    /// P12: what the client does not have is never taken for given.
    #[test]
    fn a_change_of_any_state_is_never_overlooked(
        entries in prop::collection::vec(any_entry(), 1..200),
        which in any::<prop::sample::Index>(),
    ) {
        let mut entries = one_state_per_type(entries);
        let token = Token::parse(&Token::encode(refs(&entries))).unwrap();
        let place = which.index(entries.len());
        let changed = format!("{}'", entries[place].2.as_str());
        entries[place].2 = State::parse(&changed).unwrap();
        let (id, name, _) = &entries[place];
        prop_assert!(token.missed(refs(&entries)).contains(&(id, name)));
    }

    #[test]
    fn any_text_is_a_token_or_refused(text in "\\PC{0,40}|1[sae][A-Za-z0-9_-]{0,60}") {
        if let Some(token) = Token::parse(&text) {
            prop_assert_eq!(token.to_text(), text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn a_token_is_never_longer_than_its_limit(count in 1usize..5000, types in 1usize..5) {
        prop_assert!(Token::encode(refs(&accounts(count, types))).len() <= MAX_TOKEN_BYTES);
    }
}

#[test]
fn the_largest_tokens_keep_the_limit() {
    for (count, types) in [(MAX_DIGESTS, 1), (MAX_DIGESTS, 2), (MAX_DIGESTS + 1, 1), (34, 4)] {
        let token = Token::encode(refs(&accounts(count, types)));
        assert!(token.len() <= MAX_TOKEN_BYTES, "{}", token.len());
    }
}
