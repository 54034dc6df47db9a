//! Who is tried, who is listened for, and what keeps upstream from storms.

use std::collections::BTreeMap;

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::auth::Credentials;
use crate::jmap::session::CoreLimits;

const SECOND: Duration = Duration::from_secs(1);

fn principal(user: u64) -> Arc<Principal> {
    Arc::new(Principal {
        capabilities: Arc::default(),
        id: PrincipalId(user),
        username: String::new(),
        accounts: BTreeMap::new(),
        api_path: String::new(),
        session_state: String::new(),
        limits: CoreLimits::default(),
        push: Arc::default(),
        credentials: Arc::new(Credentials::from_headers(&HeaderMap::new())),
    })
}

/// A roster at a moment.
struct At {
    roster: Roster,
    now: Moment,
}

impl At {
    fn start(most: usize) -> Self {
        Self { roster: Roster::new(most), now: Moment(1) }
    }

    fn after(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// A user comes with a credential.
    fn came(&mut self, user: u64, credential: u128) -> Option<u64> {
        self.roster.came(CredentialKey(credential), principal(user), self.now)
    }

    fn gone(&mut self, credential: u128) -> Option<u64> {
        self.roster.gone(CredentialKey(credential), self.now)
    }

    fn next(&mut self) -> Option<Start> {
        self.roster.next(self.now)
    }

    fn open(&mut self) -> Start {
        let start = self.next().expect("an attempt");
        assert!(self.roster.opened(start.user, start.attempt, self.now));
        start
    }

    fn ended(&mut self, start: &Start, ended: Ended) -> Option<Loss> {
        self.roster.ended((start.user, start.attempt), ended.into(), self.now, 1.0)
    }
}

#[test]
fn a_user_is_listened_for_once_whatever_they_come_with() {
    let mut at = At::start(10);
    for credential in 1..=100 {
        assert_eq!(at.came(7, credential), None);
    }
    let start = at.open();
    assert_eq!((start.user, start.credential), (PrincipalId(7), CredentialKey(100)));
    assert!(at.next().is_none());
    for credential in 1..100 {
        assert_eq!(at.gone(credential), None);
    }
    assert_eq!(at.gone(100), Some(start.attempt));
    assert_eq!((at.roster.users(), at.roster.listening()), (0, 0));
    assert_eq!(at.roster.due(), None);
}

#[test]
fn the_next_credential_takes_over_where_one_goes_or_is_refused() {
    let mut at = At::start(10);
    (1..=3).for_each(|credential| assert_eq!(at.came(7, credential), None));
    let first = at.open();
    assert_eq!(at.gone(3), Some(first.attempt));
    let second = at.next().unwrap();
    assert_eq!(second.credential, CredentialKey(2));
    at.ended(&second, Ended::Refused(401));
    let third = at.next().unwrap();
    assert_eq!(third.credential, CredentialKey(1));
    at.ended(&third, Ended::Refused(403));
    assert!(at.next().is_none(), "both are refused");
    assert_eq!(at.roster.due(), Some(at.now.after(NOT_SERVED_FOR)));
    assert_eq!(at.came(7, 4), None);
    assert_eq!(at.open().credential, CredentialKey(4), "a new one may open it");
}

#[test]
fn a_credential_that_is_somebody_elses_now_is_theirs() {
    let mut at = At::start(10);
    at.came(7, 1);
    let start = at.open();
    assert_eq!(at.came(8, 1), Some(start.attempt));
    assert_eq!(at.roster.users(), 1);
    assert_eq!(at.open().user, PrincipalId(8));
}

#[test]
fn one_user_finds_out_for_all() {
    let mut at = At::start(1000);
    (0..500).for_each(|user| assert_eq!(at.came(user, user.into()), None));
    let scout = at.next().unwrap();
    assert!(at.next().is_none(), "the others wait for what it finds");
    at.ended(&scout, Ended::NotServed(204));
    assert!(at.next().is_none());
    at.came(900, 900);
    assert!(at.next().is_none(), "who comes later neither");
    assert_eq!(at.roster.due(), Some(at.now.after(NOT_SERVED_FOR)));
    at.after(NOT_SERVED_FOR);
    let scout = at.open();
    assert!(scout.user != PrincipalId(0));
    assert_eq!(std::iter::from_fn(|| at.next()).count(), AT_ONCE);
}

#[test]
fn what_one_user_lacks_is_no_concern_of_those_that_have_it() {
    let mut at = At::start(10);
    at.came(1, 1);
    let _heard = at.open();
    at.came(2, 2);
    let start = at.next().unwrap();
    at.ended(&start, Ended::NotServed(404));
    at.came(3, 3);
    assert_eq!(at.open().user, PrincipalId(3));
    assert!(at.next().is_none());
    assert_eq!(at.roster.due(), Some(at.now.after(NOT_SERVED_FOR)));
    at.came(4, 4);
    let start = at.next().unwrap();
    at.ended(&start, Ended::NotOffered);
    assert!(at.next().is_none());
}

#[test]
fn a_user_without_an_offer_says_nothing_about_upstream() {
    let mut at = At::start(10);
    at.came(1, 1);
    at.came(2, 2);
    let start = at.next().unwrap();
    at.ended(&start, Ended::NotOffered);
    assert_eq!(at.open().user, PrincipalId(2));
}

#[test]
fn a_lost_connection_is_tried_again_after_twice_the_time() {
    let mut at = At::start(10);
    at.came(1, 1);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let start = at.open();
        at.ended(&start, Ended::Closed);
        let due = at.roster.due().unwrap();
        pauses.push(due.since(at.now).as_secs());
        at.now = due;
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]);
    let start = at.open();
    at.after(STEADY);
    at.ended(&start, Ended::Broken);
    assert_eq!(at.roster.due(), Some(at.now.after(SECOND)), "it held");
}

#[test]
fn what_upstream_asks_for_is_waited_for_within_reason() {
    let mut at = At::start(10);
    at.came(1, 1);
    for (wanted, waited) in [(20, 20), (1800, 1800), (86_400, 3600)] {
        let start = at.open();
        let wait = Some(Duration::from_secs(wanted));
        let farewell = Farewell { wait, ..Ended::Closed.into() };
        at.roster.ended((start.user, start.attempt), farewell, at.now, 0.0);
        let due = at.roster.due().unwrap();
        assert_eq!(due.since(at.now).as_secs(), waited);
        at.now = due;
    }
}

#[test]
fn the_last_events_id_is_kept_until_there_is_another() {
    let mut at = At::start(10);
    at.came(1, 1);
    for (said, kept) in [(Some("a"), "a"), (None, "a"), (Some("b"), "b")] {
        let start = at.open();
        let farewell = Farewell { last_id: said.map(Into::into), ..Ended::Closed.into() };
        at.roster.ended((start.user, start.attempt), farewell, at.now, 0.0);
        assert_eq!(at.roster.users.values().next().unwrap().last_id.as_deref(), Some(kept));
        at.after(LONGEST_PAUSE);
    }
    assert_eq!(at.open().last_id.as_deref(), Some("b"));
}

#[test]
fn beyond_the_limit_users_wait_for_a_place() {
    let mut at = At::start(2);
    (1..=5).for_each(|user| assert_eq!(at.came(user, user.into()), None));
    let (first, _second) = (at.open(), at.open());
    assert!(at.next().is_none());
    assert_eq!((at.roster.due(), at.roster.crowded_out()), (None, 3));
    assert_eq!(at.roster.full(), Ended::Full(2));
    at.gone(1);
    let next = at.open();
    assert_eq!((next.user, next.place), (PrincipalId(3), first.place));
    assert_eq!(at.roster.crowded_out(), 2);
}

#[test]
fn an_upstream_that_is_down_is_tried_by_one_at_a_time() {
    let mut at = At::start(1000);
    (0..100).for_each(|user| assert_eq!(at.came(user, user.into()), None));
    let mut open = vec![at.open()];
    while let Some(start) = at.next() {
        assert!(at.roster.opened(start.user, start.attempt, at.now));
        open.push(start);
    }
    assert_eq!(open.len(), 100);
    for start in &open {
        at.ended(start, Ended::Broken);
    }
    at.after(SECOND * 10);
    let tried: Vec<_> = std::iter::from_fn(|| at.next()).collect();
    assert_eq!(tried.len(), AT_ONCE);
    for start in &tried {
        at.ended(start, Ended::Unreachable);
    }
    at.after(LONGEST_PAUSE);
    let scout = at.next().unwrap();
    assert!(at.next().is_none());
    assert!(at.roster.opened(scout.user, scout.attempt, at.now));
    assert!(at.next().is_some(), "it is back");
}

#[test]
fn news_of_an_attempt_that_was_ended_is_no_news() {
    let mut at = At::start(10);
    at.came(1, 1);
    let old = at.next().unwrap();
    at.gone(1);
    at.came(1, 1);
    let new = at.next().unwrap();
    assert!(!at.roster.opened(old.user, old.attempt, at.now));
    at.ended(&old, Ended::NotServed(404));
    assert!(at.roster.opened(new.user, new.attempt, at.now));
}

#[test]
fn where_all_are_refused_few_are_tried_and_not_at_once() {
    let mut at = At::start(1000);
    (0..500).for_each(|user| assert_eq!(at.came(user, user.into()), None));
    let (began, mut tried) = (at.now, 0);
    while at.now < began.after(NOT_SERVED_FOR) {
        while let Some(start) = at.next() {
            tried += 1;
            at.ended(&start, Ended::Refused(403));
            assert!(at.next().is_none(), "the next waits a while");
        }
        at.after(SECOND);
    }
    assert_eq!(tried, MOST_REFUSALS);
}

#[test]
fn where_some_are_refused_the_others_are_heard() {
    let mut at = At::start(1000);
    (0..20).for_each(|user| assert_eq!(at.came(user, user.into()), None));
    for _ in 1..MOST_REFUSALS {
        let start = at.next().unwrap();
        at.ended(&start, Ended::Refused(401));
        at.after(LONGEST_PAUSE);
    }
    at.open();
    for _ in 0..MOST_REFUSALS {
        let start = at.next().unwrap();
        at.ended(&start, Ended::Refused(401));
    }
    at.open();
}

#[test]
fn a_source_is_lost_with_its_connection_and_each_time_it_does_not_come_back() {
    let mut at = At::start(10);
    at.came(1, 1);
    let mut losses = Vec::new();
    let start = at.next().unwrap();
    losses.extend(at.ended(&start, Ended::Unreachable));
    at.after(LONGEST_PAUSE);
    let start = at.open();
    losses.extend(at.ended(&start, Ended::Closed));
    for ended in [Ended::Trouble(503), Ended::Unreachable, Ended::NoRoom, Ended::NotServed(404)] {
        at.after(LONGEST_PAUSE);
        let start = at.next().unwrap();
        losses.extend(at.ended(&start, ended));
    }
    let seen: Vec<_> = losses.iter().map(|loss| (loss.of_source, loss.of_attempt)).collect();
    let again = (true, true);
    assert_eq!(seen, [(false, true), (true, false), again, again, again, again]);
    at.after(NOT_SERVED_FOR);
    let start = at.open();
    at.gone(1);
    assert_eq!(at.ended(&start, Ended::Closed), None, "we ended it");
}

#[test]
fn the_newest_credential_is_tried_first() {
    let mut at = At::start(10);
    (1..=3).for_each(|credential| assert_eq!(at.came(7, credential), None));
    assert_eq!(at.open().credential, CredentialKey(3));
}

#[derive(Debug, Clone)]
enum Step {
    Came(u64, u128),
    Gone(u128),
    Next,
    Open(usize),
    End(usize, u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u64, 0..12u128).prop_map(|(user, key)| Step::Came(user, key)),
        (0..12u128).prop_map(Step::Gone),
        Just(Step::Next),
        (0..9usize).prop_map(Step::Open),
        (0..9usize, 0..4u8).prop_map(|(which, how)| Step::End(which, how)),
        (0..700u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: one subscription a user, never more than `most`, each place once, by a
    /// credential that is live and is theirs; and in the end everybody is listened for.
    #[test]
    fn the_roster_keeps_its_promises(steps in prop::collection::vec(step(), 0..120)) {
        const MOST: usize = 4;
        let mut at = At::start(MOST);
        let mut live = BTreeMap::<u128, u64>::new();
        let mut busy = Vec::<Start>::new();
        for step in steps {
            let stopped = match step {
                Step::Came(user, key) => {
                    live.insert(key, user);
                    at.came(user, key)
                }
                Step::Gone(key) => {
                    live.remove(&key);
                    at.gone(key)
                }
                Step::Next => {
                    busy.extend(at.next());
                    None
                }
                Step::Open(which) if which < busy.len() => {
                    let start = &busy[which];
                    at.roster.opened(start.user, start.attempt, at.now);
                    None
                }
                Step::End(which, how) if which < busy.len() => {
                    let start = busy.swap_remove(which);
                    let ends = [Ended::NotServed(204), Ended::Refused(401), Ended::Closed, Ended::NotOffered];
                    at.ended(&start, ends[usize::from(how)].clone());
                    None
                }
                Step::Open(_) | Step::End(..) => None,
                Step::Wait(seconds) => {
                    at.after(Duration::from_secs(seconds));
                    None
                }
            };
            busy.retain(|start| Some(start.attempt) != stopped);
            prop_assert!(busy.len() <= MOST);
            for (index, start) in busy.iter().enumerate() {
                prop_assert_eq!(live.get(&start.credential.0), Some(&start.user.0));
                prop_assert!(start.place < MOST);
                for other in &busy[..index] {
                    prop_assert!(other.user != start.user && other.place != start.place);
                }
            }
        }
        let mut users: Vec<u64> = live.values().copied().collect();
        users.sort_unstable();
        users.dedup();
        prop_assert_eq!(at.roster.users(), users.len());
        for start in &busy {
            at.roster.opened(start.user, start.attempt, at.now);
        }
        for _ in 0..users.len() {
            at.after(NOT_SERVED_FOR);
            while let Some(start) = at.next() {
                prop_assert!(at.roster.opened(start.user, start.attempt, at.now));
            }
        }
        prop_assert_eq!(at.roster.listening(), users.len().min(MOST));
        prop_assert_eq!(at.roster.crowded_out(), users.len().saturating_sub(MOST));
    }
}
