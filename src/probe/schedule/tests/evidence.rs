//! What a probe's find, a notification and a passing response do to the intervals.

use super::*;
use crate::jmap::id::DataType;
use crate::probe::schedule::evidence::{Change, ENOUGH, GRACE, Passed, Source};

const ADAPTIVE: Intervals = Intervals {
    usual: Duration::from_secs(30),
    min: Duration::from_secs(5),
    told: Duration::from_secs(300),
};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A schedule of these accounts, watched since 0 s.
fn adaptive(names: &[&str]) -> Schedule {
    let mut schedule = Schedule::new(ADAPTIVE, 1_000_000, 3);
    for name in names {
        schedule.watch(&account(name), at(0.0));
    }
    schedule
}

/// Answers the probe of the account that is due now.
fn answer(schedule: &mut Schedule, name: &str, is_news: bool, now: Moment) -> Option<Change> {
    assert_eq!(asked(schedule, now), Some(account(name)));
    schedule.asking(&account(name), stated(&["Email", "Mailbox"]));
    let change = if is_news { schedule.found(&account(name), now) } else { None };
    schedule.finished(&account(name), Ended::Answered, None, now);
    change
}

/// Answers the next probe of the only account, without news; gives when it came.
fn next_answer(schedule: &mut Schedule, now: Moment) -> Moment {
    let mut next = now;
    loop {
        match schedule.due(next) {
            Next::At(moment) => next = moment,
            Next::Ask(asked) => {
                schedule.finished(&asked, Ended::Answered, None, next);
                return next;
            }
            Next::Idle => panic!("never"),
        }
    }
}

/// A change of the account of which a notification tells.
fn tell(schedule: &mut Schedule, name: &str, now: Moment) {
    schedule.heard(&account(name), now, false, now);
    schedule.request(&account(name), Why::Hint, now);
    let change = answer(schedule, name, true, now).unwrap();
    assert_eq!(change.source, Source::Notice);
}

/// A find in the account of which nobody tells, and its judgement.
fn surprise(schedule: &mut Schedule, name: &str, now: Moment) -> Moment {
    let _ = answer(schedule, name, true, now);
    let judged = now.after(GRACE);
    schedule.judge(judged);
    judged
}

fn names(count: u32) -> Vec<String> {
    (0..count).map(|n| format!("a{n}")).collect()
}

fn poll(sent: f64) -> Passed {
    Passed {
        sent: at(sent),
        received: at(sent).after(MILLISECOND),
        is_fact: true,
        has_written: false,
        is_news: false,
    }
}

fn stated(names: &[&str]) -> Vec<DataType> {
    names.iter().filter_map(|name| DataType::parse(name)).collect()
}

fn pass(schedule: &mut Schedule, types: &[&str], passed: &Passed) -> Option<Change> {
    schedule.passed(&account("a"), &stated(types), passed, passed.received)
}

#[test]
fn a_find_that_nobody_told_is_followed_by_quick_probes_that_slow_down() {
    let mut schedule = adaptive(&["a"]);
    let mut now = at(40.0);
    let _ = answer(&mut schedule, "a", true, now);
    for interval in [5.0, 7.5, 11.25, 16.875, 25.312, 30.0, 30.0] {
        let next = next_answer(&mut schedule, now);
        let waited = next.since(now).as_secs_f64() / interval;
        assert!((0.79..=1.21).contains(&waited), "{interval}: {waited}");
        now = next;
    }
    assert_eq!(schedule.hurried(), 0);
}

#[test]
fn a_find_says_how_late_it_may_be() {
    let mut schedule = adaptive(&["a"]);
    assert_eq!(answer(&mut schedule, "a", true, at(40.0)), None, "nothing is known of before");
    let change = answer(&mut schedule, "a", true, at(70.0)).unwrap();
    assert_eq!(change, Change { source: Source::Probe, within: Duration::from_secs(30) });
}

#[test]
fn changes_told_by_others_make_the_interval_long() {
    let mut schedule = adaptive(&["a"]);
    for name in names(ENOUGH - 1) {
        schedule.watch(&account(&name), at(0.0));
        tell(&mut schedule, &name, at(0.0));
        schedule.remove(&account(&name), at(0.0));
    }
    assert!(!schedule.is_confident());
    tell(&mut schedule, "a", at(0.0));
    let next = next_at(&mut schedule, at(0.0));
    assert!((at(240.0)..=at(360.0)).contains(&next), "{next:?}");
}

#[test]
fn notifications_of_which_upstream_knows_nothing_are_no_evidence() {
    let mut schedule = adaptive(&["a"]);
    for _ in 0..2 * ENOUGH {
        schedule.heard(&account("a"), at(1.0), false, at(1.0));
        schedule.request(&account("a"), Why::Hint, at(1.0));
        let _ = answer(&mut schedule, "a", false, at(1.0));
    }
    assert!(!schedule.is_confident());
}

#[test]
fn exact_notifications_count_without_a_probe() {
    let names = names(ENOUGH);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut schedule = adaptive(&names);
    names.iter().for_each(|name| schedule.heard(&account(name), at(1.0), true, at(1.0)));
    assert!(schedule.is_confident());
}

#[test]
fn a_burst_of_one_account_is_no_evidence_about_the_others() {
    let mut schedule = adaptive(&["a", "b"]);
    for _ in 0..ENOUGH {
        schedule.heard(&account("a"), at(0.0), true, at(0.0));
        tell(&mut schedule, "a", at(0.0));
    }
    assert_eq!(schedule.told, 1);
    schedule.heard(&account("a"), at(29.0), true, at(29.0));
    assert_eq!(schedule.told, 1, "within the usual interval");
    schedule.heard(&account("a"), at(30.0), true, at(30.0));
    assert_eq!(schedule.told, 2);
}

#[test]
fn each_find_that_nobody_told_makes_more_changes_told_necessary_for_some_hours() {
    let mut schedule = adaptive(&["a"]);
    let mut now = at(40.0);
    for _ in 0..2 {
        now = surprise(&mut schedule, "a", now).after(ADAPTIVE.usual);
    }
    schedule.told = 16 * ENOUGH - 1;
    assert!(!schedule.is_confident());
    schedule.told = 16 * ENOUGH;
    assert!(schedule.is_confident());
    schedule.told = 4 * ENOUGH;
    let hour = Duration::from_secs(3600);
    schedule.judge(now.after(hour));
    assert!(!schedule.is_confident());
    schedule.judge(now.after(2 * hour));
    assert!(schedule.is_confident());
    schedule.told = ENOUGH - 1;
    schedule.judge(now.after(100 * hour));
    assert!(!schedule.is_confident(), "never less than at first");
}

#[test]
fn an_account_of_which_nobody_told_keeps_the_usual_interval_while_it_is_watched() {
    let mut schedule = adaptive(&["a"]);
    let mut now = surprise(&mut schedule, "a", at(40.0));
    schedule.told = u32::MAX;
    assert!(schedule.is_confident());
    for _ in 0..20 {
        let next = next_answer(&mut schedule, now);
        assert!(next <= now.after(ADAPTIVE.usual.mul_f64(1.2)), "{next:?}");
        now = next;
    }
    schedule.remove(&account("a"), now);
    schedule.watch(&account("a"), now);
    now = next_answer(&mut schedule, now);
    assert!(next_answer(&mut schedule, now) >= now.after(ADAPTIVE.told.mul_f64(0.8)));
}

#[test]
fn a_change_is_timed_from_the_first_notification_that_waits_for_an_answer() {
    let mut schedule = adaptive(&["a"]);
    schedule.heard(&account("a"), at(1.0), true, at(1.0));
    for moment in [at(5.0), at(5.1)] {
        schedule.heard(&account("a"), moment, false, moment);
        schedule.request(&account("a"), Why::Hint, moment);
    }
    let change = answer(&mut schedule, "a", true, at(5.5)).unwrap();
    assert_eq!(change.within, Duration::from_millis(500));
}

#[test]
fn one_find_that_nobody_told_brings_all_accounts_back_each_at_a_moment_of_its_own() {
    let names: Vec<String> = (0..100).map(|n| format!("a{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut schedule = adaptive(&names);
    schedule.told = ENOUGH;
    while let Some(next) = asked(&mut schedule, at(40.0)) {
        schedule.finished(&next, Ended::Answered, None, at(40.0));
    }
    let mut now = next_at(&mut schedule, at(40.0));
    assert!(now > at(200.0), "they are told of: {now:?}");
    let Some(found) = asked(&mut schedule, now) else { panic!("none is due") };
    let _ = schedule.found(&found, now);
    schedule.finished(&found, Ended::Answered, None, now);
    assert!(schedule.is_confident(), "not judged yet");
    now = now.after(GRACE);
    let mut flying = Vec::from_iter(asked(&mut schedule, now));
    assert!(!schedule.is_confident());
    assert_eq!(schedule.tally().unannounced, 1);
    flying.extend(std::iter::from_fn(|| asked(&mut schedule, now)));
    let moments: Vec<Moment> = schedule.timed.iter().map(|(moment, _)| *moment).collect();
    assert_eq!(moments.len() + flying.len(), names.len());
    assert!(moments.iter().all(|moment| *moment <= now.after(ADAPTIVE.usual)));
    let early = moments.iter().filter(|moment| **moment <= now.after(ADAPTIVE.usual / 2));
    assert!((25..=75).contains(&early.count()));
}

#[test]
fn a_find_that_a_notification_tells_soon_after_was_told() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", true, at(40.0));
    assert_eq!(schedule.hurried(), 1);
    schedule.heard(&account("a"), at(49.0), false, at(49.0));
    assert_eq!(schedule.hurried(), 0);
    let next = next_at(&mut schedule, at(44.0));
    assert!((at(64.0)..=at(76.0)).contains(&next), "{next:?}");
    let tally = schedule.tally();
    assert_eq!((tally.told, tally.unannounced), (1, 0));
}

#[test]
fn a_find_that_a_notification_tells_too_late_was_not_told() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", true, at(40.0));
    let _ = schedule.due(at(50.0));
    schedule.heard(&account("a"), at(50.0), false, at(50.0));
    let tally = schedule.tally();
    assert_eq!((tally.told, tally.unannounced), (0, 1));
}

#[test]
fn a_find_is_judged_in_time_though_nothing_else_is_due() {
    let mut schedule = watching(Duration::ZERO, &["a"]);
    schedule.request(&account("a"), Why::Hint, at(0.0));
    let _ = asked(&mut schedule, at(0.0));
    // Left-out types are asked for later, for no other reason than that.
    schedule.finished(&account("a"), Ended::Answered, Some(at(1.0)), at(0.0));
    let _ = answer(&mut schedule, "a", true, at(1.0));
    assert_eq!(next_at(&mut schedule, at(1.0)), at(1.0).after(GRACE));
}

#[test]
fn a_gap_ends_the_long_interval_at_once() {
    let mut schedule = adaptive(&["a"]);
    schedule.told = ENOUGH;
    tell(&mut schedule, "a", at(1.0));
    schedule.gap(at(2.0));
    assert!(next_at(&mut schedule, at(2.0)) <= at(32.0));
    assert_eq!(schedule.told, 0, "the count starts from nothing");
}

#[test]
fn an_account_asked_for_patience_is_left_alone_though_the_interval_is_short_again() {
    let mut schedule = adaptive(&["a"]);
    schedule.told = ENOUGH;
    tell(&mut schedule, "a", at(1.0));
    assert_eq!(asked(&mut schedule, at(400.0)), Some(account("a")));
    let patience = Ended::Limited(Some(Duration::from_secs(200)));
    schedule.finished(&account("a"), patience, None, at(400.0));
    schedule.gap(at(401.0));
    assert!(next_at(&mut schedule, at(401.0)) >= at(600.0));
}

#[test]
fn what_clients_do_through_us_is_no_evidence_that_others_tell() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", false, at(40.0));
    for _ in 0..2 * ENOUGH {
        let write = Passed { has_written: true, is_news: true, ..poll(41.0) };
        let change = pass(&mut schedule, &["Email"], &write).unwrap();
        assert_eq!(change, Change { source: Source::Response, within: MILLISECOND });
        schedule.request(&account("a"), Why::Hint, at(41.0));
        let change = answer(&mut schedule, "a", true, at(41.0)).unwrap();
        assert_eq!(change.source, Source::Response);
    }
    assert!(!schedule.is_confident());
}

#[test]
fn a_find_of_what_a_client_was_just_changing_is_no_evidence_against() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", true, at(40.0));
    let write = Passed { has_written: true, received: at(41.0), ..poll(39.9) };
    let _ = pass(&mut schedule, &["Email"], &write);
    let _ = schedule.due(at(50.0));
    assert_eq!((schedule.tally().unannounced, schedule.hurried()), (0, 0));
}

#[test]
fn what_a_client_does_because_of_a_find_does_not_explain_it() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", true, at(40.0));
    let write = Passed { has_written: true, ..poll(40.1) };
    let _ = pass(&mut schedule, &["Email"], &write);
    let _ = schedule.due(at(50.0));
    assert_eq!(schedule.tally().unannounced, 1);
}

#[test]
fn a_client_that_asks_for_the_same_spares_the_probe() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", false, at(40.0));
    for second in (45..400).step_by(20).map(f64::from) {
        let _ = pass(&mut schedule, &["Mailbox", "Thread", "Email"], &poll(second));
        assert_eq!(asked(&mut schedule, at(second + 19.0)), None);
    }
    assert!(schedule.tally().spared > 10);
    let next = next_at(&mut schedule, at(400.0));
    assert!((at(409.0)..=at(421.0)).contains(&next), "an interval after the last: {next:?}");
}

#[test]
fn a_poll_that_shows_something_new_says_how_late_it_may_be() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", false, at(40.0));
    let _ = pass(&mut schedule, &["Email", "Mailbox"], &poll(50.0));
    let news = Passed { is_news: true, ..poll(57.0) };
    let change = pass(&mut schedule, &["Email", "Mailbox"], &news).unwrap();
    let within = Duration::from_secs(7) + MILLISECOND;
    assert_eq!(change, Change { source: Source::Response, within });
}

#[test]
fn a_response_that_tells_a_part_spares_nothing() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", false, at(40.0));
    let before = next_at(&mut schedule, at(40.0));
    let _ = pass(&mut schedule, &["Email"], &poll(60.0));
    assert_eq!(next_at(&mut schedule, at(60.0)), before);
}

#[test]
fn a_response_to_somebody_not_known_to_see_the_account_spares_nothing() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", false, at(40.0));
    let before = next_at(&mut schedule, at(40.0));
    let _ = pass(&mut schedule, &["Email", "Mailbox"], &Passed { is_fact: false, ..poll(60.0) });
    assert_eq!(next_at(&mut schedule, at(60.0)), before);
}

#[test]
fn what_somebody_waits_for_is_not_put_off() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", false, at(40.0));
    schedule.request(&account("a"), Why::Hint, at(41.0));
    let _ = pass(&mut schedule, &["Email", "Mailbox"], &poll(41.0));
    assert_eq!(asked(&mut schedule, at(41.0)), Some(account("a")));
}

#[test]
fn types_left_out_are_asked_for_though_the_others_are_told() {
    let mut schedule = adaptive(&["a"]);
    assert!(asked(&mut schedule, at(40.0)).is_some());
    schedule.asking(&account("a"), stated(&["Email"]));
    schedule.finished(&account("a"), Ended::Answered, Some(at(45.0)), at(40.0));
    let _ = pass(&mut schedule, &["Email"], &poll(41.0));
    assert_eq!(next_at(&mut schedule, at(41.0)), at(45.0));
}

#[test]
fn a_find_is_judged_when_its_account_is_watched_no_longer() {
    let mut schedule = adaptive(&["a"]);
    let _ = answer(&mut schedule, "a", true, at(40.0));
    schedule.told = ENOUGH;
    schedule.remove(&account("a"), at(41.0));
    assert_eq!((schedule.tally().unannounced, schedule.told), (1, 0));
    assert_eq!(schedule.due(at(60.0)), Next::Idle);
    assert_eq!((schedule.tally().unannounced, schedule.hurried()), (0, 0));
}

#[test]
fn without_an_interval_nothing_is_asked_whatever_was_found() {
    let mut schedule = watching(Duration::ZERO, &["a"]);
    schedule.request(&account("a"), Why::Hint, at(0.0));
    let _ = answer(&mut schedule, "a", true, at(0.0));
    let _ = pass(&mut schedule, &["Email", "Mailbox"], &poll(1.0));
    schedule.gap(at(2.0));
    assert_eq!(schedule.due(at(1e6)), Next::Idle);
}
