//! The task that asks upstream for states (architecture D8).
//!
//! Knows neither connections nor subscribers: who starts it hands over three closures ([`Wiring`]).
//! Every decision is taken in the pure parts beside this file; here are the clock and the waiting.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::sleep_until;

use super::answer::{AccountError, Lost, Reply};
use super::desk::Shared;
use super::plan::Subject;
use super::quarantine::Quarantined;
use super::schedule::evidence::{Change, Passed, Source};
use super::schedule::{Ended, Next, Why};
use super::visit::Visit;
use crate::clock::Moment;
use crate::config;
use crate::drain::{Drain, Phase};
use crate::jmap::id::DataType;
use crate::state::fact::{AccountKey, Delivery, Exchange, ProbeAnswer, Probed};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

/// What the prober needs from its surroundings. `C` is a credential, which it hands back unread.
pub struct Wiring<L, A, T> {
    /// `Fn(&AccountKey) -> Option<(Subject, C)>`: what is known of an account now, and whom to ask as;
    /// `None` when nobody watches it.
    pub look: L,
    /// `Fn(Ask<C>) -> impl Future<Output = Result<Reply, Lost>>`: POSTs the body to upstream's API with
    /// the credential. Dropped after `probe.timeout`.
    pub ask: A,
    /// `Fn(Told<C>) -> bool`: takes what was learnt, and gives whether that was published, as a change.
    /// Called between two requests of a probe: must not block.
    pub tell: T,
}

/// One request to send.
#[derive(Debug, Clone)]
pub struct Ask<C> {
    /// Whom to ask as.
    pub credential: C,
    /// The account asked about.
    pub key: AccountKey,
    /// The JSON body.
    pub body: Bytes,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told<C> {
    /// A probe goes out (`Tracker::probe_sent`). Unless the drain begins, [`Self::Answered`] follows
    /// once or several times, the last time complete.
    Sent(AccountKey),
    /// Upstream answered a request, or the probe is over.
    Answered(Answers<C>),
    /// 401: the streams of this credential end (D8), and [`Wiring::look`] gives it no more.
    Unauthorized {
        /// Whom upstream was asked as.
        credential: C,
    },
    /// The credential may not see the account as it could: its Session is to be fetched again (D9).
    Revalidate {
        /// Whom upstream was asked as.
        credential: C,
        /// The account asked about.
        key: AccountKey,
        /// What upstream said.
        error: AccountError,
    },
}

/// See [`Told::Answered`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers<C> {
    /// The account asked about.
    pub key: AccountKey,
    /// Whom upstream was asked as.
    pub credential: C,
    /// Who asked, and when.
    pub at: Exchange,
    /// What was said, by type. In the complete answer also each type that was wanted and has got no
    /// answer, left alone or broken, as failed.
    pub types: Vec<(DataType, ProbeAnswer)>,
    /// What was learnt of new Email, when asked.
    pub delivery: Option<Delivery>,
    /// Whether the probe is over.
    pub complete: bool,
    /// `sessionState` (§3.4), as upstream gave it.
    pub session_state: Option<String>,
}

impl<C> Answers<C> {
    /// The part that the tracker takes.
    #[must_use]
    pub fn probed(&self) -> Probed<'_> {
        Probed { answers: &self.types, delivery: self.delivery.clone(), complete: self.complete }
    }
}

/// Tells the prober what to ask. Cheap to clone; never waits, loses nothing.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

/// The task, to be run once.
#[derive(Debug)]
pub struct Prober {
    shared: Arc<Shared>,
    drain: Drain,
}

impl Prober {
    /// A prober with nothing to do yet; it works once [`Self::run`] is polled.
    #[must_use]
    pub fn new(
        config: &config::Probe,
        drain: Drain,
        metrics: Metrics,
        health: Arc<Health>,
    ) -> (Self, Handle) {
        Self::seeded(rand::random(), config, drain, metrics, health)
    }

    /// The same with this seed of all jitter, so that what happens can happen again.
    #[must_use]
    pub fn seeded(
        seed: u64,
        config: &config::Probe,
        drain: Drain,
        metrics: Metrics,
        health: Arc<Health>,
    ) -> (Self, Handle) {
        let shared = Arc::new(Shared::new(config, seed, metrics, health));
        (Self { shared: Arc::clone(&shared), drain }, Handle(shared))
    }

    /// Another way to tell it what to ask.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Asks until the drain begins; probes under way end with it.
    pub async fn run<C, L, A, F, T>(self, wiring: Wiring<L, A, T>)
    where
        C: Clone + Send + Sync + 'static,
        L: Fn(&AccountKey) -> Option<(Subject, C)> + Send + Sync + 'static,
        A: Fn(Ask<C>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply, Lost>> + Send + 'static,
        T: Fn(Told<C>) -> bool + Send + Sync + 'static,
    {
        let wiring = Arc::new(wiring);
        loop {
            let next = self.shared.due();
            let pause = match next {
                Next::Ask(key) => {
                    self.start(&wiring, key);
                    continue;
                }
                Next::At(moment) => Some(moment),
                Next::Idle => None,
            };
            tokio::select! {
                () = self.drain.reached(Phase::Draining) => return,
                () = self.shared.wake.notified() => {}
                () = self.shared.health_changed() => {}
                () = sleep_until(pause.unwrap_or_default().instant()), if pause.is_some() => {}
            }
        }
    }

    /// Starts the probe of an account that the schedule has handed out.
    fn start<C, L, A, F, T>(&self, wiring: &Arc<Wiring<L, A, T>>, key: AccountKey)
    where
        C: Clone + Send + Sync + 'static,
        L: Fn(&AccountKey) -> Option<(Subject, C)> + Send + Sync + 'static,
        A: Fn(Ask<C>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply, Lost>> + Send + 'static,
        T: Fn(Told<C>) -> bool + Send + Sync + 'static,
    {
        let now = Moment::now();
        let Some((subject, credential)) = (wiring.look)(&key) else {
            self.shared.desk().schedule.finished(&key, Ended::Idle, None, now);
            return;
        };
        let Some(visit) = Visit::open(&self.shared, key, subject, now) else { return };
        let wiring = Arc::clone(wiring);
        let drain = self.drain.clone();
        self.drain.spawn(async move {
            tokio::select! {
                () = drain.reached(Phase::Draining) => {}
                () = visit.run(credential, &wiring.ask, &wiring.tell) => {}
            }
        });
    }
}

impl Handle {
    /// Starts watching an account that has its first live subscriber. Its baseline is to be
    /// [`requested`](Self::request).
    pub fn watch(&self, key: &AccountKey) {
        self.0.desk().schedule.watch(key, Moment::now());
        self.0.wake.notify_one();
    }

    /// Asks for a probe at once: a baseline, or a hint (D7). Gives whether the account is watched.
    pub fn request(&self, key: &AccountKey, why: Why) -> bool {
        let is_watched = self.0.desk().schedule.request(key, why, Moment::now());
        self.0.wake.notify_one();
        is_watched
    }

    /// Stops watching an account whose last live subscriber has gone.
    pub fn remove(&self, key: &AccountKey) {
        let mut desk = self.0.desk();
        desk.schedule.remove(key, Moment::now());
        if desk.quarantine.forget(key) {
            self.0.count_quarantined(&desk);
        }
    }

    /// A source of notifications spoke of the account at `at`. `is_published`: so exactly that it was
    /// published without asking upstream.
    pub fn heard(&self, key: &AccountKey, at: Moment, is_published: bool) {
        let now = Moment::now();
        self.0.desk().schedule.heard(key, at, is_published, now);
        if is_published {
            self.0.published(Change { source: Source::Notice, within: now.since(at) });
        }
    }

    /// Notifications may have been lost: what others tell is no longer taken for all there is.
    pub fn gap(&self) {
        self.0.desk().schedule.gap(Moment::now());
        self.0.wake.notify_one();
    }

    /// Upstream answered a client: quarantine of the types it stated ends, and if no probe was
    /// answered lately, accounts that back off are asked about within seconds. Where it stated what a
    /// probe would have asked for, the next probe is put off.
    pub fn upstream_answered<'a>(
        &self,
        key: &AccountKey,
        types: impl IntoIterator<Item = &'a DataType> + Clone,
        passed: &Passed,
    ) {
        let now = Moment::now();
        types.clone().into_iter().for_each(|data_type| self.0.answered(key, data_type, now));
        let mut desk = self.0.desk();
        self.0.judge(&mut desk, true, now);
        let change = desk.schedule.passed(key, types, passed, now);
        drop(desk);
        if let Some(change) = change {
            self.0.published(change);
        }
        self.0.wake.notify_one();
    }

    /// A [`Wiring::ask`] takes one more request, which counts like each other one.
    pub fn asks_again(&self) {
        self.0.desk().schedule.spend(Moment::now());
        self.0.metrics.probes.inc();
    }

    /// The types that are not asked for now, for the operator.
    #[must_use]
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.0.desk().quarantine.list(Moment::now())
    }
}

#[cfg(test)]
mod tests;
