//! Durations, and the rows of the table made of them.

use std::time::Duration;

use service_kit::clock::{Clock, SystemClock};

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) p50: String,
    pub(crate) p99: String,
}

impl Row {
    /// A row that is one value.
    pub(crate) fn value(name: &str, value: String) -> Self {
        Self { name: name.to_owned(), value, p50: String::new(), p99: String::new() }
    }

    /// A row of so many operations that took `total` together, and their latencies.
    pub(crate) fn rate(name: &str, operations: usize, total: Duration, samples: Samples) -> Self {
        let rate = operations as f64 / total.as_secs_f64();
        Self { value: format!("{rate:.0} /s"), ..Self::latency(name, samples) }
    }

    /// A row of latencies alone.
    pub(crate) fn latency(name: &str, mut samples: Samples) -> Self {
        samples.0.sort_unstable();
        let value = String::new();
        Self { name: name.to_owned(), value, p50: samples.percentile(50), p99: samples.percentile(99) }
    }
}

/// Latencies of one kind of operation.
#[derive(Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<Duration>);

impl Samples {
    /// Of sorted samples.
    fn percentile(&self, percent: usize) -> String {
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).map_or_else(String::new, |duration| format!("{:.3} ms", duration.as_secs_f64() * 1000.0))
    }
}

/// Time since some fixed moment.
pub(crate) fn now() -> Duration {
    SystemClock.monotonic()
}
