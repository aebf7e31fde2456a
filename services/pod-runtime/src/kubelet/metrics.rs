//! What a runtime is measured by.

use std::sync::Arc;

use service_kit::metrics::{Counter, Histogram, Page, Registry, Scale};
use tokio::time::Instant;

use super::Pods;
use super::probing::{ProbeKind, ProbeOutcome};

/// Phases of a pod, as in Kubernetes.
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];

/// What a probe may give.
const OUTCOMES: [&str; 3] = ["passed", "failed", "impossible"];

/// What was done with the pods of this machine since the runtime started.
#[derive(Debug)]
pub struct Metrics {
    starts: Counter,
    restarts: Counter,
    refused: Counter,
    start: Histogram,
    /// By kind and outcome.
    probes: [[Counter; OUTCOMES.len()]; ProbeKind::ALL.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            starts: Counter::default(),
            restarts: Counter::default(),
            refused: Counter::default(),
            start: Histogram::new(Scale::SECONDS),
            probes: Default::default(),
        }
    }
}

impl Metrics {
    /// Nothing yet; from now on in the registry, with the pods that there are.
    #[must_use]
    pub fn register(pods: Pods, registry: &Registry) -> Arc<Self> {
        let metrics = Arc::new(Self::default());
        let read = metrics.clone();
        registry.add(move |page| {
            let phases = pods.phases();
            for phase in PHASES {
                let count = phases.iter().filter(|found| found.as_str() == phase).count();
                let name = "setkeeper_pod_runtime_pods";
                page.gauge(name, "Pods of this machine, by phase.", &[("phase", phase)], count as f64);
            }
            read.write(page);
        });
        metrics
    }

    /// A container was started, or was not; the first of a pod has instance 0.
    pub(crate) fn started(&self, instance: u32, began: Instant, well: bool) {
        if !well {
            return self.refused.increment();
        }
        self.starts.increment();
        if instance > 0 {
            self.restarts.increment();
        }
        self.start.observe(began.elapsed());
    }

    /// A probe ran.
    pub(crate) fn probed(&self, kind: ProbeKind, outcome: &ProbeOutcome) {
        let kind = ProbeKind::ALL.iter().position(|known| *known == kind).unwrap_or_default();
        let outcome = match outcome {
            ProbeOutcome::Passed(_) => 0,
            ProbeOutcome::Failed(_) => 1,
            ProbeOutcome::Impossible(_) => 2,
        };
        self.probes[kind][outcome].increment();
    }

    fn write(&self, page: &mut Page) {
        for (name, help, counter) in [
            ("starts", "Containers that were started.", &self.starts),
            ("restarts", "Containers that were started again after they had ended.", &self.restarts),
            ("start_failures", "Containers that could not be started.", &self.refused),
        ] {
            page.counter(&format!("setkeeper_pod_runtime_{name}_total"), help, &[], counter.value());
        }
        page.histogram("setkeeper_pod_runtime_start_duration_seconds", "Time to start a container.", &[], &self.start);
        for (kind, counts) in ProbeKind::ALL.iter().zip(&self.probes) {
            for (outcome, count) in OUTCOMES.iter().zip(counts) {
                let labels = [("probe", kind.title()), ("outcome", *outcome)];
                page.counter("setkeeper_pod_runtime_probes_total", "Probes, by outcome.", &labels, count.value());
            }
        }
    }
}
