//! How many API requests each user has under way: `maxConcurrentRequests` (RFC 8620 §2) bounds those
//! by HTTP and those over all WebSockets together (RFC 8887 §4.3.2, W6).
//!
//! A request by HTTP is counted and goes on: whether it is one too many, upstream says. One over a
//! WebSocket waits for its turn, since its client cannot know how many others the user has.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::state::fact::PrincipalId;

/// See the module. When full: never, users without a request are forgotten.
#[derive(Debug, Default)]
pub struct Turns {
    /// Held for map operations only.
    users: Mutex<HashMap<PrincipalId, User>>,
}

#[derive(Debug, Default)]
struct User {
    under_way: usize,
    /// Those that wait, and wake one another through this.
    waiting: usize,
    ended: Arc<Notify>,
}

/// One request under way, until this is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    user: PrincipalId,
}

impl Turns {
    /// Counts a request that goes on at once.
    #[must_use]
    pub fn count(self: &Arc<Self>, user: PrincipalId) -> Turn {
        self.lock().entry(user).or_default().under_way += 1;
        Turn { turns: Arc::clone(self), user }
    }

    /// Waits until the user has fewer than `most` requests under way.
    ///
    /// Cancel safety: may be dropped at any time.
    pub async fn wait(self: &Arc<Self>, user: PrincipalId, most: usize) -> Turn {
        let ended = {
            let mut users = self.lock();
            let entry = users.entry(user).or_default();
            if entry.under_way < most {
                entry.under_way += 1;
                return Turn { turns: Arc::clone(self), user };
            }
            entry.waiting += 1;
            Arc::clone(&entry.ended)
        };
        let _waiting = Waiting { turns: self, user };
        loop {
            let mut ended = pin!(ended.notified());
            // Before the count is looked at: what ends after that is not missed.
            ended.as_mut().enable();
            {
                let mut users = self.lock();
                let entry = users.entry(user).or_default();
                if entry.under_way < most {
                    entry.under_way += 1;
                    return Turn { turns: Arc::clone(self), user };
                }
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PrincipalId, User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, user: PrincipalId, change: impl FnOnce(&mut User)) {
        let mut users = self.lock();
        let Some(entry) = users.get_mut(&user) else { return };
        change(entry);
        entry.ended.notify_one();
        if entry.under_way == 0 && entry.waiting == 0 {
            users.remove(&user);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.end(self.user, |user| user.under_way -= 1);
    }
}

/// A place in the queue.
struct Waiting<'a> {
    turns: &'a Turns,
    user: PrincipalId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // It may have been woken and gone without looking: the next one is told.
        self.turns.end(self.user, |user| user.waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const USER: PrincipalId = PrincipalId(1);

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_may_wait_waits_for_all_others_of_the_user() {
        let turns = Arc::<Turns>::default();
        let by_http = [turns.count(USER), turns.count(USER), turns.count(USER)];
        let mut first = pin!(turns.wait(USER, 2));
        assert!(poll(first.as_mut()).is_pending());
        let other = turns.count(PrincipalId(2));
        drop(other);
        assert!(poll(first.as_mut()).is_pending());
        let [a, b, c] = by_http;
        drop(a);
        assert!(poll(first.as_mut()).is_pending(), "two are left");
        drop(b);
        let Poll::Ready(turn) = poll(first.as_mut()) else { panic!("its turn has come") };
        drop((turn, c));
    }

    #[test]
    fn one_that_goes_away_leaves_its_turn_to_the_next() {
        let turns = Arc::<Turns>::default();
        let only = turns.count(USER);
        let mut first = Box::pin(turns.wait(USER, 1));
        let mut second = pin!(turns.wait(USER, 1));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        drop(only);
        drop(first);
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn nobody_is_remembered_who_has_no_request() {
        let turns = Arc::<Turns>::default();
        let turn = turns.count(USER);
        let mut waiting = Box::pin(turns.wait(USER, 1));
        assert!(poll(waiting.as_mut()).is_pending());
        drop(turn);
        drop(waiting);
        assert!(turns.lock().is_empty());
    }
}
