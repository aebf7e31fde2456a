//! What a loop is measured by.

use std::sync::Arc;
use std::time::Duration;

use service_kit::metrics::{Counter, Gauge, Histogram, Page, Registry, Scale};

use super::Outcome;

/// Outcomes, as they are told: a closed set.
const OUTCOMES: [&str; 4] = ["done", "waiting", "stale", "failed"];

/// The passes of one controller.
#[derive(Debug)]
pub(super) struct Passes {
    ended: [Counter; OUTCOMES.len()],
    duration: Histogram,
    backoff: Histogram,
    /// Keys that are due and wait for a place.
    pub(super) queued: Gauge,
    pub(super) wait: Histogram,
}

impl Passes {
    /// Those of the controller of this name, from now on in the registry.
    pub(super) fn of(controller: &'static str, registry: &Registry) -> Arc<Self> {
        let passes = Arc::new(Self {
            ended: Default::default(),
            duration: Histogram::new(Scale::SECONDS),
            backoff: Histogram::new(Scale::SECONDS),
            queued: Gauge::default(),
            wait: Histogram::new(Scale::SECONDS),
        });
        let read = passes.clone();
        registry.add(move |page| read.write(controller, page));
        passes
    }

    /// A pass has ended.
    pub(super) fn ended(&self, outcome: &Outcome, took: Duration) {
        let place = match outcome {
            Outcome::Settled | Outcome::After(_, None) => 0,
            Outcome::At(_) | Outcome::After(_, Some(_)) => 1,
            Outcome::Stale => 2,
            Outcome::Failed(_) => 3,
        };
        self.ended[place].increment();
        self.duration.observe(took);
    }

    /// A key is left alone for so long before it is tried again.
    pub(super) fn backed_off(&self, delay: Duration) {
        self.backoff.observe(delay);
    }

    fn write(&self, controller: &str, page: &mut Page) {
        let labels = [("controller", controller)];
        for (outcome, count) in OUTCOMES.iter().zip(&self.ended) {
            let labels = [labels[0], ("outcome", outcome)];
            page.counter("setkeeper_coordinator_reconcile_passes_total", "Passes, by outcome.", &labels, count.value());
        }
        let duration = "setkeeper_coordinator_reconcile_duration_seconds";
        page.histogram(duration, "Time of a pass.", &labels, &self.duration);
        let backoff = "setkeeper_coordinator_reconcile_backoff_seconds";
        page.histogram(
            backoff,
            "Delays after passes that failed or found their view out of date.",
            &labels,
            &self.backoff,
        );
        let depth = "setkeeper_coordinator_queue_depth";
        page.gauge(depth, "Keys that are due and wait for a pass.", &labels, self.queued.value() as f64);
        let wait = "setkeeper_coordinator_queue_wait_seconds";
        page.histogram(wait, "Time from a key being due to its pass.", &labels, &self.wait);
    }
}
