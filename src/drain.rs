//! The end of the process: who must be told, who must be waited for (architecture D12).
//!
//! A [`Drain`] is cheap to clone. Every task is spawned through [`Drain::spawn`], so that stopping
//! can wait for all of them and a test can assert that none is left.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::sync::{Notify, watch};

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// SIGTERM seen: not ready, still accepting (`drain.pre_stop`).
    NotReady,
    /// No new connections; requests finish, streams close over `drain.window`.
    Draining,
    /// The window is over: everything ends now.
    Ended,
}

#[derive(Debug)]
struct Shared {
    phase: watch::Sender<Phase>,
    tasks: AtomicUsize,
    idle: Notify,
}

/// Handle to the process' end.
#[derive(Debug, Clone)]
pub struct Drain(Arc<Shared>);

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(Shared {
            phase: watch::Sender::new(Phase::Running),
            tasks: AtomicUsize::new(0),
            idle: Notify::new(),
        }))
    }
}

impl Drain {
    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Moves to a later phase; an earlier one is ignored.
    pub fn enter(&self, phase: Phase) {
        self.0.phase.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
    }

    /// Waits until at least `phase` is reached.
    ///
    /// Cancel safety: holds nothing, may be dropped at any time.
    pub async fn reached(&self, phase: Phase) {
        let mut watch = self.0.phase.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let _ = watch.wait_for(|current| *current >= phase).await;
    }

    /// Runs a task that [`Self::idle`] waits for. It must end by itself once its phase comes.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let counted = Counted { future, _guard: self.track() };
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        tokio::spawn(counted)
    }

    /// Counts something that is not a task of its own; the count falls when the guard is dropped.
    #[must_use]
    pub fn track(&self) -> Tracked {
        self.0.tasks.fetch_add(1, Ordering::Relaxed);
        Tracked(Arc::clone(&self.0))
    }

    /// How many tasks and tracked things live.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.0.tasks.load(Ordering::Relaxed)
    }

    /// Waits until nothing tracked lives.
    pub async fn idle(&self) {
        loop {
            let notified = self.0.idle.notified();
            if self.tracked() == 0 {
                return;
            }
            notified.await;
        }
    }
}

pin_project! {
    /// A future that is counted while it lives. Written out, because an async block would keep the
    /// future twice: as captured, and as awaited. There is one of these for every stream.
    struct Counted<F> {
        #[pin]
        future: F,
        _guard: Tracked,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

/// See [`Drain::track`].
#[derive(Debug)]
pub struct Tracked(Arc<Shared>);

impl Drop for Tracked {
    fn drop(&mut self) {
        if self.0.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
