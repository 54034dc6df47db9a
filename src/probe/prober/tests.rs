//! The prober with its parts joined, on paused time and a scripted server.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::jmap::id::{AccountId, State};
use crate::jmap::session::CoreLimits;
use crate::probe::plan::{EMAIL_DELIVERY, offered};
use crate::state::fact::{Observer, PrincipalId};
use crate::telemetry::health::Part;

const LATENCY: Duration = Duration::from_millis(10);

/// What the fake upstream does, and what was seen of the prober.
#[derive(Default)]
struct World {
    /// States by type; each type here is answered.
    states: BTreeMap<&'static str, String>,
    /// Types that close the connection.
    crash: BTreeSet<&'static str>,
    /// Types for which the whole request gets a 500.
    breaks: BTreeSet<&'static str>,
    /// Types for which there is an error.
    fails: BTreeSet<&'static str>,
    /// How many requests are to end in a panic.
    panics: usize,
    /// Types that never reply.
    hang: BTreeSet<&'static str>,
    /// Instead of a Response object.
    status: Option<u16>,
    is_unreachable: bool,
    retry_after: Option<Duration>,
    delivery_since: Option<State>,
    accounts_of: HashMap<AccountKey, u64>,
    /// Every request: account and its types.
    requests: Vec<(AccountKey, Vec<String>)>,
    crashes: usize,
    flying: HashMap<u64, usize>,
    most_flying: HashMap<u64, usize>,
    told: Vec<Told<u64>>,
}

impl World {
    fn enter(&mut self, ask: &Ask<u64>, types: &[String]) {
        self.requests.push((ask.key.clone(), types.to_vec()));
        let flying = self.flying.entry(ask.credential).or_default();
        *flying += 1;
        let most = self.most_flying.entry(ask.credential).or_default();
        *most = (*most).max(*flying);
    }

    fn reply(&mut self, ask: &Ask<u64>, calls: &[Value]) -> Result<Reply, Lost> {
        *self.flying.get_mut(&ask.credential).unwrap() -= 1;
        if self.is_unreachable {
            return Err(Lost::Unreachable);
        }
        let asks = |names: &BTreeSet<&str>| {
            calls.iter().any(|call| names.contains(call[2].as_str().unwrap()))
        };
        if asks(&self.crash) {
            self.crashes += 1;
            return Err(Lost::Closed);
        }
        let status = if asks(&self.breaks) { 500 } else { self.status.unwrap_or(200) };
        let status = StatusCode::from_u16(status).unwrap();
        let responses: Vec<Value> = calls.iter().map(|call| self.respond(ask, call)).collect();
        let body = json!({"methodResponses": responses, "sessionState": "c0"}).to_string();
        Ok(Reply { status, retry_after: self.retry_after, body: body.into(), is_as_user: true })
    }

    /// Nothing is published: that is the hub's affair.
    fn tell(&mut self, told: Told<u64>) -> bool {
        self.told.push(told);
        false
    }

    fn respond(&self, ask: &Ask<u64>, call: &Value) -> Value {
        let (name, id) = (call[0].as_str().unwrap(), call[2].as_str().unwrap());
        let account = ask.key.id.as_str();
        if self.fails.contains(id) {
            return json!(["error", {"type": "serverFail"}, id]);
        }
        if name == "Email/changes" {
            let is_new =
                call[1]["sinceState"].as_str() != self.states.get("Email").map(String::as_str);
            let created: &[&str] = if is_new { &["m1"] } else { &[] };
            return json!([name, {"accountId": account, "created": created}, id]);
        }
        match self.states.get(id) {
            Some(state) => json!([name, {"accountId": account, "state": state, "list": []}, id]),
            None => json!(["error", {"type": "unknownMethod"}, id]),
        }
    }
}

/// A response to somebody whom nobody knows.
fn passed() -> Passed {
    let now = Moment::now();
    Passed { sent: now, received: now, is_fact: false, has_written: false, is_news: false }
}

impl Answers<u64> {
    fn is_all_states(&self) -> bool {
        self.types.iter().all(|(_, answer)| matches!(answer, ProbeAnswer::State(_)))
    }
}

/// A running prober in a world of its own, under paused time.
struct Rig {
    world: Arc<Mutex<World>>,
    handle: Handle,
    drain: Drain,
    metrics: Metrics,
    health: Arc<Health>,
}

fn account(n: usize) -> AccountKey {
    AccountKey::shared(AccountId::parse(&format!("a{n}")).unwrap())
}

fn rig(interval: Duration, budget: u32) -> Rig {
    let (drain, metrics, health) =
        (Drain::default(), Metrics::default(), Arc::new(Health::default()));
    let config = config::Probe {
        interval,
        interval_min: interval,
        interval_told: interval,
        budget,
        timeout: Duration::from_secs(10),
        quarantine: Duration::from_secs(60),
        headers: Vec::new(),
    };
    let (prober, handle) =
        Prober::new(&config, drain.clone(), metrics.clone(), Arc::clone(&health));
    let world = Arc::new(Mutex::new(World {
        states: ["Mailbox", "Email", "Thread", "Identity", "EmailSubmission", "VacationResponse"]
            .map(|name| (name, "1".to_owned()))
            .into(),
        ..World::default()
    }));
    drain.spawn(prober.run(wiring(&world)));
    Rig { world, handle, drain, metrics, health }
}

type Asked = Pin<Box<dyn Future<Output = Result<Reply, Lost>> + Send>>;

#[expect(clippy::type_complexity, reason = "closures have no shorter name")]
fn wiring(
    world: &Arc<Mutex<World>>,
) -> Wiring<
    impl Fn(&AccountKey) -> Option<(Subject, u64)> + use<>,
    impl Fn(Ask<u64>) -> Asked + use<>,
    impl Fn(Told<u64>) -> bool + use<>,
> {
    let (look, ask, tell) = (Arc::clone(world), Arc::clone(world), Arc::clone(world));
    Wiring {
        look: move |account: &AccountKey| {
            let world = look.lock().unwrap();
            let principal = *world.accounts_of.get(account)?;
            let capabilities = ["mail", "submission", "vacationresponse"];
            let capabilities = capabilities.map(|name| format!("urn:ietf:params:jmap:{name}"));
            let limits = CoreLimits {
                max_calls_in_request: Some(50),
                max_concurrent_requests: Some(5),
                ..CoreLimits::default()
            };
            let subject = Subject {
                types: offered(&capabilities),
                capabilities: capabilities.into(),
                delivery_since: world.delivery_since.clone(),
                limits,
                principal: PrincipalId(principal),
            };
            Some((subject, principal))
        },
        ask: move |asked: Ask<u64>| -> Asked {
            let world = Arc::clone(&ask);
            Box::pin(async move {
                let body: Value = serde_json::from_slice(&asked.body).unwrap();
                let calls = body["methodCalls"].as_array().unwrap().clone();
                let types: Vec<String> =
                    calls.iter().map(|call| call[2].as_str().unwrap().to_owned()).collect();
                let panics = {
                    let mut world = world.lock().unwrap();
                    world.panics = world.panics.saturating_sub(1);
                    world.panics > 0
                };
                assert!(!panics, "as the test wishes");
                world.lock().unwrap().enter(&asked, &types);
                sleep(LATENCY).await;
                let hangs = |name: &String| world.lock().unwrap().hang.contains(name.as_str());
                if types.iter().any(hangs) {
                    std::future::pending::<()>().await;
                }
                world.lock().unwrap().reply(&asked, &calls)
            })
        },
        tell: move |told| tell.lock().unwrap().tell(told),
    }
}

impl Rig {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Watches accounts, `each` of them belonging to one principal, and asks for their baselines.
    fn watch(&self, count: usize, each: usize) {
        for n in 0..count {
            self.world().accounts_of.insert(account(n), (n / each) as u64);
            self.handle.watch(&account(n));
            self.handle.request(&account(n), Why::Hint);
        }
    }

    /// Lets time pass, which is virtual.
    async fn pass(&self, time: Duration) {
        sleep(time).await;
    }

    /// The accounts all of whose states were told since this was called last.
    fn served(&self) -> BTreeSet<AccountKey> {
        let told = std::mem::take(&mut self.world().told);
        let served = told.into_iter().filter_map(|told| match told {
            Told::Answered(answers) if answers.is_all_states() => Some(answers.key),
            _ => None,
        });
        served.collect()
    }

    /// The types for which the account's state was told since the last call.
    fn told_types(&self, of: &AccountKey) -> BTreeSet<String> {
        let told = std::mem::take(&mut self.world().told);
        let answers = told.into_iter().filter_map(|told| match told {
            Told::Answered(answers) if answers.key == *of => Some(answers.types),
            _ => None,
        });
        answers
            .flatten()
            .filter(|(_, answer)| matches!(answer, ProbeAnswer::State(_)))
            .map(|(name, _)| name.to_string())
            .collect()
    }

    async fn end(self) {
        self.drain.enter(Phase::Draining);
        self.drain.idle().await;
        assert_eq!(self.drain.tracked(), 0);
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_baseline_comes_in_one_request_at_once() {
    let rig = rig(Duration::ZERO, 50);
    rig.watch(1, 1);
    rig.pass(Duration::from_millis(20)).await;
    assert_eq!(rig.told_types(&account(0)).len(), 6);
    assert_eq!(rig.world().requests.len(), 1);
    assert_eq!(rig.metrics.probes.get(), 1);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn answers_carry_when_they_were_asked_and_by_whom() {
    let rig = rig(Duration::ZERO, 50);
    rig.watch(1, 1);
    rig.pass(Duration::from_millis(20)).await;
    let told = rig.world().told.pop();
    let Some(Told::Answered(answers)) = told else { panic!("{told:?}") };
    assert_eq!(answers.at.received.since(answers.at.sent), LATENCY);
    assert_eq!(answers.at.who, Observer::Known(PrincipalId(0)));
    assert_eq!(answers.session_state.as_deref(), Some("c0"));
    assert_eq!(answers.delivery, None);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn delivered_mail_is_told_with_the_state_it_was_asked_from() {
    let rig = rig(Duration::ZERO, 50);
    let since = State::parse("0").unwrap();
    rig.world().delivery_since = Some(since.clone());
    rig.watch(1, 1);
    rig.pass(Duration::from_millis(20)).await;
    let told = rig.world().told.pop();
    let Some(Told::Answered(answers)) = told else { panic!("{told:?}") };
    assert_eq!(answers.delivery, Some(Delivery { since, created: true }));
    assert_eq!(rig.world().requests.len(), 1, "in the same request");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_watched_account_is_asked_every_interval() {
    let rig = rig(secs(30), 50);
    rig.watch(1, 1);
    rig.pass(secs(600)).await;
    let asked = rig.world().requests.len();
    assert!((17..=26).contains(&asked), "{asked}");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_account_without_a_subscriber_is_not_asked_about() {
    let rig = rig(secs(30), 50);
    rig.handle.watch(&account(0));
    rig.pass(secs(600)).await;
    assert!(rig.world().requests.is_empty());
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_account_is_asked_about_no_more() {
    let rig = rig(secs(30), 50);
    rig.watch(1, 1);
    rig.pass(secs(1)).await;
    rig.handle.remove(&account(0));
    assert!(!rig.handle.request(&account(0), Why::Hint));
    rig.pass(secs(600)).await;
    assert_eq!(rig.world().requests.len(), 1);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_hint_during_a_probe_brings_exactly_one_more() {
    let rig = rig(Duration::ZERO, 50);
    rig.watch(1, 1);
    rig.pass(Duration::from_millis(5)).await;
    for _ in 0..10 {
        rig.handle.request(&account(0), Why::Hint);
    }
    rig.pass(secs(60)).await;
    assert_eq!(rig.world().requests.len(), 2);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_budget_holds_over_all_accounts_and_all_are_served() {
    let rig = rig(Duration::ZERO, 10);
    rig.watch(100, 1);
    rig.pass(secs(5)).await;
    let asked = rig.world().requests.len();
    assert!((50..=52).contains(&asked), "{asked}");
    assert!(rig.metrics.probe_queue.get() >= 40);
    rig.pass(secs(6)).await;
    assert_eq!(rig.world().requests.len(), 100);
    assert_eq!(rig.metrics.probe_queue.get(), 0);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_user_with_many_accounts_holds_up_nobody_and_keeps_room_for_its_client() {
    let rig = rig(Duration::ZERO, 100_000);
    rig.watch(100, 99);
    rig.pass(Duration::from_millis(15)).await;
    assert!(!rig.told_types(&account(99)).is_empty(), "the other user is served at once");
    rig.pass(secs(2)).await;
    {
        let world = rig.world();
        let served: BTreeSet<_> =
            world.requests.iter().map(|(account, _)| account.clone()).collect();
        assert_eq!(served.len(), 100);
        assert_eq!(world.requests.len(), 100);
        assert!(world.most_flying[&0] <= 2, "{:?}", world.most_flying);
    }
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_type_that_crashes_upstream_is_found_and_stops_nobody() {
    let rig = rig(secs(30), 50);
    rig.world().crash.insert("VacationResponse");
    rig.watch(1, 1);
    rig.pass(secs(1)).await;
    assert_eq!(rig.told_types(&account(0)).len(), 5, "all others, in the first second");
    let listed = rig.handle.quarantined();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].data_type.as_str(), "VacationResponse");
    assert_eq!(rig.metrics.quarantined_types.get(), 1);
    assert!(rig.health.troubles().is_empty(), "the probe as a whole works");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_type_that_crashes_upstream_is_tried_ever_less() {
    let rig = rig(secs(30), 50);
    rig.world().crash.insert("VacationResponse");
    rig.watch(20, 1);
    rig.pass(secs(10)).await;
    let at_first = rig.world().crashes;
    assert!(at_first <= 20, "{at_first} crashes");
    rig.pass(secs(4 * 3600)).await;
    let later = rig.world().crashes - at_first;
    // After 1, 2, 4, 8, 16, 32 minutes, then hourly.
    assert!((6..=10).contains(&later), "{later} crashes");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn two_types_that_crash_upstream_are_both_found() {
    let rig = rig(secs(30), 50);
    rig.world().crash.extend(["VacationResponse", "Mailbox"]);
    rig.watch(3, 1);
    rig.pass(secs(5)).await;
    for n in 0..3 {
        rig.handle.request(&account(n), Why::Hint);
        rig.world().told.clear();
        rig.pass(secs(1)).await;
        assert_eq!(rig.told_types(&account(n)).len(), 4);
    }
    assert_eq!(rig.metrics.quarantined_types.get(), 2);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_type_that_hangs_is_found_like_one_that_crashes() {
    let rig = rig(secs(30), 50);
    rig.world().hang.insert("VacationResponse");
    rig.watch(1, 1);
    rig.pass(secs(60)).await;
    assert_eq!(rig.told_types(&account(0)).len(), 5);
    assert_eq!(rig.handle.quarantined().len(), 1);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_mended_type_comes_back_and_is_asked_with_the_others() {
    let rig = rig(secs(30), 50);
    rig.world().crash.insert("VacationResponse");
    rig.watch(2, 1);
    rig.pass(secs(1)).await;
    rig.world().crash.clear();
    rig.pass(secs(150)).await;
    assert!(rig.handle.quarantined().is_empty());
    assert_eq!(rig.metrics.quarantined_types.get(), 0);
    rig.world().requests.clear();
    rig.pass(secs(40)).await;
    assert!(rig.world().requests.iter().all(|(_, types)| types.len() == 6));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_type_somebody_else_was_answered_for_is_asked_at_once() {
    let rig = rig(Duration::ZERO, 50);
    rig.world().crash.insert("VacationResponse");
    rig.watch(1, 1);
    rig.pass(secs(1)).await;
    rig.world().crash.clear();
    let answered = DataType::parse("VacationResponse").unwrap();
    rig.handle.upstream_answered(&account(7), [&answered], &passed());
    assert!(rig.handle.quarantined().is_empty());
    rig.handle.request(&account(0), Why::Hint);
    rig.world().told.clear();
    rig.pass(secs(1)).await;
    assert_eq!(rig.told_types(&account(0)).len(), 6);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_down_quarantines_nothing_and_is_noticed_when_back() {
    let rig = rig(secs(30), 50);
    rig.watch(20, 1);
    rig.pass(secs(5)).await;
    for outage in [502, 500] {
        rig.world().status = Some(outage);
        rig.pass(secs(3600)).await;
        assert!(rig.handle.quarantined().is_empty());
        assert!(rig.health.troubles().contains_key(&Part::Probe));
        {
            let mut world = rig.world();
            world.status = None;
            world.told.clear();
        }
        rig.pass(secs(10)).await;
        assert_eq!(rig.served().len(), 20, "all within seconds of its return");
        assert!(rig.health.troubles().is_empty());
    }
    rig.end().await;
}

/// Whoever is asked for changes while accounts wait for the one before: none is left behind.
#[tokio::test(start_paused = true)]
async fn accounts_that_wait_in_a_lane_survive_its_principal() {
    let rig = rig(Duration::ZERO, 50);
    rig.watch(8, 8);
    rig.pass(LATENCY / 2).await;
    for n in 0..8 {
        rig.world().accounts_of.insert(account(n), 1);
    }
    rig.pass(secs(10)).await;
    assert_eq!(rig.served().len(), 8);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_client_ends_all_back_offs() {
    let rig = rig(secs(30), 50);
    rig.watch(20, 1);
    rig.world().status = Some(502);
    rig.pass(secs(3600)).await;
    {
        let mut world = rig.world();
        world.status = None;
        world.told.clear();
    }
    rig.handle.upstream_answered(&account(3), [], &passed());
    assert!(rig.health.troubles().is_empty());
    rig.pass(secs(3)).await;
    assert_eq!(rig.served().len(), 20);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_of_notifications_that_is_lost_is_relied_on_no_longer() {
    let rig = rig(secs(30), 50);
    rig.watch(32, 1);
    let told = rig.metrics.probe_accounts.get_or_create(&[("interval", "told")]).clone();
    for n in 0..32 {
        rig.handle.heard(&account(n), Moment::now(), true);
    }
    rig.pass(secs(60)).await;
    assert_eq!(told.get(), 32);
    rig.health.degrade(Part::Redis, "gone", "bring it back");
    rig.pass(Duration::from_millis(1)).await;
    assert_eq!(told.get(), 0);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_strained_upstream_is_asked_by_fewer_at_the_same_time() {
    let rig = rig(secs(30), 10_000);
    rig.world().status = Some(503);
    rig.watch(100, 1);
    rig.pass(secs(120)).await;
    assert_eq!(rig.metrics.probe_window.get(), 1);
    rig.world().status = None;
    rig.pass(secs(1200)).await;
    assert_eq!(rig.metrics.probe_window.get(), 32);
    rig.end().await;
}

/// Its 500s tell of that type and not of load.
#[tokio::test(start_paused = true)]
async fn the_search_for_a_type_that_breaks_is_no_strain_on_the_others() {
    let rig = rig(secs(30), 10_000);
    rig.world().breaks.insert("VacationResponse");
    rig.watch(1, 1);
    let mut least = 32;
    for _ in 0..10_000 {
        rig.pass(LATENCY).await;
        rig.handle.0.wake.notify_one();
        least = least.min(rig.metrics.probe_window.get());
    }
    assert_eq!(rig.handle.quarantined().len(), 1);
    assert_eq!(least, 16, "the request that began the search may have told of load");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_cannot_be_reached_is_not_searched_for_culprits() {
    let rig = rig(secs(30), 50);
    rig.world().is_unreachable = true;
    rig.watch(1, 1);
    rig.pass(secs(3600)).await;
    {
        let world = rig.world();
        assert!(world.requests.iter().all(|(_, types)| types.len() == 6), "nothing is halved");
        // Back-off is uniform up to 30 s.
        assert!((120..=400).contains(&world.requests.len()), "{}", world.requests.len());
    }
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_method_is_asked_for_once_an_hour() {
    let rig = rig(secs(30), 50);
    rig.world().states.remove("VacationResponse");
    rig.watch(1, 1);
    rig.pass(secs(3500)).await;
    let asked = |rig: &Rig| {
        let world = rig.world();
        world
            .requests
            .iter()
            .flat_map(|(_, types)| types)
            .filter(|name| *name == "VacationResponse")
            .count()
    };
    assert_eq!(asked(&rig), 1);
    rig.pass(secs(200)).await;
    assert_eq!(asked(&rig), 2);
    assert_eq!(rig.metrics.quarantined_types.get(), 0, "upstream does not break on it");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_is_told_and_is_no_trouble_of_upstreams() {
    let rig = rig(Duration::ZERO, 50);
    rig.world().status = Some(401);
    rig.watch(5, 1);
    rig.pass(Duration::from_millis(300)).await;
    // The integrator ends the streams: no subject is left.
    rig.world().accounts_of.clear();
    rig.pass(secs(60)).await;
    let told: BTreeSet<u64> = rig
        .world()
        .told
        .iter()
        .filter_map(|told| match told {
            Told::Unauthorized { credential } => Some(*credential),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 5);
    assert!(rig.health.troubles().is_empty());
    assert!(rig.handle.quarantined().is_empty());
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_kept() {
    let rig = rig(Duration::ZERO, 50);
    {
        let mut world = rig.world();
        world.status = Some(429);
        world.retry_after = Some(secs(100));
    }
    rig.watch(1, 1);
    rig.pass(secs(99)).await;
    rig.handle.request(&account(0), Why::Hint);
    assert_eq!(rig.world().requests.len(), 1);
    rig.pass(secs(5)).await;
    assert_eq!(rig.world().requests.len(), 2);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_drain_ends_probes_under_way() {
    let rig = rig(secs(30), 50);
    rig.world().hang.insert("Email");
    rig.watch(40, 1);
    rig.pass(secs(1)).await;
    assert!(rig.drain.tracked() > 1);
    let before = Moment::now();
    rig.end().await;
    assert!(Moment::now().since(before) < secs(1));
}

/// The probes told to have been sent and not yet to be over, and how many there were in all.
fn unfinished(told: &[Told<u64>]) -> (BTreeSet<AccountKey>, usize) {
    let (mut open, mut count) = (BTreeSet::new(), 0);
    for each in told {
        match each {
            Told::Sent(key) => {
                assert!(open.insert(key.clone()), "sent twice");
                count += 1;
            }
            Told::Answered(answers) => {
                assert!(open.contains(&answers.key), "an answer after the last one");
                if answers.complete {
                    open.remove(&answers.key);
                }
            }
            Told::Unauthorized { .. } | Told::Revalidate { .. } => {}
        }
    }
    (open, count)
}

#[tokio::test(start_paused = true)]
async fn each_probe_is_told_to_be_sent_and_to_be_over_whatever_becomes_of_it() {
    for (status, crash, is_unreachable) in [
        (None, None, false),
        (None, Some("VacationResponse"), false),
        (None, None, true),
        (Some(500), None, false),
        (Some(401), None, false),
        (Some(403), None, false),
        (Some(429), None, false),
        (Some(404), None, false),
    ] {
        let rig = rig(secs(30), 50);
        {
            let mut world = rig.world();
            world.status = status;
            world.crash.extend(crash);
            world.is_unreachable = is_unreachable;
        }
        rig.watch(3, 1);
        rig.pass(secs(300)).await;
        for n in 0..3 {
            rig.handle.remove(&account(n));
        }
        rig.pass(secs(30)).await;
        let (open, count) = unfinished(&rig.world().told);
        assert!(open.is_empty(), "{open:?}");
        assert!(count >= 9, "{status:?}: {count}");
        rig.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_complete_answer_accounts_for_every_type_that_was_wanted() {
    let rig = rig(Duration::ZERO, 50);
    rig.world().crash.insert("VacationResponse");
    rig.watch(1, 1);
    for _ in 0..2 {
        rig.pass(secs(1)).await;
        let told = std::mem::take(&mut rig.world().told);
        let answers = told.into_iter().filter_map(|told| match told {
            Told::Answered(answers) => Some(answers.types),
            _ => None,
        });
        let types: BTreeMap<_, _> =
            answers.flatten().map(|(name, answer)| (name.to_string(), answer)).collect();
        assert_eq!(types.len(), 6);
        assert_eq!(types["VacationResponse"], ProbeAnswer::Failed);
        rig.handle.request(&account(0), Why::Hint);
    }
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_account_with_nothing_to_ask_is_over_at_once() {
    let rig = rig(Duration::ZERO, 50);
    rig.world().states.clear();
    rig.watch(1, 1);
    rig.pass(secs(5)).await;
    rig.world().told.clear();
    let asked = rig.world().requests.len();
    rig.handle.request(&account(0), Why::Hint);
    rig.pass(secs(5)).await;
    assert_eq!(rig.world().requests.len(), asked, "all are unknown methods by now");
    let told = std::mem::take(&mut rig.world().told);
    let [Told::Sent(_), Told::Answered(answers)] = told.as_slice() else { panic!("{told:?}") };
    assert!(answers.complete);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_changes_call_that_crashes_upstream_costs_only_the_delivery() {
    let rig = rig(secs(30), 50);
    rig.world().delivery_since = State::parse("0");
    rig.world().crash.insert(EMAIL_DELIVERY);
    rig.watch(1, 1);
    rig.pass(secs(1)).await;
    assert_eq!(rig.told_types(&account(0)).len(), 6);
    assert_eq!(rig.handle.quarantined()[0].data_type.as_str(), EMAIL_DELIVERY);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_type_upstream_fails_on_without_breaking_is_asked_again_even_without_an_interval() {
    let rig = rig(Duration::ZERO, 50);
    rig.world().fails.insert("Email");
    rig.watch(1, 1);
    rig.pass(secs(50)).await;
    assert_eq!(rig.world().requests.len(), 1);
    rig.world().fails.clear();
    rig.pass(secs(20)).await;
    assert!(rig.told_types(&account(0)).contains("Email"));
    assert_eq!(rig.world().requests.len(), 2);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_gives_its_place_back() {
    let rig = rig(secs(30), 50);
    rig.world().panics = 40;
    rig.watch(40, 1);
    rig.pass(secs(60)).await;
    rig.world().told.clear();
    rig.pass(secs(40)).await;
    for n in 0..40 {
        let is_served = rig.world().told.iter().any(|told| match told {
            Told::Answered(answers) => answers.key == account(n) && answers.complete,
            _ => false,
        });
        assert!(is_served, "{n}");
    }
    rig.end().await;
}
