//! How many requests a second the probe sends, all accounts together (architecture D8).
//!
//! A generic cell rate: one moment says how far the spending has run ahead. Spending is never
//! refused, it only delays what comes after; so a search for a culprit ([`super::round`]) ends without
//! waiting, and the accounts after it pay.

use std::time::Duration;

use crate::clock::Moment;

/// How far spending may run ahead before the next account waits.
const BURST: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Between two requests at full rate.
    gap: Duration,
    /// When everything spent so far would have been sent at full rate.
    spent_until: Moment,
}

impl Budget {
    /// `rate` in requests a second; zero counts as one.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { gap: Duration::from_secs(1) / rate.max(1), spent_until: Moment::default() }
    }

    /// Notes a request sent now.
    pub fn spend(&mut self, now: Moment) {
        self.spent_until = self.spent_until.max(now).after(self.gap);
    }

    /// When the next request may go; a moment not after `now` means now.
    #[must_use]
    pub fn free_at(&self) -> Moment {
        self.spent_until.before(BURST.saturating_sub(self.gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests sent within `span` by somebody who always has one to send.
    fn sent_within(rate: u32, span: Duration) -> usize {
        let mut budget = Budget::new(rate);
        let mut now = Moment::default().after(Duration::from_secs(10));
        let end = now.after(span);
        let mut sent = 0;
        loop {
            now = now.max(budget.free_at());
            if now >= end {
                return sent;
            }
            budget.spend(now);
            sent += 1;
        }
    }

    #[test]
    fn the_rate_is_kept_and_used_up() {
        for rate in [1, 3, 50, 10_000] {
            let sent = sent_within(rate, Duration::from_secs(20));
            let whole = rate as usize * 20;
            let burst = rate as usize / 10 + 1;
            assert!((whole..=whole + burst).contains(&sent), "{rate}/s: {sent}");
        }
    }

    #[test]
    fn what_was_overspent_is_paid_before_the_next_account_goes() {
        let mut budget = Budget::new(10);
        let now = Moment::default().after(Duration::from_secs(1));
        for _ in 0..20 {
            budget.spend(now);
        }
        assert_eq!(budget.free_at(), now.after(Duration::from_secs(2)));
    }
}
