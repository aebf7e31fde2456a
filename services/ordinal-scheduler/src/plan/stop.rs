//! Stopping a whole set, because it is deleted or because its machine goes down. Highest first, under Parallel
//! all at once; nothing is created; a pod that is not healthy holds up nobody.

use domain::{Guard, Intent, OrdinalPlan, Pod, PodDeletion, PodRun, Snapshot, WaitReason, Waits};

/// Deletes the highest pod once every higher one is gone.
pub(super) fn one_by_one(snapshot: &Snapshot) -> OrdinalPlan {
    let mut plan = OrdinalPlan::default();
    let mut waits = Waits::default();
    let Some(highest) = snapshot.pods.last().map(PodRun::highest) else { return plan };
    let reason = WaitReason::Terminating { ordinal: highest.ordinal };
    if highest.terminating {
        waits.push(highest.ordinal, reason.clone());
    } else {
        plan.delete.push(deletion(snapshot, &highest));
    }
    for lower in snapshot.pods.iter().rev() {
        waits.push_run_down(lower.ordinal.0..(lower.last().0 + 1).min(highest.ordinal.0), &reason);
    }
    plan.waits = waits.finish();
    plan
}

/// Deletes every pod.
pub(super) fn all_at_once(snapshot: &Snapshot) -> OrdinalPlan {
    let mut plan = OrdinalPlan::default();
    let mut waits = Waits::default();
    for pod in snapshot.pods.iter().rev().flat_map(|pods| pods.pods().rev()) {
        if pod.terminating {
            waits.push(pod.ordinal, WaitReason::Terminating { ordinal: pod.ordinal });
        } else {
            plan.delete.push(deletion(snapshot, &pod));
        }
    }
    plan.waits = waits.finish();
    plan
}

/// It rests on that pod alone: while a set stops, nobody creates a higher one.
fn deletion(snapshot: &Snapshot, pod: &Pod) -> PodDeletion {
    let why = match snapshot.intent {
        Intent::Delete => "the set is being deleted",
        Intent::Drain | Intent::Keep => "the set is being stopped",
    };
    PodDeletion { ordinal: pod.ordinal, uid: pod.uid.clone(), why: why.to_owned(), guard: Guard::Pod }
}
