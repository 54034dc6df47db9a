//! The one handle to all streams: adopts sockets, turns the wheel, ends everything in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::detach::{Conversation, Detached, Limits, Place};
use super::wheel::Wheel;
use crate::clock::Moment;
use crate::config;
use crate::drain::{Drain, Phase};
use crate::http::socket::Socket;
use crate::telemetry::metrics::Metrics;

/// See the module.
#[derive(Debug)]
pub struct Engine {
    wheel: Wheel,
    drain: Drain,
    metrics: Metrics,
    settings: config::EventSource,
    limits: Arc<Limits>,
    live: AtomicUsize,
    most: usize,
    /// [`Moment`] by which all streams are closed once draining; 0 before.
    drained_by: AtomicU64,
}

impl Engine {
    /// An engine for at most `most` streams.
    #[must_use]
    pub fn new(
        settings: config::EventSource,
        most: usize,
        drain: Drain,
        metrics: Metrics,
    ) -> Arc<Self> {
        let (wheel, live) = (Wheel::default(), AtomicUsize::new(0));
        let drained_by = AtomicU64::new(0);
        let slow_closed = metrics.slow_closed.clone();
        let (write_timeout, send_buffer) = (settings.write_timeout, settings.send_buffer);
        let limits = Arc::new(Limits { write_timeout, send_buffer, slow_closed });
        Arc::new(Self { wheel, drain, metrics, settings, limits, live, most, drained_by })
    }

    /// Turns the timer wheel until the process ends.
    pub async fn run(&self) {
        tokio::select! {
            () = self.wheel.run() => {}
            () = self.drain.reached(Phase::Ended) => {}
        }
    }

    /// Whether one more stream fits (`limits.streams`).
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.live.load(Ordering::Relaxed) < self.most
    }

    /// Streams alive.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Takes a socket over: from now on `conversation` alone decides what is written.
    pub fn adopt<C: Conversation>(
        &self,
        socket: Socket,
        conversation: C,
        limits: Arc<Limits>,
        place: Place,
    ) {
        // Without a small buffer the kernel would queue megabytes of stale events for a dead reader
        // and merging would come too late (hostile.md S3). Failing to shrink it is harmless.
        let _ = socket.limit_unsent(limits.send_buffer);
        self.drain.spawn(Detached::new(socket, conversation, limits, place));
    }

    /// What bounds event streams.
    #[must_use]
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits)
    }

    /// Starts to close all streams, spread evenly over `window`. The hub is to wake them all.
    pub fn begin_drain(&self, window: Duration) {
        self.drained_by.store(Moment::now().after(window).0, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        self.drain.phase()
    }

    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }

    pub(super) fn drained_by(&self) -> Moment {
        Moment(self.drained_by.load(Ordering::Relaxed))
    }

    /// A random moment within the drain window.
    pub(super) fn pick_end(&self, now: Moment) -> Moment {
        // The last tenth is left for writing.
        let window = self.drained_by().since(now).mul_f64(0.9);
        now.after(window.mul_f64(rand::random_range(0.0..=1.0)))
    }

    /// A random pause after which a client is to come back.
    #[must_use]
    pub fn retry(&self) -> Duration {
        let (least, most) = self.settings.retry;
        rand::random_range(least..=most.max(least))
    }

    pub(super) fn wheel(&self) -> &Wheel {
        &self.wheel
    }

    pub(super) fn opened(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
        self.metrics.streams.inc();
        self.metrics.streams_opened.inc();
    }

    pub(super) fn unanswered(&self) {
        self.metrics.unanswered_closed.inc();
    }

    pub(super) fn closed(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
        self.metrics.streams.dec();
    }
}
