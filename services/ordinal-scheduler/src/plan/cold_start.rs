//! Starting the members of a set together where they need each other (switch `break_cold_start`). Under Parallel its pods
//! start together anyway; there only their names are served early.
//!
//! The members of many applications need each other: one that is alone never becomes ready, and OrderedReady never
//! gives it company. When several were healthy together once, and the lowest that is not healthy now makes no headway,
//! those members are created together. Order protects the first start of a member, which is long past. Where none of them is
//! healthy, their names are served before they are ready: there is nobody else whom a client could find.

use domain::{OrdinalPlan, OrdinalRequest, Snapshot, Timestamp, WaitReason, Waits};

use super::{create_members, hold_condemned, is_ended, replacement_of_ended};

/// Whether members are started together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ColdStart {
    /// The set is started as a whole: no pod was healthy, and not all are by now. Those that are not need their names.
    pub(super) is_on: bool,
    /// Members that are missing are created, whatever the health of lower ones.
    pub(super) together: bool,
    /// When they will be, if nothing becomes ready before.
    pub(super) begins_at: Option<Timestamp>,
}

/// Looks for an outage of a set of several pods that were healthy together before.
pub(super) fn of(snapshot: &Snapshot) -> ColdStart {
    let breaks = snapshot.switches.break_cold_start && snapshot.is_formed();
    if !breaks || snapshot.first_unhealthy().is_none() {
        return ColdStart::default();
    }
    let is_down = snapshot.is_down();
    if is_down && snapshot.cold_start {
        return ColdStart { is_on: true, together: true, begins_at: None };
    }
    let begins_at = snapshot.company_from();
    let together = begins_at.is_some_and(|moment| moment <= snapshot.now);
    let is_on = if is_down { together } else { snapshot.cold_start };
    ColdStart { is_on, together, begins_at: begins_at.filter(|_| !together) }
}

/// Creates every missing member that has been one before, and replaces those of them that have ended. A creation rests on
/// every pod.
pub(super) fn create_all(request: &OrdinalRequest) -> OrdinalPlan {
    let snapshot = &request.snapshot;
    let mut plan = OrdinalPlan::default();
    let mut waits = Waits::default();
    let start = snapshot.spec.start;
    let company = snapshot.first_unhealthy().map_or(WaitReason::NotReady { ordinal: start }, |(_, ailment)| ailment);
    create_members(request, start, &company, &mut plan, &mut waits);
    for pod in snapshot.members() {
        match snapshot.ailment(pod) {
            Some(_) if is_ended(pod) && Some(pod.ordinal) <= snapshot.formed => {
                plan.delete.push(replacement_of_ended(pod))
            }
            Some(ailment) => waits.push(pod.ordinal, ailment),
            None => {}
        }
    }
    hold_condemned(snapshot, &company, &mut plan, &mut waits);
    plan.waits = waits.finish();
    plan
}
