//! How a stream is woken: by a change, by its timer, by the end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

/// One stream's bell. Shared by the hub (changes), the timer wheel, and the stream itself.
#[derive(Debug, Default)]
pub struct Wake {
    /// Held to swap the waker only.
    waker: Mutex<Option<Waker>>,
    /// Set once: the stream must end, its credential is no longer good.
    revoked: AtomicBool,
    /// Set before that where upstream has not said so: nobody could ask for too long.
    lost: AtomicBool,
    /// Place in the view's list of members, so that leaving is O(1).
    pub(super) place: AtomicUsize,
}

impl Wake {
    /// Rings. Spurious rings are harmless: a stream looks for itself what there is to do.
    pub fn wake(&self) {
        let waker = self.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whom to wake from now on.
    pub fn register(&self, cx: &Context<'_>) {
        let mut waker = self.lock();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Nobody is to be woken any more.
    pub fn silence(&self) {
        *self.lock() = None;
    }

    /// Ends the stream: it may see its accounts no longer.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        self.wake();
    }

    /// Ends the stream because upstream has vouched for it too long ago.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.revoke();
    }

    /// Whether it ends by [`Self::lose`].
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Whether [`Self::revoke`] was called.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
