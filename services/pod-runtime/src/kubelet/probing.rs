//! When a probe runs and what its results mean (pod rules, section 7.1). Pure.

use std::time::Duration;

use domain::Timestamp;

use crate::spec::{Container, Probe};

/// Which question a probe answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Has it started?
    Startup,
    /// Does it still live?
    Liveness,
    /// May it be found?
    Readiness,
}

impl ProbeKind {
    /// All, in the order in which a container is asked.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The container's probe of this kind.
    #[must_use]
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }

    /// As events name it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// What one run of a probe gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// Passed; words for a warning, empty where there is none.
    Passed(String),
    /// Failed, in words.
    Failed(String),
    /// Could not be run; counts as nothing. In words.
    Impossible(String),
}

/// One worker of one container instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeState {
    /// When it runs next (steady time); none before it is scheduled.
    pub next_at: Option<Timestamp>,
    /// A run is under way.
    pub busy: bool,
    /// Runs that counted or would have.
    pub runs: u32,
    /// Passes in a row.
    pub passed: u32,
    /// Failures in a row.
    pub failed: u32,
}

/// What the results so far say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing new.
    Unchanged,
    /// Enough passes in a row.
    Passing,
    /// Enough failures in a row.
    Failing,
}

impl ProbeState {
    /// Whether to run now. Schedules the next run if so: the first at `first`, then every `period` from there.
    pub fn due(&mut self, first: Timestamp, period: Duration, now: Timestamp) -> bool {
        let next = *self.next_at.get_or_insert(first);
        if self.busy || next > now {
            return false;
        }
        // A run that took longer than a period is not made up for.
        self.next_at = Some(next.plus(period).max(now.plus(Duration::from_millis(1))));
        self.busy = true;
        true
    }

    /// Takes a result.
    pub fn record(&mut self, kind: ProbeKind, probe: &Probe, outcome: &ProbeOutcome) -> Verdict {
        self.busy = false;
        match outcome {
            ProbeOutcome::Impossible(_) => Verdict::Unchanged,
            ProbeOutcome::Passed(_) => {
                self.runs = self.runs.saturating_add(1);
                self.failed = 0;
                self.passed = self.passed.saturating_add(1);
                if self.passed >= probe.successes_needed() { Verdict::Passing } else { Verdict::Unchanged }
            }
            ProbeOutcome::Failed(_) => {
                let first = self.runs == 0;
                self.runs = self.runs.saturating_add(1);
                self.passed = 0;
                // "failureThreshold times period" is what people allow for a start; a failure at the very first
                // moment must not cost one period of it.
                if first && kind == ProbeKind::Startup {
                    return Verdict::Unchanged;
                }
                self.failed = self.failed.saturating_add(1);
                if self.failed >= probe.failures_needed() { Verdict::Failing } else { Verdict::Unchanged }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(failure_threshold: u32, success_threshold: u32) -> Probe {
        Probe { failure_threshold, success_threshold, ..Probe::default() }
    }

    fn verdicts(kind: ProbeKind, probe: &Probe, results: &str) -> String {
        let mut state = ProbeState::default();
        let verdict = |result| {
            let outcome = match result {
                '+' => ProbeOutcome::Passed(String::new()),
                '-' => ProbeOutcome::Failed(String::new()),
                _ => ProbeOutcome::Impossible(String::new()),
            };
            match state.record(kind, probe, &outcome) {
                Verdict::Unchanged => '.',
                Verdict::Passing => 'P',
                Verdict::Failing => 'F',
            }
        };
        results.chars().map(verdict).collect()
    }

    #[test]
    fn only_equal_results_in_a_row_change_the_verdict() {
        let check = |kind, failures, successes, results, expected| {
            assert_eq!(verdicts(kind, &probe(failures, successes), results), expected, "{kind:?} {results}");
        };
        check(ProbeKind::Readiness, 3, 1, "+--+", "P..P"); // P-27
        check(ProbeKind::Readiness, 3, 1, "+---", "P..F"); // P-28
        check(ProbeKind::Readiness, 3, 2, "+-++", "...P");
        check(ProbeKind::Liveness, 3, 1, "---", "..F"); // P-29
        check(ProbeKind::Liveness, 2, 1, "-??-", "...F"); // P-39: what could not run counts as nothing
        check(ProbeKind::Startup, 2, 1, "---", "..F"); // the failure at the first moment is free
        check(ProbeKind::Startup, 1, 1, "-+", ".P");
    }

    #[test]
    fn runs_keep_their_rhythm() {
        let mut state = ProbeState::default();
        let period = Duration::from_secs(10);
        assert!(!state.due(Timestamp(5_000), period, Timestamp(4_999)));
        assert!(state.due(Timestamp(5_000), period, Timestamp(5_000)));
        assert!(!state.due(Timestamp(5_000), period, Timestamp(15_000)), "never two at once");
        state.record(ProbeKind::Readiness, &probe(3, 1), &ProbeOutcome::Passed(String::new()));
        assert!(state.due(Timestamp(5_000), period, Timestamp(15_000)));
        assert_eq!(state.next_at, Some(Timestamp(25_000)));
    }
}
