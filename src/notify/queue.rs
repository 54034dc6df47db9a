//! The queue between the sources of notifications and the tracker: bounded, and never in a
//! source's way.
//!
//! When full: what does not fit is dropped and a gap stands in for all of it: the reader learns
//! once that something was missed and resyncs the accounts being watched, which tells it at least
//! as much as the lost notices would have. So a source is never held up (a Redis client that does
//! not read is cut off by the server) and memory stays bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, mpsc};

use crate::telemetry::metrics::Metrics;

use super::message::Notice;
use super::{Event, Source};

/// Notices that wait: at a few hundred bytes each, well under a megabyte; if all were as large as they
/// may be, about as many times 100 KB.
const CAPACITY: usize = 1_024;

/// The sources' end. Cheap to clone; never waits.
#[derive(Debug, Clone)]
pub struct Outbox {
    events: mpsc::Sender<Event>,
    missed: Arc<Missed>,
    metrics: Metrics,
}

/// The reader's end.
#[derive(Debug)]
pub struct Inbox {
    events: mpsc::Receiver<Event>,
    missed: Arc<Missed>,
}

/// Whether something did not fit.
#[derive(Debug, Default)]
struct Missed {
    flag: AtomicBool,
    /// By the time the flag is set the reader may have emptied the queue and be asleep.
    set: Notify,
}

impl Missed {
    fn set(&self) {
        self.flag.store(true, Ordering::Release);
        self.set.notify_one();
    }

    fn take(&self) -> bool {
        self.flag.swap(false, Ordering::AcqRel)
    }
}

/// A new queue.
#[must_use]
pub fn queue(metrics: Metrics) -> (Outbox, Inbox) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let missed = Arc::<Missed>::default();
    let outbox = Outbox { events: sender, missed: Arc::clone(&missed), metrics };
    (outbox, Inbox { events: receiver, missed })
}

impl Outbox {
    /// Hands on a notice, or remembers a gap where the queue is full.
    pub fn notice(&self, notice: Notice, source: Source) {
        self.tell(Event::Notice(notice, source), source);
    }

    /// The same for what is more than a notice.
    pub fn tell(&self, event: Event, source: Source) {
        self.metrics.notices.get_or_create(&[("source", source.as_str())]).inc();
        if self.events.try_send(event).is_err() {
            self.metrics.notices_overflowed.inc();
            self.missed.set();
        }
    }

    /// Says that notices may have been missed.
    pub fn gap(&self) {
        self.metrics.notify_gaps.inc();
        if self.events.try_send(Event::Gap).is_err() {
            self.missed.set();
        }
    }
}

impl Inbox {
    /// The next event; `None` once every source is gone.
    ///
    /// Cancel safety: nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if self.missed.take() {
                return Some(Event::Gap);
            }
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    // The last source may have gone just after it missed something.
                    return event.or_else(|| self.missed.take().then_some(Event::Gap));
                }
                () = self.missed.set.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(user: usize) -> Notice {
        Notice::parse(format!(r#"{{"user":"{user}"}}"#).as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn what_does_not_fit_becomes_one_gap() {
        let (outbox, mut inbox) = queue(Metrics::default());
        for user in 0..CAPACITY + 50 {
            outbox.notice(notice(user), Source::RedisChannel);
        }
        assert_eq!(inbox.next().await, Some(Event::Gap), "known as soon as the reader looks");
        for user in 0..CAPACITY {
            let expected = Event::Notice(notice(user), Source::RedisChannel);
            assert_eq!(inbox.next().await, Some(expected));
        }
        assert_eq!(outbox.metrics.notices_overflowed.get(), 50);
        drop(outbox);
        assert_eq!(inbox.next().await, None, "one gap for all that was missed");
    }

    #[tokio::test]
    async fn a_reader_that_has_emptied_the_queue_meanwhile_is_woken_for_what_was_missed() {
        let (outbox, mut inbox) = queue(Metrics::default());
        let missed = async {
            tokio::task::yield_now().await;
            outbox.missed.set();
        };
        let (event, ()) = tokio::join!(inbox.next(), missed);
        assert_eq!(event, Some(Event::Gap));
    }

    #[tokio::test]
    async fn a_gap_that_does_not_fit_is_told_all_the_same() {
        let (outbox, mut inbox) = queue(Metrics::default());
        for user in 0..CAPACITY {
            outbox.notice(notice(user), Source::RedisStream);
        }
        outbox.gap();
        assert_eq!(inbox.next().await, Some(Event::Gap));
    }
}
