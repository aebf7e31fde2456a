//! How long a container rests between two runs (pod rules, section 5).

use std::time::Duration;

use domain::Timestamp;
use serde::{Deserialize, Serialize};

/// Delay before the second restart; the first is at once.
const INITIAL: Duration = Duration::from_secs(10);

/// No delay is longer.
const MAX: Duration = Duration::from_secs(300);

/// A container that ended later than this after the last change starts again at zero: twice the longest delay.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// Delay of the next restart. Durable, so that a runtime that starts again causes no stampede.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Backoff {
    /// Delay in seconds; 0 means at once.
    pub delay_seconds: u32,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Backoff {
    /// The delay of a restart after an exit at `finished`.
    #[must_use]
    pub fn delay(&self, finished: Timestamp) -> Duration {
        if self.forgiven(finished) { Duration::ZERO } else { Duration::from_secs(self.delay_seconds.into()) }
    }

    /// When a container that ended at `finished` may start again.
    #[must_use]
    pub fn due(&self, finished: Timestamp) -> Timestamp {
        finished.plus(self.delay(finished))
    }

    /// The delay after a restart at `now` of a container that ended at `finished`.
    #[must_use]
    pub fn after_restart(&self, finished: Timestamp, now: Timestamp) -> Self {
        let delay = self.delay(finished);
        let next = if delay.is_zero() { INITIAL } else { (delay * 2).min(MAX) };
        Self { delay_seconds: u32::try_from(next.as_secs()).unwrap_or(u32::MAX), updated_at: now }
    }

    fn forgiven(&self, finished: Timestamp) -> bool {
        finished.since(self.updated_at) > FORGIVEN_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: i64) -> Timestamp {
        Timestamp(n * 1000)
    }

    #[test]
    fn p03_delays_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut now = seconds(1_000_000);
        let mut delays = Vec::new();
        for _ in 0..8 {
            let due = backoff.due(now);
            delays.push(due.since(now).as_secs());
            backoff = backoff.after_restart(now, due);
            now = due;
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn p04_p05_only_a_long_life_is_forgiven() {
        let worn = Backoff { delay_seconds: 300, updated_at: seconds(10_000) };
        let after_eleven_minutes = seconds(10_660);
        assert_eq!(worn.delay(after_eleven_minutes), Duration::ZERO);
        assert_eq!(worn.after_restart(after_eleven_minutes, after_eleven_minutes).delay_seconds, 10);
        assert_eq!(worn.delay(seconds(10_300)), Duration::from_secs(300));
    }
}
