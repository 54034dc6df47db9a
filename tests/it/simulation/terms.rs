//! The terms of one schedule, drawn from its seed: what kind of server, and what may go wrong.

use std::time::Duration;

use jmap_push_proxy::config::AccountScope;
use rand::RngExt as _;
use rand::rngs::StdRng;

/// How changes that nobody makes through the proxy become known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Knowledge {
    /// By the probe, each account at this interval; this part of the notices is lost for good.
    Interval(Duration, f64),
    /// By notices alone: who loses one says so.
    Notices,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) knowledge: Knowledge,
    /// Of one account no notice ever tells.
    pub(super) has_silent: bool,
    /// No process takes another's place, and no source of notices says that it lost some.
    pub(super) is_steady: bool,
    /// Whether the proxy is told that ids are each user's own.
    pub(super) scope: AccountScope,
    /// Each user sees states of their own, whether the proxy is told or has to find out.
    pub(super) has_views: bool,
    /// One counter is the state of all mail, and notices tell it, as Cyrus does.
    pub(super) has_one_counter: bool,
    /// Things that happen.
    pub(super) steps: usize,
    /// Between two of them, at most.
    pub(super) pause: Duration,
    /// The chance of anything to go wrong, 0..1.
    pub(super) trouble: f64,
    /// How long an answer takes, at most.
    pub(super) latency: Duration,
}

impl Terms {
    pub(super) fn draw(rng: &mut StdRng) -> Self {
        let knowledge = match rng.random_bool(0.6) {
            true => {
                let interval = Duration::from_secs(*pick(rng, &[3, 10, 30]));
                Knowledge::Interval(interval, *pick(rng, &[0.0, 0.02, 0.4]))
            }
            false => Knowledge::Notices,
        };
        let has_silent = rng.random_bool(0.3) && knowledge != Knowledge::Notices;
        let (per_user, finds_out) = (rng.random_bool(0.25), rng.random_bool(0.25));
        let terms = Self {
            knowledge,
            has_silent,
            is_steady: false,
            scope: if per_user { AccountScope::PerUser } else { AccountScope::Global },
            has_views: per_user || finds_out,
            has_one_counter: rng.random_bool(0.25),
            steps: rng.random_range(10..120),
            pause: Duration::from_millis(*pick(rng, &[20, 200, 1000, 3000])),
            trouble: *pick(rng, &[0.0, 0.1, 0.5]),
            latency: Duration::from_millis(*pick(rng, &[5, 50, 500, 3000])),
        };
        if rng.random_bool(0.08) { terms.steady(rng) } else { terms }
    }

    /// The same where notices come for long enough to be relied on.
    fn steady(self, rng: &mut StdRng) -> Self {
        let knowledge = Knowledge::Interval(Duration::from_secs(3), *pick(rng, &[0.0, 0.02]));
        let (pause, latency) = (Duration::from_secs(3), Duration::from_millis(50));
        Self { knowledge, is_steady: true, steps: 200, pause, trouble: 0.0, latency, ..self }
    }

    /// Whether the proxy has to find out that states differ.
    pub(super) fn finds_out(&self) -> bool {
        self.has_views && self.scope == AccountScope::Global
    }

    /// Zero for none.
    pub(super) fn interval(&self) -> Duration {
        match self.knowledge {
            Knowledge::Interval(interval, _) => interval,
            Knowledge::Notices => Duration::ZERO,
        }
    }

    /// The interval while notices are believed to tell all.
    pub(super) fn interval_told(&self) -> Duration {
        10 * self.interval()
    }

    /// Within this after the last change all is told: two intervals with their jitter, as long as they
    /// are where notices were believed to tell all, and a margin for what went wrong before.
    pub(super) fn bound(&self) -> Duration {
        self.interval_told().mul_f64(2.5) + MARGIN
    }
}

/// Back-off of an account, time for a request, revalidation, quarantine of a type that broke.
const MARGIN: Duration = Duration::from_secs(180);

/// One of several.
pub(super) fn pick<'a, T>(rng: &mut StdRng, of: &'a [T]) -> &'a T {
    &of[rng.random_range(0..of.len())]
}
