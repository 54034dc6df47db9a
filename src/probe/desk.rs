//! What the prober's task, its probes and its handles share: the pure parts under one lock.
//!
//! Decides nothing; adds the log lines, metrics and health that go with a decision.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::lane::Lanes;
use super::plan;
use super::quarantine::Quarantine;
use super::schedule::evidence::Change;
use super::schedule::{Intervals, Next, Schedule};
use crate::clock::Moment;
use crate::config;
use crate::jmap::id::DataType;
use crate::state::fact::AccountKey;
use crate::telemetry::health::{Health, Part};
use crate::telemetry::metrics::Metrics;

/// Probes that fail one after the other, whatever the account, before the operator is told.
const FAILURES_TO_TELL: u32 = 3;

/// All that changes. One std mutex: held for a few map operations at a time, never across an await,
/// and taken by callers that are not async.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) schedule: Schedule,
    pub(super) quarantine: Quarantine,
    pub(super) lanes: Lanes,
    /// Probes that failed since one was answered.
    failures: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    desk: Mutex<Desk>,
    /// The task is to look at the schedule again.
    pub(super) wake: Notify,
    /// Time for one request.
    pub(super) timeout: Duration,
    pub(super) metrics: Metrics,
    health: Arc<Health>,
}

impl Shared {
    pub(super) fn new(
        config: &config::Probe,
        seed: u64,
        metrics: Metrics,
        health: Arc<Health>,
    ) -> Self {
        let desk = Desk {
            schedule: Schedule::new(Intervals::new(config), config.budget, seed),
            quarantine: Quarantine::new(config.quarantine),
            lanes: Lanes::default(),
            failures: 0,
        };
        let (desk, wake) = (Mutex::new(desk), Notify::new());
        Self { desk, wake, timeout: config.timeout, metrics, health }
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to do next.
    pub(super) fn due(&self) -> Next {
        let now = Moment::now();
        let mut desk = self.desk();
        if self.health.has_lost_a_source() {
            desk.schedule.gap(now);
        }
        let next = desk.schedule.due(now);
        self.show(&mut desk.schedule);
        next
    }

    /// A change was published.
    pub(super) fn published(&self, change: Change) {
        self.metrics.change_to_push.observe(("source", change.source.name()), change.within);
    }

    fn show(&self, schedule: &mut Schedule) {
        let metrics = &self.metrics;
        metrics.probe_queue.set(gauge(schedule.queued()));
        metrics.probe_window.set(gauge(schedule.in_flight_limit()));
        let hurried = schedule.hurried();
        let others = schedule.watched().saturating_sub(hurried);
        let (usual, told) = if schedule.is_confident() { (0, others) } else { (others, 0) };
        for (interval, accounts) in [("min", hurried), ("usual", usual), ("told", told)] {
            let by_interval = metrics.probe_accounts.get_or_create(&[("interval", interval)]);
            by_interval.set(gauge(accounts));
        }
        let tally = schedule.tally();
        for (finds, count) in [("told", tally.told), ("unannounced", tally.unannounced)] {
            metrics.probe_finds.get_or_create(&[("by", finds)]).inc_by(count);
        }
        metrics.probes_spared.inc_by(tally.spared);
    }

    /// Waits until some part of the process fails or is well again.
    pub(super) async fn health_changed(&self) {
        self.health.changed().await;
    }

    /// Upstream gave a type's state.
    pub(super) fn answered(&self, account: &AccountKey, data_type: &DataType, now: Moment) {
        let mut desk = self.desk();
        if desk.quarantine.answered(account, data_type, now) {
            tracing::info!(%data_type, "upstream answers for this type again");
            self.count_quarantined(&desk);
        }
    }

    /// Asking for a type did not break upstream.
    pub(super) fn unbroken(&self, account: &AccountKey, data_type: &DataType) {
        let mut desk = self.desk();
        if desk.quarantine.unbroken(account, data_type) {
            tracing::info!(%data_type, "upstream no longer breaks on this type");
            self.count_quarantined(&desk);
        }
    }

    /// Asking for a type broke upstream.
    pub(super) fn convict(&self, account: &AccountKey, data_type: &DataType, now: Moment) {
        let mut desk = self.desk();
        if let Some(pause) = desk.quarantine.convict(account, data_type, now) {
            let (method, pause) = (plan::method(data_type.as_str()), pause.as_secs());
            tracing::warn!(method, pause, "upstream breaks on this method; not asked for a while");
        }
        self.count_quarantined(&desk);
    }

    pub(super) fn count_quarantined(&self, desk: &Desk) {
        self.metrics.quarantined_types.set(gauge(desk.quarantine.breaking()));
    }

    /// Counts how probes end over all accounts: one account that fails among others that do not is no
    /// trouble of upstream's.
    pub(super) fn judge(&self, desk: &mut Desk, upstream_works: bool, now: Moment) {
        if !upstream_works {
            desk.failures = desk.failures.saturating_add(1);
            if desk.failures == FAILURES_TO_TELL {
                self.health.degrade(
                    Part::Probe,
                    "upstream does not answer when asked for states",
                    "see whether upstream is up and answers its users' own API requests",
                );
            }
            return;
        }
        if desk.failures >= FAILURES_TO_TELL {
            self.health.recover(Part::Probe);
            desk.schedule.heal(now);
        }
        desk.failures = 0;
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
