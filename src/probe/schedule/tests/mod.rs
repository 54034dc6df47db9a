//! When each account is asked: interval, budget and jitter.

mod evidence;
mod promises;

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::jmap::id::AccountId;
use crate::probe::window::MAX_IN_FLIGHT;

const INTERVAL: Duration = Duration::from_secs(30);

fn account(name: &str) -> AccountKey {
    AccountKey::shared(AccountId::parse(name).unwrap())
}

fn at(seconds: f64) -> Moment {
    Moment::default().after(Duration::from_secs_f64(seconds))
}

/// A schedule with a rate that is no matter, watching the accounts since 0 s.
fn watching(interval: Duration, names: &[&str]) -> Schedule {
    let mut schedule = Schedule::new(Intervals::even(interval), 1_000_000, 1);
    for name in names {
        schedule.watch(&account(name), at(0.0));
    }
    schedule
}

fn asked(schedule: &mut Schedule, now: Moment) -> Option<AccountKey> {
    match schedule.due(now) {
        Next::Ask(account) => Some(account),
        Next::At(_) | Next::Idle => None,
    }
}

fn next_at(schedule: &mut Schedule, now: Moment) -> Moment {
    match schedule.due(now) {
        Next::At(moment) => moment,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_watched_is_nothing_to_do() {
    assert_eq!(watching(INTERVAL, &[]).due(at(1e6)), Next::Idle);
}

#[test]
fn first_probes_by_interval_are_spread_over_it() {
    let names: Vec<String> = (0..100).map(|n| format!("a{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut schedule = watching(INTERVAL, &names);
    let moments: Vec<_> = schedule.timed.iter().map(|(moment, _)| *moment).collect();
    assert!(moments.iter().all(|moment| *moment <= at(30.0)));
    let early = moments.iter().filter(|moment| **moment <= at(15.0)).count();
    assert!((25..=75).contains(&early), "{early}");
    assert_eq!(next_at(&mut schedule, at(0.0)), moments[0]);
}

#[test]
fn an_account_is_asked_again_after_the_interval_give_or_take_a_fifth() {
    let mut schedule = watching(INTERVAL, &["a"]);
    assert_eq!(asked(&mut schedule, at(31.0)), Some(account("a")));
    schedule.finished(&account("a"), Ended::Answered, None, at(100.0));
    let next = next_at(&mut schedule, at(100.0));
    assert!((at(124.0)..=at(136.0)).contains(&next), "{next:?}");
}

#[test]
fn an_interval_of_zero_asks_only_on_request() {
    let mut schedule = watching(Duration::ZERO, &["a"]);
    assert_eq!(schedule.due(at(1e6)), Next::Idle);
    assert!(schedule.request(&account("a"), Why::Hint, at(1e6)));
    assert_eq!(asked(&mut schedule, at(1e6)), Some(account("a")));
    schedule.finished(&account("a"), Ended::Answered, None, at(1e6));
    assert_eq!(schedule.due(at(2e6)), Next::Idle);
}

#[test]
fn types_left_out_are_asked_for_once_they_may_be_even_without_an_interval() {
    let mut schedule = watching(Duration::ZERO, &["a"]);
    schedule.request(&account("a"), Why::Hint, at(0.0));
    let _ = asked(&mut schedule, at(0.0));
    schedule.finished(&account("a"), Ended::Answered, Some(at(60.0)), at(0.0));
    assert_eq!(next_at(&mut schedule, at(0.0)), at(60.0));
}

#[test]
fn a_request_for_an_unwatched_account_is_refused() {
    assert!(!watching(INTERVAL, &[]).request(&account("a"), Why::Hint, at(0.0)));
}

#[test]
fn an_account_is_asked_once_at_a_time_and_then_exactly_once_more() {
    let mut schedule = watching(Duration::ZERO, &["a"]);
    schedule.request(&account("a"), Why::Hint, at(0.0));
    assert!(asked(&mut schedule, at(0.0)).is_some());
    for _ in 0..5 {
        schedule.request(&account("a"), Why::Hint, at(0.1));
        assert_eq!(asked(&mut schedule, at(0.1)), None, "single flight");
    }
    schedule.finished(&account("a"), Ended::Answered, None, at(0.2));
    assert!(asked(&mut schedule, at(0.2)).is_some(), "the follow-up");
    schedule.finished(&account("a"), Ended::Answered, None, at(0.3));
    assert_eq!(schedule.due(at(0.3)), Next::Idle, "and no more");
}

#[test]
fn a_requested_account_goes_before_those_of_the_interval() {
    let mut schedule = watching(INTERVAL, &["a", "b", "c"]);
    schedule.request(&account("c"), Why::Hint, at(100.0));
    assert_eq!(asked(&mut schedule, at(100.0)), Some(account("c")));
}

#[test]
fn requests_without_end_do_not_stop_the_interval() {
    let mut schedule = watching(INTERVAL, &["quiet"]);
    let busy: Vec<_> = (0..10).map(|n| account(&format!("busy{n}"))).collect();
    for each in &busy {
        schedule.watch(each, at(0.0));
    }
    let mut turns = 0;
    loop {
        for each in &busy {
            schedule.request(each, Why::Hint, at(40.0));
        }
        let next = asked(&mut schedule, at(40.0)).unwrap();
        schedule.finished(&next, Ended::Answered, None, at(40.0));
        turns += 1;
        if next == account("quiet") {
            break;
        }
        assert!(turns < 10, "starved");
    }
}

#[test]
fn requested_accounts_take_turns() {
    let mut schedule = watching(Duration::ZERO, &["a", "b"]);
    schedule.request(&account("b"), Why::Hint, at(0.0));
    schedule.request(&account("a"), Why::Hint, at(0.1));
    assert_eq!(asked(&mut schedule, at(1.0)), Some(account("b")));
    schedule.request(&account("b"), Why::Hint, at(1.0));
    schedule.finished(&account("b"), Ended::Answered, None, at(1.0));
    assert_eq!(asked(&mut schedule, at(1.0)), Some(account("a")));
}

#[test]
fn repeated_requests_do_not_push_an_account_back() {
    let mut schedule = watching(Duration::ZERO, &["a", "b"]);
    schedule.request(&account("b"), Why::Hint, at(0.0));
    schedule.request(&account("a"), Why::Hint, at(0.1));
    schedule.request(&account("b"), Why::Hint, at(0.2));
    assert_eq!(asked(&mut schedule, at(1.0)), Some(account("b")));
}

#[test]
fn failures_back_off_with_jitter_up_to_half_a_minute() {
    for (failures, most) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (40, 30)] {
        let mut latest = at(0.0);
        for seed in 0..40 {
            let mut schedule = Schedule::new(Intervals::even(Duration::ZERO), 1_000_000, seed);
            schedule.watch(&account("a"), at(0.0));
            schedule.request(&account("a"), Why::Hint, at(0.0));
            let mut now = at(0.0);
            for _ in 0..failures {
                now = now.after(Duration::from_secs(100));
                let _ = asked(&mut schedule, now);
                schedule.finished(&account("a"), Ended::Failed, None, now);
            }
            let wait = next_at(&mut schedule, now).since(now);
            latest = latest.max(Moment::default().after(wait));
        }
        let most = f64::from(most);
        assert!((at(most / 2.0)..=at(most)).contains(&latest), "{failures}: {latest:?}");
    }
}

#[test]
fn a_request_does_not_cut_a_back_off_short() {
    let mut schedule = watching(INTERVAL, &["a"]);
    let _ = asked(&mut schedule, at(40.0));
    let patience = Some(Duration::from_secs(20));
    schedule.finished(&account("a"), Ended::Limited(patience), None, at(40.0));
    schedule.request(&account("a"), Why::Hint, at(41.0));
    assert!(next_at(&mut schedule, at(41.0)) >= at(60.0));
}

#[test]
fn what_somebody_waits_for_and_did_not_get_stays_urgent() {
    let mut schedule = watching(INTERVAL, &["a", "b"]);
    schedule.request(&account("b"), Why::Hint, at(0.0));
    let _ = asked(&mut schedule, at(0.0));
    schedule.finished(&account("b"), Ended::Failed, None, at(0.0));
    assert_eq!(asked(&mut schedule, at(40.0)), Some(account("b")));
}

#[test]
fn back_offs_end_when_upstream_is_back() {
    let names: Vec<String> = (0..20).map(|n| format!("a{n}")).collect();
    let mut schedule = watching(INTERVAL, &names.iter().map(String::as_str).collect::<Vec<_>>());
    for _ in 0..20 {
        while let Some(next) = asked(&mut schedule, at(1000.0)) {
            schedule.finished(&next, Ended::Failed, None, at(1000.0));
        }
    }
    schedule.heal(at(1000.0));
    let mut healed = HashSet::new();
    while let Some(next) = asked(&mut schedule, at(1002.0)) {
        schedule.finished(&next, Ended::Answered, None, at(1002.0));
        healed.insert(next);
    }
    assert_eq!(healed.len(), 20);
}

#[test]
fn upstreams_own_retry_after_survives_its_return() {
    let mut schedule = watching(INTERVAL, &["a"]);
    let _ = asked(&mut schedule, at(40.0));
    schedule.finished(&account("a"), Ended::Limited(Some(INTERVAL * 4)), None, at(40.0));
    schedule.heal(at(41.0));
    assert!(next_at(&mut schedule, at(41.0)) >= at(160.0));
}

#[test]
fn a_removed_account_is_gone_from_every_queue() {
    let mut schedule = watching(INTERVAL, &["timed", "due", "parked"]);
    schedule.request(&account("parked"), Why::Hint, at(0.0));
    let _ = asked(&mut schedule, at(0.0));
    schedule.park(&account("parked"), at(0.0));
    schedule.request(&account("due"), Why::Hint, at(0.0));
    schedule.promote(at(0.0));
    for name in ["timed", "due", "parked"] {
        schedule.remove(&account(name), at(0.0));
    }
    assert_eq!(schedule.due(at(1e6)), Next::Idle);
    assert!(!schedule.unpark(&account("parked")));
    assert_eq!((schedule.watched(), schedule.queued(), schedule.running), (0, 0, 0));
}

#[test]
fn an_account_removed_while_asked_about_is_gone_at_the_end() {
    let mut schedule = watching(INTERVAL, &["a"]);
    let _ = asked(&mut schedule, at(40.0));
    schedule.remove(&account("a"), at(40.0));
    assert!(!schedule.request(&account("a"), Why::Hint, at(40.0)));
    assert!(!schedule.finished(&account("a"), Ended::Answered, None, at(41.0)));
    assert_eq!(schedule.watched(), 0);
}

#[test]
fn an_account_that_returns_while_asked_about_is_still_asked_once_at_a_time() {
    let mut schedule = watching(INTERVAL, &["a"]);
    let _ = asked(&mut schedule, at(40.0));
    schedule.remove(&account("a"), at(40.0));
    schedule.watch(&account("a"), at(40.0));
    assert!(schedule.request(&account("a"), Why::Hint, at(40.0)));
    assert_eq!(asked(&mut schedule, at(40.0)), None);
    assert!(schedule.finished(&account("a"), Ended::Answered, None, at(41.0)));
    assert_eq!(asked(&mut schedule, at(41.0)), Some(account("a")));
}

#[test]
fn a_parked_account_keeps_its_place_and_takes_none_in_flight() {
    let mut schedule = watching(Duration::ZERO, &["a", "b"]);
    schedule.request(&account("b"), Why::Hint, at(0.0));
    let _ = asked(&mut schedule, at(0.0));
    schedule.park(&account("b"), at(0.0));
    assert_eq!(schedule.running, 0);
    schedule.request(&account("a"), Why::Hint, at(1.0));
    assert!(schedule.unpark(&account("b")));
    assert_eq!(asked(&mut schedule, at(1.0)), Some(account("b")));
}

#[test]
fn an_account_that_waits_for_its_turn_has_not_had_its_baseline() {
    let mut schedule = watching(Duration::ZERO, &["a"]);
    schedule.request(&account("a"), Why::Baseline, at(0.0));
    for _ in 0..100 {
        assert_eq!(asked(&mut schedule, at(0.0)), Some(account("a")));
        schedule.park(&account("a"), at(0.0));
        schedule.unpark(&account("a"));
    }
    let _ = asked(&mut schedule, at(0.0));
    schedule.finished(&account("a"), Ended::Answered, None, at(0.0));
    schedule.request(&account("a"), Why::Baseline, at(1.0));
    assert_eq!(asked(&mut schedule, at(1.0)), Some(account("a")));
}

#[test]
fn no_more_than_the_limit_are_in_flight() {
    let names: Vec<String> = (0..100).map(|n| format!("a{n}")).collect();
    let mut schedule = watching(INTERVAL, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut handed_out = 0;
    while asked(&mut schedule, at(40.0)).is_some() {
        handed_out += 1;
    }
    assert_eq!(handed_out, MAX_IN_FLIGHT);
    assert_eq!(schedule.queued(), 100 - MAX_IN_FLIGHT);
}

#[test]
fn fewer_are_in_flight_while_upstream_has_no_time_and_urgent_ones_go_first() {
    let names: Vec<String> = (0..100).map(|n| format!("a{n}")).collect();
    let mut schedule = watching(INTERVAL, &names.iter().map(String::as_str).collect::<Vec<_>>());
    for second in 1..20 {
        schedule.borne(Borne::Strained, at(f64::from(second)), at(f64::from(second)));
    }
    schedule.request(&account("a7"), Why::Hint, at(40.0));
    assert_eq!(asked(&mut schedule, at(40.0)), Some(account("a7")));
    assert_eq!(schedule.due(at(40.0)), Next::Idle, "one at a time");
    let fast = Borne::Replied(Duration::from_millis(20));
    (0..100).for_each(|_| schedule.borne(fast, at(41.0), at(41.0)));
    schedule.finished(&account("a7"), Ended::Answered, None, at(41.0));
    let together = std::iter::from_fn(|| asked(&mut schedule, at(41.0))).count();
    assert!((10..MAX_IN_FLIGHT).contains(&together), "{together}");
}

#[test]
fn the_rate_decides_when_the_next_account_goes() {
    let mut schedule = Schedule::new(Intervals::even(Duration::ZERO), 1, 1);
    for name in ["a", "b"] {
        schedule.watch(&account(name), at(0.0));
        schedule.request(&account(name), Why::Hint, at(5.0));
    }
    assert!(asked(&mut schedule, at(5.0)).is_some());
    schedule.spend(at(5.0));
    assert_eq!(next_at(&mut schedule, at(5.0)), at(6.0));
}

#[test]
fn an_account_takes_little_memory() {
    assert!(size_of::<Entry>() <= 192, "{}", size_of::<Entry>());
}

#[derive(Debug, Clone)]
enum Step {
    Watch(u8),
    Request(u8),
    Remove(u8),
    Wait(u16),
    Finish(u8, bool),
    Park(u8),
    Unpark(u8),
    Heal,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..6).prop_map(Step::Watch),
        (0_u8..6).prop_map(Step::Request),
        (0_u8..6).prop_map(Step::Remove),
        (0_u16..20_000).prop_map(Step::Wait),
        (any::<u8>(), any::<bool>()).prop_map(|(which, well)| Step::Finish(which, well)),
        any::<u8>().prop_map(Step::Park),
        (0_u8..6).prop_map(Step::Unpark),
        Just(Step::Heal),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_every_watched_account_is_asked_and_never_twice_at_a_time(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let name = |n: u8| account(&format!("a{n}"));
        let mut schedule = Schedule::new(Intervals::even(INTERVAL), 1_000_000, 7);
        let mut now = at(0.0);
        let mut watched = HashSet::new();
        let mut flying: Vec<AccountKey> = Vec::new();
        let mut parked = HashSet::new();
        for step in steps {
            match step {
                Step::Watch(n) => {
                    schedule.watch(&name(n), now);
                    watched.insert(name(n));
                }
                Step::Request(n) => {
                    prop_assert_eq!(schedule.request(&name(n), Why::Hint, now), watched.contains(&name(n)));
                }
                Step::Remove(n) => {
                    schedule.remove(&name(n), now);
                    watched.remove(&name(n));
                    parked.remove(&name(n));
                }
                Step::Wait(by) => now = now.after(Duration::from_millis(by.into())),
                Step::Finish(which, well) if !flying.is_empty() => {
                    let account = flying.swap_remove(usize::from(which) % flying.len());
                    let ended = if well { Ended::Answered } else { Ended::Failed };
                    let still = schedule.finished(&account, ended, None, now);
                    prop_assert_eq!(still, watched.contains(&account));
                }
                Step::Park(which) if !flying.is_empty() => {
                    let account = flying.swap_remove(usize::from(which) % flying.len());
                    schedule.park(&account, now);
                    if watched.contains(&account) {
                        parked.insert(account);
                    }
                }
                Step::Unpark(n) => {
                    prop_assert_eq!(schedule.unpark(&name(n)), parked.remove(&name(n)));
                }
                Step::Heal => schedule.heal(now),
                Step::Finish(..) | Step::Park(_) => {}
            }
            while let Next::Ask(account) = schedule.due(now) {
                prop_assert!(watched.contains(&account));
                prop_assert!(!parked.contains(&account));
                prop_assert!(!flying.contains(&account), "two probes of one account");
                flying.push(account);
            }
            prop_assert_eq!(schedule.running, flying.len());
        }
        for account in parked.drain() {
            schedule.unpark(&account);
        }
        for account in flying.drain(..) {
            schedule.finished(&account, Ended::Answered, None, now);
        }
        now = now.after(Duration::from_secs(60));
        let mut asked = HashSet::new();
        while let Next::Ask(account) = schedule.due(now) {
            asked.insert(account);
        }
        prop_assert_eq!(asked, watched);
    }
}
