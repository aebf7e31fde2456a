//! What no plan may do, whoever made it: the safety predicates as functions.
//!
//! The executor asks them before each commit, in every build; since a commit rests on the very objects of the snapshot,
//! what holds of the snapshot holds of the store at that moment. They are written without a look at how the planners
//! decide, so that one mistake is not made twice. Tests use them as oracles. The numbers are those of the reliability
//! rules, section (b).

use std::collections::BTreeSet;
use std::fmt;

use crate::{
    Ordinal, OrdinalPlan, PATIENCE, Pod, PodManagementPolicy, RetentionRule, RevisionName, SetSpec, Snapshot,
    UpdatePlan, UpdateStrategy,
};

/// A plan breaks a predicate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Breach {
    /// Number of the predicate, such as `S3`.
    pub predicate: &'static str,
    /// At which ordinal.
    pub ordinal: Ordinal,
    /// What is wrong, in words.
    pub why: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken at ordinal {}: {}", self.predicate, self.ordinal, self.why)
    }
}

/// Both plans of one pass over one snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Plans<'a> {
    /// What both planners saw.
    pub snapshot: &'a Snapshot,
    /// What the update planner said.
    pub update: &'a UpdatePlan,
    /// What the ordinal scheduler said, as far as it is carried out.
    pub order: &'a OrdinalPlan,
}

impl Plans<'_> {
    /// Every predicate that a pass can break.
    ///
    /// # Errors
    /// The first breach.
    pub fn check(&self) -> Result<(), Breach> {
        self.s1_at_most_one()?;
        self.s3_ordered_create()?;
        self.s4_ordered_scale_down()?;
        self.s5_update_order()?;
        self.s6_partition()?;
        self.s7_on_delete()?;
        self.s8_budget()
    }

    /// S1, as far as records go: a pod is created only where none exists, at an ordinal that the set should have; and
    /// every deletion names the incarnation that the snapshot shows.
    ///
    /// # Errors
    /// The first breach.
    pub fn s1_at_most_one(&self) -> Result<(), Breach> {
        let mut created = BTreeSet::new();
        for creation in &self.order.create {
            let ordinal = creation.ordinal;
            let free = !self.snapshot.has_pod(ordinal) && created.insert(ordinal);
            require("S1", ordinal, free, || "a pod exists already".to_owned())?;
            require("S1", ordinal, self.snapshot.spec.contains(ordinal), || "it is out of range".to_owned())?;
        }
        for deletion in self.order.delete.iter().chain(&self.update.replace) {
            let shown = self.snapshot.pod(deletion.ordinal).is_some_and(|pod| pod.uid == deletion.uid);
            require("S1", deletion.ordinal, shown, || format!("no pod with uid {} was shown", deletion.uid))?;
        }
        Ok(())
    }

    /// S3: under OrderedReady a pod is created only when every lower ordinal in range has a healthy pod. Pods that were healthy
    /// together once are three exceptions: they are started again as a whole, when no pod is healthy; they come back where the
    /// lowest that is not healthy lives and has made no headway for a while; and what an update of a set that was complete may
    /// take down, and no more than its budget, comes back together while one is under way.
    ///
    /// # Errors
    /// The first breach.
    pub fn s3_ordered_create(&self) -> Result<(), Breach> {
        if self.order.create.is_empty() || !self.ordered() {
            return Ok(());
        }
        let blocked = self.snapshot.first_unhealthy();
        for creation in &self.order.create {
            let ordinal = creation.ordinal;
            let in_order = blocked.as_ref().is_none_or(|(lowest, _)| *lowest >= ordinal);
            let down = || self.order.cold_start && self.total_outage();
            let breaks = self.snapshot.switches.break_cold_start;
            let stalled = || blocked.as_ref().is_some_and(|(lowest, _)| breaks && self.makes_no_headway(*lowest));
            let together = || self.was_member(ordinal) && (down() || stalled());
            let again = || blocked.as_ref().is_some_and(|(lowest, _)| self.comes_back_together(*lowest));
            require("S3", ordinal, in_order || together() || again(), || match &blocked {
                Some((lowest, reason)) => format!("ordinal {lowest} is not healthy: {reason}"),
                None => String::new(),
            })?;
        }
        Ok(())
    }

    /// S4: under OrderedReady a pod is removed for a scale-down only when every higher one is gone and every pod in range
    /// is healthy, or the lowest that is not has made no headway for a while and neither has this one;
    /// and under any policy a pod in range is removed by the order of the set only when it has ended.
    ///
    /// # Errors
    /// The first breach.
    pub fn s4_ordered_scale_down(&self) -> Result<(), Breach> {
        if self.snapshot.intent != crate::Intent::Keep {
            return Ok(());
        }
        for deletion in &self.order.delete {
            let ordinal = deletion.ordinal;
            if self.snapshot.spec.contains(ordinal) {
                let ended = self.snapshot.pod(ordinal).is_some_and(|pod| pod.phase.terminal());
                require("S4", ordinal, ended, || "it is in range and has not ended".to_owned())?;
            } else if self.ordered() {
                let highest = self.snapshot.condemned().next_back().is_none_or(|pods| pods.last() == ordinal);
                require("S4", ordinal, highest, || "a higher one is not gone".to_owned())?;
                let blocked = self.snapshot.first_unhealthy();
                let in_order = blocked.as_ref().is_none_or(|(lowest, _)| self.is_given_up(ordinal, *lowest));
                require("S4", ordinal, in_order, || format!("not all in range are healthy: {blocked:?}"))?;
            }
        }
        Ok(())
    }

    /// S5: an available pod is taken down for an update only if it is outdated, the partition lets it go, and no higher
    /// one of that kind stays. One that is not available may go before its turn, if it comes back changed.
    ///
    /// # Errors
    /// The first breach.
    pub fn s5_update_order(&self) -> Result<(), Breach> {
        let replaced: BTreeSet<Ordinal> = self.update.replace.iter().map(|deletion| deletion.ordinal).collect();
        if replaced.is_empty() {
            return Ok(());
        }
        let candidate = |pod: &Pod| self.outdated(pod) && self.updatable(pod) && !self.snapshot.unavailable(pod);
        let candidates = self.snapshot.members().rev().filter(|pods| candidate(pods));
        let highest_kept = candidates.flat_map(|pods| pods.pods().rev()).find(|pod| !replaced.contains(&pod.ordinal));
        for ordinal in &replaced {
            let Some(pod) = self.snapshot.pod(*ordinal) else { continue };
            require("S5", *ordinal, self.snapshot.spec.contains(*ordinal), || "it is out of range".to_owned())?;
            require("S5", *ordinal, !pod.terminating, || "it terminates already".to_owned())?;
            if self.snapshot.unavailable(&pod) {
                let target = self.update.target(*ordinal);
                let changes = target.is_some_and(|target| !pod.at(target)) || self.updatable(&pod);
                require("S5", *ordinal, changes, || "it would come back at the revision that it has".to_owned())?;
            } else {
                require("S5", *ordinal, candidate(&pod), || "it is not due".to_owned())?;
                let in_turn = highest_kept.as_ref().is_none_or(|kept| kept.ordinal < *ordinal);
                require("S5", *ordinal, in_turn, || "a higher one is not updated".to_owned())?;
            }
        }
        Ok(())
    }

    /// S6: under RollingUpdate with a block, a pod above the partition is created at the update revision, one below it at
    /// the current one.
    ///
    /// # Errors
    /// The first breach.
    pub fn s6_partition(&self) -> Result<(), Breach> {
        let spec = &self.snapshot.spec;
        let UpdateStrategy::RollingUpdate(Some(block)) = &spec.strategy else { return Ok(()) };
        for creation in self.order.create.iter().filter(|_| !spec.paused) {
            let protected = spec.index(creation.ordinal) < block.partition;
            let expected = if protected { self.current_revision() } else { self.update_revision() };
            let right = creation.revision == *expected;
            require("S6", creation.ordinal, right, || format!("created at {}, not {expected}", creation.revision))?;
        }
        Ok(())
    }

    /// S7: under OnDelete, and while a set is paused, no pod is deleted for its revision.
    ///
    /// # Errors
    /// The first breach.
    pub fn s7_on_delete(&self) -> Result<(), Breach> {
        let spec = &self.snapshot.spec;
        let held = spec.paused || spec.strategy == UpdateStrategy::OnDelete;
        match self.update.replace.first() {
            Some(deletion) => require("S7", deletion.ordinal, !held, || "updates are not to be rolled out".to_owned()),
            None => Ok(()),
        }
    }

    /// S8: the available pods that an update takes down, with those in range that are unavailable already, are at most
    /// `maxUnavailable`. Replacing a pod that is not available costs nothing.
    ///
    /// # Errors
    /// The first breach.
    pub fn s8_budget(&self) -> Result<(), Breach> {
        let snapshot = self.snapshot;
        let replaced = self.update.replace.iter().filter_map(|deletion| snapshot.pod(deletion.ordinal));
        let taken: Vec<_> = replaced.filter(|pod| !snapshot.unavailable(pod)).collect();
        let Some(first) = taken.first() else { return Ok(()) };
        let down = snapshot.unavailable_members() as usize + taken.len();
        let budget = snapshot.spec.max_unavailable();
        require("S8", first.ordinal, down <= budget as usize, || {
            format!("{down} would be down, at most {budget} may be")
        })
    }

    fn ordered(&self) -> bool {
        self.snapshot.spec.policy == PodManagementPolicy::OrderedReady
    }

    fn total_outage(&self) -> bool {
        self.snapshot.is_down()
    }

    fn was_member(&self, ordinal: Ordinal) -> bool {
        self.snapshot.formed.is_some_and(|formed| ordinal <= formed)
    }

    /// Whether a pod lives and has not been ready for a while.
    fn makes_no_headway(&self, ordinal: Ordinal) -> bool {
        let lives = |pod: &Pod| !pod.terminating && !pod.phase.terminal();
        let pod = self.snapshot.pod(ordinal).filter(|pod| lives(pod));
        let since = pod.and_then(|pod| self.snapshot.unready_since(&pod));
        since.is_some_and(|since| since.plus(PATIENCE) <= self.snapshot.now)
    }

    /// Whether a pod out of range is given up for the sake of the lowest in range that is not healthy.
    fn is_given_up(&self, ordinal: Ordinal, lowest: Ordinal) -> bool {
        let ended = |pod: &Pod| pod.phase.terminal() && !pod.terminating;
        let ended = self.snapshot.pod(ordinal).is_some_and(|pod| ended(&pod));
        let hopeless = ended || self.makes_no_headway(ordinal);
        self.snapshot.switches.heal_broken_pods && hopeless && self.makes_no_headway(lowest)
    }

    /// Whether all that is not healthy, from the lowest on, was part of the set before, and an update is under way that may
    /// take it down, and so many. Who did, nobody can tell of a pod that is gone.
    fn comes_back_together(&self, lowest: Ordinal) -> bool {
        let Snapshot { spec, formed, switches, .. } = self.snapshot;
        let were_members = spec.last() <= *formed;
        let for_the_update = self.snapshot.is_updating() && spec.index(lowest) >= spec.partition();
        let within_budget = self.snapshot.unavailable_members() <= spec.max_unavailable();
        switches.recreate_together && were_members && for_the_update && within_budget
    }

    fn outdated(&self, pod: &Pod) -> bool {
        !pod.at(self.update_revision())
    }

    /// Where the update comes from. In Kubernetes a pod out of range may complete the update in the very pass that
    /// creates a missing one (switch `promote_when_available`); that pod still comes back at the revision from before.
    fn current_revision(&self) -> &RevisionName {
        let (before, after) = (&self.snapshot.status.current_revision, &self.update.status.current_revision);
        let counted = !self.snapshot.switches.promote_when_available && !before.0.is_empty();
        if counted && self.update.targets.iter().any(|range| range.revision == *before) { before } else { after }
    }

    /// Where the update goes. Kubernetes keeps the stored status where it computes a count below zero (switch
    /// `count_observed_pods`): that names the update before, and only the targets tell.
    fn update_revision(&self) -> &RevisionName {
        let Snapshot { spec, status, switches, .. } = self.snapshot;
        let kept = !switches.count_observed_pods && self.update.status == *status && spec.partition() < spec.size();
        let target = self.update.targets.last().filter(|_| kept).map(|range| &range.revision);
        target.unwrap_or(&self.update.status.update_revision)
    }

    fn updatable(&self, pod: &Pod) -> bool {
        self.snapshot.spec.index(pod.ordinal) >= self.snapshot.spec.partition()
    }
}

/// The deletion of a claim that a scale-down handed to a pod which is gone, and what is stored at that moment. A claim that
/// belongs to its set alone goes with the set: only a policy that says so makes the set its owner.
#[derive(Debug, Clone, Copy)]
pub struct ClaimDeletion<'a> {
    /// Its ordinal.
    pub ordinal: Ordinal,
    /// The set that has claims of this name; none where there is no set any more.
    pub set: Option<&'a SetSpec>,
    /// Whether a pod of that ordinal is stored, whichever incarnation.
    pub has_pod: bool,
}

impl ClaimDeletion<'_> {
    /// S9: after a scale-down a claim is deleted only while the set, if there is one, still wants that and does not have the
    /// ordinal, and no pod is left.
    ///
    /// # Errors
    /// Why it must stay.
    pub fn s9_claim_delete(&self) -> Result<(), Breach> {
        let Self { ordinal, set, has_pod } = *self;
        require("S9", ordinal, !has_pod, || "its pod is not gone".to_owned())?;
        let Some(spec) = set else { return Ok(()) };
        require("S9", ordinal, !spec.contains(ordinal), || "the set has this ordinal".to_owned())?;
        let wanted = spec.retention.when_scaled == RetentionRule::Delete;
        require("S9", ordinal, wanted, || "the retention policy keeps it".to_owned())
    }
}

fn require(predicate: &'static str, ordinal: Ordinal, fact: bool, why: impl FnOnce() -> String) -> Result<(), Breach> {
    if fact { Ok(()) } else { Err(Breach { predicate, ordinal, why: why() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s9_a_claim_goes_only_while_its_reason_holds() {
        let spec = |replicas, when_scaled| SetSpec {
            replicas,
            retention: crate::RetentionPolicy { when_scaled, ..Default::default() },
            ..SetSpec::default()
        };
        let (two, three) = (spec(2, RetentionRule::Delete), spec(3, RetentionRule::Delete));
        let retained = spec(2, RetentionRule::Retain);
        let check = |set, has_pod| {
            let deletion = ClaimDeletion { ordinal: Ordinal(2), set, has_pod };
            deletion.s9_claim_delete().map_err(|breach| breach.why)
        };
        let stays = |why: &str| Err(why.to_owned());
        assert_eq!(check(Some(&two), false), Ok(()));
        assert_eq!(check(Some(&two), true), stays("its pod is not gone"));
        assert_eq!(check(Some(&three), false), stays("the set has this ordinal"));
        assert_eq!(check(Some(&retained), false), stays("the retention policy keeps it"));
        assert_eq!(check(None, false), Ok(()));
    }
}
