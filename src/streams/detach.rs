//! A stream whose socket has left hyper (architecture D2): one lean task, no buffers while idle.
//!
//! How it leaves: the handler's response carries a [`Handoff`] both as its body and as an
//! extension. hyper writes the head and the body's first bytes; the body then stays pending and
//! says so. Once all of it is flushed the connection's driver drops hyper, takes the socket, and
//! gives it with the feed to the engine. From then on the chunk framing is ours.

use std::any::Any;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Frame;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::feed::Feed;
use crate::drain::{Drain, Phase};
use crate::http::body::BodyError;
use crate::http::socket::Socket;

/// Bytes that a client must take within the write timeout to be seen to read: who takes one now and then
/// would hold what waits for ever.
const PART: usize = 16 * 1024;

/// How long our FIN and the client's may take.
const LINGER: Duration = Duration::from_secs(2);

/// What goes from the handler to the connection's driver.
#[derive(Debug, Clone)]
pub struct Handoff(Arc<HandoffState>);

#[derive(Debug)]
struct HandoffState {
    feed: Mutex<Option<Feed>>,
    /// The body's first bytes are with hyper.
    armed: AtomicBool,
}

impl Handoff {
    /// Holds `feed` until the driver takes it.
    #[must_use]
    pub fn new(feed: Feed) -> Self {
        Self(Arc::new(HandoffState { feed: Mutex::new(Some(feed)), armed: AtomicBool::new(false) }))
    }

    /// Whether hyper has been given everything it is to write.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.0.armed.load(Ordering::Acquire)
    }

    /// The feed, once.
    #[must_use]
    pub fn take(&self) -> Option<Feed> {
        self.0.feed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The body that hyper writes before it is left: `opening`, then nothing for ever.
    #[must_use]
    pub fn body(&self, opening: Bytes) -> Opening {
        Opening { first: Some(opening), handoff: self.clone() }
    }
}

/// See [`Handoff::body`].
#[derive(Debug)]
pub struct Opening {
    first: Option<Bytes>,
    handoff: Handoff,
}

impl http_body::Body for Opening {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.handoff.0.armed.store(true, Ordering::Release);
        Poll::Pending
    }
}

/// What is said on a socket: bytes out, bytes in. The socket's owner does the rest.
pub trait Conversation: Unpin + Send + 'static {
    /// The next bytes to write; `None` after the last. Polled again only when those are written, so
    /// that whatever happens meanwhile can be merged.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>>;

    /// Whether more of what the client sends can be taken now. If not, the kernel keeps it and the
    /// client is stopped; [`Self::poll_next`] must come to be polled when that changes.
    fn wants_bytes(&self) -> bool;

    /// Takes what the client has sent.
    fn receive(&mut self, bytes: &[u8]);

    /// Tells of the end of the process: no more bytes then, whatever is under way.
    fn drain(&self) -> &Drain;
}

/// An event source's client has nothing to say any more: it is thrown away.
impl Conversation for Feed {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_next(cx)
    }

    fn wants_bytes(&self) -> bool {
        true
    }

    fn receive(&mut self, _: &[u8]) {}

    fn drain(&self) -> &Drain {
        self.drain()
    }
}

/// A socket and what is said on it: the future of one task, written out so that nothing is kept twice.
/// Idle it is this struct, one waker and the socket's registration.
pub(super) struct Detached<C> {
    socket: Socket,
    /// `None` once the last byte is written: whose stream it was may come back at once, and finds room.
    conversation: Option<C>,
    /// What of the present frame is not written yet: shared with all who get the same.
    writing: Bytes,
    /// Bytes taken since the last stall began.
    taken: usize,
    /// Runs while a write stalls.
    stall: Option<Pin<Box<Sleep>>>,
    limits: Arc<Limits>,
    /// The client was not read from when it was looked at last: no waker waits for its bytes.
    held_back: bool,
    /// Then only FIN is left, so that the client sees a whole response: how long that may take.
    lingering: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// FIN is out.
    finished: bool,
    _place: Place,
}

/// What a stream keeps while it lives.
#[derive(Debug)]
pub enum Place {
    /// It still counts as a connection.
    Own(OwnedSemaphorePermit),
    /// It shares a connection, which is in use by this.
    Shared(Box<dyn Any + Send>),
}

/// What all streams of one kind share, detached or not.
#[derive(Debug)]
pub struct Limits {
    /// A stream that accepts no byte for this long is closed.
    pub write_timeout: Duration,
    /// Bytes that the kernel keeps for a client that does not take them.
    pub send_buffer: usize,
    /// Counts them.
    pub slow_closed: Counter,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("the client is gone")]
    Gone(#[source] io::Error),
    #[error("the client closed the connection")]
    Closed,
    #[error("the client reads nothing")]
    Stalled,
}

impl<C: Conversation> Future for Detached<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            match ready!(this.poll_step(cx)) {
                Ok(()) => {}
                Err(ending) => {
                    if matches!(ending, Ending::Stalled) {
                        this.limits.slow_closed.inc();
                    }
                    tracing::trace!(%ending, "stream ended");
                    return Poll::Ready(());
                }
            }
        }
        this.poll_closed(cx)
    }
}

impl<C: Conversation> Detached<C> {
    pub(super) fn new(socket: Socket, conversation: C, limits: Arc<Limits>, place: Place) -> Self {
        let (writing, stall) = (Bytes::new(), None);
        Self {
            socket,
            conversation: Some(conversation),
            writing,
            stall,
            taken: 0,
            limits,
            held_back: true,
            lingering: None,
            finished: false,
            _place: place,
        }
    }

    /// Writes and reads until nothing can be done; ready when the stream is over.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let drain = self.conversation.as_ref().map(Conversation::drain);
        if drain.is_none_or(|drain| drain.phase() >= Phase::Ended) {
            return Poll::Ready(Err(Ending::Closed));
        }
        loop {
            self.poll_read(cx)?;
            ready!(self.poll_write(cx))?;
            let Some(conversation) = &mut self.conversation else { return Poll::Ready(Ok(())) };
            match conversation.poll_next(cx) {
                Poll::Ready(Some(frame)) => self.writing = frame,
                Poll::Ready(None) => {
                    let drain = conversation.drain().clone();
                    let ended = async move { drain.reached(Phase::Ended).await };
                    let linger = tokio::time::timeout(LINGER, ended);
                    self.lingering = Some(Box::pin(async { _ = linger.await }));
                    self.conversation = None;
                }
                // What it waited for may have made room for more.
                Poll::Pending if self.held_back && conversation.wants_bytes() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        while !self.writing.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, &self.writing) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Ending::Closed)),
                Poll::Ready(Ok(written)) => {
                    self.writing.advance(written);
                    self.taken = self.taken.saturating_add(written);
                    if self.taken >= PART {
                        self.stall = None;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Ending::Gone(error))),
                Poll::Pending => {
                    ready!(self.poll_stall(cx));
                    return Poll::Ready(Err(Ending::Stalled));
                }
            }
        }
        // TLS keeps records of its own: what it has accepted the client has not taken yet.
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(Ending::Gone(error))),
            Poll::Ready(Ok(())) => {
                (self.writing, self.stall) = (Bytes::new(), None);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                ready!(self.poll_stall(cx));
                Poll::Ready(Err(Ending::Stalled))
            }
        }
    }

    /// Sends FIN, then reads until the client's: data that nobody has read would have the kernel cut
    /// the connection, and the client would lose what was said last.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(lingering) = &mut self.lingering
            && lingering.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        let mut scratch = [const { MaybeUninit::uninit() }; 512];
        if !self.finished {
            match ready!(Pin::new(&mut self.socket).poll_shutdown(cx)) {
                Ok(()) => self.finished = true,
                Err(_) => return Poll::Ready(()),
            }
        }
        loop {
            let mut buffer = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ready once the client has accepted nothing for `event_source.write_timeout`.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.limits.write_timeout;
        let stall = self.stall.get_or_insert_with(|| {
            self.taken = 0;
            Box::pin(tokio::time::sleep(timeout))
        });
        stall.as_mut().poll(cx)
    }

    /// Hands on what the client sends, and notices its end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        let mut scratch = [const { MaybeUninit::uninit() }; 8 * 1024];
        while let Some(conversation) = self.conversation.as_mut().filter(|c| c.wants_bytes()) {
            let mut buffer = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Pending => {
                    self.held_back = false;
                    return Ok(());
                }
                Poll::Ready(Err(error)) => return Err(Ending::Gone(error)),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Err(Ending::Closed),
                Poll::Ready(Ok(())) => conversation.receive(buffer.filled()),
            }
        }
        self.held_back = true;
        Ok(())
    }
}
