//! A connection that speaks HTTP/2 (RFC 9113): its limits, and those of each of its streams.
//!
//! Sockets are not taken out of hyper here, since all of a client's requests share one. hyper knows
//! when a client takes nothing of one response, but does not mind; so each stream's task is watched
//! from around it ([`Watched`]), and dropping the task resets the stream.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use prometheus_client::metrics::counter::Counter;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::Sleep;

use super::connection::{Connections, HEADERS, refused};
use super::dispatch::Connection;
use super::guard;
use super::upgrade::Upgrade;
use crate::clock::Moment;
use crate::drain::{Drain, Phase};
use crate::http::Body;
use crate::http::body::BodyError;
use crate::http::headers::join_cookies;
use crate::http::prefixed::Prefixed;
use crate::http::socket::Socket;
use crate::streams::{Limits, Place};

/// HTTP/2 streams of one connection: API calls and event streams of one client.
const STREAMS: u32 = 100;

/// Bytes given to hyper at once: one frame as most clients allow it (RFC 9113 §4.2).
const PART: usize = 16 * 1024;

impl Connections {
    /// Serves a connection to its end. It ends when it bears no request for `downstream.keep_alive`.
    pub(super) async fn http2(&self, socket: Prefixed<Socket>, connection: Connection) {
        let settings = &self.dispatch.config.downstream;
        let usage = Arc::new(Usage::default());
        usage.touch();
        let service = {
            let (dispatch, usage) = (Arc::clone(&self.dispatch), Arc::clone(&usage));
            let (drain, engine) = (self.drain.clone(), Arc::clone(&self.engine));
            // Only event streams have limits of their own, and are counted when they are closed.
            let ordinary = Arc::new(Limits {
                write_timeout: settings.write_timeout,
                send_buffer: 0,
                slow_closed: Counter::default(),
            });
            service_fn(move |mut request: Request<Incoming>| {
                let (dispatch, connection) = (Arc::clone(&dispatch), connection.clone());
                let (used, ordinary) = (Used::new(&usage), Arc::clone(&ordinary));
                let (drain, engine, usage) =
                    (drain.clone(), Arc::clone(&engine), Arc::clone(&usage));
                async move {
                    let mut response = match guard::judge(&request, HEADERS) {
                        Ok(()) => {
                            join_cookies(request.headers_mut());
                            let request = request.map(|body| guarded(dispatch.body(body)));
                            dispatch.serve(request, &connection).await
                        }
                        Err(rejection) => refused(rejection),
                    };
                    response.headers_mut().remove(http::header::CONNECTION);
                    if let Some(upgrade) = response.extensions_mut().remove::<Upgrade>() {
                        let place = Place::Shared(Box::new(Used::new(&usage)));
                        drain.spawn(upgrade.complete(engine, place));
                    }
                    let limits = response.extensions_mut().remove::<Arc<Limits>>();
                    let pace = PACE.with(Arc::clone);
                    // Set once: a task bears one response.
                    let _ = pace.limits.set(limits.unwrap_or(ordinary));
                    let response =
                        response.map(|body| Paced { body, rest: Bytes::new(), pace, _used: used });
                    Ok::<_, std::convert::Infallible>(response)
                }
            })
        };
        let http = hyper::server::conn::http2::Builder::new(Spawn(self.drain.clone()))
            .timer(TokioTimer::new())
            // RFC 8441.
            .enable_connect_protocol()
            .max_concurrent_streams(STREAMS)
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
            () = usage.idle(settings.keep_alive) => {}
            () = self.drain.reached(Phase::Draining) => {}
        }
        http.as_mut().graceful_shutdown();
        // What is left of responses may still be on its way, and requests that crossed the GOAWAY are
        // served; a client that takes none of it is not waited for.
        usage.touch();
        tokio::select! {
            _ = http => {}
            () = usage.idle(settings.write_timeout) => {}
            () = self.drain.reached(Phase::Ended) => {}
        }
    }
}

/// A request's body, its trailers held to the guard's rules.
fn guarded(body: Body) -> Body {
    if matches!(body, Body::Empty) {
        return body;
    }
    Body::boxed(body.map_frame(|frame| match frame.into_trailers() {
        Ok(mut trailers) => {
            guard::clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }))
}

/// How much a connection is used.
#[derive(Default)]
struct Usage {
    requests: AtomicUsize,
    /// [`Moment`] since which there is no request.
    idle_since: AtomicU64,
}

impl Usage {
    fn touch(&self) {
        self.idle_since.store(Moment::now().0, Ordering::Relaxed);
    }

    /// Ends when there has been no request for as long as `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            let now = Moment::now();
            let due = match self.requests.load(Ordering::Relaxed) {
                0 => Moment(self.idle_since.load(Ordering::Relaxed)).after(limit),
                _ => now.after(limit),
            };
            if due <= now {
                return;
            }
            tokio::time::sleep_until(due.instant()).await;
        }
    }
}

/// One request, until its response is with hyper to the end.
struct Used(Arc<Usage>);

impl Used {
    fn new(usage: &Arc<Usage>) -> Self {
        usage.requests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(usage))
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.0.touch();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

tokio::task_local! {
    /// Where the task of a stream, which hyper makes, and what is sent in it meet.
    static PACE: Arc<Pace>;
}

/// How far a client has come in taking one response.
#[derive(Default)]
struct Pace {
    /// [`Moment`] at which hyper was given a frame, 0 once it asks for more: it does so only when it
    /// could pass the frame on, which the client's flow-control window and our send buffer bound.
    given: AtomicU64,
    limits: OnceLock<Arc<Limits>>,
}

impl Pace {
    /// When the client is given up; `None` while it is not waited for.
    fn due(&self) -> Option<(Moment, &Limits)> {
        let limits = self.limits.get()?;
        let given = self.given.load(Ordering::Relaxed);
        (given != 0).then(|| (Moment(given).after(limits.write_timeout), &**limits))
    }
}

/// A response's body that notes the client's pace. It is given to hyper in parts, so that who takes one
/// in time is seen to read, however slowly.
struct Paced {
    body: Body,
    /// What of the present frame hyper has not been given.
    rest: Bytes,
    pace: Arc<Pace>,
    _used: Used,
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.pace.given.store(0, Ordering::Relaxed);
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        }
        let part = self.rest.len().min(PART);
        let part = self.rest.split_to(part);
        self.pace.given.store(Moment::now().0.max(1), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    /// Asked for before the first frame only.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project! {
    /// The task of one stream, which ends early when the client takes nothing of the response: with the
    /// task goes hyper's handle to the stream, and with that the stream is reset.
    struct Watched<F> {
        #[pin]
        stream: TaskLocalFuture<Arc<Pace>, F>,
        pace: Arc<Pace>,
        // Made at the first wait only: most responses never wait.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while let Some((due, limits)) = this.pace.due() {
            if due <= Moment::now() {
                limits.slow_closed.inc();
                tracing::debug!("the client takes nothing of its response");
                return Poll::Ready(());
            }
            let due = due.instant();
            let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Pending
    }
}

/// hyper's HTTP/2 tasks, one for each stream: watched, and known to the drain like all others.
#[derive(Clone)]
struct Spawn(Drain);

impl<F> hyper::rt::Executor<F> for Spawn
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let pace = Arc::<Pace>::default();
        let stream = PACE.scope(Arc::clone(&pace), future);
        self.0.spawn(Watched { stream, pace, timer: None });
    }
}
