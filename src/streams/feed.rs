//! What one stream sends next (RFC 8620 §7.3), whatever carries it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::engine::Engine;
use super::wheel::RESOLUTION;
use crate::clock::{Moment, jittered};
use crate::drain::Phase;
use crate::hub::Subscriber;

/// How streams of one kind are timed; shared by all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Least time between two state events; zero for none.
    pub throttle: Duration,
    /// A comment after this much silence; zero for never.
    pub keep_alive: Duration,
    /// The stream ends after about this long; zero for never.
    pub max_age: Duration,
}

/// One stream: its subscription and its deadlines.
#[derive(Debug)]
pub struct Feed {
    subscriber: Subscriber,
    engine: Arc<Engine>,
    plan: Arc<Plan>,
    /// Seconds of silence before a ping, 0 for none (P15).
    ping: u32,
    /// Whether the response ends after one state event (P14).
    close_after_state: bool,
    stage: Stage,
    /// When the last state event was handed out.
    last_state: Option<Moment>,
    /// When the last event, state or ping, was handed out: a ping counts from here.
    last_event: Moment,
    /// When anything was handed out.
    last_bytes: Moment,
    /// When the stream ends by itself.
    ends: Option<Moment>,
    /// The earliest moment the wheel will wake us.
    armed: Option<Moment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The last bytes before the end are out.
    Closing,
    Ended,
}

impl Feed {
    /// A stream for `subscriber`. `ping` in seconds.
    #[must_use]
    pub fn new(
        subscriber: Subscriber,
        engine: Arc<Engine>,
        plan: Arc<Plan>,
        ping: Option<u32>,
        close_after_state: bool,
    ) -> Self {
        let now = Moment::now();
        let ends = (!plan.max_age.is_zero()).then(|| now.after(jittered(plan.max_age, 0.1)));
        engine.opened();
        Self {
            subscriber,
            engine,
            plan,
            ping: ping.unwrap_or(0),
            close_after_state,
            stage: Stage::Open,
            last_state: None,
            last_event: now,
            last_bytes: now,
            ends,
            armed: None,
        }
    }

    /// The next bytes to write; `None` after the last. The caller polls again only when they are
    /// written, so that whatever happens meanwhile is merged.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.subscriber.wake().register(cx);
        let now = Moment::now();
        let next = self.next(now);
        match next {
            Some(Some(bytes)) => {
                self.last_bytes = now;
                Poll::Ready(Some(bytes))
            }
            Some(None) => Poll::Ready(None),
            None => {
                self.arm(now);
                Poll::Pending
            }
        }
    }

    /// `None` when there is nothing to do yet.
    fn next(&mut self, now: Moment) -> Option<Option<Bytes>> {
        if self.must_end() {
            return Some(None);
        }
        match self.stage {
            Stage::Ended => return Some(None),
            Stage::Closing => {
                self.stage = Stage::Ended;
                let end = (self.subscriber.codec().end)();
                return Some((!end.is_empty()).then_some(end));
            }
            Stage::Open => {}
        }
        if self.subscriber.wake().is_revoked() {
            return self.close(now);
        }
        if self.engine.phase() >= Phase::Draining
            && self.ends.is_none_or(|at| at > self.engine.drained_by())
        {
            self.ends = Some(self.engine.pick_end(now));
        }
        if self.throttled_until().is_none_or(|until| until <= now)
            && let Some(event) = self.subscriber.take()
        {
            (self.last_state, self.last_event) = (Some(now), now);
            if self.close_after_state {
                self.stage = Stage::Closing;
            }
            return Some(Some(event));
        }
        if self.ends.is_some_and(|at| at <= now) {
            self.stage = Stage::Closing;
            return Some(Some((self.subscriber.codec().come_back)(self.engine.retry())));
        }
        if self.ping_due().is_some_and(|at| at <= now) {
            self.last_event = now;
            return Some(Some((self.subscriber.codec().ping)(self.ping)));
        }
        if self.keep_alive_due().is_some_and(|at| at <= now) {
            return Some(Some((self.subscriber.codec().keep_alive)()));
        }
        None
    }

    /// The drain window is over: no more bytes, whatever is under way.
    #[must_use]
    pub fn must_end(&self) -> bool {
        self.engine.phase() >= Phase::Ended
    }

    fn close(&mut self, now: Moment) -> Option<Option<Bytes>> {
        self.stage = Stage::Closing;
        self.next(now)
    }

    fn throttled_until(&self) -> Option<Moment> {
        self.last_state.map(|at| at.after(self.plan.throttle))
    }

    fn ping_due(&self) -> Option<Moment> {
        (self.ping > 0).then(|| self.last_event.after(Duration::from_secs(u64::from(self.ping))))
    }

    fn keep_alive_due(&self) -> Option<Moment> {
        let silence = self.plan.keep_alive;
        (!silence.is_zero()).then(|| self.last_bytes.after(silence))
    }

    /// Sees to it that the wheel wakes us at the next deadline.
    fn arm(&mut self, now: Moment) {
        let throttle =
            self.throttled_until().filter(|at| *at > now && self.subscriber.has_pending());
        let deadlines = [throttle, self.ping_due(), self.keep_alive_due(), self.ends];
        let Some(next) = deadlines.into_iter().flatten().min() else { return };
        let armed = self.armed.filter(|at| *at > now);
        if armed.is_none_or(|at| next.after(RESOLUTION) < at) {
            self.engine.wheel().add(self.subscriber.wake(), next);
            self.armed = Some(next);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.subscriber.wake().silence();
        self.engine.closed();
    }
}
