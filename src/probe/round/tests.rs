//! Rounds of requests: bisecting and what each account learns.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn types(count: usize) -> Vec<DataType> {
    (0..count).filter_map(|n| DataType::parse(&format!("Type{n}"))).collect()
}

/// What came of a round against an upstream that breaks on the culprits.
struct Outcome {
    verdict: Verdict,
    answered: BTreeSet<DataType>,
    requests: usize,
}

fn play(mut round: Round, breaks: impl Fn(&DataType) -> bool) -> Outcome {
    let (mut answered, mut requests) = (BTreeSet::new(), 0);
    while let Some(group) = round.next_group() {
        requests += 1;
        assert!(requests < 10_000, "the round does not end");
        if group.iter().any(&breaks) {
            round.broke(true);
        } else {
            answered.extend(group);
            round.answered();
        }
    }
    Outcome { verdict: round.verdict(), answered, requests }
}

#[test]
fn one_request_does_when_all_is_well() {
    let outcome = play(Round::new(vec![types(8)], Vec::new(), None), |_| false);
    assert_eq!(outcome.requests, 1);
    assert_eq!(outcome.answered.len(), 8);
    assert_eq!(outcome.verdict, Verdict { culprits: Vec::new(), has_failed: false });
}

#[test]
fn a_crash_on_vacation_response_is_found_and_costs_nobody_an_answer() {
    let all: Vec<_> =
        ["Mailbox", "Email", "Thread", "Identity", "EmailSubmission", "VacationResponse"]
            .iter()
            .filter_map(|name| DataType::parse(name))
            .collect();
    let outcome =
        play(Round::new(vec![all], Vec::new(), None), |name| name.as_str() == "VacationResponse");
    assert_eq!(outcome.verdict.culprits, [DataType::parse("VacationResponse").unwrap()]);
    assert!(!outcome.verdict.has_failed);
    assert_eq!(outcome.answered.len(), 5);
    assert!(outcome.requests <= 10, "{}", outcome.requests);
}

#[test]
fn an_upstream_that_breaks_on_everything_is_down_and_no_type_is_to_blame() {
    let outcome = play(Round::new(vec![types(8)], Vec::new(), None), |_| true);
    assert_eq!(outcome.verdict, Verdict { culprits: Vec::new(), has_failed: true });
}

#[test]
fn an_upstream_that_goes_down_on_the_way_convicts_no_type() {
    let mut round = Round::new(vec![types(4)], Vec::new(), None);
    let _ = round.next_group();
    round.broke(true);
    let first_half = round.next_group().unwrap();
    assert_eq!(first_half.len(), 2);
    round.answered();
    while round.next_group().is_some() {
        round.broke(true);
    }
    assert_eq!(round.verdict(), Verdict { culprits: Vec::new(), has_failed: true });
}

#[test]
fn an_upstream_that_comes_back_on_the_way_convicts_no_type() {
    for back_after in 0..12 {
        let mut round = Round::new(vec![types(6)], Vec::new(), None);
        let (mut answered, mut requests) = (BTreeSet::new(), 0);
        while let Some(group) = round.next_group() {
            requests += 1;
            if requests <= back_after {
                round.broke(true);
            } else {
                answered.extend(group);
                round.answered();
            }
        }
        let verdict = round.verdict();
        assert!(verdict.culprits.is_empty(), "back after {back_after}: {verdict:?}");
        assert!(verdict.has_failed || answered.len() == 6, "{back_after}: {answered:?}");
    }
}

#[test]
fn a_type_known_to_break_is_asked_only_once_more() {
    let all = types(3);
    let round = Round::new(vec![all[..2].to_vec()], all[2..].to_vec(), None);
    let outcome = play(round, |name| *name == all[2]);
    assert_eq!(outcome.verdict.culprits, all[2..]);
    assert_eq!(outcome.requests, 3, "all others, it, and a witness");
}

#[test]
fn a_lone_type_is_convicted_by_a_bystander_that_answers() {
    let [lone, bystander] = <[_; 2]>::try_from(types(2)).unwrap();
    let round = || Round::new(vec![vec![lone.clone()]], Vec::new(), Some(bystander.clone()));
    assert_eq!(play(round(), |name| *name == lone).verdict.culprits, std::slice::from_ref(&lone));
    assert!(play(round(), |_| true).verdict.culprits.is_empty());
    assert_eq!(play(round(), |_| false).requests, 1, "a bystander is asked only on suspicion");
}

#[test]
fn several_types_that_all_break_are_not_convicted_by_a_bystander() {
    let round = Round::new(vec![types(2)], Vec::new(), DataType::parse("Bystander"));
    let outcome = play(round, |name| name.as_str() != "Bystander");
    assert!(outcome.verdict.culprits.is_empty());
    assert!(outcome.verdict.has_failed);
}

#[test]
fn without_leave_to_halve_the_group_is_given_up_and_the_others_go_on() {
    let all = types(4);
    let mut round = Round::new(vec![all[..2].to_vec(), all[2..].to_vec()], Vec::new(), None);
    let _ = round.next_group();
    round.broke(false);
    assert_eq!(round.next_group().unwrap(), all[2..]);
    round.answered();
    assert_eq!(round.next_group(), None);
    assert_eq!(round.verdict(), Verdict { culprits: Vec::new(), has_failed: true });
}

#[test]
fn a_break_that_others_have_explained_is_asked_again_without_the_culprit() {
    let all = types(3);
    let mut round = Round::new(vec![all.clone()], Vec::new(), None);
    let _ = round.next_group();
    round.explained(&all[1..2]);
    assert_eq!(round.next_group().unwrap(), [all[0].clone(), all[2].clone()]);
    round.answered();
    assert_eq!(round.next_group(), None);
    assert!(!round.verdict().has_failed);
}

proptest! {
    #[test]
    fn any_culprits_are_found_and_all_other_types_are_answered(
        culprits in prop::collection::vec(any::<bool>(), 1..24),
        chunk in 1_usize..24,
    ) {
        let all = types(culprits.len());
        let is_culprit = |name: &DataType| {
            all.iter().position(|other| other == name).is_some_and(|n| culprits[n])
        };
        let groups = all.chunks(chunk).map(<[_]>::to_vec).collect();
        let outcome = play(Round::new(groups, Vec::new(), None), is_culprit);
        let bad: BTreeSet<_> = all.iter().filter(|name| is_culprit(name)).cloned().collect();
        let good: BTreeSet<_> = all.iter().filter(|name| !is_culprit(name)).cloned().collect();
        prop_assert!(outcome.requests <= 3 * all.len() + 2, "{}", outcome.requests);
        let found: BTreeSet<_> = outcome.verdict.culprits.iter().cloned().collect();
        prop_assert_eq!(&outcome.answered, &good);
        if good.is_empty() {
            prop_assert!(found.is_empty());
            prop_assert!(outcome.verdict.has_failed);
        } else {
            prop_assert_eq!(found, bad);
            prop_assert!(!outcome.verdict.has_failed);
        }
    }
}
