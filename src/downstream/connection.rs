//! One client connection: HTTP/1 or HTTP/2, its time limits, and the way of a stream out of hyper
//! (architecture D2).

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::dispatch::{Connection, Dispatch, Room};
use super::guard::{GuardedIo, Handle, Limits, Rejection, State, linger};
use crate::clock::Moment;
use crate::drain::{Drain, Phase};
use crate::http::Body;
use crate::http::prefixed::Prefixed;
use crate::http::socket::Socket;
use crate::streams::Engine;
use crate::streams::detach::Handoff;

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection that ends is read from, so that its last answer is not lost.
const LINGER: Duration = Duration::from_secs(2);

/// HTTP/2 streams of one connection: API calls and event streams of one client.
const H2_STREAMS: u32 = 100;

/// What all connections share.
pub struct Connections {
    /// Answers requests.
    pub dispatch: Arc<Dispatch>,
    /// Takes streams.
    pub engine: Arc<Engine>,
    /// The end.
    pub drain: Drain,
}

impl Connections {
    /// Serves a connection to its end, or until a stream has left it. `room` is its place among
    /// all connections.
    pub async fn serve(
        &self,
        mut socket: Socket,
        connection: Connection,
        room: OwnedSemaphorePermit,
    ) {
        let settings = &self.dispatch.config.downstream;
        if socket.negotiated_h2() {
            return self.http2(Prefixed::new(&[], socket), connection).await;
        }
        // HTTP/2 by prior knowledge begins with a preface, anything else is HTTP/1.
        let mut prefix = [0; PREFACE.len()];
        let mut read = 0;
        if settings.http2 && !connection.tls {
            let first = tokio::time::timeout(
                settings.keep_alive,
                read_preface(&mut socket, &mut prefix, &mut read),
            );
            tokio::select! {
                first = first => if !matches!(first, Ok(Ok(()))) { return },
                () = self.drain.reached(Phase::Draining) => return,
            }
        }
        let (read, _) = prefix.split_at(read);
        let socket = Prefixed::new(read, socket);
        if read == PREFACE {
            self.http2(socket, connection).await;
        } else {
            self.http1(socket, connection, room).await;
        }
    }

    async fn http1(
        &self,
        socket: Prefixed<Socket>,
        mut connection: Connection,
        room: OwnedSemaphorePermit,
    ) {
        let settings = &self.dispatch.config.downstream;
        let limits = Limits { head_bytes: settings.header_size, headers: 100 };
        let (io, guard) = GuardedIo::new(socket, limits);
        connection.guard = Some(guard.clone());
        connection.room = Room::new(room);
        let room = connection.room.clone();
        let leaving: Arc<Mutex<Option<Handoff>>> = Arc::default();
        let busy = Arc::new(());
        let service = {
            let (leaving, busy) = (Arc::clone(&leaving), Arc::clone(&busy));
            let dispatch = Arc::clone(&self.dispatch);
            let guard = guard.clone();
            let drain = self.drain.clone();
            service_fn(move |request: Request<Incoming>| {
                let (dispatch, connection) = (Arc::clone(&dispatch), connection.clone());
                let (leaving, busy) = (Arc::clone(&leaving), Arc::clone(&busy));
                let refusal = guard.refusal(&request);
                let draining = drain.phase() >= Phase::Draining;
                async move {
                    let mut response = match refusal {
                        Some(refusal) => refused(refusal),
                        None => dispatch.serve(request, &connection).await,
                    };
                    let handoff = response.extensions_mut().remove::<Handoff>();
                    if let Some(handoff) = handoff {
                        *leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(handoff);
                    } else if draining {
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
            leaving,
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
            },
            draining: false,
        };
        let end = self.drive(&mut driver).await;
        let parts = Pin::into_inner(driver.http).into_parts();
        let Some((socket, _)) = parts.map(|parts| parts.io.into_inner()) else { return };
        match end {
            End::Leave(handoff) => {
                if let (Some(feed), Some(room)) = (handoff.take(), room.take()) {
                    self.engine.adopt(socket.into_inner(), feed, room);
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

    async fn http2(&self, socket: Prefixed<Socket>, connection: Connection) {
        let settings = &self.dispatch.config.downstream;
        let service = {
            let dispatch = Arc::clone(&self.dispatch);
            service_fn(move |request: Request<Incoming>| {
                let (dispatch, connection) = (Arc::clone(&dispatch), connection.clone());
                async move {
                    let mut response = dispatch.serve(request, &connection).await;
                    response.headers_mut().remove(http::header::CONNECTION);
                    Ok::<_, std::convert::Infallible>(response)
                }
            })
        };
        let http = hyper::server::conn::http2::Builder::new(Spawn(self.drain.clone()))
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS)
            // Rapid reset and its kin (hostile.md B3).
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(100)
            .max_header_list_size(u32::try_from(settings.header_size).unwrap_or(u32::MAX))
            .max_send_buf_size(64 * 1024)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .serve_connection(TokioIo::new(socket), service);
        let mut http = pin!(http);
        tokio::select! {
            _ = http.as_mut() => return,
            () = self.drain.reached(Phase::Draining) => http.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = http => {}
            () = self.drain.reached(Phase::Ended) => {}
        }
    }
}

/// Reads until the bytes are the preface or can no longer become it.
async fn read_preface(
    socket: &mut Socket,
    prefix: &mut [u8; PREFACE.len()],
    read: &mut usize,
) -> io::Result<()> {
    while prefix.get(..*read) == PREFACE.get(..*read) && *read < PREFACE.len() {
        let Some(room) = prefix.get_mut(*read..) else { break };
        let more = socket.read(room).await?;
        if more == 0 {
            return if *read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) };
        }
        *read += more;
    }
    Ok(())
}

fn refused(rejection: Rejection) -> Response<Body> {
    rejection.response().map(super::dispatch::boxed)
}

/// How a connection ended.
enum End {
    /// A stream takes the socket along.
    Leave(Handoff),
    /// hyper is done.
    Over,
    /// The process ends.
    Cut,
}

struct Timeouts {
    head: Duration,
    idle: Duration,
    body: Duration,
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
        let (due, rejection) = match self.guard.state() {
            State::Idle { since } if Arc::strong_count(&self.busy) <= self.idle_count => {
                (since.max(self.active).after(self.limits.idle), None)
            }
            // Only while hyper waits for bytes is the client to blame for what does not come.
            State::Head { started } if self.guard.waiting_since().is_some() => {
                (started.after(self.limits.head), Some(Rejection::HeadTimeout))
            }
            State::Body => match self.guard.waiting_since() {
                Some(since) => (since.after(self.limits.body), Some(Rejection::BodyTimeout)),
                None => return Poll::Pending,
            },
            // A client that does not take its refusal is not waited for.
            State::Refused { .. } => (self.active.after(self.limits.idle), None),
            State::Idle { .. } | State::Head { .. } | State::Opaque => return Poll::Pending,
        };
        if due <= now {
            return match rejection {
                Some(rejection) => {
                    self.guard.refuse(rejection);
                    Poll::Ready(None)
                }
                None => Poll::Ready(Some(End::Over)),
            };
        }
        match &mut self.timer {
            // Put off lazily: a timer that rings early is set again.
            Some(timer) if !timer.is_elapsed() && timer.deadline() <= due.instant() => {}
            Some(timer) => timer.as_mut().reset(due.instant()),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(due.instant()))),
        }
        let timer = self.timer.as_mut();
        match timer.map(|timer| timer.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => self.poll_time(cx),
            _ => Poll::Pending,
        }
    }
}

/// hyper's HTTP/2 tasks, known to the drain like all others.
#[derive(Clone)]
struct Spawn(Drain);

impl<F> hyper::rt::Executor<F> for Spawn
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
