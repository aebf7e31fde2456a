//! Counters, promotion and revisions of the status (StatefulSet rules, section 10).

use std::collections::HashSet;

use domain::{Ordinal, Pod, PodRun, RevisionName, SetStatus, Snapshot};

use super::Revisions;
use super::replacement::Replacement;
use super::revisions::Choice;

/// Status after this pass. Counts come from the pods as the snapshot shows them, less those that the update deletes.
///
/// # Errors
/// Kubernetes computes a negative count (section 10.4), and its API refuses the write: in its words.
pub(super) fn of(snapshot: &Snapshot, choice: &Choice, replacement: &Replacement) -> Result<SetStatus, String> {
    let Revisions { current, update } = &choice.revisions;
    let mut status = counted(snapshot, current, update);
    let (current, deleted) = (status.current_replicas, subtracted(snapshot, &choice.revisions, replacement));
    status.current_replicas = current.checked_sub(deleted).ok_or_else(|| {
        let count = i64::from(current) - i64::from(deleted);
        format!("status.currentReplicas: Invalid value: {count}: must be greater than or equal to 0")
    })?;
    status.observed_generation = snapshot.generation.0.max(snapshot.status.observed_generation);
    status.collision_count = choice.collision_count;
    if complete(snapshot, &status) {
        status.current_replicas = status.updated_replicas;
        status.current_revision = status.update_revision.clone();
    }
    Ok(status)
}

/// Status of a set that stops: new counts, everything else as stored.
pub(super) fn of_stopping(snapshot: &Snapshot) -> SetStatus {
    let stored = &snapshot.status;
    SetStatus {
        observed_generation: stored.observed_generation,
        collision_count: stored.collision_count,
        ..counted(snapshot, &stored.current_revision, &stored.update_revision)
    }
}

/// Counts over every pod, in range or not (section 10.1).
fn counted(snapshot: &Snapshot, current: &RevisionName, update: &RevisionName) -> SetStatus {
    let mut status =
        SetStatus { current_revision: current.clone(), update_revision: update.clone(), ..SetStatus::default() };
    for pods in &snapshot.pods {
        let available = pods.available(snapshot.spec.min_ready_seconds, snapshot.now);
        let all_if = |counts: bool| if counts { pods.count() } else { 0 };
        status.replicas += pods.count();
        status.ready_replicas += all_if(pods.is_ready());
        status.available_replicas += all_if(pods.is_ready() && available);
        status.current_replicas += all_if(!pods.terminating && pods.at(current));
        status.updated_replicas += all_if(!pods.terminating && pods.at(update));
    }
    status
}

/// How much the deletions of the update take from `currentReplicas`: those pods that it counts. Kubernetes takes one
/// for every deletion (section 10.4), also for a pod that has ended and is deleted a second time, and for one that it
/// has just created.
fn subtracted(snapshot: &Snapshot, revisions: &Revisions, replacement: &Replacement) -> u32 {
    let replaced: HashSet<Ordinal> = replacement.replace.iter().map(|deletion| deletion.ordinal).collect();
    let count = if snapshot.switches.count_observed_pods {
        let counted = |pod: &Pod| snapshot.spec.contains(pod.ordinal) && pod.at(&revisions.current);
        replaced.iter().filter_map(|ordinal| snapshot.pod(*ordinal)).filter(|pod| counted(pod)).count()
    } else {
        replaced.len() + replacement.recall.len()
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether the update is complete, so that the update revision becomes the current one (section 10.3).
fn complete(snapshot: &Snapshot, status: &SetStatus) -> bool {
    let wanted = snapshot.spec.replicas;
    let all = [status.replicas, status.ready_replicas, status.updated_replicas].iter().all(|count| *count == wanted);
    // Counts alone do not tell: a pod out of range may stand in for one that is missing.
    let members: u32 = snapshot.members().map(PodRun::count).sum();
    let available = status.available_replicas == wanted && members == wanted;
    let soaked = !snapshot.switches.promote_when_available || available;
    let kept = snapshot.switches.keep_current_at_zero && wanted == 0 && snapshot.spec.partition() > 0;
    all && soaked && !kept
}
