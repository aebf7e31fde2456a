//! Back-off for ordinals whose pods end again and again (StatefulSet rules, section 7.1: Kubernetes has none).

use std::time::Duration;

use crate::{Ordinal, Timestamp};

/// Delay before the third pod of an ordinal; the second comes at once, since most ends are single ones.
const DELAY_FIRST: Duration = Duration::from_secs(10);

/// Longest delay: that of containers that crash.
const DELAY_MAX: Duration = Duration::from_secs(300);

/// After so long without another end, earlier ones are forgotten: twice the longest delay.
const MEMORY: Duration = Duration::from_secs(600);

/// How often the pods of one ordinal have ended lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Failures {
    /// Which ordinal.
    pub ordinal: Ordinal,
    /// How often, at least 1.
    pub count: u32,
    /// When the last one was replaced.
    pub last_at: Timestamp,
}

impl Failures {
    /// When the next pod may be created: at once after the first end, then 10 s later, doubling up to 5 minutes.
    #[must_use]
    pub fn retry_at(&self) -> Timestamp {
        let Some(doublings) = self.count.checked_sub(2) else { return self.last_at };
        let delay = DELAY_FIRST.saturating_mul(2_u32.saturating_pow(doublings)).min(DELAY_MAX);
        self.last_at.plus(delay)
    }

    /// Whether it still counts: the last end is less than 10 minutes ago.
    #[must_use]
    pub fn remembered(&self, now: Timestamp) -> bool {
        now.since(self.last_at) < MEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_the_second_end_on() {
        let delay = |count| {
            let failures = Failures { ordinal: Ordinal(0), count, last_at: Timestamp(5_000) };
            failures.retry_at().since(Timestamp(5_000)).as_secs()
        };
        assert_eq!([1, 2, 3, 4, 5, 6, 7, u32::MAX].map(delay), [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn old_ends_are_forgotten() {
        let failures = Failures { ordinal: Ordinal(0), count: 7, last_at: Timestamp(0) };
        assert!(failures.remembered(Timestamp(599_999)));
        assert!(!failures.remembered(Timestamp(600_000)));
    }
}
