//! Pods that make no headway, and what is done for their sake under OrderedReady: others that were members come back beside
//! them, or are given up. The members of many applications need each other, and order alone would have each wait for ever.

use std::time::Duration;

use crate::{Ordinal, PodManagementPolicy, RetentionRule, SetStatus, Snapshot, Timestamp};

/// How long a pod in range that lives may be not ready before it is given company by others, or others are given up for its
/// sake: longer than most programs need to start.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long any outdated pod may be not ready before it is given up for the sake of a lower one that is not either: more than
/// slow programs need after a loss of power.
pub const SLOW_START: Duration = Duration::from_secs(120);

impl Snapshot {
    /// Since when the pod of `ordinal` lives and has not been ready, as far as somebody has looked after the set; none where
    /// there is none, it is ready, or it goes.
    #[must_use]
    pub fn stalled_since(&self, ordinal: Ordinal) -> Option<Timestamp> {
        let pod = self.pod(ordinal).filter(|pod| !pod.terminating && !pod.phase.terminal())?;
        self.unready_since(&pod).max(self.watched_since.filter(|_| !pod.is_ready()))
    }

    /// Whether several members were healthy together once: those know each other.
    #[must_use]
    pub fn is_formed(&self) -> bool {
        self.formed.is_some_and(|formed| self.spec.size() > 1 && self.spec.index(formed) > 0)
    }

    /// From when on members that were healthy together come back whatever the health of lower ones (switch
    /// `break_cold_start`): once the lowest that is not healthy has made no headway for a while. None where it may.
    #[must_use]
    pub fn company_from(&self) -> Option<Timestamp> {
        let (lowest, _) = self.first_unhealthy().filter(|_| self.switches.break_cold_start && self.is_formed())?;
        Some(self.stalled_since(lowest)?.plus(PATIENCE))
    }

    /// The highest pod out of range, if it may go before the pods in range are healthy, at the earliest then (switch
    /// `heal_broken_pods`): it is not ready, or has ended, and the lowest that is not healthy makes no headway; sooner where the
    /// set has left it behind, at neither of its revisions. It serves nobody, and is not wanted; and where pods need each other,
    /// it may be what keeps the others. Where its data would go with it, it must have been left behind.
    #[must_use]
    pub fn abandoned_from(&self) -> Option<(Ordinal, Timestamp)> {
        let SetStatus { observed_generation, current_revision, update_revision, .. } = &self.status;
        let ordered = self.spec.policy == PodManagementPolicy::OrderedReady && self.switches.heal_broken_pods;
        let (lowest, _) = self.first_unhealthy().filter(|_| ordered)?;
        let highest = self.condemned().next_back()?.last();
        let pod = self.pod(highest)?;
        let known = *observed_generation == self.generation.0;
        let left_behind = known && !pod.at(current_revision) && !pod.at(update_revision);
        if !left_behind && self.spec.retention.when_scaled == RetentionRule::Delete {
            return None;
        }
        let patience = if left_behind { PATIENCE } else { SLOW_START };
        let ended = pod.phase.terminal() && !pod.terminating;
        let below = self.stalled_since(lowest)?;
        let since = if ended { below } else { below.max(self.stalled_since(highest)?) };
        Some((highest, since.plus(patience)))
    }

    /// The same, if its time has come.
    #[must_use]
    pub fn abandoned(&self) -> Option<Ordinal> {
        self.abandoned_from().filter(|(_, from)| *from <= self.now).map(|(highest, _)| highest)
    }
}
