//! Question to and answer of the update planner.

use domain::{Revision, RevisionChange, RevisionName, UpdatePlan, UpdateRequest};

use super::planning::{check_targets, ordinal};
use super::{Violations, to_timestamp};
use crate::proto::update_planner::v1 as proto;
use crate::proto::update_planner::v1::revision_change::Change;

impl From<Revision> for proto::Revision {
    fn from(revision: Revision) -> Self {
        Self {
            name: revision.name.to_string(),
            number: revision.number,
            data: revision.data,
            created_at: Some(to_timestamp(revision.created_at)),
        }
    }
}

impl TryFrom<proto::Revision> for Revision {
    type Error = Violations;

    fn try_from(revision: proto::Revision) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        violations.require(!revision.name.is_empty(), "name", "is required");
        violations.require(revision.number >= 1, "number", "must be at least 1");
        violations.require(revision.created_at.is_some(), "created_at", "is required");
        let created_at = violations.timestamp("created_at", revision.created_at);
        violations.finish(created_at.map(|created_at| Self {
            name: RevisionName(revision.name.into()),
            number: revision.number,
            data: revision.data,
            created_at,
        }))
    }
}

impl From<UpdateRequest> for proto::PlanRequest {
    fn from(request: UpdateRequest) -> Self {
        Self {
            snapshot: Some(request.snapshot.into()),
            template: request.template,
            revisions: request.revisions.into_iter().map(Into::into).collect(),
            equal_after_defaulting: request.equal_after_defaulting.map(|name| name.to_string()).unwrap_or_default(),
            foreign: request.foreign.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<proto::PlanRequest> for UpdateRequest {
    type Error = Violations;

    fn try_from(request: proto::PlanRequest) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let snapshot = violations.required("snapshot", request.snapshot);
        violations.require(!request.template.is_empty(), "template", "is required");
        let revisions = violations.list("revisions", request.revisions);
        let foreign = violations.list("foreign", request.foreign);
        let equal_after_defaulting =
            (!request.equal_after_defaulting.is_empty()).then_some(RevisionName(request.equal_after_defaulting.into()));
        let template = request.template;
        let found = |snapshot| Self { snapshot, template, revisions, foreign, equal_after_defaulting };
        violations.finish(snapshot.map(found))
    }
}

impl From<RevisionChange> for proto::RevisionChange {
    fn from(change: RevisionChange) -> Self {
        let change = match change {
            RevisionChange::Create(revision) => Change::Create(revision.into()),
            RevisionChange::Renumber { name, number } => {
                Change::Renumber(proto::Renumber { name: name.to_string(), number })
            }
            RevisionChange::Prune { name } => Change::Prune(name.to_string()),
        };
        Self { change: Some(change) }
    }
}

impl TryFrom<proto::RevisionChange> for RevisionChange {
    type Error = Violations;

    fn try_from(change: proto::RevisionChange) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let change = match change.change {
            None => {
                violations.add("change", "is required");
                None
            }
            Some(Change::Create(revision)) => violations.part("create", Revision::try_from(revision)).map(Self::Create),
            Some(Change::Renumber(renumber)) => {
                violations.require(!renumber.name.is_empty(), "renumber.name", "is required");
                violations.require(renumber.number >= 1, "renumber.number", "must be at least 1");
                Some(Self::Renumber { name: RevisionName(renumber.name.into()), number: renumber.number })
            }
            Some(Change::Prune(name)) => {
                violations.require(!name.is_empty(), "prune", "is required");
                Some(Self::Prune { name: RevisionName(name.into()) })
            }
        };
        violations.finish(change)
    }
}

impl From<UpdatePlan> for proto::PlanResponse {
    fn from(plan: UpdatePlan) -> Self {
        Self {
            revisions: plan.revisions.into_iter().map(Into::into).collect(),
            targets: plan.targets.into_iter().map(Into::into).collect(),
            replace: plan.replace.into_iter().map(Into::into).collect(),
            recall: plan.recall.into_iter().map(|ordinal| ordinal.0).collect(),
            waits: plan.waits.into_iter().map(Into::into).collect(),
            status: Some(plan.status.into()),
            status_refusal: plan.status_refusal.unwrap_or_default(),
            stuck: plan.stuck.into_iter().map(Into::into).collect(),
            revert: plan.revert.map(|name| name.to_string()).unwrap_or_default(),
            look_again_at: plan.look_again_at.map(to_timestamp),
            pods: 0,
            set_uid: String::new(),
            outages: plan.outages.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<proto::PlanResponse> for UpdatePlan {
    type Error = Violations;

    fn try_from(plan: proto::PlanResponse) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let revisions = violations.list("revisions", plan.revisions);
        let targets = violations.list("targets", plan.targets);
        check_targets(&mut violations, &targets);
        let replace = violations.list("replace", plan.replace);
        let recall = plan.recall.into_iter().map(|number| ordinal(&mut violations, "recall", number)).collect();
        let waits = violations.list("waits", plan.waits);
        let status = violations.required("status", plan.status);
        let stuck = violations.list("stuck", plan.stuck);
        let outages = violations.list("outages", plan.outages);
        let status_refusal = (!plan.status_refusal.is_empty()).then_some(plan.status_refusal);
        let revert = (!plan.revert.is_empty()).then_some(RevisionName(plan.revert.into()));
        let look_again_at = violations.timestamp("look_again_at", plan.look_again_at);
        violations.finish(status.map(|status| Self {
            revisions,
            targets,
            replace,
            recall,
            waits,
            status,
            status_refusal,
            stuck,
            outages,
            revert,
            look_again_at,
        }))
    }
}
