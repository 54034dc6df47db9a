//! One WebSocket: the machine, the push and the calls of one connection, put together.
//!
//! Idle it is this struct and nothing else; what a message, a call or a response needs is made when it
//! comes and gone when it is done ([`Work`]). Push goes before responses, and neither waits for a
//! call (protocol.md §5.6).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream as _;

use super::machine::{Heard, Machine, Output};
use super::message::PushEnable;
use super::wire::{self, CloseCode, Deflate, Limits};
use super::work::Work;
use crate::api::memory::{Memory, Place};
use crate::clock::Moment;
use crate::drain::Drain;
use crate::hub::Subscriber;
use crate::state::types::TypeFilter;
use crate::streams::{Conversation, Feed};
use crate::telemetry::metrics::Metrics;

/// Bytes of a message in the making that need no place in memory of their own.
const FREE: usize = 1024;

/// What a wish for push costs: the hub looks at all accounts, and upstream may be asked.
const WISH: Duration = Duration::from_secs(1);

/// Wishes that are taken at once (hostile.md B9). When full: the client is not read from, until
/// [`WISH`] has passed.
const MOST_WISHES: u32 = 32;

/// How long the client's close frame is waited for after ours (RFC 6455 §7.1.1).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What all connections share.
#[derive(Clone)]
pub struct Rules {
    /// Where messages in the making are held.
    pub memory: Arc<Memory>,
    /// A connection without push ends after this long without a request; zero for never.
    pub idle: Duration,
    /// Counts.
    pub metrics: Metrics,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("idle", &self.idle).finish_non_exhaustive()
    }
}

/// What is spoken on a connection.
pub trait Application: Unpin + Send + 'static {
    /// What upstream is asked.
    type Request;

    /// Judges a whole message.
    fn hear(message: Heard, deflate: Option<Deflate>) -> Output<Self::Request>;

    /// Asks upstream. `place` is what the request occupies.
    fn call(
        &self,
        request: Self::Request,
        place: Place,
        deflate: Option<Deflate>,
        subscriber: &Subscriber,
    ) -> impl Future<Output = Answer> + Send + 'static;

    /// What a message may be.
    fn limits(&self) -> Limits;

    /// Bytes of memory that a request occupies.
    fn size(request: &Self::Request) -> usize;

    /// The answer to a request that there is no memory for.
    fn overloaded(request: &Self::Request, deflate: Option<Deflate>) -> Bytes;
}

/// What became of a call.
#[derive(Debug)]
pub enum Answer {
    /// A frame to be sent, with what it occupies.
    Frame(Bytes, Option<Place>),
    /// Upstream no longer accepts the credentials (W2).
    Unauthorized,
}

/// See the module.
pub struct Connection<A> {
    feed: Feed,
    machine: Machine,
    application: A,
    rules: Arc<Rules>,
    work: Option<Box<Work>>,
    /// Whether changes are pushed.
    pushes: bool,
    /// When the client last asked for something, or was last answered.
    active: Moment,
    /// When all its wishes for push will be over, if each takes [`WISH`].
    wished: Moment,
    /// How long the client's close frame is waited for, once ours is out; before that, for ever.
    closing: Moment,
}

impl<A: Application> Connection<A> {
    /// A connection that has just been opened. `feed` is subscribed to nothing.
    #[must_use]
    pub fn new(feed: Feed, deflate: Option<Deflate>, application: A, rules: Arc<Rules>) -> Self {
        rules.metrics.websockets.inc();
        Self {
            feed,
            machine: Machine::new(deflate),
            application,
            rules,
            work: None,
            pushes: false,
            active: Moment::now(),
            wished: Moment::default(),
            closing: Moment::NEVER,
        }
    }

    fn act(&mut self, output: Output<A::Request>) {
        match output {
            // A ping asks for nothing.
            Output::Frame(frame) if frame.first() == Some(&PONG) => {
                return self.work().pong(frame);
            }
            Output::Frame(frame) => self.work().frames.push_back((frame, None)),
            Output::Close(frame) => self.close(frame),
            Output::Call(request) => self.call(request),
            Output::Push(wish) => self.push(&wish),
            Output::Silence => self.watch(&TypeFilter::only([]), None),
        }
        self.active = Moment::now();
    }

    fn push(&mut self, wish: &PushEnable) {
        self.watch(&wish.filter, wish.push_state.as_deref());
    }

    fn watch(&mut self, filter: &TypeFilter, push_state: Option<&str>) {
        self.pushes = !filter.is_empty();
        self.wished = self.wished.max(Moment::now()).after(WISH);
        self.feed.subscriber().change(filter, push_state);
    }

    fn call(&mut self, request: A::Request) {
        self.rules.metrics.websocket_requests.inc();
        let deflate = self.machine.deflate();
        let size = A::size(&request);
        let mut place = self.work().partial.take().map(|(place, _)| place).unwrap_or_default();
        match self.rules.memory.grow(&mut place, size) {
            Ok(()) => {
                let call = self.application.call(request, place, deflate, self.feed.subscriber());
                self.work().calls.push(Box::pin(call));
            }
            Err(_) => {
                let frame = A::overloaded(&request, deflate);
                self.work().frames.push_back((frame, None));
            }
        }
    }

    /// Says the last word, after what is said already: what else is under way is not answered.
    fn close(&mut self, frame: Bytes) {
        self.machine.close();
        self.feed.put_off_end(false);
        let work = self.work();
        (work.partial, work.close) = (None, Some(frame));
        work.calls.clear();
    }

    fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    /// Takes account of what of a message has come.
    fn hold(&mut self) {
        let held = self.machine.held();
        if held <= FREE && self.work.as_ref().is_none_or(|work| work.partial.is_none()) {
            // Too little to count; that it must come to an end the pings see to.
            return;
        }
        if held == 0 {
            self.work().partial = None;
            return;
        }
        let rules = Arc::clone(&self.rules);
        let begun = || (Place::default(), Moment::now());
        let (place, _) = self.work().partial.get_or_insert_with(begun);
        if rules.memory.grow(place, held).is_err() {
            let reason = "too many large requests at once; try again";
            self.close(wire::close(CloseCode::Again, reason));
        }
    }

    /// Ends what has taken too long, and sees to it that this is called again in time.
    fn look_at_time(&mut self, now: Moment) {
        let mut next = Moment::NEVER;
        let began = self.work.as_ref().and_then(|work| work.partial.as_ref().map(|p| p.1));
        if let Some(began) = began {
            let due = began.after(self.rules.memory.patience(self.machine.held()));
            if due <= now {
                let reason = "the message comes too slowly";
                self.close(wire::close(CloseCode::Policy, reason));
            }
            next = due;
        }
        if !self.pushes && self.work.is_none() && !self.rules.idle.is_zero() {
            let due = self.active.after(self.rules.idle);
            if due <= now {
                self.feed.end();
            }
            next = next.min(due);
        }
        if !self.has_room() {
            // Too many wishes are over with time only.
            next = next.min(now.after(WISH));
        }
        self.feed.wake_at(next);
    }

    /// The next frame that is not push: signs of life first, the last word last.
    fn next_frame(&mut self) -> Option<Bytes> {
        let work = self.work.as_mut()?;
        let frame = work.pongs.pop_front().or_else(|| work.next());
        if frame.is_some() || work.close.is_none() {
            return frame;
        }
        self.closing = Moment::now().after(CLOSE_TIMEOUT);
        work.close.take()
    }

    /// Whether the last word is known.
    fn is_ending(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.close.is_some())
    }

    /// Whether one more message can be heard.
    fn has_room(&self) -> bool {
        let is_full = self.work.as_ref().is_some_and(|work| work.is_full());
        let wishes = self.wished.since(Moment::now());
        !is_full && wishes <= WISH.saturating_mul(MOST_WISHES) && !self.feed.is_overdue()
    }

    /// Acts on what has come, as long as there is room, and keeps the rest.
    fn hear(&mut self, mut bytes: &[u8]) {
        let limits = self.application.limits();
        while self.has_room()
            && let Some(output) = self.machine.receive(&mut bytes, &limits, A::hear)
        {
            self.act(output);
        }
        if !bytes.is_empty() {
            self.work().unheard = bytes.into();
        }
        if self.machine.is_open() {
            self.hold();
        }
    }

    /// The next event, or the end. Its last word becomes ours, behind what is said already.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.wants_bytes() {
            // It cannot be heard while it is not listened to.
            self.feed.heard();
        }
        self.look_at_time(Moment::now());
        if self.is_ending() {
            return Poll::Pending;
        }
        let is_busy = self.work.as_ref().is_some_and(|work| work.under_way() > 0);
        self.feed.put_off_end(is_busy);
        let pushed = self.feed.poll_next(cx);
        match pushed {
            Poll::Ready(Some(frame)) if self.feed.is_closing() => {
                self.close(frame);
                Poll::Pending
            }
            _ => pushed,
        }
    }

    /// Takes what calls have come to.
    fn collect(&mut self, cx: &mut Context<'_>) {
        let Some(work) = &mut self.work else { return };
        let mut refused = false;
        while let Poll::Ready(Some(done)) = Pin::new(&mut work.calls).poll_next(cx) {
            match done {
                Answer::Frame(frame, place) => {
                    self.active = Moment::now();
                    work.frames.push_back((frame, place));
                }
                Answer::Unauthorized => refused = true,
            }
        }
        if refused {
            self.feed.subscriber().wake().revoke();
        }
    }
}

/// The first byte of a pong.
const PONG: u8 = 0x8a;

impl<A: Application> Conversation for Connection<A> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.closing != Moment::NEVER {
            self.work = None;
            if self.machine.is_closed() || self.feed.poll_until(self.closing, cx).is_ready() {
                return Poll::Ready(None);
            }
            return Poll::Pending;
        }
        if let Some(work) = &mut self.work {
            if work.writing.take().is_some() {
                self.active = Moment::now();
            }
            let unheard = std::mem::take(&mut work.unheard);
            if !unheard.is_empty() {
                self.hear(&unheard);
            }
        }
        self.collect(cx);
        if !self.is_ending()
            && let Poll::Ready(pushed) = self.poll_push(cx)
        {
            // `None`: the client is gone without a word, or the process ends.
            return Poll::Ready(pushed);
        }
        if let Some(frame) = self.next_frame() {
            return Poll::Ready(Some(frame));
        }
        if self.work.as_ref().is_some_and(|work| work.is_over()) {
            self.work = None;
            // Whether it is idle is judged anew.
            return self.poll_next(cx);
        }
        Poll::Pending
    }

    fn wants_bytes(&self) -> bool {
        self.has_room() && self.work.as_ref().is_none_or(|work| work.unheard.is_empty())
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.feed.heard();
        self.hear(bytes);
    }

    fn drain(&self) -> &Drain {
        self.feed.drain()
    }
}

impl<A> Drop for Connection<A> {
    fn drop(&mut self) {
        self.rules.metrics.websockets.dec();
    }
}
