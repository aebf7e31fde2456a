//! When a probe runs and what its results mean (pod rules, section 7.1). Pure.

use std::time::Duration;

use domain::Timestamp;

use crate::spec::{Container, Probe};

/// Wait before a container that has not passed yet is asked again; doubled up to the probe's period.
const HURRY: Duration = Duration::from_millis(50);

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
    /// When it runs next by its period (steady time); none before it is scheduled.
    next_at: Option<Timestamp>,
    /// When it runs between two of these; none if it does not.
    extra_at: Option<Timestamp>,
    /// Runs in between so far.
    extras: u32,
    /// Whether the run under way, or the last one, is one in between.
    extra: bool,
    /// A run is under way.
    busy: bool,
    /// Runs that counted or would have.
    runs: u32,
    /// Whether any passed.
    ever_passed: bool,
    /// Passes in a row.
    passed: u32,
    /// Failures in a row.
    failed: u32,
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
        let regular = next <= now;
        if self.busy || !(regular || self.extra_at.is_some_and(|extra| extra <= now)) {
            return false;
        }
        if regular {
            // A run that took longer than a period is not made up for.
            self.next_at = Some(next.plus(period).max(now.plus(Duration::from_millis(1))));
        }
        self.extra = !regular;
        self.extra_at = None;
        self.busy = true;
        true
    }

    /// When it runs next; none before it is scheduled.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.next_at.map(|next| self.extra_at.map_or(next, |extra| extra.min(next)))
    }

    /// Whether the run under way, or the last one, is one between those of the period.
    #[must_use]
    pub fn is_extra(&self) -> bool {
        self.extra
    }

    /// Runs once more soon. Until it first passes, a container need not wait for a whole period because it was asked a
    /// moment too early. Such runs can only pass; their failures do not count.
    pub fn hurry(&mut self, period: Duration, now: Timestamp) {
        let wait = HURRY * 2_u32.saturating_pow(self.extras.min(16));
        let soon = now.plus(wait);
        if wait < period && !self.ever_passed && self.next_at.is_some_and(|next| soon < next) {
            self.extras += 1;
            self.extra_at = Some(soon);
        }
    }

    /// Takes a result.
    pub fn record(&mut self, kind: ProbeKind, probe: &Probe, outcome: &ProbeOutcome) -> Verdict {
        self.busy = false;
        match outcome {
            ProbeOutcome::Impossible(_) => Verdict::Unchanged,
            ProbeOutcome::Passed(_) => {
                self.runs = self.runs.saturating_add(1);
                self.ever_passed = true;
                self.failed = 0;
                self.passed = self.passed.saturating_add(1);
                if self.passed >= probe.successes_needed() { Verdict::Passing } else { Verdict::Unchanged }
            }
            ProbeOutcome::Failed(_) if self.extra => Verdict::Unchanged,
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
        assert_eq!(state.next(), Some(Timestamp(25_000)));
    }

    #[test]
    fn a_container_that_has_not_passed_is_asked_again_soon_and_ever_later() {
        let (period, failed) = (Duration::from_secs(1), ProbeOutcome::Failed(String::new()));
        let (mut state, mut now, mut times) = (ProbeState::default(), Timestamp(0), Vec::new());
        let probe = probe(2, 1);
        while now < Timestamp(4_000) {
            assert!(state.due(Timestamp(0), period, now));
            times.push(now.0);
            let verdict = state.record(ProbeKind::Readiness, &probe, &failed);
            assert_eq!(
                verdict == Verdict::Failing,
                now.0 % 1_000 == 0 && now.0 > 0,
                "only regular runs count: {now:?}"
            );
            state.hurry(period, now);
            now = state.next().unwrap();
        }
        assert_eq!(times, [0, 50, 150, 350, 750, 1_000, 1_800, 2_000, 3_000]);
        assert!(state.due(Timestamp(0), period, now));
        state.record(ProbeKind::Readiness, &probe, &ProbeOutcome::Passed(String::new()));
        state.hurry(period, now);
        assert_eq!(state.next(), Some(Timestamp(5_000)), "who has passed keeps the rhythm");
    }
}
