//! Simulated time: turmoil's for durations, and a wall clock per host that may jump.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use domain::Timestamp;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use service_kit::clock::Clock;

/// When every simulation begins, in milliseconds since 1970: 2026-01-01T00:00:00Z.
pub const EPOCH_MS: i64 = 1_767_225_600_000;

/// The clock of one host. It keeps its error when the host restarts.
#[derive(Debug, Default)]
pub struct SimulatedClock {
    error_ms: AtomicI64,
    /// A planted bug: timers follow the wall clock.
    confused: AtomicBool,
}

impl SimulatedClock {
    /// Sets the wall clock wrong by so much, in milliseconds.
    pub fn jump(&self, error_ms: i64) {
        self.error_ms.store(error_ms, Ordering::SeqCst);
    }

    /// Plants a bug: timers follow the wall clock.
    pub fn confuse(&self) {
        self.confused.store(true, Ordering::SeqCst);
    }

    /// What the clock shows when so much time has passed since the beginning.
    #[must_use]
    pub fn shows(&self, elapsed: Duration) -> Timestamp {
        let elapsed = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        Timestamp(EPOCH_MS + elapsed + self.error_ms.load(Ordering::SeqCst))
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        self.shows(turmoil::sim_elapsed().unwrap_or_default())
    }

    fn monotonic(&self) -> Duration {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        let error = Duration::from_millis(self.error_ms.load(Ordering::SeqCst).unsigned_abs());
        match self.confused.load(Ordering::SeqCst) {
            true if self.error_ms.load(Ordering::SeqCst) < 0 => elapsed.saturating_sub(error),
            true => elapsed + error,
            false => elapsed,
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}
