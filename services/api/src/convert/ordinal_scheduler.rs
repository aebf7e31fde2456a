//! Question to and answer of the ordinal scheduler.

use domain::{Intent, OrdinalPlan, OrdinalRequest, Snapshot, TargetRange};

use super::planning::check_targets;
use super::{Violations, to_timestamp};
use crate::proto::ordinal_scheduler::v1 as proto;

impl From<OrdinalRequest> for proto::PlanRequest {
    fn from(request: OrdinalRequest) -> Self {
        Self { snapshot: Some(request.snapshot.into()), targets: request.targets.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<proto::PlanRequest> for OrdinalRequest {
    type Error = Violations;

    fn try_from(request: proto::PlanRequest) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let snapshot: Option<Snapshot> = violations.required("snapshot", request.snapshot);
        let targets = violations.list("targets", request.targets);
        check_targets(&mut violations, &targets);
        if let Some(snapshot) = &snapshot {
            check_coverage(&mut violations, snapshot, &targets);
        }
        violations.finish(snapshot.map(|snapshot| Self { snapshot, targets }))
    }
}

/// A set that is kept needs a target for every ordinal it should have.
fn check_coverage(violations: &mut Violations, snapshot: &Snapshot, targets: &[TargetRange]) {
    let Some(last) = snapshot.spec.last().filter(|_| snapshot.intent == Intent::Keep) else { return };
    let covers_first = targets.first().is_some_and(|range| range.first <= snapshot.spec.start);
    let covers_last = targets.last().is_some_and(|range| range.last >= last);
    violations.require(covers_first && covers_last, "targets", "must cover every ordinal in range");
}

impl From<OrdinalPlan> for proto::PlanResponse {
    fn from(plan: OrdinalPlan) -> Self {
        Self {
            create: plan.create.into_iter().map(Into::into).collect(),
            delete: plan.delete.into_iter().map(Into::into).collect(),
            waits: plan.waits.into_iter().map(Into::into).collect(),
            failures: plan.failures.into_iter().map(Into::into).collect(),
            cold_start: plan.cold_start,
            look_again_at: plan.look_again_at.map(to_timestamp),
            pods: 0,
            set_uid: String::new(),
        }
    }
}

impl TryFrom<proto::PlanResponse> for OrdinalPlan {
    type Error = Violations;

    fn try_from(plan: proto::PlanResponse) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let create = violations.list("create", plan.create);
        let delete = violations.list("delete", plan.delete);
        let waits = violations.list("waits", plan.waits);
        let failures = violations.list("failures", plan.failures);
        let look_again_at = violations.timestamp("look_again_at", plan.look_again_at);
        let cold_start = plan.cold_start;
        violations.finish(Some(Self { create, delete, waits, failures, cold_start, look_again_at }))
    }
}
