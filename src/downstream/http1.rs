//! A connection that speaks HTTP/1: the guard before hyper, the time limits, and the way of a stream
//! out of hyper (architecture D2).

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::connection::{Connections, HEADERS, refused};
use super::dispatch::{Connection, Room};
use super::guard::{GuardedIo, Handle, Limits, Rejection, State, linger};
use super::upgrade::Upgrade;
use crate::clock::Moment;
use crate::drain::{Drain, Phase};
use crate::http::Body;
use crate::http::prefixed::Prefixed;
use crate::http::socket::Socket;
use crate::streams::detach::Handoff;
use crate::streams::{Engine, Place};

/// How long a connection that ends is read from, so that its last answer is not lost.
const LINGER: Duration = Duration::from_secs(2);

impl Connections {
    pub(super) async fn http1(
        &self,
        socket: Prefixed<Socket>,
        mut connection: Connection,
        room: OwnedSemaphorePermit,
    ) {
        let settings = &self.dispatch.config.downstream;
        let limits = Limits { head_bytes: settings.header_size, headers: HEADERS };
        let (io, guard) = GuardedIo::new(socket, limits);
        connection.guard = Some(guard.clone());
        connection.room = Room::new(room);
        let room = connection.room.clone();
        let leaving = Leaving {
            handoff: Arc::default(),
            drain: self.drain.clone(),
            engine: Arc::clone(&self.engine),
        };
        let busy = Arc::new(());
        let service = {
            let (leaving, busy) = (leaving.clone(), Arc::clone(&busy));
            let dispatch = Arc::clone(&self.dispatch);
            let guard = guard.clone();
            service_fn(move |request: Request<Incoming>| {
                let (dispatch, connection) = (Arc::clone(&dispatch), connection.clone());
                let (leaving, busy) = (leaving.clone(), Arc::clone(&busy));
                let refusal = guard.refusal(&request);
                let draining = leaving.drain.phase() >= Phase::Draining;
                async move {
                    let mut response = match refusal {
                        Some(refusal) => refused(refusal),
                        None => {
                            let request = request.map(|body| dispatch.body(body));
                            dispatch.serve(request, &connection).await
                        }
                    };
                    if !leaving.begin(&mut response, &connection.room) && draining {
                        let close = http::HeaderValue::from_static("close");
                        response.headers_mut().insert(http::header::CONNECTION, close);
                    }
                    Ok::<_, std::convert::Infallible>(response.map(|body| body.holding(busy)))
                }
            })
        };
        let http = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // The guard's limits come first; hyper's own must not be tighter.
            .max_headers(128)
            .max_buf_size(settings.header_size.max(8 * 1024) + 16 * 1024)
            .header_read_timeout(None)
            .serve_connection(io, service)
            .with_upgrades();
        let idle_count = Arc::strong_count(&busy);
        let mut driver = Driver {
            http: Box::pin(http),
            guard,
            leaving: leaving.handoff,
            busy,
            idle_count,
            flushes: 0,
            armed_at: None,
            active: Moment::now(),
            timer: None,
            limits: Timeouts {
                head: settings.header_timeout,
                idle: settings.keep_alive,
                body: settings.body_timeout,
                write: settings.write_timeout,
            },
            draining: false,
        };
        let end = self.drive(&mut driver).await;
        let parts = Pin::into_inner(driver.http).into_parts();
        let Some((socket, _)) = parts.map(|parts| parts.io.into_inner()) else { return };
        match end {
            End::Leave(handoff) => {
                if let (Some(feed), Some(room)) = (handoff.take(), room.take()) {
                    let limits = self.engine.limits();
                    self.engine.adopt(socket.into_inner(), feed, limits, Place::Own(room));
                }
            }
            End::Over => linger(socket, LINGER).await,
            End::Cut => {}
        }
    }

    /// Polls hyper until the connection is over, a stream leaves it, or the process ends.
    async fn drive<F: Http1>(&self, driver: &mut Driver<F>) -> End {
        let mut draining = pin!(self.drain.reached(Phase::Draining));
        let mut ended = pin!(self.drain.reached(Phase::Ended));
        let mut told = false;
        std::future::poll_fn(|cx| {
            if !told && draining.as_mut().poll(cx).is_ready() {
                told = true;
                driver.draining = true;
                driver.http.as_mut().finish();
            }
            if told && ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Cut);
            }
            driver.poll(cx)
        })
        .await
    }
}

/// Who takes the socket of this connection along, out of hyper.
#[derive(Clone)]
struct Leaving {
    /// An event stream, once its opening is with hyper.
    handoff: Arc<Mutex<Option<Handoff>>>,
    drain: Drain,
    engine: Arc<Engine>,
}

impl Leaving {
    /// Whether the response opens a stream, which then leaves.
    fn begin(&self, response: &mut Response<Body>, room: &Room) -> bool {
        let extensions = response.extensions_mut();
        if let Some(handoff) = extensions.remove::<Handoff>() {
            *self.handoff.lock().unwrap_or_else(PoisonError::into_inner) = Some(handoff);
            return true;
        }
        let Some(upgrade) = extensions.remove::<Upgrade>() else { return false };
        if let Some(room) = room.take() {
            self.drain.spawn(upgrade.complete(Arc::clone(&self.engine), Place::Own(room)));
        }
        true
    }
}

/// How a connection ended.
enum End {
    /// A stream takes the socket along.
    Leave(Handoff),
    /// hyper is done.
    Over,
    /// Nothing more is said: the process ends, or the client takes nothing.
    Cut,
}

/// Who is late.
enum Late {
    /// Nobody: there is nothing to do.
    Idle,
    /// The client, with its request.
    Sender(Rejection),
    /// The client, in taking its response.
    Reader,
}

struct Timeouts {
    head: Duration,
    idle: Duration,
    body: Duration,
    write: Duration,
}

/// What the driver needs of hyper's connection, whose type cannot be written down.
trait Http1: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

impl<I, S> Http1 for hyper::server::conn::http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// One HTTP/1 connection while hyper has it.
struct Driver<F> {
    http: Pin<Box<F>>,
    guard: Handle,
    /// A stream that waits to leave.
    leaving: Arc<Mutex<Option<Handoff>>>,
    /// Held by every request until its response is gone.
    busy: Arc<()>,
    /// Holders of `busy` when no request is.
    idle_count: usize,
    flushes: u64,
    /// How often everything had been written when the stream was first seen ready to leave.
    armed_at: Option<u64>,
    /// When bytes were written last.
    active: Moment,
    timer: Option<Pin<Box<Sleep>>>,
    limits: Timeouts,
    draining: bool,
}

impl<F: Http1> Driver<F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if self.http.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Over);
            }
            if let Some(handoff) = self.ready_to_leave() {
                let flushes = self.guard.flushes();
                match self.armed_at {
                    // hyper flushes whenever it is polled, and finds nothing left to write once all
                    // of the opening is out.
                    None => self.armed_at = Some(flushes),
                    Some(armed_at) if flushes > armed_at => {
                        return Poll::Ready(End::Leave(handoff));
                    }
                    Some(_) => return Poll::Pending,
                }
                continue;
            }
            match self.poll_time(cx) {
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                // The guard refused something: hyper learns of it by reading.
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The stream that may leave now: its opening is with hyper and its request is read whole. A
    /// request pipelined behind it is lost: the response says `Connection: close` (RFC 9112 §9.6).
    fn ready_to_leave(&self) -> Option<Handoff> {
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let armed = leaving.as_ref().filter(|handoff| handoff.is_armed());
        // In its body the request is not over; whatever comes behind it is thrown away.
        let whole = match self.guard.state() {
            State::Idle { .. } | State::Head { .. } | State::Refused { in_body: false, .. } => true,
            State::Body | State::Opaque | State::Refused { .. } => false,
        };
        armed.filter(|_| whole).cloned()
    }

    /// Looks at the time limits; ready when one has passed.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let now = Moment::now();
        if self.guard.flushes() != self.flushes {
            (self.flushes, self.active) = (self.guard.flushes(), now);
        }
        let Some((due, late)) = self.deadline() else { return Poll::Pending };
        if due <= now {
            return match late {
                Late::Sender(rejection) => {
                    self.guard.refuse(rejection);
                    Poll::Ready(None)
                }
                Late::Reader => {
                    tracing::debug!("the client takes nothing of its response");
                    Poll::Ready(Some(End::Cut))
                }
                Late::Idle => Poll::Ready(Some(End::Over)),
            };
        }
        match &mut self.timer {
            // Put off lazily: a timer that rings early is set again.
            Some(timer) if !timer.is_elapsed() && timer.deadline() <= due.instant() => {}
            Some(timer) => timer.as_mut().reset(due.instant()),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(due.instant()))),
        }
        // Registers the waker; if it has rung meanwhile, the connection is polled again.
        match self.timer.as_mut().map(|timer| timer.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(None),
            _ => Poll::Pending,
        }
    }

    /// The limit that runs out first.
    fn deadline(&self) -> Option<(Moment, Late)> {
        let blocked = self.guard.blocked_since();
        let reader = blocked.map(|since| (since.after(self.limits.write), Late::Reader));
        [reader, self.deadline_of_the_request()].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    fn deadline_of_the_request(&self) -> Option<(Moment, Late)> {
        // Only while hyper waits for bytes is the client to blame for what does not come.
        let waiting = self.guard.waiting_since();
        match self.guard.state() {
            State::Idle { since } if Arc::strong_count(&self.busy) <= self.idle_count => {
                Some((since.max(self.active).after(self.limits.idle), Late::Idle))
            }
            State::Head { started } if waiting.is_some() => {
                Some((started.after(self.limits.head), Late::Sender(Rejection::HeadTimeout)))
            }
            State::Body => waiting
                .map(|since| (since.after(self.limits.body), Late::Sender(Rejection::BodyTimeout))),
            // A client that does not take its refusal is not waited for.
            State::Refused { .. } => Some((self.active.after(self.limits.idle), Late::Idle)),
            State::Idle { .. } | State::Head { .. } | State::Opaque => None,
        }
    }
}
