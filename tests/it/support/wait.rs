//! Waits for a condition, with a deadline and a word about what was waited for.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

/// How long a test waits before it fails. Far above what is expected: it only ends a broken run.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Looks again and again until `look` finds what it looks for; fails with what it saw last.
pub(crate) async fn until<T, S: Debug>(what: &str, mut look: impl FnMut() -> Result<T, S>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => {
                assert!(tokio::time::Instant::now() < deadline, "no {what}; last seen: {seen:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The outcome of `future`, which must come before the deadline.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("no {what} within {DEADLINE:?}"),
    }
}
