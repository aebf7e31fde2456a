//! Starting a whole set again after a total outage (switch `break_cold_start`). Under Parallel its pods start together
//! anyway; there only their names are served early.
//!
//! The members of many applications need each other: one that is alone never becomes ready, and OrderedReady never
//! gives it company. When several were healthy together once, and now none of its pods is and the lowest makes no headway,
//! those members are created together and their names are served before they are ready. Order protects the first start of
//! a member, which is long past.

use std::time::Duration;

use domain::{OrdinalPlan, OrdinalRequest, Snapshot, Timestamp, WaitReason, Waits};

use super::{create_members, is_ended, replacement_of_ended, wait_for_condemned};

/// How long the lowest pod may take before the others are started too. Longer than most programs need to start; a slow
/// one loses nothing by company.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the set is started as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColdStart {
    /// It is not.
    No,
    /// It will be at that time, if nothing becomes ready before.
    At(Timestamp),
    /// It is: no pod is healthy.
    Together,
    /// It was, and some pods are healthy by now; the others may still need their names.
    Closing,
}

impl ColdStart {
    pub(super) fn is_on(self) -> bool {
        matches!(self, Self::Together | Self::Closing)
    }

    pub(super) fn together(self) -> bool {
        self == Self::Together
    }

    pub(super) fn begins_at(self) -> Option<Timestamp> {
        match self {
            Self::At(moment) => Some(moment),
            Self::No | Self::Together | Self::Closing => None,
        }
    }
}

/// Looks for a total outage of a set of several pods that were healthy together before.
pub(super) fn of(snapshot: &Snapshot) -> ColdStart {
    let several = |formed| snapshot.spec.size() > 1 && snapshot.spec.index(formed) > 0;
    let formed = snapshot.formed.is_some_and(several);
    if !snapshot.switches.break_cold_start || !formed {
        return ColdStart::No;
    }
    let Some((lowest, _)) = snapshot.first_unhealthy() else { return ColdStart::No };
    if !snapshot.is_down() {
        return if snapshot.cold_start { ColdStart::Closing } else { ColdStart::No };
    }
    if snapshot.cold_start {
        return ColdStart::Together;
    }
    let waiting = snapshot.pod(lowest).filter(|pod| !pod.terminating && !pod.phase.terminal());
    let Some(since) = waiting.and_then(|pod| snapshot.unready_since(&pod)) else { return ColdStart::No };
    let begins_at = since.plus(PATIENCE);
    if begins_at <= snapshot.now { ColdStart::Together } else { ColdStart::At(begins_at) }
}

/// Creates every missing member that has been one before, and replaces those that have ended. A creation rests on every
/// pod: none of them may have become healthy.
pub(super) fn create_all(request: &OrdinalRequest) -> OrdinalPlan {
    let snapshot = &request.snapshot;
    let mut plan = OrdinalPlan::default();
    let mut waits = Waits::default();
    let lowest = snapshot.first_unhealthy().map_or(snapshot.spec.start, |(lowest, _)| lowest);
    let company = WaitReason::NotReady { ordinal: lowest };
    create_members(request, snapshot.spec.start, &company, &mut plan, &mut waits);
    for pod in snapshot.members() {
        match snapshot.ailment(pod) {
            Some(_) if is_ended(pod) => plan.delete.push(replacement_of_ended(pod)),
            Some(ailment) => waits.push(pod.ordinal, ailment),
            None => {}
        }
    }
    wait_for_condemned(snapshot, None, &company, &mut waits);
    plan.waits = waits.finish();
    plan
}
