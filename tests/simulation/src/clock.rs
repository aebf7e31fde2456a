//! Simulated time: turmoil's for durations, and a wall clock per host that may jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};
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
    /// The host stands still until then, in simulated milliseconds.
    stands_until_ms: Arc<AtomicU64>,
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

    /// F12: the host stands still until then, and goes on with what it had in hand.
    pub fn stand_still(&self, until: Duration) {
        self.stands_until_ms.store(until.as_millis() as u64, Ordering::SeqCst);
    }

    /// Whether the host stands still.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        stands_for(&self.stands_until_ms).is_some()
    }

    /// Returns when the host does not stand still: at once, but for a pause.
    pub fn goes_on(&self) -> impl Future<Output = ()> + Send + use<> {
        let until = self.stands_until_ms.clone();
        async move {
            while let Some(rest) = stands_for(&until) {
                tokio::time::sleep(rest).await;
            }
        }
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
        let goes_on = self.goes_on();
        async move {
            tokio::time::sleep(duration).await;
            goes_on.await;
        }
        .boxed()
    }
}

/// For how long a host that stands still until then stands still yet.
fn stands_for(until_ms: &AtomicU64) -> Option<Duration> {
    let until = Duration::from_millis(until_ms.load(Ordering::SeqCst));
    until.checked_sub(turmoil::sim_elapsed().unwrap_or_default()).filter(|rest| !rest.is_zero())
}

/// Waits, where something is polled, for its host to go on.
#[derive(Default)]
pub struct Standstill(Option<BoxFuture<'static, ()>>);

impl Standstill {
    /// Ready unless the host stands still.
    pub fn poll(&mut self, clock: &SimulatedClock, context: &mut Context<'_>) -> Poll<()> {
        if self.0.is_none() && clock.stands_still() {
            self.0 = Some(clock.goes_on().boxed());
        }
        let Some(wait) = &mut self.0 else { return Poll::Ready(()) };
        let polled = wait.poll_unpin(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl std::fmt::Debug for Standstill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Standstill").field(&self.0.is_some()).finish()
    }
}
