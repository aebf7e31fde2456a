//! Parallel: everything at once, whatever the health of the others.

use domain::{Guard, Ordinal, OrdinalPlan, OrdinalRequest, Wait, WaitReason, Waits};

use super::{CREATIONS_MAX, creation, gaps, is_ended, replacement_of_ended, scale_down};

/// Creates every missing pod, ascending; deletes every pod that has ended, ascending, then every condemned one,
/// descending.
pub(super) fn plan(request: &OrdinalRequest) -> OrdinalPlan {
    let snapshot = &request.snapshot;
    let mut plan = OrdinalPlan::default();
    let mut waits = Waits::default();
    let postponed = create_missing(request, &mut plan, &mut waits);
    for pod in snapshot.members() {
        match snapshot.ailment(pod) {
            Some(_) if is_ended(pod) => plan.delete.push(replacement_of_ended(pod)),
            Some(ailment) => waits.push(pod.ordinal, ailment),
            None => {}
        }
    }
    for pod in snapshot.condemned().rev().flat_map(|pods| pods.pods().rev()) {
        if pod.terminating {
            waits.push(pod.ordinal, WaitReason::Terminating { ordinal: pod.ordinal });
        } else {
            plan.delete.push(scale_down(&snapshot.spec, &pod, Guard::Pod));
        }
    }
    plan.waits = waits.finish();
    plan.waits.extend(postponed);
    plan
}

/// Creates what is missing up to the bound, and says so if that is not all.
fn create_missing(request: &OrdinalRequest, plan: &mut OrdinalPlan, waits: &mut Waits) -> Option<Wait> {
    let mut postponed = 0;
    for (first, last) in gaps(&request.snapshot, request.snapshot.spec.start) {
        let mut next = first.0;
        while next <= last.0 && plan.create.len() < CREATIONS_MAX {
            match creation(request, Ordinal(next), Guard::Pod) {
                Ok(creation) => plan.create.push(creation),
                Err(reason @ WaitReason::BackOff { .. }) => waits.push(Ordinal(next), reason),
                Err(reason) => {
                    waits.push_run(Ordinal(next), last, &reason);
                    next = last.0;
                }
            }
            next += 1;
        }
        postponed += u64::from(last.0 + 1 - next);
    }
    let message = format!("{postponed} more pods are created in the next passes, {CREATIONS_MAX} at a time");
    (postponed > 0).then_some(Wait { ordinal: None, reason: WaitReason::Other { message } })
}
