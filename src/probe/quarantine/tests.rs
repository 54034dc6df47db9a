//! Pauses of types that make the server fail.

use proptest::prelude::*;

use super::*;
use crate::jmap::id::AccountId;
use crate::probe::round::Round;

const FIRST: Duration = Duration::from_secs(60);

fn account(name: &str) -> AccountKey {
    AccountKey::shared(AccountId::parse(name).unwrap())
}

fn data_type(name: &str) -> DataType {
    DataType::parse(name).unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment::default().after(Duration::from_secs(seconds))
}

fn sort(quarantine: &mut Quarantine, who: &str, now: Moment) -> Sorted {
    quarantine.sort(&account(who), vec![data_type("Email"), data_type("Vacation")], now)
}

/// A quarantine in which `alice` found that Vacation breaks, at 0 s.
fn with_vacation_held() -> Quarantine {
    let mut quarantine = Quarantine::new(FIRST);
    let paused = quarantine.convict(&account("alice"), &data_type("Vacation"), at(0));
    assert_eq!(paused, Some(FIRST));
    quarantine
}

#[test]
fn nothing_is_held_back_at_first() {
    let sorted = sort(&mut Quarantine::new(FIRST), "alice", at(0));
    assert_eq!(sorted.together.len(), 2);
    assert_eq!(sorted.withheld_until, None);
}

#[test]
fn a_type_that_breaks_is_held_back_for_every_account() {
    let mut quarantine = with_vacation_held();
    let sorted = sort(&mut quarantine, "bob", at(59));
    assert_eq!(sorted.together, [data_type("Email")]);
    assert!(sorted.alone.is_empty());
    assert_eq!(sorted.withheld_until, Some(at(60)));
}

#[test]
fn after_the_pause_one_account_tries_it_alone() {
    let mut quarantine = with_vacation_held();
    assert_eq!(sort(&mut quarantine, "bob", at(60)).alone, [data_type("Vacation")]);
    let carol = sort(&mut quarantine, "carol", at(60));
    assert!(carol.alone.is_empty());
    assert_eq!(carol.withheld_until, Some(at(61)));
}

#[test]
fn the_account_that_broke_it_lets_others_try_first() {
    let mut quarantine = with_vacation_held();
    assert_eq!(sort(&mut quarantine, "alice", at(60)).withheld_until, Some(at(75)));
    assert_eq!(sort(&mut quarantine, "alice", at(75)).alone, [data_type("Vacation")]);
}

#[test]
fn the_pause_doubles_up_to_an_hour() {
    let mut quarantine = with_vacation_held();
    let (mut now, mut pauses) = (0, vec![]);
    for _ in 0..8 {
        now += 5_000;
        assert_eq!(sort(&mut quarantine, "bob", at(now)).alone.len(), 1);
        let paused = quarantine.convict(&account("bob"), &data_type("Vacation"), at(now));
        pauses.push(paused.unwrap().as_secs());
        quarantine.finish(&account("bob"), at(now));
    }
    assert_eq!(pauses, [120, 240, 480, 960, 1920, 3600, 3600, 3600]);
}

#[test]
fn a_late_echo_of_the_first_break_does_not_double_the_pause() {
    let mut quarantine = with_vacation_held();
    assert_eq!(quarantine.convict(&account("bob"), &data_type("Vacation"), at(1)), None);
    assert_eq!(sort(&mut quarantine, "carol", at(60)).alone, [data_type("Vacation")]);
}

#[test]
fn a_try_without_a_result_is_repeated_after_the_same_pause() {
    let mut quarantine = with_vacation_held();
    let _ = sort(&mut quarantine, "bob", at(60));
    quarantine.finish(&account("bob"), at(70));
    assert_eq!(sort(&mut quarantine, "carol", at(80)).withheld_until, Some(at(130)));
}

#[test]
fn an_answer_releases_the_type_for_all() {
    let mut quarantine = with_vacation_held();
    let _ = sort(&mut quarantine, "bob", at(60));
    assert!(quarantine.answered(&account("bob"), &data_type("Vacation"), at(60)));
    assert_eq!(sort(&mut quarantine, "alice", at(60)).together.len(), 2);
    assert_eq!(quarantine.breaking(), 0);
}

#[test]
fn a_type_that_works_for_others_is_held_back_for_the_broken_account_only() {
    let mut quarantine = Quarantine::new(FIRST);
    quarantine.answered(&account("bob"), &data_type("Email"), at(0));
    quarantine.convict(&account("alice"), &data_type("Email"), at(10));
    assert_eq!(sort(&mut quarantine, "alice", at(11)).together, [data_type("Vacation")]);
    assert_eq!(sort(&mut quarantine, "bob", at(11)).together.len(), 2);
    assert_eq!(sort(&mut quarantine, "alice", at(70)).alone, [data_type("Email")]);
    quarantine.convict(&account("alice"), &data_type("Email"), at(70));
    assert_eq!(sort(&mut quarantine, "alice", at(71)).withheld_until, Some(at(190)));
}

#[test]
fn an_answer_of_long_ago_speaks_for_nobody() {
    let mut quarantine = Quarantine::new(FIRST);
    quarantine.answered(&account("bob"), &data_type("Vacation"), at(0));
    quarantine.convict(&account("alice"), &data_type("Vacation"), at(3600));
    assert_eq!(sort(&mut quarantine, "bob", at(3601)).together, [data_type("Email")]);
}

#[test]
fn what_others_found_while_a_request_was_under_way_explains_its_break() {
    let mut quarantine = with_vacation_held();
    let asked = [data_type("Email"), data_type("Vacation")];
    let found = quarantine.found_meanwhile(&account("bob"), &asked);
    assert_eq!(found, [data_type("Vacation")]);
    let _ = sort(&mut quarantine, "bob", at(60));
    assert!(
        quarantine.found_meanwhile(&account("bob"), &asked).is_empty(),
        "the one who tries it knows"
    );
}

#[test]
fn an_unknown_method_is_dropped_for_an_hour_and_for_this_account() {
    let mut quarantine = Quarantine::new(FIRST);
    quarantine.unsupported(&account("alice"), &data_type("Vacation"), at(0));
    assert_eq!(sort(&mut quarantine, "alice", at(3599)).withheld_until, Some(at(3600)));
    assert_eq!(sort(&mut quarantine, "bob", at(1)).together.len(), 2);
    assert_eq!(sort(&mut quarantine, "alice", at(3600)).together.len(), 2, "with the others");
    assert_eq!(quarantine.breaking(), 0, "unsupported is not broken");
}

#[test]
fn a_refused_capability_is_dropped_for_an_hour() {
    let mut quarantine = Quarantine::new(FIRST);
    quarantine.drop_capability("urn:x".to_owned(), at(0));
    assert!(!quarantine.knows("urn:x", at(3599)));
    assert!(quarantine.knows("urn:x", at(3600)));
    assert!(quarantine.knows("urn:y", at(0)));
}

#[test]
fn one_account_searches_at_a_time() {
    let mut quarantine = Quarantine::new(FIRST);
    assert!(quarantine.may_search(&account("alice"), at(0)));
    quarantine.answered(&account("alice"), &data_type("Email"), at(0));
    assert!(quarantine.may_search(&account("alice"), at(0)));
    assert!(!quarantine.may_search(&account("bob"), at(0)));
    quarantine.finish(&account("bob"), at(0));
    assert!(!quarantine.may_search(&account("bob"), at(0)));
    quarantine.finish(&account("alice"), at(0));
    assert!(quarantine.may_search(&account("bob"), at(0)));
}

#[test]
fn a_search_that_was_never_answered_is_followed_by_a_rest() {
    let mut quarantine = Quarantine::new(FIRST);
    assert!(quarantine.may_search(&account("alice"), at(0)));
    quarantine.finish(&account("alice"), at(5));
    assert!(!quarantine.may_search(&account("bob"), at(14)));
    assert!(quarantine.may_search(&account("bob"), at(15)));
    quarantine.finish(&account("bob"), at(15));
    quarantine.answered(&account("carol"), &data_type("Email"), at(16));
    assert!(quarantine.may_search(&account("alice"), at(16)), "upstream is not down");
}

#[test]
fn a_forgotten_account_leaves_nothing() {
    let mut quarantine = Quarantine::new(FIRST);
    quarantine.unsupported(&account("alice"), &data_type("Vacation"), at(0));
    quarantine.forget(&account("alice"));
    assert!(quarantine.accounts.is_empty());
    assert!(quarantine.list(at(0)).is_empty());
}

#[test]
fn the_operator_sees_what_is_held_why_and_how_long() {
    let mut quarantine = with_vacation_held();
    quarantine.unsupported(&account("bob"), &data_type("Quota"), at(0));
    let listed = serde_json::to_value(quarantine.list(at(15))).unwrap();
    assert_eq!(
        listed,
        serde_json::json!([
            {"data_type": "Vacation", "is_one_account": false, "reason": "breaks", "seconds_left": 45},
            {"data_type": "Quota", "is_one_account": true, "reason": "unsupported", "seconds_left": 3585},
        ])
    );
}

#[test]
fn a_bystander_is_not_held_and_known_to_answer_if_any_is() {
    let mut quarantine = with_vacation_held();
    quarantine.answered(&account("bob"), &data_type("Email"), at(0));
    let candidates = || ["Email", "Vacation", "Thread"].iter().map(|name| data_type(name));
    let chosen = quarantine.bystander(&account("alice"), candidates());
    assert_eq!(chosen, Some(data_type("Email")));
    let chosen = quarantine
        .bystander(&account("alice"), candidates().filter(|name| name.as_str() == "Vacation"));
    assert_eq!(chosen, None);
}

proptest! {
    /// Several accounts are asked again and again by an upstream that breaks on some types: crashes
    /// become rare, everything else is answered in every round, and a mended type comes back.
    #[test]
    fn culprits_crash_upstream_ever_less_and_come_back_when_mended(
        culprits in prop::collection::vec(any::<bool>(), 2..10).prop_filter("one must work", |all| all.contains(&false)),
        accounts in 1_usize..6,
    ) {
        let all: Vec<_> = (0..culprits.len()).map(|n| data_type(&format!("Type{n}"))).collect();
        let bad = |name: &DataType| all.iter().position(|other| other == name).is_some_and(|n| culprits[n]);
        let mut quarantine = Quarantine::new(FIRST);
        let mut crashes = 0_usize;
        let mut ask = |quarantine: &mut Quarantine, who: &AccountKey, now: Moment, mended: bool| {
            let sorted = quarantine.sort(who, all.clone(), now);
            let mut groups = vec![sorted.together];
            groups.retain(|group| !group.is_empty());
            let mut round = Round::new(groups, sorted.alone, None);
            let mut answered = Vec::new();
            while let Some(group) = round.next_group() {
                if !mended && group.iter().any(bad) {
                    crashes += 1;
                    let may_halve = quarantine.may_search(who, now);
                    round.broke(may_halve);
                } else {
                    round.answered();
                    for name in &group {
                        quarantine.answered(who, name, now);
                    }
                    answered.extend(group);
                }
            }
            for culprit in round.verdict().culprits {
                quarantine.convict(who, &culprit, now);
            }
            quarantine.finish(who, now);
            answered
        };
        let who: Vec<_> = (0..accounts).map(|n| account(&format!("a{n}"))).collect();
        for step in 0..240 {
            for each in &who {
                let answered = ask(&mut quarantine, each, at(step * 30), false);
                prop_assert!(all.iter().filter(|name| !bad(name)).all(|name| answered.contains(name)));
            }
        }
        for each in &who {
            let _ = ask(&mut quarantine, each, at(240 * 30 + 5_000), true);
        }
        let answered = ask(&mut quarantine, &who[0], at(240 * 30 + 10_000), true);
        prop_assert_eq!(answered.len(), all.len());
        prop_assert_eq!(quarantine.breaking(), 0);
        // Two hours: one search, then tries after 1, 2, 4 … 60 minutes.
        let count = culprits.iter().filter(|bad| **bad).count();
        prop_assert!(crashes <= 3 * all.len() + 8 * count, "{crashes} crashes");
    }
}
