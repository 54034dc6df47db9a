//! The guard between a socket and hyper.
//!
//! [`GuardedIo`] goes into hyper, its [`Handle`] stays with the connection's driver and service.
//! Bytes come through a scratch buffer of the thread (one copy, no initialisation, nothing kept for
//! an idle connection): writing into hyper's buffer directly cannot be done without `unsafe`.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, Request};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::clock::Moment;

use super::machine::{Guard, Limits, State};
use super::rejection::Rejection;

/// Bytes taken from the socket at once: one TLS record.
const SCRATCH_BYTES: usize = 16 * 1024;

/// What hyper reads in place of a refused head; see the [module](super).
const STAND_IN: &[u8] = b"TRACE * HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

thread_local! {
    static SCRATCH: RefCell<[u8; SCRATCH_BYTES]> = const { RefCell::new([0; SCRATCH_BYTES]) };
}

#[derive(Debug)]
struct Shared {
    guard: Guard,
    flushes: u64,
    waiting_since: Option<Moment>,
    blocked_since: Option<Moment>,
}

impl Shared {
    /// Notes whether the client takes what it is given.
    fn wrote<T>(&mut self, written: &Poll<T>) {
        if written.is_pending() {
            self.blocked_since.get_or_insert_with(Moment::now);
        } else {
            self.blocked_since = None;
        }
    }
}

/// What driver and service know and decide about a [`GuardedIo`] that hyper holds.
///
/// A std mutex, since nothing waits inside and both sides run in the same task, as a rule.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Mutex<Shared>>);

impl Handle {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the connection stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().guard.state()
    }

    /// How many request heads have passed to hyper. Equal to the number of requests the service has
    /// seen, and the state [`State::Idle`]: the last request is read to its end and nothing after it.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.lock().guard.heads()
    }

    /// Since when hyper has been waiting for bytes the client has not sent; `None` while it does not
    /// ask for any, as when the handler is slow to take a body or earlier requests are unanswered.
    /// Only while it waits is the client to blame for a head or a body that does not get on.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Moment> {
        self.lock().waiting_since
    }

    /// Since when the client has been taking nothing of what waits to be written; `None` while nothing
    /// waits. In TLS a byte counts as taken once the session has room for it.
    #[must_use]
    pub fn blocked_since(&self) -> Option<Moment> {
        self.lock().blocked_since
    }

    /// Why nothing is taken any more.
    #[must_use]
    pub fn rejection(&self) -> Option<Rejection> {
        match self.state() {
            State::Refused { rejection, .. } => Some(rejection),
            _ => None,
        }
    }

    /// Why this request must be answered with [`Rejection::response`]: it stands in for a refused
    /// one. To be asked before anything else looks at a request.
    #[must_use]
    pub fn refusal<B>(&self, request: &Request<B>) -> Option<Rejection> {
        if request.method() == Method::TRACE { self.rejection() } else { None }
    }

    /// Refuses what comes next, such as a head that takes too long; in a body, ends it. hyper learns
    /// of it when it next reads, so poll the connection afterwards.
    pub fn refuse(&self, rejection: Rejection) {
        self.lock().guard.refuse(rejection);
    }

    /// Lets all bytes pass from here on. To be called before the 101 is given to hyper, and never
    /// before it is certain.
    ///
    /// # Errors
    ///
    /// The client has sent something after the request that is refused already: answer this instead.
    pub fn become_opaque(&self) -> Result<(), Rejection> {
        self.lock().guard.become_opaque()
    }

    /// How often hyper had nothing left to write and the stream had taken everything. When it has
    /// grown since a body gave a frame to hyper, that frame is with the kernel (or in the TLS
    /// session, flushed).
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.lock().flushes
    }
}

/// A stream of which hyper reads only what the [`Guard`] lets pass.
#[derive(Debug)]
pub struct GuardedIo<S> {
    stream: S,
    handle: Handle,
    /// Read from the stream and not given to hyper: first `accepted` bytes that may go (from
    /// `given` on), then a part of a head, a chunk size or trailers.
    ///
    /// When full: the guard refuses a part longer than [`Limits::head_bytes`], looking at it at the
    /// latest when it is half as long again, and one read.
    held: Vec<u8>,
    accepted: usize,
    given: usize,
    /// How much was held when the guard last looked.
    inspected: usize,
    /// The stand-in is in `held`, or the body has been broken off.
    refused: bool,
}

impl<S> GuardedIo<S> {
    /// Wraps a stream of which nothing has been read.
    pub fn new(stream: S, limits: Limits) -> (Self, Handle) {
        let guard = Guard::new(limits, Moment::now());
        let shared = Shared { guard, flushes: 0, waiting_since: None, blocked_since: None };
        let handle = Handle(Arc::new(Mutex::new(shared)));
        let io = Self {
            stream,
            handle: handle.clone(),
            held: Vec::new(),
            accepted: 0,
            given: 0,
            inspected: 0,
            refused: false,
        };
        (io, handle)
    }

    /// The stream, and what was read from it and did not reach hyper: nothing after a refusal.
    pub fn into_inner(mut self) -> (S, Vec<u8>) {
        self.held.drain(..self.given.min(self.held.len()));
        if self.refused {
            self.held.clear();
        }
        (self.stream, self.held)
    }

    /// Gives accepted bytes that were held to hyper; whether there were any.
    fn give_held(&mut self, buf: &mut ReadBufCursor<'_>) -> bool {
        let Some(bytes) = self.held.get(self.given..self.accepted).filter(|b| !b.is_empty()) else {
            return false;
        };
        let (now, _) = bytes.split_at(bytes.len().min(buf.remaining()));
        buf.put_slice(now);
        self.given += now.len();
        if self.given == self.held.len() {
            // Frees the memory: most connections never need it again.
            self.held = Vec::new();
            (self.accepted, self.given) = (0, 0);
        }
        true
    }

    /// Takes bytes just read: what may pass at once goes to hyper, the rest is held.
    fn take(&mut self, bytes: &[u8], buf: &mut ReadBufCursor<'_>) {
        let mut shared = self.handle.lock();
        shared.waiting_since = None;
        if self.held.is_empty() {
            let accepted = accept(&mut shared.guard, bytes);
            let (now, rest) = bytes.split_at(accepted);
            buf.put_slice(now);
            self.held.extend_from_slice(rest);
            self.inspected = rest.len();
            return;
        }
        self.held.drain(..self.given);
        self.held.extend_from_slice(bytes);
        (self.accepted, self.given) = (0, 0);
        // The guard reads an incomplete line anew each time: not for each byte of one that drips in.
        let may_end_line = bytes.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
        if may_end_line || self.held.len() > self.inspected + self.inspected / 2 {
            self.accepted = accept(&mut shared.guard, &self.held);
            self.inspected = self.held.len() - self.accepted;
        }
    }

    /// After a refusal: leaves of what is held only what was accepted before, and the stand-in.
    fn stand_in(&mut self, in_body: bool) {
        self.refused = true;
        self.held.truncate(self.accepted);
        if !in_body {
            self.held.extend_from_slice(STAND_IN);
        }
        self.accepted = self.held.len();
    }
}

/// How many bytes from the front the guard lets pass.
fn accept(guard: &mut Guard, bytes: &[u8]) -> usize {
    let now = Moment::now();
    let mut accepted = 0;
    while let Some(rest) = bytes.get(accepted..).filter(|rest| !rest.is_empty()) {
        match guard.inspect(rest, now) {
            Ok(0) | Err(_) => break,
            Ok(passed) => accepted += passed,
        }
    }
    accepted
}

impl<S: AsyncRead + Unpin> GuardedIo<S> {
    /// Reads from the stream once; whether it is at its end.
    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<bool>> {
        SCRATCH.with_borrow_mut(|scratch| {
            // No more than hyper has room for: what is accepted at once must fit.
            let (scratch, _) = scratch.split_at_mut(buf.remaining().min(SCRATCH_BYTES));
            let mut read = ReadBuf::new(scratch);
            if Pin::new(&mut self.stream).poll_read(cx, &mut read)?.is_pending() {
                self.handle.lock().waiting_since.get_or_insert_with(Moment::now);
                return Poll::Pending;
            }
            self.take(read.filled(), buf);
            Poll::Ready(Ok(read.filled().is_empty()))
        })
    }
}

impl<S: AsyncRead + Unpin> Read for GuardedIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buf.remaining();
        while room > 0 && buf.remaining() == room {
            let state = this.handle.state();
            match state {
                State::Refused { in_body, .. } if !this.refused => this.stand_in(in_body),
                State::Opaque => this.accepted = this.held.len(),
                _ => {}
            }
            if this.give_held(&mut buf) {
                break;
            }
            match state {
                State::Refused { in_body: true, .. } => break,
                // No end of file while the answer is due: hyper would drop it.
                State::Refused { in_body: false, .. } => return Poll::Pending,
                _ if ready!(this.poll_stream(cx, &mut buf))? => break,
                _ => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for GuardedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.handle.lock().wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        let mut shared = self.handle.lock();
        shared.wrote(&flushed);
        ready!(flushed)?;
        // hyper flushes the stream only once its own buffer is empty.
        shared.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.handle.lock().wrote(&written);
        written
    }
}

/// Ends a connection whose client may still be sending: says that no more comes, then reads and
/// drops what does, for at most `time` (RFC 9112 §9.6). Closing with bytes unread would make the
/// kernel reset the connection, and the reset can destroy the answer on its way.
///
/// Cancel safety: what remains undone is only politeness.
pub async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, time: Duration) {
    let read_out = async {
        stream.shutdown().await?;
        let mut scratch = [0; 1024];
        while stream.read(&mut scratch).await? > 0 {}
        io::Result::Ok(())
    };
    // Late or broken, the end is the same.
    let _ = tokio::time::timeout(time, read_out).await;
}
