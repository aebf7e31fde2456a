//! Planners that are told of steady pods in runs say what they say when they are told of each pod.

use domain::{OrdinalPlan, OrdinalRequest, UpdatePlan, UpdateRequest};

pub(crate) fn assert_same_update(request: &UpdateRequest, plan: &UpdatePlan) {
    let told = UpdateRequest { snapshot: request.snapshot.in_runs(), ..request.clone() };
    let mut same = update_planner::plan::plan(&told);
    request.snapshot.identify(&mut same.replace);
    assert_eq!(same, *plan, "update of {:#?}", request.snapshot);
}

pub(crate) fn assert_same_order(request: &OrdinalRequest, plan: &OrdinalPlan) {
    let told = OrdinalRequest { snapshot: request.snapshot.in_runs(), ..request.clone() };
    let mut same = ordinal_scheduler::plan::plan(&told);
    request.snapshot.identify(&mut same.delete);
    assert_eq!(same, *plan, "order of {:#?}", request.snapshot);
}
