//! What the planners of pods see and say, with a bug.

use domain::{
    Ordinal, OrdinalPlan, OrdinalRequest, Phase, Pod, PodManagementPolicy, PodRun, RollingUpdate, Snapshot, Timestamp,
    UpdateRequest, UpdateStrategy, Wait, WaitReason,
};

use super::Mutant;
use crate::planners::Answer;

impl Mutant {
    /// Whether only the choice of pods to replace is wrong; status and revisions are not.
    pub(crate) fn is_about_replacement(self) -> bool {
        matches!(self, Self::BudgetIgnoresLowOrdinals | Self::BudgetFromStaleCache)
    }

    /// What the update planner sees.
    pub(crate) fn distort_update_request(self, request: &mut UpdateRequest) {
        self.distort_snapshot(&mut request.snapshot);
        match self {
            // The same template with its keys in another order, once there is a revision.
            Self::TemplateReserialised if !request.revisions.is_empty() => {
                request.template =
                    request.template.replace(r#""$patch":"replace","#, "").replace("}}}", r#","$patch":"replace"}}}"#);
            }
            Self::RevisionsUnread => request.revisions.clear(),
            Self::OldestRevisionIsNewest => {
                for revision in &mut request.revisions {
                    revision.number = 1_000 - revision.number;
                }
            }
            Self::BudgetIgnoresLowOrdinals if request.snapshot.spec.policy == PodManagementPolicy::Parallel => {
                let highest = request.snapshot.members().next_back().map(|pod| pod.ordinal);
                let low = |pod: &&mut PodRun| Some(pod.ordinal) != highest && !pod.phase.terminal();
                request.snapshot.pods.iter_mut().filter(low).for_each(|pod| seem_healthy(pod));
            }
            Self::BudgetFromStaleCache => {
                request.snapshot.pods.iter_mut().filter(|pod| pod.terminating).for_each(|pod| seem_healthy(pod));
            }
            _ => {}
        }
    }

    /// What the ordinal scheduler sees.
    pub(crate) fn distort_order_request(self, request: &mut OrdinalRequest) {
        self.distort_snapshot(&mut request.snapshot);
        match self {
            Self::SuccessorOfTerminating => {
                request.snapshot.pods.iter_mut().for_each(|pod| pod.terminating = false);
            }
            Self::NameReusedTooEarly => request.snapshot.pods.retain(|pod| !pod.terminating),
            _ => {}
        }
    }

    fn distort_snapshot(self, snapshot: &mut Snapshot) {
        snapshot.switches = self.switches(snapshot.switches);
        let start = snapshot.spec.start.0;
        match (self, &mut snapshot.spec.strategy) {
            (Self::PartitionAsOrdinal, UpdateStrategy::RollingUpdate(Some(RollingUpdate { partition, .. }))) => {
                *partition = partition.saturating_sub(start);
            }
            (Self::OnDeleteRolls, strategy @ UpdateStrategy::OnDelete) => {
                *strategy = UpdateStrategy::RollingUpdate(None);
            }
            (Self::MinReadyIgnored, _) => snapshot.spec.min_ready_seconds = 0,
            (Self::ReservedOrdinalsAddReplicas, _) => {
                let unused = snapshot
                    .spec
                    .reserved
                    .iter()
                    .filter(|reserved| snapshot.spec.last().is_none_or(|last| **reserved > last));
                snapshot.spec.replicas += unused.count() as u32;
            }
            (Self::ZeroMeansOne, _) => snapshot.spec.replicas = snapshot.spec.replicas.max(1),
            _ => {}
        }
    }

    /// What they say. `request` is what was really the case.
    pub(crate) fn distort_answer(self, request: &UpdateRequest, answer: &mut Answer) {
        let snapshot = &request.snapshot;
        let healthy = snapshot.members().filter(|pod| !snapshot.unavailable(pod)).count() as u32;
        let unavailable = snapshot.spec.size().saturating_sub(healthy);
        let Answer { update, order } = answer;
        let status = &mut update.status;
        match self {
            Self::BrokenPodsSpendTheBudget if unavailable >= snapshot.spec.max_unavailable() => update.replace.clear(),
            Self::OutageStopsUpdates if healthy == 0 => update.replace.clear(),
            // What terminates is gone before its deletion is carried out again.
            Self::BudgetFromStaleCache => {
                update.replace.retain(|deletion| snapshot.pod(deletion.ordinal).is_some_and(|pod| !pod.terminating))
            }
            Self::PartitionForgottenOnCreation => {
                order.create.iter_mut().for_each(|pod| pod.revision = status.update_revision.clone());
            }
            Self::LostPodComesBackOld => {
                order.create.iter_mut().for_each(|pod| pod.revision = status.current_revision.clone());
            }
            Self::OnDeleteNeverPromotes
                if snapshot.spec.strategy == UpdateStrategy::OnDelete
                    && !snapshot.status.current_revision.0.is_empty() =>
            {
                status.current_revision = snapshot.status.current_revision.clone();
            }
            Self::NeverLooksAgain => (update.look_again_at, order.look_again_at) = (None, None),
            Self::OnlyGrowsUpwards => {
                let highest = snapshot.members().next_back().map(|pod| pod.ordinal);
                hold_back(order, |ordinal| Some(ordinal) <= highest);
            }
            Self::SucceededPodsStay => order
                .delete
                .retain(|deletion| snapshot.pod(deletion.ordinal).is_none_or(|pod| pod.phase != Phase::Succeeded)),
            Self::TerminatingPodHoldsParallel if snapshot.spec.policy == PodManagementPolicy::Parallel => {
                let lowest = snapshot.members().find(|pod| pod.terminating).map(|pod| pod.ordinal);
                hold_back(order, |ordinal| lowest.is_some_and(|lowest| ordinal > lowest));
            }
            Self::ReportsWhatIsWanted => {
                (status.replicas, status.ready_replicas) = (snapshot.spec.replicas, snapshot.spec.replicas);
            }
            _ => {}
        }
    }
}

/// Lets these ordinals wait.
fn hold_back(order: &mut OrdinalPlan, waits: impl Fn(Ordinal) -> bool) {
    let (held, created) = order.create.drain(..).partition::<Vec<_>, _>(|creation| waits(creation.ordinal));
    order.create = created;
    order.waits.extend(held.iter().map(|creation| {
        let ordinal = creation.ordinal;
        Wait { ordinal: Some(ordinal), reason: WaitReason::Missing { ordinal } }
    }));
}

fn seem_healthy(pod: &mut Pod) {
    pod.terminating = false;
    (pod.phase, pod.ready, pod.ready_since) = (Phase::Running, true, Some(Timestamp(0)));
}
