//! OrderedReady: one pod after another. Each step waits until all pods before it are healthy.

use domain::{Guard, Ordinal, OrdinalPlan, OrdinalRequest, Pod, PodRun, Snapshot, WaitReason, Waits};

use super::{
    create_members, creation, gaps, hold_condemned, replacement_of_ended, scale_down, wait_for_condemned,
    wait_for_members,
};

/// In-range pods come first, ascending; only when all of them are healthy, condemned pods go, descending.
pub(super) fn plan(request: &OrdinalRequest) -> OrdinalPlan {
    match request.snapshot.first_unhealthy() {
        Some((ordinal, ailment)) => repair(request, ordinal, ailment),
        None => remove_highest(&request.snapshot),
    }
}

/// Acts on the lowest ordinal that is not healthy, or waits for it; everything else waits for it too.
fn repair(request: &OrdinalRequest, lowest: Ordinal, ailment: WaitReason) -> OrdinalPlan {
    let snapshot = &request.snapshot;
    let mut plan = OrdinalPlan::default();
    let mut waits = Waits::default();
    match ailment {
        WaitReason::Missing { .. } => match creation(request, lowest, Guard::Predecessors) {
            Ok(creation) => plan.create.push(creation),
            Err(reason) => waits.push(lowest, reason),
        },
        WaitReason::Ended { .. } => plan.delete.extend(snapshot.pod(lowest).as_deref().map(replacement_of_ended)),
        _ => waits.push(lowest, ailment.clone()),
    }
    wait_for_members(snapshot, Some(lowest), &mut waits);
    let above = Ordinal(lowest.0.saturating_add(1));
    if come_back_together(snapshot, lowest) {
        create_members(request, above, &ailment, &mut plan, &mut waits);
    } else {
        for (first, last) in gaps(snapshot, above) {
            waits.push_run(first, last, &ailment);
        }
    }
    hold_condemned(snapshot, &ailment, &mut plan, &mut waits);
    plan.waits = waits.finish();
    plan
}

/// Whether an update is under way that may take down what is not healthy of a set that was complete, from the lowest on,
/// and so many: then they come back together, as an update takes them (switch `recreate_together`, section 8.5). Order
/// protects the first start of a member.
fn come_back_together(snapshot: &Snapshot, lowest: Ordinal) -> bool {
    let spec = &snapshot.spec;
    snapshot.switches.recreate_together
        && spec.max_unavailable() > 1
        && spec.index(lowest) >= spec.partition()
        && spec.last() <= snapshot.formed
        && snapshot.is_updating()
        && snapshot.unavailable_members() <= spec.max_unavailable()
}

/// Deletes the highest condemned pod if it is its turn (step E).
fn remove_highest(snapshot: &Snapshot) -> OrdinalPlan {
    let Some(highest) = snapshot.condemned().next_back().map(PodRun::highest) else {
        return OrdinalPlan::default();
    };
    let mut plan = OrdinalPlan::default();
    let mut waits = Waits::default();
    match may_go(snapshot, &highest) {
        Ok(()) => {
            plan.delete.push(scale_down(&snapshot.spec, &highest, Guard::AllPods));
            let reason = WaitReason::Terminating { ordinal: highest.ordinal };
            wait_for_condemned(snapshot, Some(highest.ordinal), &reason, &mut waits);
        }
        Err(reason) => wait_for_condemned(snapshot, None, &reason, &mut waits),
    }
    plan.waits = waits.finish();
    plan
}

/// Whether the highest condemned pod may be deleted (rules C1 and C2): not while it terminates; in Kubernetes also not
/// while it is unhealthy, unless it is the only one (switch `remove_broken_condemned`).
fn may_go(snapshot: &Snapshot, highest: &Pod) -> Result<(), WaitReason> {
    let Some(ailment) = snapshot.ailment(highest) else { return Ok(()) };
    if snapshot.switches.remove_broken_condemned && !highest.terminating {
        return Ok(());
    }
    let first_unavailable = snapshot.condemned().find(|pod| snapshot.unavailable(pod));
    match first_unavailable {
        _ if highest.terminating => Err(ailment),
        Some(first) if first.ordinal == highest.ordinal => Ok(()),
        Some(first) => Err(snapshot.ailment(first).unwrap_or(ailment)),
        None => Err(ailment),
    }
}
