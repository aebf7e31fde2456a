//! What the planners are asked, and what they answer.
//!
//! Both planners see the same snapshot of one set. The ordinal scheduler is also told the revisions that the update planner
//! chose.

use std::borrow::Cow;

use crate::{
    Cause, Failures, Generation, Ordinal, Outage, Phase, Pod, PodCreation, PodDeletion, PodRun, Pods, Revision,
    RevisionName, SetRef, SetSpec, SetStatus, Switches, Timestamp, UpdateStrategy, Wait, WaitReason,
};

/// What is to become of the set as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Intent {
    /// Bring it to its spec, and keep it there.
    #[default]
    Keep,
    /// Stop its pods in order and start none: the machine is going down. Spec and claims stay.
    Drain,
    /// Stop its pods in order: the set is being deleted.
    Delete,
}

/// One set at one store revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The set.
    pub set: SetRef,
    /// Its generation.
    pub generation: Generation,
    /// Its spec.
    pub spec: SetSpec,
    /// What is to become of it.
    pub intent: Intent,
    /// Its status as stored, from the pass before.
    pub status: SetStatus,
    /// Its pods, ascending by ordinal, at most one per ordinal; in runs of one where each is known.
    pub pods: Pods,
    /// Ordinals whose pods have ended lately, ascending, each once; from the pass before.
    pub failures: Vec<Failures>,
    /// Ordinals that have not been available for longer than their pods tell, ascending, each once; from the pass before.
    pub outages: Vec<Outage>,
    /// The highest ordinal up to which every pod of the set has been available at one time: those members know each
    /// other. None before that.
    pub formed: Option<Ordinal>,
    /// Whether the pass before found that the set must be started as a whole.
    pub cold_start: bool,
    /// When the set was resumed, if not all that it waits for has come since.
    pub resumed_at: Option<Timestamp>,
    /// Since when somebody looks after the set without a break, by the present clock; none where nobody knows.
    pub watched_since: Option<Timestamp>,
    /// Which mends of Kubernetes' behaviour apply.
    pub switches: Switches,
    /// The time of this pass.
    pub now: Timestamp,
}

impl Snapshot {
    /// The pod of `ordinal`, if there is one.
    #[must_use]
    pub fn pod(&self, ordinal: Ordinal) -> Option<Cow<'_, Pod>> {
        let behind = self.pods.partition_point(|pods| pods.ordinal <= ordinal);
        self.pods.get(behind.checked_sub(1)?)?.pod(ordinal)
    }

    /// Whether there is a pod of `ordinal`.
    #[must_use]
    pub fn has_pod(&self, ordinal: Ordinal) -> bool {
        self.pod(ordinal).is_some()
    }

    /// Pods in range, ascending.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = &PodRun> {
        self.pods.iter().filter(|pods| self.spec.contains(pods.ordinal))
    }

    /// Pods out of range, ascending.
    pub fn condemned(&self) -> impl DoubleEndedIterator<Item = &PodRun> {
        self.pods.iter().filter(|pods| !self.spec.contains(pods.ordinal))
    }

    /// Whether the pod is ready, available and not terminating.
    #[must_use]
    pub fn healthy(&self, pod: &Pod) -> bool {
        pod.healthy(self.spec.min_ready_seconds, self.now)
    }

    /// Whether the pod is not available, or terminating.
    #[must_use]
    pub fn unavailable(&self, pod: &Pod) -> bool {
        pod.unavailable(self.spec.min_ready_seconds, self.now)
    }

    /// Whether none of its pods is healthy, out of range or not.
    #[must_use]
    pub fn is_down(&self) -> bool {
        !self.pods.iter().any(|pod| self.healthy(pod))
    }

    /// The ordinal up to which every pod is known to have been healthy at one time, this moment included.
    #[must_use]
    pub fn formed_by_now(&self) -> Option<Ordinal> {
        let Some((lowest, _)) = self.first_unhealthy() else {
            // What the set had beyond its range is forgotten. One of no pods is complete, and has no members.
            return self.spec.last();
        };
        let below = self.spec.index(lowest).checked_sub(1).map(|index| self.spec.ordinal_at(index));
        let below = below.and_then(|ordinal| u32::try_from(ordinal).ok()).map(Ordinal);
        // Nor is there one of an ordinal that the set does not want, and that has no pod.
        let known = self.pods.last().map(PodRun::last).max(self.spec.last());
        self.formed.max(below).min(known)
    }

    /// How many pods in range are missing, terminating or not available, whatever their revision (StatefulSet rules,
    /// section 8.2).
    #[must_use]
    pub fn unavailable_members(&self) -> u32 {
        let available = self.members().filter(|pods| !self.unavailable(pods)).map(PodRun::count);
        self.spec.size().saturating_sub(available.sum())
    }

    /// Whether the set can spare the pod of an ordinal: no more of its pods are unavailable then than an update may take down
    /// (StatefulSet rules, section 8.2). One that is not available costs nothing, nor one out of range. Of those that are `lost`
    /// nobody knows whether they are available: they count as if they were not.
    ///
    /// # Errors
    /// It cannot now: how many are unavailable, and how many may be.
    pub fn spares(&self, ordinal: Ordinal, lost: impl Fn(Ordinal) -> bool) -> Result<(), WaitReason> {
        let serves = |pod: &Pod| self.spec.contains(pod.ordinal) && !self.unavailable(pod);
        let unknown = self.members().flat_map(PodRun::pods).filter(|pod| serves(pod) && lost(pod.ordinal)).count();
        let unavailable = self.unavailable_members().saturating_add(u32::try_from(unknown).unwrap_or(u32::MAX));
        let max_unavailable = self.spec.max_unavailable();
        let serves = self.pod(ordinal).is_some_and(|pod| serves(&pod));
        let others = unavailable.saturating_sub(u32::from(serves && lost(ordinal)));
        if serves && others >= max_unavailable {
            return Err(WaitReason::BudgetSpent { unavailable, max_unavailable });
        }
        Ok(())
    }

    /// Whether revisions differ that a rolling update makes equal, as far as the pass before and the pods tell; also while it
    /// waits at its partition.
    #[must_use]
    pub fn is_updating(&self) -> bool {
        let SetStatus { current_revision, update_revision, .. } = &self.status;
        let rolls = matches!(self.spec.strategy, UpdateStrategy::RollingUpdate(_)) && !self.spec.paused;
        rolls && (current_revision != update_revision || self.members().any(|pod| !pod.at(update_revision)))
    }

    /// Since when the pod has not been ready: since it was made, or since it was ready last. None while it is ready.
    #[must_use]
    pub fn unready_since(&self, pod: &Pod) -> Option<Timestamp> {
        let lost = pod.ready_since.unwrap_or(pod.created_at);
        (!pod.is_ready()).then(|| lost.max(pod.created_at))
    }

    /// The next moment at which a pod becomes available if its readiness does not change before.
    #[must_use]
    pub fn next_availability(&self) -> Option<Timestamp> {
        let moments = self.pods.iter().filter_map(|pod| pod.available_at(self.spec.min_ready_seconds));
        moments.filter(|moment| *moment > self.now).min()
    }

    /// What keeps the pod from being healthy; none if it is.
    #[must_use]
    pub fn ailment(&self, pod: &Pod) -> Option<WaitReason> {
        let ordinal = pod.ordinal;
        if pod.terminating {
            Some(WaitReason::Terminating { ordinal })
        } else if pod.phase.terminal() {
            Some(WaitReason::Ended { ordinal })
        } else if pod.phase == Phase::Pending {
            Some(WaitReason::Pending { ordinal })
        } else if !pod.is_ready() {
            Some(WaitReason::NotReady { ordinal })
        } else if self.unavailable(pod) {
            let at = pod.available_at(self.spec.min_ready_seconds);
            Some(WaitReason::NotYetAvailable { ordinal, at })
        } else {
            None
        }
    }

    /// The lowest ordinal in range that is missing or not healthy, and what it lacks: where an ordered walk through
    /// the range stops (StatefulSet rules, section 7, step C).
    #[must_use]
    pub fn first_unhealthy(&self) -> Option<(Ordinal, WaitReason)> {
        let mut healthy = 0;
        for pods in self.members() {
            if self.spec.index(pods.ordinal) > healthy {
                break;
            }
            if let Some(ailment) = self.ailment(pods) {
                return Some((pods.ordinal, ailment));
            }
            healthy += pods.count();
        }
        let missing = (healthy < self.spec.size()).then(|| self.spec.ordinal_at(healthy));
        let missing = missing.and_then(|ordinal| u32::try_from(ordinal).ok()).map(Ordinal);
        missing.map(|ordinal| (ordinal, WaitReason::Missing { ordinal }))
    }

    /// What the update planner is shown of a pass that does not come to its update: the status of such a one counts no
    /// deletion. As under OnDelete, which deletes nothing and has the same revisions.
    #[must_use]
    pub fn without_replacement(mut self) -> Self {
        self.spec.strategy = UpdateStrategy::OnDelete;
        self
    }
}

/// Question to the update planner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpdateRequest {
    /// The set.
    pub snapshot: Snapshot,
    /// Canonical bytes of the present template, in the form of [`Revision::data`].
    pub template: String,
    /// Every stored revision of the set, in any order.
    pub revisions: Vec<Revision>,
    /// Revisions of others that have a name which one of this set could get, in any order; none where the template's own one is known.
    pub foreign: Vec<Revision>,
    /// Name of the revision that is equal to the present template once the stored one is defaulted anew, if the
    /// newest is (StatefulSet rules, section 5.2, step 2).
    pub equal_after_defaulting: Option<RevisionName>,
}

/// A change to the stored revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevisionChange {
    /// A new template.
    Create(Revision),
    /// An older template is the present one again: it gets the highest number.
    Renumber {
        /// Which.
        name: RevisionName,
        /// Its new number.
        number: i64,
    },
    /// Nobody uses it and the history limit is exceeded.
    Prune {
        /// Which.
        name: RevisionName,
    },
}

/// A run of ordinals that should be at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRange {
    /// First ordinal.
    pub first: Ordinal,
    /// Last ordinal, included.
    pub last: Ordinal,
    /// The revision a pod created there gets.
    pub revision: RevisionName,
}

/// Answer of the update planner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpdatePlan {
    /// Records to create, renumber and prune, in this order.
    pub revisions: Vec<RevisionChange>,
    /// Revision of a pod created now, for every ordinal in range, ascending without gaps.
    pub targets: Vec<TargetRange>,
    /// Pods to delete now so that they come back at their target, in the order of deletion.
    pub replace: Vec<PodDeletion>,
    /// Ordinals whose pod, created in this very pass, is deleted again in it, in this order. Only without the switch
    /// `recreate_at_last_revision`.
    pub recall: Vec<Ordinal>,
    /// Why other outdated pods stay.
    pub waits: Vec<Wait>,
    /// Status computed from the snapshot.
    pub status: SetStatus,
    /// Why the computed status cannot be stored: then `status` is the stored one, and the pass fails. Only without the
    /// switch `count_observed_pods`.
    pub status_refusal: Option<String>,
    /// Ordinals that have had their time and are not available, ascending.
    pub stuck: Vec<Stuck>,
    /// Ordinals whose outage outlives the pod that they have, ascending; to be kept for the next pass.
    pub outages: Vec<Outage>,
    /// The revision whose template the set is to have again, because the update does not get on.
    pub revert: Option<RevisionName>,
    /// When the mere passing of time may change this answer; none where it cannot.
    pub look_again_at: Option<Timestamp>,
}

/// An ordinal that was not available before its progress deadline, or one out of range whose pod did not stop before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Which.
    pub ordinal: Ordinal,
    /// Since when it has not been available, or should have stopped.
    pub since: Timestamp,
    /// What keeps it, as far as its pod tells; none also where it has no pod.
    pub cause: Option<Cause>,
}

impl UpdatePlan {
    /// Revision of a pod created at `ordinal`.
    #[must_use]
    pub fn target(&self, ordinal: Ordinal) -> Option<&RevisionName> {
        target_of(&self.targets, ordinal)
    }
}

/// Question to the ordinal scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrdinalRequest {
    /// The set.
    pub snapshot: Snapshot,
    /// Revision of a pod created now, for every ordinal in range.
    pub targets: Vec<TargetRange>,
}

impl OrdinalRequest {
    /// Revision of a pod created at `ordinal`.
    #[must_use]
    pub fn target(&self, ordinal: Ordinal) -> Option<&RevisionName> {
        target_of(&self.targets, ordinal)
    }
}

/// Answer of the ordinal scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrdinalPlan {
    /// Pods to create now, in this order.
    pub create: Vec<PodCreation>,
    /// Pods to delete now, in this order.
    pub delete: Vec<PodDeletion>,
    /// Why the others wait.
    pub waits: Vec<Wait>,
    /// Ordinals whose pods have ended lately, those that this plan replaces included; to be kept for the next pass.
    pub failures: Vec<Failures>,
    /// Whether the set must be started as a whole: its pods, all of them down, may need each other to become ready.
    pub cold_start: bool,
    /// When the mere passing of time may change this answer; none where it cannot.
    pub look_again_at: Option<Timestamp>,
}

/// Revision that a pod created at `ordinal` gets, by these targets.
#[must_use]
pub fn target_of(targets: &[TargetRange], ordinal: Ordinal) -> Option<&RevisionName> {
    let place = targets.partition_point(|range| range.last < ordinal);
    targets.get(place).filter(|range| range.first <= ordinal).map(|range| &range.revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_known_as_far_as_they_were_healthy_together() {
        let spec = SetSpec { start: Ordinal(1), replicas: 3, reserved: vec![Ordinal(2)], ..SetSpec::default() };
        let pod = |ordinal, ready| Pod { ordinal: Ordinal(ordinal), phase: Phase::Running, ready, ..Pod::default() };
        for (pods, before, expected) in [
            (vec![pod(1, false)], None, None),
            (vec![pod(1, true)], None, Some(1)),
            (vec![pod(1, true), pod(3, true)], None, Some(3)),
            (vec![pod(1, true), pod(3, false), pod(4, true)], None, Some(1)),
            (vec![pod(1, true), pod(3, false)], Some(4), Some(4)),
            // All are there; what was beyond is forgotten.
            (vec![pod(1, true), pod(3, true), pod(4, true)], Some(9), Some(4)),
            // Nobody has the ordinal, nor is it wanted.
            (vec![pod(1, false), pod(5, true)], Some(7), Some(5)),
            (vec![pod(1, false)], Some(7), Some(4)),
        ] {
            let (spec, formed) = (spec.clone(), before.map(Ordinal));
            let snapshot = Snapshot { spec, formed, pods: pods.into(), ..Snapshot::default() };
            assert_eq!(snapshot.formed_by_now(), expected.map(Ordinal), "{:?}", snapshot.pods);
        }
    }

    #[test]
    fn a_set_spares_a_pod_within_its_budget() {
        let spec = SetSpec { replicas: 3, min_ready_seconds: 10, ..SetSpec::default() };
        let now = Timestamp(100_000);
        let pod = |ordinal, ready_since: i64| Pod {
            ordinal: Ordinal(ordinal),
            phase: Phase::Running,
            ready: true,
            ready_since: Some(Timestamp(ready_since)),
            ..Pod::default()
        };
        let spares = |pods: Vec<Pod>, ordinal, lost: &[u32]| {
            let snapshot = Snapshot { spec: spec.clone(), pods: pods.into(), now, ..Snapshot::default() };
            snapshot.spares(Ordinal(ordinal), |ordinal| lost.contains(&ordinal.0)).is_ok()
        };
        let healthy = || vec![pod(0, 0), pod(1, 0), pod(2, 0), pod(3, 0)];
        assert!(spares(healthy(), 0, &[]) && spares(healthy(), 3, &[]));
        // One is missing, soaks, or goes.
        let gone = |ordinal| Pod { terminating: true, ..pod(ordinal, 0) };
        for pods in [
            vec![pod(0, 0), pod(1, 0)],
            vec![pod(0, 0), pod(1, 0), pod(2, 99_000)],
            vec![pod(0, 0), pod(1, 0), gone(2)],
        ] {
            assert!(!spares(pods.clone(), 0, &[]) && spares(pods, 2, &[]));
        }
        // Nobody knows of one; of two, neither can be spared.
        assert!(!spares(healthy(), 0, &[2]) && spares(healthy(), 2, &[2]) && !spares(healthy(), 2, &[1, 2]));
    }
}
