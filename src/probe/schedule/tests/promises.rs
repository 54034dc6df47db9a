//! What holds whatever happens, found out by running schedules for hours of a time of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::probe::schedule::evidence::ENOUGH;
use crate::probe::schedule::intervals::SPREAD;

const ADAPTIVE: Intervals = Intervals {
    usual: Duration::from_secs(30),
    min: Duration::from_secs(5),
    told: Duration::from_secs(300),
};

/// An upstream answers after this.
const LATENCY: Duration = Duration::from_millis(50);

/// A schedule and an upstream, on a clock that jumps to the next thing to do.
struct World {
    schedule: Schedule,
    now: Moment,
    flying: BTreeSet<(Moment, AccountKey)>,
    /// What was asked: when, why.
    asked: BTreeMap<AccountKey, Vec<(Moment, Why)>>,
    /// Accounts that have changed without a word.
    changed: HashSet<AccountKey>,
}

impl World {
    fn new(intervals: Intervals, rate: u32, seed: u64) -> Self {
        Self {
            schedule: Schedule::new(intervals, rate, seed),
            now: at(0.0),
            flying: BTreeSet::new(),
            asked: BTreeMap::new(),
            changed: HashSet::new(),
        }
    }

    /// Watches an account and asks for its baseline, as for somebody who connects.
    fn watch(&mut self, key: &AccountKey) {
        self.schedule.watch(key, self.now);
        self.schedule.request(key, Why::Baseline, self.now);
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.after(span);
        while self.now < end {
            let wait = match self.schedule.due(self.now) {
                Next::Ask(key) => {
                    self.schedule.spend(self.now);
                    let why = self.schedule.why(&key).unwrap();
                    self.asked.entry(key.clone()).or_default().push((self.now, why));
                    self.flying.insert((self.now.after(LATENCY), key));
                    continue;
                }
                Next::At(moment) => moment,
                Next::Idle => end,
            };
            let answer = self.flying.first().map_or(end, |(at, _)| *at);
            self.now = wait.min(answer).min(end).max(self.now);
            while self.flying.first().is_some_and(|(at, _)| *at <= self.now) {
                let (_, key) = self.flying.pop_first().unwrap();
                if self.changed.remove(&key) {
                    let _ = self.schedule.found(&key, self.now);
                }
                self.schedule.finished(&key, Ended::Answered, None, self.now);
            }
        }
    }

    fn total(&self) -> usize {
        self.asked.values().map(Vec::len).sum()
    }

    fn times_asked(&self, key: &AccountKey) -> usize {
        self.asked.get(key).map_or(0, Vec::len)
    }

    /// The longest time that an account was not asked about.
    fn longest_gap(&self, key: &AccountKey) -> Duration {
        let moments = self.asked.get(key).into_iter().flatten().map(|(moment, _)| *moment);
        let ends: Vec<Moment> = [at(0.0)].into_iter().chain(moments).chain([self.now]).collect();
        ends.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap()
    }
}

fn keys(count: usize) -> Vec<AccountKey> {
    (0..count).map(|n| account(&format!("a{n}"))).collect()
}

/// The figures of docs/decisions/probe-interval.md.
#[test]
fn a_thousand_idle_accounts_cost_so_many_requests_an_hour() {
    let requests = |intervals: Intervals, told: u32, seed| {
        let mut world = World::new(intervals, 50, seed);
        keys(1_000).iter().for_each(|key| world.watch(key));
        world.schedule.told = told;
        // Until the baselines are done and everything is in its stride.
        world.run(Duration::from_secs(600));
        let before = world.total();
        world.run(Duration::from_secs(3600));
        world.total() - before
    };
    let plain = requests(Intervals::even(ADAPTIVE.usual), 0, 1);
    let untold = requests(ADAPTIVE, 0, 2);
    let told = requests(ADAPTIVE, ENOUGH, 3);
    println!("one interval: {plain}; adaptive, nobody tells: {untold}; others tell: {told}");
    assert!((115_000..=122_000).contains(&plain), "{plain}");
    assert!((115_000..=122_000).contains(&untold), "idle accounts are in no hurry: {untold}");
    assert!((11_500..=12_500).contains(&told), "{told}");
}

/// The same of accounts in which something happens every ten minutes.
#[test]
fn changes_that_nobody_tells_cost_few_requests_more() {
    let mut world = World::new(ADAPTIVE, 50, 1);
    let keys = keys(200);
    keys.iter().for_each(|key| world.watch(key));
    world.run(Duration::from_secs(600));
    let before = world.total();
    for step in 0..1_200 {
        world.changed.insert(keys[step * 77 % keys.len()].clone());
        world.run(Duration::from_secs(3));
    }
    let each = (world.total() - before) / keys.len();
    println!("requests an hour for an account with 6 changes an hour: {each}");
    assert!((120..=150).contains(&each), "{each}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Nobody tells, and there is budget enough.
    #[test]
    fn an_account_nobody_tells_of_is_asked_about_within_the_interval(
        seed: u64, accounts in 1_usize..40, changes in prop::collection::vec(0_usize..40, 0..60),
    ) {
        let mut world = World::new(ADAPTIVE, 50, seed);
        let keys = keys(accounts);
        keys.iter().for_each(|key| world.watch(key));
        for change in changes {
            world.changed.insert(keys[change % accounts].clone());
            world.run(Duration::from_secs(7));
        }
        world.run(Duration::from_secs(120));
        for key in &keys {
            // The answer, and other accounts that are due at the same time, take some.
            let most = ADAPTIVE.usual.mul_f64(1.0 + SPREAD) + Duration::from_secs(2);
            prop_assert!(world.longest_gap(key) <= most, "{:?}", world.longest_gap(key));
            for pair in world.asked[key].windows(2).filter(|pair| pair[1].1 == Why::Interval) {
                let gap = pair[1].0.since(pair[0].0);
                prop_assert!(gap >= ADAPTIVE.min.mul_f64(1.0 - SPREAD), "{gap:?}");
            }
        }
    }

    /// More is due than the budget allows: some of it is urgent without end, and some connect and
    /// disconnect in a loop.
    #[test]
    fn under_overload_nobody_starves_and_nobody_is_served_out_of_turn(
        seed: u64, flapping in 0_usize..8, hinted in 0_usize..8,
    ) {
        let (quiet, rate) = (60, 1);
        let mut world = World::new(Intervals::even(Duration::from_secs(30)), rate, seed);
        let keys = keys(quiet + flapping + hinted);
        let (still, rest) = keys.split_at(quiet);
        let (flappers, busy) = rest.split_at(flapping);
        still.iter().chain(busy).for_each(|key| world.watch(key));
        for step in 0..4_000 {
            for flapper in flappers {
                match step % 2 {
                    0 => world.watch(flapper),
                    _ => world.schedule.remove(flapper, world.now),
                }
            }
            for key in busy {
                world.schedule.request(key, Why::Hint, world.now);
            }
            world.run(Duration::from_millis(250));
        }
        // One in four is a routine one, whatever is urgent.
        let turn = Duration::from_secs(quiet as u64 * 4 + 60);
        for key in still {
            prop_assert!(world.longest_gap(key) <= turn, "{:?}", world.longest_gap(key));
        }
        let counts: Vec<usize> = still.iter().map(|key| world.times_asked(key)).collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        prop_assert!(most - least <= 2 + most / 3, "{least}..{most}");
        prop_assert!(world.total() <= 1_000 + 5, "the rate holds: {}", world.total());
    }

    /// Whatever the rhythm of somebody who connects and disconnects: five at once, then one each two
    /// seconds, and now and then one that falls due by interval.
    #[test]
    fn an_account_that_comes_and_goes_has_a_least_time_between_baselines(
        seed: u64, rhythm in prop::collection::vec((1_u64..400, 1_u64..400), 200..400),
    ) {
        let mut world = World::new(Intervals::even(Duration::from_secs(30)), 10_000, seed);
        let key = account("a");
        for (here, gone) in rhythm {
            world.watch(&key);
            world.run(Duration::from_millis(here));
            world.schedule.remove(&key, world.now);
            world.run(Duration::from_millis(gone));
        }
        let most = 5.0 + world.now.since(at(0.0)).as_secs_f64() / 2.0;
        let asked = world.times_asked(&key);
        prop_assert!(asked as f64 <= most * 1.1 + 1.0, "{asked} in {:?}", world.now);
    }
}

#[test]
fn five_baselines_of_an_account_go_at_once_and_then_one_each_two_seconds() {
    let mut world = World::new(Intervals::even(Duration::ZERO), 10_000, 1);
    let key = account("a");
    for _ in 0..1_000 {
        world.watch(&key);
        world.run(Duration::from_millis(60));
        world.schedule.remove(&key, world.now);
        world.run(Duration::from_millis(40));
    }
    let asked = world.times_asked(&key);
    assert!((50..=56).contains(&asked), "{asked} in 100 s");
}

#[test]
fn an_account_whose_baselines_rest_is_asked_at_once_when_it_changes() {
    let mut world = World::new(Intervals::even(Duration::ZERO), 10_000, 1);
    let key = account("a");
    for _ in 0..20 {
        world.watch(&key);
        world.run(Duration::from_millis(60));
        world.schedule.remove(&key, world.now);
    }
    world.watch(&key);
    let before = world.total();
    world.run(Duration::from_millis(100));
    assert_eq!(world.total(), before, "the baseline waits");
    world.schedule.request(&key, Why::Hint, world.now);
    world.run(Duration::from_millis(100));
    assert_eq!(world.total(), before + 1);
}

#[test]
fn accounts_gone_for_long_are_not_remembered() {
    let mut world = World::new(Intervals::even(Duration::ZERO), 50, 1);
    for key in keys(3_000) {
        world.watch(&key);
        world.run(Duration::from_millis(70));
        world.schedule.remove(&key, world.now);
    }
    // The rate lets 50 a second be asked; one baseline is paid for within two.
    let kept = world.schedule.departed.len();
    assert!((1..=100).contains(&kept), "{kept}");
}

/// 190 of 200 accounts have their changes told, one a second; those of the others nobody ever tells.
#[test]
fn accounts_left_out_by_a_source_that_tells_of_most_are_asked_about_within_the_usual_interval() {
    for every in [60_usize, 600] {
        let mut world = World::new(ADAPTIVE, 50, 1);
        let keys = keys(200);
        let (told, untold) = keys.split_at(190);
        keys.iter().for_each(|key| world.watch(key));
        world.run(Duration::from_secs(60));
        let mut pending: BTreeMap<AccountKey, Moment> = BTreeMap::new();
        let mut delays: Vec<Duration> = Vec::new();
        for step in 0..40 * every {
            let now = world.now;
            world.schedule.heard(&told[step % told.len()], now, true, now);
            let key = &untold[(step / every) % untold.len()];
            if step % every == 0 && world.changed.insert(key.clone()) {
                pending.insert(key.clone(), now);
            }
            world.run(Duration::from_secs(1));
            let (changed, now) = (&world.changed, world.now);
            for (_, since) in pending.extract_if(.., |key, _| !changed.contains(key)) {
                delays.push(now.since(since));
            }
        }
        let (first, later) = delays.split_at(untold.len());
        let latest = later.iter().max().unwrap();
        println!("one each {every} s: first {first:?}, later {}, at most {latest:?}", later.len());
        // The answer and the step of a second take some.
        let most = ADAPTIVE.usual.mul_f64(1.0 + SPREAD) + Duration::from_secs(2);
        assert!(*latest <= most, "{latest:?}");
        let late = first.iter().filter(|delay| **delay > most).count();
        assert!(late <= 3, "{late} before it was known that some are left out");
    }
}
