//! One test per rule of architecture D7; times are plain numbers.

mod simulation;

use super::*;
use crate::state::fact::{Delivery, Observer, ProbeAnswer};
use crate::state::types::{EMAIL, MAILBOX, THREAD};

const ALICE: PrincipalId = PrincipalId(1);
const BOB: PrincipalId = PrincipalId(2);

fn key() -> AccountKey {
    AccountKey::shared(AccountId::parse("A1").unwrap())
}

fn named(name: &str) -> DataType {
    DataType::parse(name).unwrap()
}

fn state(text: &str) -> State {
    State::parse(text).unwrap()
}

fn at(who: PrincipalId, sent: u64, received: u64) -> Exchange {
    Exchange { who: Observer::Known(who), sent: Moment(sent), received: Moment(received) }
}

fn get(name: &str, text: &str) -> Fact {
    Fact { data_type: named(name), state: state(text), old_state: None, created: false }
}

fn set(name: &str, old: &str, new: &str) -> Fact {
    Fact { old_state: Some(state(old)), ..get(name, new) }
}

/// A tracker with one account, driven in short words.
struct Rig(Tracker);

impl Rig {
    fn new() -> Self {
        Self(Tracker::new(100))
    }

    /// Watched from moment 0; the baseline, probed at 10 and answered at 11, has `states`.
    fn watched(filter: &TypeFilter, states: &[(&str, &str)]) -> Self {
        let mut rig = Self::new();
        assert!(rig.0.watch(&key(), filter, Moment(0)).probe);
        assert!(rig.probe(10, states).settled);
        rig
    }

    fn observe(&mut self, sent: u64, received: u64, facts: &[Fact]) -> Outcome {
        self.0.observe(&key(), &at(ALICE, sent, received), facts)
    }

    fn hint(&mut self, types: &[&str], now: u64) -> Outcome {
        let types: Vec<_> = types.iter().map(|name| named(name)).collect();
        self.0.hint(&key(), Some(&types), false, Moment(now))
    }

    fn probe(&mut self, sent: u64, states: &[(&str, &str)]) -> Outcome {
        self.0.probe_sent(&key());
        self.answer(ALICE, sent, states)
    }

    fn answer(&mut self, who: PrincipalId, sent: u64, states: &[(&str, &str)]) -> Outcome {
        let answers: Vec<_> =
            states.iter().map(|(n, s)| (named(n), ProbeAnswer::State(state(s)))).collect();
        self.answer_with(&at(who, sent, sent + 1), &answers, None)
    }

    fn answer_with(
        &mut self,
        at: &Exchange,
        answers: &[(DataType, ProbeAnswer)],
        delivery: Option<Delivery>,
    ) -> Outcome {
        let probed = Probed { answers, delivery, complete: true };
        self.0.probe_answered(&key(), at, &probed)
    }

    fn state(&self, name: &str) -> Option<&str> {
        self.known(name).map(|known| known.state.as_str())
    }

    fn known(&self, name: &str) -> Option<Known<'_>> {
        let wanted = named(name);
        self.0.states(&key()).find(|known| *known.data_type == wanted)
    }

    fn is_fresh(&self, name: &str) -> bool {
        self.known(name).is_some_and(|known| known.fresh)
    }

    fn wanted(&self, offered: &[&str]) -> Vec<String> {
        let offered: Vec<_> = offered.iter().map(|name| named(name)).collect();
        self.0.wanted_types(&key(), &offered).iter().map(ToString::to_string).collect()
    }
}

fn only_types(names: &[&str]) -> TypeFilter {
    TypeFilter::only(names.iter().map(|name| named(name)))
}

fn quota() -> TypeFilter {
    only_types(&["Quota"])
}

fn quota_bit() -> u64 {
    only(TypeTable::new().bit(&named("Quota")).unwrap())
}

// --- exact states -------------------------------------------------------------------------------

#[test]
fn a_new_state_in_order_is_published_at_once() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let outcome = rig.observe(20, 21, &[get("Quota", "2")]);
    assert_eq!((outcome.published, outcome.probe), (quota_bit(), false));
    assert_eq!(rig.state("Quota"), Some("2"));
    assert_eq!(rig.known("Quota").unwrap().changed_at, rig.0.seq());
}

#[test]
fn the_known_state_is_nothing_new() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    assert_eq!(rig.observe(20, 21, &[get("Quota", "1")]), Outcome::default());
    assert_eq!(rig.0.seq(), 0);
}

#[test]
fn a_request_sent_before_the_last_state_arrived_is_ambiguous_and_probed() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let _ = rig.observe(20, 30, &[get("Quota", "2")]);
    let outcome = rig.observe(25, 31, &[get("Quota", "3")]);
    assert_eq!((outcome.published, outcome.probe), (0, true));
    assert_eq!(rig.state("Quota"), Some("2"));
    assert_eq!(rig.probe(32, &[("Quota", "3")]).published, quota_bit());
}

#[test]
fn a_state_that_confirms_the_known_one_orders_later_arrivals() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let _ = rig.observe(20, 30, &[get("Quota", "1")]);
    assert!(rig.observe(15, 35, &[get("Quota", "2")]).probe, "2 may be from before 20");
}

#[test]
fn an_unambiguous_return_to_an_earlier_state_is_published() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let _ = rig.observe(20, 21, &[get("Quota", "2")]);
    assert_eq!(rig.observe(22, 23, &[get("Quota", "1")]).published, quota_bit());
}

#[test]
fn of_several_states_in_one_response_the_last_counts() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let facts = [get("Quota", "1"), set("Quota", "1", "2"), get("Quota", "2")];
    let outcome = rig.observe(20, 21, &facts);
    assert_eq!((outcome.published, outcome.probe), (quota_bit(), false));
    assert_eq!(rig.state("Quota"), Some("2"));
}

#[test]
fn types_nobody_wants_are_published_too_but_never_probed() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let _ = rig.observe(20, 30, &[get("Identity", "1")]);
    assert_ne!(rig.observe(31, 32, &[get("Identity", "2")]).published, 0);
    assert!(!rig.observe(20, 33, &[get("Identity", "3")]).probe);
    assert!(!rig.is_fresh("Identity"));
}

// --- first sight --------------------------------------------------------------------------------

#[test]
fn a_first_sight_is_the_baseline_and_not_published() {
    let mut rig = Rig::new();
    let _ = rig.0.watch(&key(), &quota(), Moment(0));
    assert_eq!(rig.probe(10, &[("Quota", "1")]).published, 0);
    assert_eq!(rig.known("Quota").unwrap().changed_at, 0);
}

#[test]
fn a_first_sight_with_another_old_state_is_published() {
    let mut rig = Rig::new();
    let _ = rig.0.watch(&key(), &quota(), Moment(0));
    assert_eq!(rig.observe(1, 2, &[set("Quota", "1", "2")]).published, quota_bit());
    assert_eq!(Rig::new().observe(1, 2, &[set("Quota", "2", "2")]).published, 0);
}

#[test]
fn a_first_sight_caused_by_a_hint_is_published() {
    let mut rig = Rig::new();
    let _ = rig.0.watch(&key(), &quota(), Moment(0));
    let _ = rig.hint(&["Quota"], 5);
    assert_eq!(rig.probe(10, &[("Quota", "1")]).published, quota_bit());
}

#[test]
fn a_hint_for_all_types_makes_every_first_sight_a_change() {
    let mut rig = Rig::new();
    let _ = rig.0.watch(&key(), &TypeFilter::All, Moment(0));
    let _ = rig.0.unknown(&key(), Moment(5));
    let outcome = rig.probe(10, &[("Quota", "1"), ("Identity", "1")]);
    assert_eq!(outcome.published.count_ones(), 2);
    let later = rig.observe(20, 21, &[get("SieveScript", "1")]);
    assert_eq!(later.published, 0, "the hint was settled by the probe");
}

// --- hints --------------------------------------------------------------------------------------

#[test]
fn a_hint_is_probed_and_published_only_if_something_changed() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    assert!(rig.hint(&["Quota"], 20).probe);
    assert_eq!(rig.probe(21, &[("Quota", "1")]), Outcome::default());
    assert!(rig.hint(&["Quota"], 30).probe);
    assert_eq!(rig.probe(31, &[("Quota", "2")]).published, quota_bit());
}

#[test]
fn a_hint_while_a_probe_is_in_flight_makes_exactly_one_follow_up() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    rig.0.probe_sent(&key());
    for now in 21..25 {
        assert!(!rig.hint(&["Quota"], now).probe);
    }
    assert!(rig.answer(ALICE, 20, &[("Quota", "1")]).probe);
    assert!(!rig.probe(40, &[("Quota", "1")]).probe);
}

#[test]
fn the_follow_up_comes_even_when_the_clock_stood_still() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    rig.0.probe_sent(&key());
    let _ = rig.hint(&["Quota"], 20);
    assert!(rig.answer(ALICE, 20, &[("Quota", "1")]).probe);
    assert!(!rig.probe(20, &[("Quota", "1")]).probe);
}

#[test]
fn an_observation_sent_after_the_hint_satisfies_it() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    rig.0.probe_sent(&key());
    let _ = rig.hint(&["Quota"], 20);
    let _ = rig.observe(25, 26, &[get("Quota", "2")]);
    assert!(!rig.answer(ALICE, 30, &[("Quota", "2")]).probe);
}

#[test]
fn an_observation_sent_before_the_hint_does_not_satisfy_it() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    rig.0.probe_sent(&key());
    let _ = rig.hint(&["Quota"], 20);
    let _ = rig.observe(15, 26, &[get("Quota", "2")]);
    assert!(rig.answer(ALICE, 30, &[("Quota", "2")]).probe);
}

#[test]
fn a_hint_for_an_unwatched_account_leaves_a_mark() {
    let mut rig = Rig::new();
    assert!(!rig.hint(&["Quota"], 1).probe);
    let _ = rig.0.watch(&key(), &quota(), Moment(5));
    assert_eq!(rig.probe(6, &[("Quota", "1")]).published, quota_bit());
}

#[test]
fn a_hint_for_a_type_nobody_wants_or_knows_probes_nothing() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    assert!(!rig.hint(&["Identity"], 20).probe);
    assert!(!rig.hint(&["NeverHeardOf"], 20).probe);
}

#[test]
fn a_state_seen_by_an_unproven_caller_is_a_hint() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let unproven = Exchange { who: Observer::Unproven, ..at(ALICE, 20, 21) };
    let same = rig.0.observe(&key(), &unproven, &[get("Quota", "1")]);
    let other = rig.0.observe(&key(), &unproven, &[get("Quota", "2")]);
    assert_eq!((same.probe, other.probe, other.published), (false, true, 0));
}

#[test]
fn what_an_unproven_caller_reads_is_no_change_where_nothing_is_known() {
    let mut rig = Rig::new();
    let unproven = Exchange { who: Observer::Unproven, ..at(ALICE, 1, 2) };
    let _ = rig.0.observe(&key(), &unproven, &[get("Quota", "1")]);
    let _ = rig.0.watch(&key(), &quota(), Moment(5));
    assert_eq!(rig.probe(6, &[("Quota", "1")]).published, 0);
}

#[test]
fn a_claimed_state_is_probed_unless_it_is_the_known_one() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let mut claim = |text| {
        let claimed = [(named("Quota"), state(text))];
        rig.0.claim(&key(), &claimed, false, Moment(20))
    };
    assert_eq!(claim("1"), Outcome::default());
    assert_eq!((claim("2").published, claim("2").probe), (0, true));
}

/// Upstream goes from 1 to 2 and back to 1, and says so: what a probe or a client saw in between must
/// not stand.
#[test]
fn a_claimed_return_to_the_known_state_overtakes_what_is_under_way() {
    let claimed = [(named("Quota"), state("1"))];
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    rig.0.probe_sent(&key());
    assert_eq!(rig.0.claim(&key(), &claimed, false, Moment(22)), Outcome::default());
    let outcome = rig.answer(ALICE, 21, &[("Quota", "2")]);
    assert_eq!((outcome.published, outcome.probe), (0, true));
    assert_eq!(rig.probe(24, &[("Quota", "1")]).published, 0);

    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    assert_eq!(rig.0.claim(&key(), &claimed, false, Moment(22)), Outcome::default());
    let outcome = rig.observe(21, 23, &[get("Quota", "2")]);
    assert_eq!((outcome.published, outcome.probe), (0, true));
}

// --- probes -------------------------------------------------------------------------------------

#[test]
fn a_probed_return_to_an_earlier_state_is_published() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let _ = rig.observe(20, 21, &[get("Quota", "2")]);
    assert_eq!(rig.probe(30, &[("Quota", "1")]).published, quota_bit());
}

#[test]
fn an_answer_overtaken_by_an_observation_is_probed_again() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    rig.0.probe_sent(&key());
    let _ = rig.observe(21, 22, &[get("Quota", "2")]);
    let outcome = rig.answer(ALICE, 20, &[("Quota", "1")]);
    assert_eq!((outcome.published, outcome.probe), (0, true));
    assert!(!rig.probe(30, &[("Quota", "2")]).probe);
}

#[test]
fn a_failed_probe_is_left_to_the_prober_and_keeps_the_question_open() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let _ = rig.hint(&["Quota"], 20);
    rig.0.probe_sent(&key());
    let failed = [(named("Quota"), ProbeAnswer::Failed)];
    assert!(!rig.answer_with(&at(ALICE, 21, 22), &failed, None).probe);
    assert!(rig.hint(&["Quota"], 25).probe, "a new hint asks again");
}

#[test]
fn a_type_that_failed_at_the_baseline_is_published_when_it_is_seen() {
    let mut rig = Rig::new();
    let _ = rig.0.watch(&key(), &only_types(&["Quota", "Identity"]), Moment(0));
    rig.0.probe_sent(&key());
    let answers = [
        (named("Quota"), ProbeAnswer::State(state("1"))),
        (named("Identity"), ProbeAnswer::Failed),
    ];
    assert!(rig.answer_with(&at(ALICE, 10, 11), &answers, None).settled);
    assert_ne!(rig.probe(60, &[("Identity", "1")]).published, 0);
}

#[test]
fn a_known_type_that_fails_at_the_baseline_stands_with_its_last_state() {
    let mut rig = Rig::new();
    let _ = rig.observe(1, 2, &[get("Quota", "1"), get("Identity", "1")]);
    let _ = rig.0.watch(&key(), &TypeFilter::All, Moment(5));
    rig.0.probe_sent(&key());
    let answers = [
        (named("Identity"), ProbeAnswer::State(state("1"))),
        (named("Quota"), ProbeAnswer::Failed),
    ];
    assert!(rig.answer_with(&at(ALICE, 10, 11), &answers, None).settled);
    assert!(rig.is_fresh("Quota"), "else its absence from every token would repeat it for ever");
    assert_eq!(rig.probe(60, &[("Quota", "2")]).published, quota_bit());
}

#[test]
fn a_probe_that_failed_altogether_settles_nothing() {
    let mut rig = Rig::new();
    let _ = rig.0.watch(&key(), &quota(), Moment(0));
    rig.0.probe_sent(&key());
    let failed = [(named("Quota"), ProbeAnswer::Failed)];
    assert!(!rig.answer_with(&at(ALICE, 10, 11), &failed, None).settled);
    assert!(rig.probe(20, &[("Quota", "1")]).settled);
}

#[test]
fn a_bisected_probe_settles_with_its_last_part() {
    let mut rig = Rig::new();
    let _ = rig.0.watch(&key(), &TypeFilter::All, Moment(0));
    rig.0.probe_sent(&key());
    let good = [(named("Quota"), ProbeAnswer::State(state("1")))];
    let part = Probed { answers: &good, delivery: None, complete: false };
    assert!(!rig.0.probe_answered(&key(), &at(ALICE, 10, 11), &part).settled);
    let bad = [(named("Identity"), ProbeAnswer::Failed)];
    assert!(rig.answer_with(&at(ALICE, 12, 13), &bad, None).settled);
}

#[test]
fn a_bisected_probe_that_began_before_a_wider_watch_settles_nothing() {
    let mut rig = Rig::new();
    let _ = rig.0.watch(&key(), &quota(), Moment(0));
    rig.0.probe_sent(&key());
    let _ = rig.0.watch(&key(), &TypeFilter::All, Moment(11));
    let part = Probed { answers: &[], delivery: None, complete: false };
    let _ = rig.0.probe_answered(&key(), &at(ALICE, 10, 12), &part);
    let last = rig.answer(ALICE, 13, &[("Quota", "1")]);
    assert_eq!((last.settled, last.probe), (false, true), "not all types were asked for");
}

#[test]
fn an_unknown_method_drops_the_type_until_it_is_watched_anew() {
    let mut rig = Rig::watched(&only_types(&["Quota", "Identity"]), &[("Quota", "1")]);
    rig.0.probe_sent(&key());
    let unknown = [(named("Identity"), ProbeAnswer::UnknownMethod)];
    let _ = rig.answer_with(&at(ALICE, 20, 21), &unknown, None);
    assert_eq!(rig.wanted(&["Quota", "Identity"]), ["Quota"]);
    assert!(!rig.hint(&["Identity"], 30).probe);
    rig.0.unwatch(&key(), &only_types(&["Quota", "Identity"]));
    let _ = rig.0.watch(&key(), &TypeFilter::All, Moment(40));
    assert_eq!(rig.wanted(&["Quota", "Identity"]).len(), 2);
}

#[test]
fn a_probe_asks_email_first_and_never_email_delivery() {
    let mut rig = Rig::new();
    let _ = rig.0.watch(&key(), &TypeFilter::All, Moment(0));
    let offered = ["Mailbox", "EmailDelivery", "Email", "Memo"];
    assert_eq!(rig.wanted(&offered), ["Email", "Mailbox", "Memo"]);
}

#[test]
fn a_probe_asks_for_seen_types_but_not_for_names_from_a_query() {
    let mut rig = Rig::new();
    let _ = rig.0.watch(&key(), &only_types(&["Memo", "Nonsense", "Quota"]), Moment(0));
    let _ = rig.observe(1, 2, &[get("Memo", "1")]);
    assert_eq!(rig.wanted(&["Quota", "Email"]), ["Quota", "Memo"]);
}

#[test]
fn a_watcher_of_nothing_known_is_settled_without_a_probe() {
    let mut rig = Rig::new();
    let outcome = rig.0.watch(&key(), &only_types(&["Nonsense"]), Moment(0));
    assert_eq!((outcome.probe, outcome.settled), (false, true));
}

// --- watching and freshness ---------------------------------------------------------------------

#[test]
fn the_second_watcher_of_the_same_types_needs_no_baseline() {
    let mut rig = Rig::watched(&TypeFilter::All, &[("Quota", "1")]);
    assert!(!rig.0.watch(&key(), &quota(), Moment(20)).probe);
    assert!(rig.0.is_settled(&key()));
}

#[test]
fn a_watcher_that_widens_the_types_makes_a_baseline_due() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    assert!(rig.0.watch(&key(), &only_types(&["Identity"]), Moment(20)).probe);
    assert!(!rig.0.is_settled(&key()));
    assert!(rig.is_fresh("Quota"), "those watched all along stay fresh");
    assert!(rig.probe(21, &[("Quota", "1"), ("Identity", "1")]).settled);
}

#[test]
fn after_the_last_watcher_states_are_kept_but_not_fresh() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let _ = rig.0.watch(&key(), &quota(), Moment(20));
    rig.0.unwatch(&key(), &quota());
    assert!(rig.is_fresh("Quota"));
    rig.0.unwatch(&key(), &quota());
    assert_eq!((rig.is_fresh("Quota"), rig.state("Quota")), (false, Some("1")));
    assert!(rig.0.watch(&key(), &quota(), Moment(30)).probe);
}

#[test]
fn a_type_that_lost_its_last_watcher_is_not_fresh() {
    let mut rig = Rig::watched(&TypeFilter::All, &[("Quota", "1"), ("Identity", "1")]);
    let _ = rig.0.watch(&key(), &quota(), Moment(20));
    rig.0.unwatch(&key(), &TypeFilter::All);
    assert_eq!((rig.is_fresh("Quota"), rig.is_fresh("Identity")), (true, false));
}

#[test]
fn a_state_kept_from_before_that_differs_from_the_baseline_is_published() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    rig.0.unwatch(&key(), &quota());
    let _ = rig.0.watch(&key(), &quota(), Moment(20));
    assert_eq!(rig.probe(21, &[("Quota", "2")]).published, quota_bit());
}

#[test]
fn an_answer_to_a_probe_from_before_the_watch_is_no_baseline() {
    let mut rig = Rig::new();
    let _ = rig.hint(&["Quota"], 1);
    rig.0.probe_sent(&key());
    assert!(!rig.0.watch(&key(), &quota(), Moment(20)).probe, "one is in flight");
    let outcome = rig.answer(ALICE, 10, &[("Quota", "1")]);
    assert_eq!((outcome.settled, outcome.probe), (false, true));
    assert!(rig.probe(25, &[("Quota", "1")]).settled);
}

#[test]
fn after_a_gap_nothing_is_fresh_until_probed() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    assert_eq!(rig.0.gap(Moment(20)), [key()]);
    assert!(!rig.is_fresh("Quota"));
    let _ = rig.observe(15, 21, &[get("Quota", "1")]);
    assert!(!rig.is_fresh("Quota"), "asked before the gap");
    assert!(rig.probe(22, &[("Quota", "1")]).settled);
    assert!(rig.is_fresh("Quota"));
}

#[test]
fn a_gap_during_a_probe_is_followed_up() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    rig.0.probe_sent(&key());
    assert_eq!(rig.0.gap(Moment(20)), []);
    assert!(rig.answer(ALICE, 19, &[("Quota", "1")]).probe);
}

#[test]
fn a_gap_leaves_unwatched_accounts_alone() {
    let mut rig = Rig::new();
    let _ = rig.observe(1, 2, &[get("Quota", "1")]);
    assert_eq!(rig.0.gap(Moment(20)), []);
}

// --- Email and what follows from it -------------------------------------------------------------

const MAIL: [(&str, &str); 3] = [("Email", "e1"), ("Mailbox", "m1"), ("Thread", "t1")];

fn since(text: &str, created: bool) -> Option<Delivery> {
    Some(Delivery { since: state(text), created })
}

impl Rig {
    fn probe_mail(&mut self, sent: u64, email: &str, delivery: Option<Delivery>) -> Outcome {
        self.0.probe_sent(&key());
        let answers = [("Email", email), ("Mailbox", "m1"), ("Thread", "t1")]
            .map(|(name, text)| (named(name), ProbeAnswer::State(state(text))));
        self.answer_with(&at(ALICE, sent, sent + 1), &answers, delivery)
    }

    fn changes(old: &str, new: &str) -> Fact {
        Fact { created: true, ..set("Email", old, new) }
    }
}

#[test]
fn a_new_email_state_hints_mailbox_and_thread() {
    let mut rig = Rig::watched(&only_types(&["Email", "Mailbox"]), &MAIL);
    let outcome = rig.observe(20, 21, &[set("Email", "e1", "e2")]);
    assert_eq!((outcome.published, outcome.probe), (only(EMAIL), true));
    let outcome = rig.probe(22, &[("Email", "e2"), ("Mailbox", "m2")]);
    assert_eq!((outcome.published, outcome.probe), (only(MAILBOX), false));
}

#[test]
fn a_hint_about_email_is_one_about_mailbox_even_if_nobody_wants_email() {
    let mut rig = Rig::watched(&only_types(&["Mailbox"]), &MAIL[1..2]);
    assert!(rig.hint(&["Email"], 20).probe);
    let _ = rig.probe(21, &[("Mailbox", "m1")]);
    assert!(rig.0.hint(&key(), Some(&[]), true, Moment(30)).probe);
}

#[test]
fn a_claim_of_an_email_state_known_as_baseline_only_is_a_hint_about_mailbox() {
    let mut rig = Rig::watched(&only_types(&["Mailbox"]), &MAIL[1..2]);
    let _ = rig.observe(20, 21, &[get("Email", "e2")]);
    let claimed = [(named("Email"), state("e2"))];
    assert!(rig.0.claim(&key(), &claimed, false, Moment(22)).probe);
}

#[test]
fn mailbox_and_thread_read_after_email_in_one_response_need_no_probe() {
    let mut rig = Rig::watched(&only_types(&["Email", "Mailbox", "Thread"]), &MAIL);
    let facts = [set("Email", "e1", "e2"), get("Mailbox", "m2"), get("Thread", "t2")];
    let outcome = rig.observe(20, 21, &facts);
    assert_eq!(outcome.published, only(EMAIL) | only(MAILBOX) | only(THREAD));
    assert!(!outcome.probe);
    let facts = [get("Mailbox", "m2"), set("Email", "e2", "e3"), get("Thread", "t3")];
    assert!(rig.observe(30, 31, &facts).probe, "Mailbox was read before");
}

#[test]
fn a_probe_that_finds_new_email_with_mailbox_and_thread_is_enough() {
    let mut rig = Rig::watched(&only_types(&["Email", "Mailbox", "Thread"]), &MAIL);
    assert!(!rig.probe(20, &[("Email", "e2"), ("Mailbox", "m1"), ("Thread", "t1")]).probe);
}

#[test]
fn a_new_email_state_probes_no_type_that_nobody_wants() {
    let mut rig = Rig::watched(&only_types(&["Email"]), &MAIL[..1]);
    assert!(!rig.observe(20, 21, &[set("Email", "e1", "e2")]).probe);
}

#[test]
fn email_delivery_begins_as_the_state_of_email_unpublished() {
    let rig = Rig::watched(&TypeFilter::All, &MAIL);
    let delivery = rig.known("EmailDelivery").unwrap();
    assert_eq!((delivery.state.as_str(), delivery.changed_at), ("e1", 0));
    assert!(delivery.fresh);
}

#[test]
fn a_subscriber_to_email_delivery_makes_email_wanted() {
    let rig = Rig::watched(&only_types(&["EmailDelivery"]), &MAIL[..1]);
    assert_eq!(rig.wanted(&["Email", "Mailbox"]), ["Email"]);
    assert_eq!(rig.0.delivery_since(&key()).unwrap().as_str(), "e1");
}

#[test]
fn created_email_since_the_known_state_is_a_delivery() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    let outcome = rig.observe(20, 21, &[Rig::changes("e1", "e2")]);
    assert_ne!(outcome.published & only(EMAIL_DELIVERY), 0);
    assert_eq!(rig.state("EmailDelivery"), Some("e2"));
}

#[test]
fn created_email_since_some_other_state_is_no_proof_of_a_delivery() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    let outcome = rig.observe(20, 21, &[Rig::changes("e0", "e2")]);
    assert_eq!(outcome.published, only(EMAIL));
    assert!(outcome.probe, "the probe asks since e1");
    assert_eq!(rig.0.delivery_since(&key()).unwrap().as_str(), "e1");
    let outcome = rig.probe_mail(30, "e2", since("e1", true));
    assert_eq!(outcome.published, only(EMAIL_DELIVERY));
}

#[test]
fn a_change_of_email_without_additions_is_no_delivery() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    let _ = rig.observe(20, 21, &[set("Email", "e1", "e2")]);
    assert_eq!(rig.probe_mail(30, "e2", since("e1", false)), Outcome::default());
    assert_eq!(rig.state("EmailDelivery"), Some("e1"));
    assert_eq!(rig.0.delivery_since(&key()).unwrap().as_str(), "e2");
}

#[test]
fn a_change_of_email_is_probed_for_those_who_want_email_delivery_only() {
    let mut rig = Rig::watched(&only_types(&["EmailDelivery"]), &MAIL[..1]);
    assert!(rig.observe(20, 21, &[get("Email", "e2")]).probe);
}

#[test]
fn additions_that_cannot_be_excluded_are_none_while_email_is_the_same() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    let _ = rig.probe_mail(20, "e2", since("e1", false));
    let cannot_calculate_changes = since("e2", true);
    assert_eq!(rig.probe_mail(30, "e2", cannot_calculate_changes), Outcome::default());
}

#[test]
fn a_delivery_hint_takes_the_next_email_state() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    assert!(rig.0.hint(&key(), None, true, Moment(20)).probe);
    let outcome = rig.probe_mail(30, "e2", since("e1", false));
    assert_eq!(outcome.published, only(EMAIL) | only(EMAIL_DELIVERY));
}

#[test]
fn a_delivery_hint_without_a_change_of_email_is_nothing() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    let _ = rig.0.hint(&key(), Some(&[]), true, Moment(20));
    assert_eq!(rig.probe_mail(30, "e1", since("e1", false)), Outcome::default());
    let later = rig.probe_mail(40, "e2", since("e1", false));
    assert_eq!(later.published, only(EMAIL), "the hint is used up");
}

#[test]
fn a_delivery_hint_that_comes_after_the_state_of_email_still_counts_once() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    let _ = rig.observe(20, 21, &[get("Email", "e2")]);
    let _ = rig.0.hint(&key(), Some(&[]), true, Moment(22));
    let judged = rig.probe_mail(30, "e2", since("e1", false));
    assert_eq!(judged.published, only(EMAIL_DELIVERY));
    let _ = rig.0.hint(&key(), Some(&[]), true, Moment(40));
    assert_eq!(rig.probe_mail(41, "e2", since("e2", false)).published, 0);
}

#[test]
fn a_claimed_delivery_that_is_accounted_for_is_nothing() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    let _ = rig.observe(20, 21, &[Rig::changes("e1", "e2")]);
    let claimed = [(named("Email"), state("e2"))];
    assert_eq!(rig.0.claim(&key(), &claimed, true, Moment(22)), Outcome::default());
}

#[test]
fn a_delivery_found_by_an_overtaken_probe_is_not_forgotten() {
    let mut rig = Rig::watched(&only_types(&["EmailDelivery"]), &MAIL[..1]);
    rig.0.probe_sent(&key());
    let _ = rig.observe(21, 22, &[set("Email", "e1", "e3")]);
    let answers = [(named("Email"), ProbeAnswer::State(state("e2")))];
    assert!(rig.answer_with(&at(ALICE, 20, 23), &answers, since("e1", true)).probe);
    rig.0.probe_sent(&key());
    let answers = [(named("Email"), ProbeAnswer::State(state("e3")))];
    let outcome = rig.answer_with(&at(ALICE, 30, 31), &answers, since("e1", false));
    assert_eq!(outcome.published, only(EMAIL_DELIVERY));
}

#[test]
fn a_change_of_email_that_no_probe_can_judge_counts_as_a_delivery() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    let _ = rig.observe(20, 21, &[set("Email", "e1", "e2")]);
    let outcome = rig.probe_mail(30, "e2", None);
    assert_eq!((outcome.published, outcome.probe), (only(EMAIL_DELIVERY), false));
}

#[test]
fn email_delivery_is_not_fresh_while_a_change_of_email_is_unjudged() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    let _ = rig.observe(20, 21, &[set("Email", "e1", "e2")]);
    assert!(!rig.is_fresh("EmailDelivery"));
    let _ = rig.probe_mail(30, "e2", since("e1", false));
    assert!(rig.is_fresh("EmailDelivery"));
}

// --- views --------------------------------------------------------------------------------------

#[test]
fn another_principals_state_is_probed_not_published() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let outcome = rig.0.observe(&key(), &at(BOB, 20, 21), &[get("Quota", "2")]);
    assert_eq!((outcome.published, outcome.probe), (0, true));
    assert_eq!(rig.probe(22, &[("Quota", "2")]).published, quota_bit());
    assert_eq!(rig.0.owner(&key()), Some(ALICE));
}

#[test]
fn another_principals_return_to_the_known_state_is_probed() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let outcome = rig.0.observe(&key(), &at(BOB, 20, 21), &[set("Quota", "2", "1")]);
    assert!(outcome.probe, "a response under way may still say 2");
    let outcome = rig.0.observe(&key(), &at(BOB, 22, 23), &[get("Quota", "1")]);
    assert!(!outcome.probe);
}

#[test]
fn a_principal_that_disagrees_twice_in_a_row_is_split_off() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let disagree = |rig: &mut Rig, now| {
        let _ = rig.0.observe(&key(), &at(BOB, now, now + 1), &[get("Quota", "b7")]);
        rig.probe(now + 2, &[("Quota", "1")]).split
    };
    assert_eq!(disagree(&mut rig, 20), None);
    assert_eq!(disagree(&mut rig, 30), Some(BOB));
    let own = AccountKey::scoped(key().id, BOB);
    assert_eq!(rig.0.key_of(&key().id, BOB), own);
    assert_eq!(rig.0.key_of(&key().id, ALICE), key());
    assert_eq!(rig.0.views(&key().id), [key(), own]);
}

#[test]
fn a_disagreement_about_a_type_nobody_wants_hides_none_that_is_probed() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let _ = rig.observe(20, 21, &[get("Identity", "1")]);
    let mut split = None;
    for now in [30, 40] {
        let facts = [get("Quota", "b7"), get("Identity", "b7")];
        let _ = rig.0.observe(&key(), &at(BOB, now, now + 1), &facts);
        split = rig.probe(now + 2, &[("Quota", "1")]).split;
    }
    assert_eq!(split, Some(BOB));
}

#[test]
fn an_agreement_in_between_clears_the_suspicion() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    for (now, text) in [(20, "2"), (30, "1"), (40, "2")] {
        let _ = rig.0.observe(&key(), &at(BOB, now, now + 1), &[get("Quota", text)]);
        assert_eq!(rig.probe(now + 2, &[("Quota", "1")]).split, None);
    }
}

#[test]
fn a_principal_that_was_only_earlier_is_not_split_off() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    for (now, text) in [(20, "2"), (30, "3"), (40, "4")] {
        let _ = rig.0.observe(&key(), &at(BOB, now, now + 1), &[get("Quota", text)]);
        assert_eq!(rig.probe(now + 2, &[("Quota", text)]).split, None);
    }
}

#[test]
fn stale_states_of_another_principal_are_no_disagreement() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    let _ = rig.observe(20, 25, &[get("Quota", "2")]);
    for now in [30, 40, 50] {
        let _ = rig.0.observe(&key(), &at(BOB, 21, now), &[get("Quota", "1")]);
        assert_eq!(rig.probe(now + 1, &[("Quota", "2")]).split, None);
    }
}

#[test]
fn the_probing_principal_becomes_the_owner() {
    let mut rig = Rig::watched(&quota(), &[("Quota", "1")]);
    rig.0.probe_sent(&key());
    assert_eq!(rig.answer(BOB, 20, &[("Quota", "b7")]).published, quota_bit());
    assert_eq!(rig.0.owner(&key()), Some(BOB));
}

// --- bounds -------------------------------------------------------------------------------------

fn nth(n: usize) -> AccountKey {
    AccountKey::shared(AccountId::parse(&format!("A{n}")).unwrap())
}

#[test]
fn the_unwatched_account_heard_of_longest_ago_makes_room() {
    let mut tracker = Tracker::new(3);
    for n in [1, 2, 3, 1, 4] {
        let _ = tracker.observe(&nth(n), &at(ALICE, 1, 2), &[get("Quota", "1")]);
    }
    let known = |n| tracker.states(&nth(n)).count();
    assert_eq!([known(1), known(2), known(3), known(4)], [1, 0, 1, 1]);
}

#[test]
fn watched_accounts_are_never_forgotten_and_new_unwatched_ones_wait() {
    let mut tracker = Tracker::new(2);
    for n in 0..5 {
        let _ = tracker.watch(&nth(n), &quota(), Moment(0));
    }
    let _ = tracker.observe(&nth(9), &at(ALICE, 1, 2), &[get("Quota", "1")]);
    assert_eq!((tracker.accounts.len(), tracker.states(&nth(9)).count()), (5, 0));
    for n in 0..5 {
        tracker.unwatch(&nth(n), &quota());
    }
    assert_eq!((tracker.accounts.len(), tracker.idle.len()), (2, 2));
}

#[test]
fn an_account_is_not_forgotten_while_it_is_probed() {
    let mut tracker = Tracker::new(1);
    let _ = tracker.watch(&nth(0), &quota(), Moment(0));
    tracker.probe_sent(&nth(0));
    tracker.unwatch(&nth(0), &quota());
    let _ = tracker.observe(&nth(1), &at(ALICE, 1, 2), &[get("Quota", "1")]);
    assert!(!tracker.watch(&nth(0), &quota(), Moment(5)).probe, "one is in flight");
    let probed = Probed { answers: &[], delivery: None, complete: true };
    let outcome = tracker.probe_answered(&nth(0), &at(ALICE, 1, 6), &probed);
    assert_eq!((outcome.settled, outcome.probe), (false, true));
}

#[test]
fn states_of_types_beyond_the_table_are_counted_and_dropped() {
    let mut tracker = Tracker::new(1);
    let facts: Vec<_> = (0..100).map(|n| get(&format!("X{n}"), "1")).collect();
    let _ = tracker.observe(&nth(0), &at(ALICE, 1, 2), &facts);
    assert_eq!(tracker.states(&nth(0)).count() as u64 + tracker.refused_types(), 100);
}

#[test]
fn an_account_of_four_types_takes_less_than_500_bytes() {
    let mut rig = Rig::watched(&TypeFilter::All, &MAIL);
    rig.0.unwatch(&key(), &TypeFilter::All);
    let account = &rig.0.accounts[&key()];
    // A node of a BTreeMap is two thirds full on average.
    let in_maps =
        (size_of::<(AccountKey, Box<Account>)>() + size_of::<(u64, AccountKey)>()) * 3 / 2;
    let bytes =
        in_maps + size_of::<Account>() + account.heap_bytes() + 16 + key().id.as_str().len();
    println!("{bytes} bytes, of them {} for Account", size_of::<Account>());
    assert_eq!(account.slots.len(), 4);
    assert!(bytes <= 500, "{bytes}");
}

/// Cyrus moves all three with a `Mailbox/set`, and the response names one.
#[test]
fn a_new_mailbox_state_hints_email_and_thread() {
    let mut tracker = Tracker::new(10);
    let _ = tracker.watch(&key(), &TypeFilter::All, Moment(1));
    tracker.probe_sent(&key());
    let states = ["Email", "Mailbox", "Thread"]
        .map(|name| (named(name), ProbeAnswer::State(State::parse("1").unwrap())));
    let probed = Probed { answers: &states, delivery: None, complete: true };
    let at = |sent, received| Exchange {
        who: Observer::Known(ALICE),
        sent: Moment(sent),
        received: Moment(received),
    };
    let _ = tracker.probe_answered(&key(), &at(2, 3), &probed);
    let fact = Fact {
        data_type: named("Mailbox"),
        state: State::parse("2").unwrap(),
        old_state: State::parse("1"),
        created: false,
    };
    let outcome = tracker.observe(&key(), &at(4, 5), &[fact]);
    assert_eq!((outcome.published, outcome.probe), (only(MAILBOX), true));
}
