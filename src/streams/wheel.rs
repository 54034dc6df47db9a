//! One timer for all streams: a hashed wheel of slots, each a list of streams to wake.
//!
//! A stream stands in it once, at its next deadline; what was put off meanwhile (a ping, by an
//! event) is found out when the stream wakes, and put in again. So a delivery costs the wheel
//! nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Moment;
use crate::hub::Wake;

/// How exact deadlines are: a stream wakes up to this much late.
pub(super) const RESOLUTION: Duration = Duration::from_millis(100);

/// Slots of the wheel; a deadline beyond them stays in its slot for another round.
const SLOTS: usize = 512;

/// See the module. When full: never; a stream stands in it at most twice (one deadline put forward).
#[derive(Debug)]
pub(super) struct Wheel {
    /// Held to add one entry or to take one slot.
    slots: Box<[Mutex<Vec<Entry>>]>,
    /// The tick turned last; written while its slot is held.
    turned: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    due: Moment,
    wake: Arc<Wake>,
}

impl Default for Wheel {
    fn default() -> Self {
        let slots = std::iter::repeat_with(Mutex::default).take(SLOTS).collect();
        Self { slots, turned: AtomicU64::new(0) }
    }
}

impl Wheel {
    /// Wakes `wake` at `due`, or up to [`RESOLUTION`] later.
    pub(super) fn add(&self, wake: &Arc<Wake>, due: Moment) {
        let entry = Entry { due, wake: Arc::clone(wake) };
        loop {
            // Not a slot that has been emptied already: it comes round again much later.
            let tick = tick_of(due).max(self.turned.load(Ordering::Relaxed)) + 1;
            let mut slot = self.slot(tick);
            if self.turned.load(Ordering::Relaxed) < tick {
                return slot.push(entry);
            }
        }
    }

    /// Wakes whoever is due in the ticks up to `now`; `last` is the tick this was called with before.
    fn turn(&self, last: u64, now: Moment) -> u64 {
        let current = tick_of(now);
        for tick in (last + 1).max(current.saturating_sub(SLOTS as u64))..=current {
            let mut slot = self.slot(tick);
            let mut later = Vec::new();
            let entries = std::mem::take(&mut *slot);
            self.turned.store(tick, Ordering::Relaxed);
            drop(slot);
            for entry in entries {
                if entry.due <= now { entry.wake.wake() } else { later.push(entry) }
            }
            if !later.is_empty() {
                self.slot(tick).append(&mut later);
            }
        }
        current
    }

    /// Turns the wheel for as long as it is polled.
    pub(super) async fn run(&self) {
        let mut last = tick_of(Moment::now());
        let mut ticks = tokio::time::interval(RESOLUTION);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            last = self.turn(last, Moment::now());
        }
    }

    fn slot(&self, tick: u64) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        let index = usize::try_from(tick % SLOTS as u64).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "the remainder of its own length")]
        self.slots[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tick_of(moment: Moment) -> u64 {
    moment.0 / u64::try_from(RESOLUTION.as_micros()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_late_waits_for_no_whole_turn() {
        let wheel = Wheel::default();
        let (now, wake) = (Moment(RESOLUTION.as_micros() as u64 * 40), Arc::new(Wake::default()));
        let last = wheel.turn(0, now);
        // Due in a tick that is over.
        wheel.add(&wake, Moment(RESOLUTION.as_micros() as u64 * 38));
        assert_eq!(Arc::strong_count(&wake), 2);
        wheel.turn(last, now.after(RESOLUTION));
        assert_eq!(Arc::strong_count(&wake), 1, "it was woken and is gone");
    }
}
