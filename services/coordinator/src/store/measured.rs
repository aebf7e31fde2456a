//! What a store is measured by.

use std::time::Duration;

use service_kit::metrics::{Counter, Gauge, Histogram, Page, Scale};

use super::Changes;
use super::state::{State, commit_bytes};

/// The work of a store since it was opened.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) commits: Counter,
    pub(super) conflicts: Counter,
    pub(super) failures: Counter,
    pub(super) bytes_written: Counter,
    pub(super) latency: Histogram,
    pub(super) group: Histogram,
    pub(super) revision: Gauge,
    pub(super) bytes: Gauge,
    pub(super) entries: Gauge,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            commits: Counter::default(),
            conflicts: Counter::default(),
            failures: Counter::default(),
            bytes_written: Counter::default(),
            latency: Histogram::new(Scale::SECONDS),
            group: Histogram::new(Scale::COUNT),
            revision: Gauge::default(),
            bytes: Gauge::default(),
            entries: Gauge::default(),
        }
    }
}

impl Measured {
    /// A group of commits was made durable, or was not.
    pub(super) fn group(&self, commits: &[Changes], took: Duration, well: bool) {
        if !well {
            return self.failures.increment();
        }
        self.commits.add(commits.len() as u64);
        self.bytes_written.add(commits.iter().map(commit_bytes).sum::<usize>() as u64);
        self.latency.observe(took);
        self.group.record(commits.len() as u64);
    }

    /// What the store holds.
    pub(super) fn now(&self, state: &State) {
        let (bytes, entries) = state.size();
        self.revision.set(state.revision().0);
        self.bytes.set(bytes as u64);
        self.entries.set(entries as u64);
    }

    pub(super) fn write(&self, page: &mut Page) {
        for (name, help, counter) in [
            ("commits", "Batches that became durable.", &self.commits),
            ("conflicts", "Batches that were refused because something had changed.", &self.conflicts),
            ("failures", "Groups of batches that could not be made durable.", &self.failures),
            ("written_bytes", "Keys and values of the batches that became durable, in bytes.", &self.bytes_written),
        ] {
            page.counter(&format!("setkeeper_coordinator_store_{name}_total"), help, &[], counter.value());
        }
        let latency = "setkeeper_coordinator_store_commit_duration_seconds";
        page.histogram(latency, "Time to make a group of batches durable.", &[], &self.latency);
        let group = "setkeeper_coordinator_store_group_batches";
        page.histogram(group, "Batches made durable together.", &[], &self.group);
        for (name, help, gauge) in [
            ("revision", "Revision of the store.", &self.revision),
            ("size_bytes", "Keys and values in the store, in bytes.", &self.bytes),
            ("entries", "Entries in the store.", &self.entries),
        ] {
            page.gauge(&format!("setkeeper_coordinator_store_{name}"), help, &[], gauge.value() as f64);
        }
    }
}
