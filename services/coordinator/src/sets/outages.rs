//! Ordinals whose pods are held back by something that the update planner does not see: a claim, a taken name, back-off.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{OUTAGES_MAX, Ordinal, Outage, Snapshot, UpdatePlan, Wait};

/// Adds the ordinals that are held back from now on to what the update planner wants to be told again, and looks again
/// when their time is over.
pub(super) fn add_held<'a>(snapshot: &Snapshot, plan: &mut UpdatePlan, waits: impl Iterator<Item = &'a Wait>) {
    let spec = &snapshot.spec;
    let seconds = spec.progress_deadline_seconds;
    if !snapshot.switches.watch_progress || seconds == 0 || spec.paused {
        return;
    }
    let held = waits.filter_map(|wait| wait.ordinal.filter(|ordinal| wait.reason.hindrance(*ordinal).is_some()));
    let missing = |ordinal: &Ordinal| spec.contains(*ordinal) && !snapshot.has_pod(*ordinal);
    let mut outages: BTreeMap<_, _> = plan.outages.iter().map(|outage| (outage.ordinal, *outage)).collect();
    let known = outages.len();
    for ordinal in held.filter(missing) {
        outages.entry(ordinal).or_insert(Outage { ordinal, since: snapshot.now });
    }
    if outages.len() > known {
        let due = snapshot.now.plus(Duration::from_secs(seconds.into()));
        plan.look_again_at = Some(plan.look_again_at.map_or(due, |next| next.min(due)));
    }
    plan.outages = outages.into_values().take(OUTAGES_MAX).collect();
}

#[cfg(test)]
mod tests {
    use domain::{SetSpec, Timestamp, WaitReason};

    use super::*;

    #[test]
    fn who_is_held_back_is_remembered_and_looked_at_in_time() {
        let spec = SetSpec { replicas: 3, progress_deadline_seconds: 600, ..SetSpec::default() };
        let mut snapshot = Snapshot { spec, now: Timestamp(5_000), ..Snapshot::default() };
        let since = |plan: &UpdatePlan| {
            plan.outages.iter().map(|outage| (outage.ordinal.0, outage.since.0)).collect::<Vec<_>>()
        };
        let wait = |ordinal, reason| Wait { ordinal: Some(Ordinal(ordinal)), reason };
        let claim = || WaitReason::ClaimTerminating { claim: "data".to_owned() };
        let waits = [
            wait(0, claim()),
            wait(1, WaitReason::Missing { ordinal: Ordinal(0) }),
            wait(2, WaitReason::Terminating { ordinal: Ordinal(2) }),
            wait(7, claim()),
        ];
        let known = Outage { ordinal: Ordinal(2), since: Timestamp(1_000) };
        let planned = UpdatePlan { outages: vec![known], ..UpdatePlan::default() };
        let mut plan = planned.clone();
        add_held(&snapshot, &mut plan, waits.iter());
        assert_eq!(since(&plan), [(0, 5_000), (2, 1_000)]);
        assert_eq!(plan.look_again_at, Some(Timestamp(605_000)));
        // Those that are known are left to the planner.
        let mut again = UpdatePlan { look_again_at: None, ..plan.clone() };
        add_held(&snapshot, &mut again, waits.iter());
        assert_eq!((since(&again), again.look_again_at), (since(&plan), None));
        snapshot.spec.paused = true;
        let mut paused = UpdatePlan::default();
        add_held(&snapshot, &mut paused, waits.iter());
        assert_eq!(paused, UpdatePlan::default());
    }
}
