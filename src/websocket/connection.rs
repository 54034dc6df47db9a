//! One WebSocket: the machine, the push and the calls of one connection, put together.
//!
//! Idle it is this struct and nothing else; what a message, a call or a response needs is made when it
//! comes and gone when it is done ([`Work`]). Push goes before responses, and neither waits for a
//! call (protocol.md §5.6).

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::machine::{Heard, Machine, Output};
use super::message::PushEnable;
use super::wire::{self, CloseCode, Deflate, Limits};
use crate::api::memory::{Memory, Place};
use crate::clock::Moment;
use crate::drain::Drain;
use crate::hub::Subscriber;
use crate::state::types::TypeFilter;
use crate::streams::{Conversation, Feed};
use crate::telemetry::metrics::Metrics;

/// Requests and responses of one connection that are not over. When full: the client is not read from,
/// until it takes its responses (hostile.md S5).
const MOST_UNDER_WAY: usize = 32;

/// Pings that wait for their answers.
const MOST_PONGS: usize = 32;

/// Bytes of a message in the making that need no place in memory of their own.
const FREE: usize = 1024;

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
    /// How long the client's close frame is waited for, once ours is out; before that, for ever.
    closing: Moment,
}

/// What is under way on a connection.
#[derive(Default)]
struct Work {
    calls: JoinSet<Answer>,
    /// What is to be sent. When full: [`MOST_UNDER_WAY`].
    frames: VecDeque<(Bytes, Option<Place>)>,
    /// What the frame that is being written occupies.
    writing: Option<Place>,
    /// The last frame, once all others are out.
    close: Option<Bytes>,
    /// Answers to pings. When full ([`MOST_PONGS`]): the oldest ping goes unanswered, as RFC 6455
    /// §5.5.3 allows.
    pongs: VecDeque<Bytes>,
    /// A message in the making: what it occupies, and when it began.
    partial: Option<(Place, Moment)>,
}

impl Work {
    fn under_way(&self) -> usize {
        self.calls.len() + self.frames.len()
    }

    fn next(&mut self) -> Option<Bytes> {
        let (frame, place) = self.frames.pop_front()?;
        self.writing = place;
        Some(frame)
    }

    fn pong(&mut self, frame: Bytes) {
        if self.pongs.len() == MOST_PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(frame);
    }

    fn is_over(&self) -> bool {
        self.under_way() == 0
            && self.writing.is_none()
            && self.close.is_none()
            && self.pongs.is_empty()
            && self.partial.is_none()
    }
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
            closing: Moment::NEVER,
        }
    }

    fn act(&mut self, output: Output<A::Request>) {
        match output {
            Output::Frame(frame) => match frame.first() {
                Some(&PONG) => self.work().pong(frame),
                _ => self.work().frames.push_back((frame, None)),
            },
            Output::Close(frame) => self.close(frame),
            Output::Call(request) => self.call(request),
            Output::Push(wish) => self.push(&wish),
            Output::Silence => self.watch(&TypeFilter::only([]), None),
        }
    }

    fn push(&mut self, wish: &PushEnable) {
        self.watch(&wish.filter, wish.push_state.as_deref());
    }

    fn watch(&mut self, filter: &TypeFilter, push_state: Option<&str>) {
        self.pushes = !filter.is_empty();
        self.feed.subscriber().change(filter, push_state);
    }

    fn call(&mut self, request: A::Request) {
        self.rules.metrics.websocket_requests.inc();
        let deflate = self.machine.deflate();
        let size = A::size(&request);
        let place = match self.work().partial.take() {
            Some((place, _)) => Ok(place),
            None => self.rules.memory.place(),
        };
        let memory = Arc::clone(&self.rules.memory);
        let held = place.and_then(|mut place| memory.grow(&mut place, size).map(|()| place));
        match held {
            Ok(place) => {
                let call = self.application.call(request, place, deflate, self.feed.subscriber());
                self.work().calls.spawn(call);
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
        let work = self.work();
        (work.calls, work.partial, work.close) = (JoinSet::new(), None, Some(frame));
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
        let memory = Arc::clone(&self.rules.memory);
        let partial = match self.work().partial.take() {
            Some(partial) => Ok(partial),
            None => memory.place().map(|place| (place, Moment::now())),
        };
        let held = partial
            .and_then(|(mut place, began)| memory.grow(&mut place, held).map(|()| (place, began)));
        match held {
            Ok(partial) => self.work().partial = Some(partial),
            Err(_) => {
                let reason = "too many large requests at once; try again";
                self.close(wire::close(CloseCode::Again, reason));
            }
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
        self.feed.wake_at(next);
    }

    /// The next frame that need not wait for push: a sign of life, or what is left before the end.
    fn urgent(&mut self) -> Option<Bytes> {
        let work = self.work.as_mut()?;
        work.writing = None;
        if let Some(pong) = work.pongs.pop_front() {
            return Some(pong);
        }
        work.close.as_ref()?;
        if let Some(frame) = work.next() {
            return Some(frame);
        }
        self.closing = Moment::now().after(CLOSE_TIMEOUT);
        work.close.take()
    }

    /// Takes what calls have come to.
    fn collect(&mut self, cx: &mut Context<'_>) {
        let Some(work) = &mut self.work else { return };
        let mut refused = false;
        while let Poll::Ready(Some(done)) = work.calls.poll_join_next(cx) {
            match done {
                Ok(Answer::Frame(frame, place)) => work.frames.push_back((frame, place)),
                Ok(Answer::Unauthorized) => refused = true,
                // It panicked: the client is not left without a word.
                Err(_) => {
                    let reason = "a request could not be answered";
                    work.close = Some(wire::close(CloseCode::Error, reason));
                }
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
        if self.feed.is_closing() {
            // Its last word was a close frame.
            self.machine.close();
            self.closing = Moment::now().after(CLOSE_TIMEOUT);
            return self.poll_next(cx);
        }
        self.collect(cx);
        if let Some(frame) = self.urgent() {
            return Poll::Ready(Some(frame));
        }
        if !self.wants_bytes() {
            // It cannot be heard while it is not listened to.
            self.feed.heard();
        }
        self.look_at_time(Moment::now());
        match self.feed.poll_next(cx) {
            Poll::Ready(Some(frame)) => return Poll::Ready(Some(frame)),
            // The client is gone without a word, or the process ends.
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        // The time may just have closed it.
        if let Some(frame) = self.urgent() {
            return Poll::Ready(Some(frame));
        }
        if let Some(work) = &mut self.work {
            if let Some(frame) = work.next() {
                return Poll::Ready(Some(frame));
            }
            if work.is_over() {
                self.work = None;
                self.active = Moment::now();
                // Whether it is idle is judged anew.
                return self.poll_next(cx);
            }
        }
        Poll::Pending
    }

    fn wants_bytes(&self) -> bool {
        self.work.as_ref().is_none_or(|work| work.under_way() < MOST_UNDER_WAY)
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.feed.heard();
        let limits = self.application.limits();
        let mut bytes = bytes;
        while let Some(output) = self.machine.receive(&mut bytes, &limits, A::hear) {
            self.active = Moment::now();
            self.act(output);
        }
        if self.machine.is_open() {
            self.hold();
        }
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
