//! Keeps the subscriptions that the [`roster`](super::roster) wants, and tells the hub what they say.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::attempt::{self, Opened};
use super::ended::{Ended, Farewell, Verdict};
use super::listen::{Heard, listen};
use super::pulse::Pulse;
use super::roster::{Roster, Start};
use crate::auth::{Authority, CredentialKey};
use crate::clock::Moment;
use crate::config::UpstreamPush;
use crate::drain::{Drain, Phase};
use crate::hub::Hub;
use crate::state::fact::PrincipalId;
use crate::telemetry::health::{Health, Part};
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

/// When it is asked once more what was missed: upstream may answer before it has registered the
/// subscription.
const REGISTERED_AFTER: Duration = Duration::from_secs(2);

/// How long what the log was told holds, even if it has passed.
const SAID_FOR: Duration = Duration::from_secs(60 * 60);

/// The parts that a relay joins.
#[derive(Clone)]
pub struct Wiring {
    /// Whose push it is.
    pub upstream: Arc<Upstream>,
    /// Asked again about users whom upstream's push refuses.
    pub authority: Arc<Authority>,
    /// Whose streams there are, and who is told.
    pub hub: Arc<Hub>,
    /// Counts the subscriptions.
    pub drain: Drain,
}

/// See the module.
pub struct Relay {
    wiring: Wiring,
    health: Arc<Health>,
    metrics: Metrics,
    roster: Roster,
    pulse: Arc<Mutex<Pulse>>,
    /// Attempts and subscriptions. Bounded by `upstream.relay_connections`.
    tasks: JoinSet<(Start, Outcome)>,
    /// How to end them, by attempt.
    running: HashMap<u64, (AbortHandle, PrincipalId)>,
    /// Subscriptions opened just now, by attempt: whose accounts are asked about once more, and when.
    /// Bounded by what opens within [`REGISTERED_AFTER`].
    young: VecDeque<(Moment, u64, CredentialKey)>,
    /// Whether it is a trouble when it does not work.
    is_demanded: bool,
    /// What ended last, while nothing has opened since.
    trouble: Option<Ended>,
    /// What the log was told, and when: each kind of end once.
    said: Vec<(&'static str, Moment)>,
}

/// What became of a task.
enum Outcome {
    Opened(Box<Opened>),
    Ended(Farewell),
}

impl Relay {
    /// Follows the hub from now on; `None` where upstream's push is not to be listened to.
    #[must_use]
    pub fn new(wiring: Wiring, health: &Arc<Health>, metrics: &Metrics) -> Option<Self> {
        let settings = wiring.upstream.settings();
        let is_demanded = match settings.push {
            UpstreamPush::Auto => false,
            UpstreamPush::Relay => true,
            UpstreamPush::Ignore | UpstreamPush::Passthrough => return None,
        };
        wiring.hub.comings().follow();
        Some(Self {
            roster: Roster::new(settings.relay_connections),
            wiring,
            health: Arc::clone(health),
            metrics: metrics.clone(),
            pulse: Arc::default(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            young: VecDeque::new(),
            is_demanded,
            trouble: None,
            said: Vec::new(),
        })
    }

    /// Runs until the process ends.
    pub async fn run(mut self) {
        let wiring = self.wiring.clone();
        loop {
            while let Some(start) = self.roster.next(Moment::now()) {
                self.attempt(start);
            }
            self.ask_again(Moment::now());
            self.report();
            let again = self.young.front().map(|(at, ..)| *at);
            let due = self.roster.due().into_iter().chain(again).min().unwrap_or(Moment::NEVER);
            tokio::select! {
                () = wiring.drain.reached(Phase::Ended) => return,
                changed = wiring.hub.comings().take() => {
                    changed.into_iter().for_each(|credential| self.look(credential));
                }
                Some(done) = self.tasks.join_next() => self.done(done),
                () = tokio::time::sleep_until(due.instant()), if due != Moment::NEVER => {}
            }
        }
    }

    /// Somebody's streams came or went.
    fn look(&mut self, credential: CredentialKey) {
        let now = Moment::now();
        let live = self.wiring.hub.live_by(credential);
        // Most servers have no push, and it is no trouble: nobody need wait for it.
        let live = live.filter(|principal| self.is_demanded || principal.push.is_offered());
        let ended = match live {
            Some(principal) => self.roster.came(credential, principal, now),
            None => self.roster.gone(credential, now),
        };
        if let Some((task, _)) = ended.and_then(|attempt| self.running.remove(&attempt)) {
            task.abort();
        }
    }

    fn attempt(&mut self, start: Start) {
        let offers = match attempt::offers(&self.wiring.upstream, &start) {
            Ok(offers) => offers,
            Err(ended) => return self.ended(&start, ended.into()),
        };
        let (upstream, tracked) = (Arc::clone(&self.wiring.upstream), self.wiring.drain.track());
        self.spawn((start.user, start.attempt), async move {
            let _tracked = tracked;
            let outcome = match attempt::open(&upstream, &offers, &start).await {
                Ok(opened) => Outcome::Opened(Box::new(opened)),
                Err(farewell) => Outcome::Ended(farewell),
            };
            (start, outcome)
        });
    }

    fn opened(&mut self, start: Start, opened: Opened) {
        if !self.roster.opened(start.user, start.attempt, Moment::now()) {
            return;
        }
        self.trouble = None;
        let again = Moment::now().after(REGISTERED_AFTER);
        self.young.push_back((again, start.attempt, start.credential));
        let (pulse, metrics) = (Arc::clone(&self.pulse), self.metrics.clone());
        let (hub, tracked) = (Arc::clone(&self.wiring.hub), self.wiring.drain.track());
        hub.missed(start.credential);
        self.spawn((start.user, start.attempt), async move {
            let _tracked = tracked;
            let hear = |heard| tell(&hub, &metrics, start.credential, &heard);
            let farewell = match opened {
                Opened::Stream(response) => listen(response.into_body(), &pulse, hear).await,
                Opened::Socket(socket) => socket.listen(hear).await,
            };
            (start, Outcome::Ended(farewell))
        });
    }

    /// Asks what was missed by subscriptions that are open for a while now.
    fn ask_again(&mut self, now: Moment) {
        while let Some((_, attempt, credential)) =
            self.young.front().filter(|it| it.0 <= now).copied()
        {
            self.young.pop_front();
            if self.running.contains_key(&attempt) {
                self.wiring.hub.missed(credential);
            }
        }
    }

    fn spawn<F>(&mut self, (user, attempt): (PrincipalId, u64), task: F)
    where
        F: Future<Output = (Start, Outcome)> + Send + 'static,
    {
        let handle = self.tasks.spawn(task);
        self.running.insert(attempt, (handle, user));
    }

    fn done(&mut self, done: Result<(Start, Outcome), JoinError>) {
        match done {
            Ok((start, outcome)) => {
                // One that was to be ended may have come to its end before.
                if self.running.remove(&start.attempt).is_none() {
                    return;
                }
                match outcome {
                    Outcome::Opened(opened) => self.opened(start, *opened),
                    Outcome::Ended(farewell) => self.ended(&start, farewell),
                }
            }
            // Aborted tasks run no more; another one panicked.
            Err(error) => {
                let known = self.running.iter().find(|(_, (handle, _))| handle.id() == error.id());
                let Some((attempt, user)) = known.map(|(attempt, (_, user))| (*attempt, *user))
                else {
                    return;
                };
                self.running.remove(&attempt);
                self.lost((user, attempt), Ended::Broken.into());
            }
        }
    }

    fn ended(&mut self, start: &Start, farewell: Farewell) {
        if farewell.ended.verdict() == Verdict::Refused {
            self.wiring.authority.suspects().add(start.user);
        }
        self.lost((start.user, start.attempt), farewell);
    }

    fn lost(&mut self, whose: (PrincipalId, u64), farewell: Farewell) {
        tracing::debug!(why = %farewell.ended, "upstream's push is not heard for a user");
        if farewell.ended != Ended::NotOffered {
            self.metrics.relay_ends.get_or_create(&[("why", farewell.ended.label())]).inc();
        }
        let ended = farewell.ended.clone();
        let loss = self.roster.ended(whose, farewell, Moment::now(), rand::random());
        if loss.is_some_and(|loss| loss.of_source) {
            self.wiring.hub.unheard();
        }
        // That something ends is no trouble; that it does not open again is.
        if loss.is_some_and(|loss| loss.of_attempt) {
            self.trouble = Some(ended);
        }
    }

    /// Says how it stands. One user's loss is no trouble while others are listened for.
    fn report(&mut self) {
        let (listening, crowded_out) = (self.roster.listening(), self.roster.crowded_out());
        self.metrics.relays.set(i64::try_from(listening).unwrap_or(i64::MAX));
        self.metrics.relays_waiting.set(i64::try_from(crowded_out).unwrap_or(i64::MAX));
        // It works, for as many as it is to.
        if crowded_out > 0 {
            self.say(&self.roster.full());
        }
        match self.trouble.clone().filter(|_| listening == 0 && self.roster.users() > 0) {
            None => {
                let now = Moment::now();
                self.said.retain(|(_, at)| crowded_out > 0 || now.since(*at) < SAID_FOR);
                self.health.recover(Part::Relay);
            }
            Some(ended) if self.is_demanded => {
                self.health.degrade(Part::Relay, ended.to_string(), ended.remedy());
            }
            Some(ended) => self.say(&ended),
        }
    }

    /// The log hears of each kind of trouble once, and again if it comes back after [`SAID_FOR`].
    fn say(&mut self, ended: &Ended) {
        if self.said.iter().any(|(label, _)| *label == ended.label()) {
            return;
        }
        self.said.push((ended.label(), Moment::now()));
        match ended {
            Ended::Full(_) | Ended::Elsewhere(_) => {
                tracing::warn!(why = %ended, remedy = ended.remedy(), "upstream's own push is not heard for all");
            }
            _ => {
                tracing::info!(why = %ended, "upstream's own push is not heard; the probe goes on")
            }
        }
    }
}

fn tell(hub: &Hub, metrics: &Metrics, credential: CredentialKey, heard: &Heard) {
    match heard {
        Heard::Changes(claims) => {
            metrics.relay_events.inc();
            for claim in claims {
                if !hub.relayed(credential, claim) {
                    tracing::debug!(
                        "upstream's push names an account that the user's Session does not"
                    );
                }
            }
        }
        Heard::Unreadable => {
            metrics.relay_events_bad.inc();
            hub.missed(credential);
        }
    }
}
