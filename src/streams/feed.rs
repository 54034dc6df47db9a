//! What one stream sends next (RFC 8620 §7.3), whatever carries it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::engine::Engine;
use super::wheel::RESOLUTION;
use crate::clock::{Moment, jittered};
use crate::drain::{Drain, Phase};
use crate::hub::Subscriber;

/// How streams of one kind are timed; shared by all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Least time between two state events; zero for none.
    pub throttle: Duration,
    /// A comment after this much silence; zero for never.
    pub keep_alive: Duration,
    /// A keep-alive must be answered within this time; zero where none can be.
    pub answer_within: Duration,
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
    /// No state event before this.
    throttled_until: Moment,
    /// When the last event, state or ping, was handed out: a ping counts from here.
    last_event: Moment,
    /// When anything was handed out.
    last_bytes: Moment,
    /// When a keep-alive was sent that the client has not answered.
    unanswered: Moment,
    /// When the stream ends by itself.
    ends: Moment,
    /// Its owner has something under way, for which the end waits.
    is_busy: bool,
    /// When its owner wants to be polled, whatever else happens.
    also: Moment,
    /// The moments the wheel will wake us; past ones are over. Two, since a throttled event must not
    /// leave one more of the far deadlines behind each time.
    far: Moment,
    near: Moment,
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
        let ends = match plan.max_age {
            Duration::ZERO => Moment::NEVER,
            age => now.after(jittered(age, 0.1)),
        };
        engine.opened();
        Self {
            subscriber,
            engine,
            plan,
            ping: ping.unwrap_or(0),
            close_after_state,
            stage: Stage::Open,
            throttled_until: now,
            last_event: now,
            last_bytes: now,
            unanswered: Moment::NEVER,
            ends,
            is_busy: false,
            also: Moment::NEVER,
            far: Moment::default(),
            near: Moment::default(),
        }
    }

    /// See [`Subscriber::settle`].
    pub async fn settle(&mut self, patience: Duration) {
        self.subscriber.settle(patience).await;
    }

    /// Its subscription, to be changed.
    pub fn subscriber(&mut self) -> &mut Subscriber {
        &mut self.subscriber
    }

    /// The client has said something, so it is there.
    pub fn heard(&mut self) {
        self.unanswered = Moment::NEVER;
    }

    /// Whether the last event is out, whatever else the transport has to say.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.stage != Stage::Open
    }

    /// Ends the stream as its age would.
    pub fn end(&mut self) {
        self.ends = Moment::default();
    }

    /// Whether an end that comes of age, or of the process, is to wait. Push goes on meanwhile.
    pub fn put_off_end(&mut self, is_busy: bool) {
        self.is_busy = is_busy;
    }

    /// Whether the end is waiting.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.is_busy && self.ends <= Moment::now()
    }

    /// Has the task polled at `moment` at the latest; only the last such wish counts.
    pub fn wake_at(&mut self, moment: Moment) {
        self.also = moment;
    }

    /// Pending until `moment`, or until something else happens: for what is left to wait for when
    /// [`Self::poll_next`] has come to its end.
    pub fn poll_until(&mut self, moment: Moment, cx: &Context<'_>) -> Poll<()> {
        self.subscriber.wake().register(cx);
        let now = Moment::now();
        if moment <= now || self.must_end() {
            return Poll::Ready(());
        }
        self.arm_for(moment, now);
        Poll::Pending
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
            self.stage = Stage::Closing;
            let farewell = (self.subscriber.codec().revoked)();
            return if farewell.is_empty() { self.next(now) } else { Some(Some(farewell)) };
        }
        if self.unanswered.after(self.plan.answer_within) <= now {
            self.stage = Stage::Ended;
            self.engine.unanswered();
            return Some(None);
        }
        if self.engine.phase() >= Phase::Draining && self.ends > self.engine.drained_by() {
            self.ends = self.engine.pick_end(now);
        }
        if self.throttled_until <= now
            && let Some(event) = self.subscriber.take()
        {
            (self.throttled_until, self.last_event) = (now.after(self.plan.throttle), now);
            if self.close_after_state {
                self.stage = Stage::Closing;
            }
            return Some(Some(event));
        }
        if self.ends <= now && !self.is_busy {
            self.stage = Stage::Closing;
            return Some(Some((self.subscriber.codec().come_back)(self.engine.retry())));
        }
        if self.ping_due() <= now {
            self.last_event = now;
            return Some(Some((self.subscriber.codec().ping)(self.ping)));
        }
        if self.keep_alive_due() <= now {
            if !self.plan.answer_within.is_zero() {
                self.unanswered = self.unanswered.min(now);
            }
            return Some(Some((self.subscriber.codec().keep_alive)()));
        }
        None
    }

    /// The process' end.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        self.engine.drain()
    }

    /// The drain window is over: no more bytes, whatever is under way.
    #[must_use]
    pub fn must_end(&self) -> bool {
        self.engine.phase() >= Phase::Ended
    }

    fn ping_due(&self) -> Moment {
        match self.ping {
            0 => Moment::NEVER,
            seconds => self.last_event.after(Duration::from_secs(u64::from(seconds))),
        }
    }

    fn keep_alive_due(&self) -> Moment {
        match self.plan.keep_alive {
            Duration::ZERO => Moment::NEVER,
            silence => self.last_bytes.after(silence),
        }
    }

    /// Sees to it that the wheel wakes us at the next deadline.
    fn arm(&mut self, now: Moment) {
        let answer_due = self.unanswered.after(self.plan.answer_within);
        let mut next = self.ping_due().min(self.keep_alive_due()).min(answer_due);
        next = next.min(self.also);
        if !self.is_busy {
            next = next.min(self.ends);
        }
        if self.throttled_until > now && self.subscriber.has_pending() {
            next = next.min(self.throttled_until);
        }
        self.arm_for(next, now);
    }

    fn arm_for(&mut self, next: Moment, now: Moment) {
        let latest = next.after(RESOLUTION);
        let is_armed = |at: Moment| at > now && at <= latest;
        if next == Moment::NEVER || is_armed(self.near) || is_armed(self.far) {
            return;
        }
        self.engine.wheel().add(self.subscriber.wake(), next);
        *(if self.far > now { &mut self.near } else { &mut self.far }) = next;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.subscriber.wake().silence();
        self.engine.closed();
    }
}
