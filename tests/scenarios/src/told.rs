//! Planners that are told of steady pods in runs say what they say when they are told of each pod.

use domain::{OrdinalPlan, OrdinalRequest, PodRun, Pods, Snapshot, UpdatePlan, UpdateRequest};

pub(crate) fn assert_same_update(request: &UpdateRequest, plan: &UpdatePlan) {
    let told = UpdateRequest { snapshot: in_runs(&request.snapshot), ..request.clone() };
    let mut same = update_planner::plan::plan(&told);
    request.snapshot.identify(&mut same.replace);
    assert_eq!(same, *plan, "update of {:#?}", request.snapshot);
}

pub(crate) fn assert_same_order(request: &OrdinalRequest, plan: &OrdinalPlan) {
    let told = OrdinalRequest { snapshot: in_runs(&request.snapshot), ..request.clone() };
    let mut same = ordinal_scheduler::plan::plan(&told);
    request.snapshot.identify(&mut same.delete);
    assert_eq!(same, *plan, "order of {:#?}", request.snapshot);
}

/// What a planner makes of a snapshot whose steady pods it is told of in runs.
fn in_runs(snapshot: &Snapshot) -> Snapshot {
    let runs = snapshot.steady_pods();
    let alone = snapshot.pods.iter().filter(|pods| !snapshot.is_steady(pods)).flat_map(PodRun::pods);
    let pods = Pods::of(alone.collect(), &runs, &snapshot.spec);
    Snapshot { pods, ..snapshot.clone() }
}
