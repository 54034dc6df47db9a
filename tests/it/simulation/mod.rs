//! Seeded schedules of the real tracker, prober and hub, on simulated time, against the delivery
//! ledger (hostile.md A4; architecture D7-D9).
//!
//! Users and accounts, some shared, some with states for each user; responses that overtake each
//! other; notices that are lost, doubled, late, early or wrong; accounts given and taken; upstream
//! down, slow, breaking, limiting, refusing; clients that come, are slow, change their wish, go, and
//! come back with their token; processes of the proxy that take each other's place. Then all comes to
//! rest, and within the bound every client must have what upstream has, having been told nothing else.
//!
//! `SIMULATION_SEED=n` runs that schedule alone, `SIMULATION_SCHEDULES=n` so many from a random seed.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use self::script::Script;
use self::terms::Terms;
use self::world::World;
use crate::support::ledger::{Fault, Rule};

mod client;
mod script;
mod server;
mod terms;
mod world;

/// Schedules of a run that asks for no more.
const FEW: u64 = 200;

/// Schedules that fail until no more are run.
const MOST_FAULTS: usize = 20;

/// How often it is looked whether all has come to rest.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Of so many schedules one or more has the interval of accounts that are told of.
const ONE_RELIES_OF: usize = 50;

/// What was told in a schedule: all clients, in order.
type Told = Vec<Vec<(String, String, String)>>;

/// What came of a schedule.
#[derive(Debug, PartialEq)]
struct Outcome {
    told: Told,
    /// Whether the interval of accounts that are told of has held.
    relied_on_notices: bool,
}

/// Runs one schedule in a world of its own; the first fault in words.
fn run(seed: u64) -> Result<Outcome, String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let terms = Terms::draw(&mut StdRng::seed_from_u64(seed));
        let world = World::new(&terms, seed);
        let mut script = Script::new(Arc::clone(&world), terms.clone(), seed);
        script.run().await;
        let mut outcome = rest(&world, &terms).await;
        if outcome.is_ok() {
            script.gather();
            outcome = rest(&world, &terms).await;
        }
        world.end().await;
        let relied_on_notices = script.relied_on_notices;
        outcome
            .map(|told| Outcome { told, relied_on_notices })
            .map_err(|fault| format!("SIMULATION_SEED={seed}, {terms:?}\n{fault}"))
    })
}

/// Nothing changes any more: within the bound everybody has everything, and keeps it.
async fn rest(world: &World, terms: &Terms) -> Result<Told, Fault> {
    let bound = Instant::now() + terms.bound();
    agreed(world, bound).await?;
    // Long enough for what is still under way, and for the next probe.
    sleep(terms.interval().max(LOOK_AGAIN).mul_f64(2.5)).await;
    agreed(world, bound).await
}

async fn agreed(world: &World, bound: Instant) -> Result<Told, Fault> {
    loop {
        match judge(world) {
            Err(fault) if fault.rule == Rule::Stale && Instant::now() < bound => {
                sleep(LOOK_AGAIN).await;
            }
            judged => return judged,
        }
    }
}

fn judge(world: &World) -> Result<Told, Fault> {
    let clients = world.clients.lock().unwrap();
    let judged = clients.iter().map(|client| {
        let log = client.log();
        world.server.mail(|mail| mail.ledger.judge(&log))?;
        let owned = |(a, t, s): (&str, &str, &str)| (a.to_owned(), t.to_owned(), s.to_owned());
        Ok(log.states().map(owned).collect())
    });
    judged.collect()
}

fn seeds() -> Vec<u64> {
    let number = |name| env::var(name).ok().map(|value| value.parse().unwrap());
    if let Some(seed) = number("SIMULATION_SEED") {
        return vec![seed];
    }
    match number("SIMULATION_SCHEDULES") {
        Some(count) => {
            let first = rand::rng().random_range(0..u64::MAX / 2);
            (first..first + count).collect()
        }
        None => (0..FEW).collect(),
    }
}

#[test]
fn whatever_happens_every_client_ends_with_what_upstream_has() {
    let seeds = seeds();
    let (mut told, mut relied, mut faults) = (0, 0, Vec::new());
    for seed in &seeds {
        match run(*seed) {
            Ok(outcome) => {
                told += outcome.told.iter().map(Vec::len).sum::<usize>();
                relied += usize::from(outcome.relied_on_notices);
            }
            Err(fault) => faults.push(fault),
        }
        if faults.len() == MOST_FAULTS {
            break;
        }
    }
    let first_lines =
        faults.iter().map(|fault| fault.lines().take(2).collect::<Vec<_>>().join(" "));
    let rest: Vec<_> = first_lines.skip(1).collect();
    assert!(faults.is_empty(), "{}{}", faults[0], rest.join("\n"));
    println!("{} schedules, {told} told, {relied} relied on notices", seeds.len());
    let is_telling = seeds.len() >= 4 * ONE_RELIES_OF;
    assert!(!is_telling || relied >= seeds.len() / ONE_RELIES_OF, "{relied} relied on notices");
    assert!(seeds.len() < 100 || told > 10 * seeds.len(), "hardly anything happens: {told}");
}

#[test]
fn a_seed_runs_the_same_schedule_again() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
