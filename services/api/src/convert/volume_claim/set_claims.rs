//! Question and answer about the claims of one set.

use domain::volume::{
    ClaimCreation, ClaimOrdinal, ClaimTemplate, OrdinalPod, OwnerChange, SetClaim, SetClaimsPlan, SetClaimsRequest,
};
use domain::{RetentionPolicy, Uid};

use super::{filled, ordinal, sorted, to_wire, unsorted};
use crate::convert::Violations;
use crate::proto::planning::v1 as planning;
use crate::proto::volume_claim::v1 as proto;

impl From<SetClaimsRequest> for proto::PlanSetRequest {
    fn from(request: SetClaimsRequest) -> Self {
        Self {
            set: Some(request.set.into()),
            intent: planning::Intent::from(request.intent).into(),
            when_deleted: planning::RetentionRule::from(request.retention.when_deleted).into(),
            when_scaled: planning::RetentionRule::from(request.retention.when_scaled).into(),
            match_labels: unsorted(request.match_labels),
            templates: to_wire(request.templates),
            ordinals: to_wire(request.ordinals),
            scaling_down: request.scaling_down,
            abandoned: request.abandoned.map(|ordinal| ordinal.0),
            claims: to_wire(request.claims),
            switches: Some(request.switches.into()),
        }
    }
}

impl TryFrom<proto::PlanSetRequest> for SetClaimsRequest {
    type Error = Violations;

    fn try_from(request: proto::PlanSetRequest) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let set = violations.required("set", request.set);
        let intent = violations.enumeration::<planning::Intent, _>("intent", request.intent);
        let when_deleted = violations.enumeration::<planning::RetentionRule, _>("when_deleted", request.when_deleted);
        let when_scaled = violations.enumeration::<planning::RetentionRule, _>("when_scaled", request.when_scaled);
        let templates = violations.list("templates", request.templates);
        let unordered = request.ordinals.windows(2).position(|pair| pair[0].ordinal >= pair[1].ordinal);
        if let Some(place) = unordered {
            violations.add(format!("ordinals[{}].ordinal", place + 1), "must be above the ordinal before");
        }
        let ordinals = violations.list("ordinals", request.ordinals);
        let claims = violations.list("claims", request.claims);
        let abandoned = request.abandoned.map(|number| ordinal(&mut violations, "abandoned", number));
        let whole = set.zip(intent).zip(when_deleted).zip(when_scaled);
        violations.finish(whole.map(|(((set, intent), when_deleted), when_scaled)| Self {
            set,
            intent,
            retention: RetentionPolicy { when_deleted, when_scaled },
            match_labels: sorted(request.match_labels),
            templates,
            ordinals,
            scaling_down: request.scaling_down,
            abandoned,
            claims,
            switches: request.switches.map(Into::into).unwrap_or_default(),
        }))
    }
}

impl From<ClaimTemplate> for proto::ClaimTemplate {
    fn from(template: ClaimTemplate) -> Self {
        let (labels, annotations) = (unsorted(template.labels), unsorted(template.annotations));
        Self { name: template.name, labels, annotations }
    }
}

impl TryFrom<proto::ClaimTemplate> for ClaimTemplate {
    type Error = Violations;

    fn try_from(template: proto::ClaimTemplate) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let name = filled(&mut violations, "name", template.name);
        let (labels, annotations) = (sorted(template.labels), sorted(template.annotations));
        violations.finish(Some(Self { name, labels, annotations }))
    }
}

impl From<ClaimOrdinal> for proto::ClaimOrdinal {
    fn from(one: ClaimOrdinal) -> Self {
        Self { ordinal: one.ordinal.0, in_range: one.in_range, pod: one.pod.map(Into::into) }
    }
}

impl TryFrom<proto::ClaimOrdinal> for ClaimOrdinal {
    type Error = Violations;

    fn try_from(one: proto::ClaimOrdinal) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let ordinal = ordinal(&mut violations, "ordinal", one.ordinal);
        let pod = violations.optional("pod", one.pod);
        violations.finish(Some(Self { ordinal, in_range: one.in_range, pod }))
    }
}

impl From<OrdinalPod> for proto::OrdinalPod {
    fn from(pod: OrdinalPod) -> Self {
        Self { uid: pod.uid.0, phase: planning::Phase::from(pod.phase).into(), terminating: pod.terminating }
    }
}

impl TryFrom<proto::OrdinalPod> for OrdinalPod {
    type Error = Violations;

    fn try_from(pod: proto::OrdinalPod) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let uid = Uid(filled(&mut violations, "uid", pod.uid));
        let phase = violations.enumeration::<planning::Phase, _>("phase", pod.phase);
        violations.finish(phase.map(|phase| Self { uid, phase, terminating: pod.terminating }))
    }
}

impl From<SetClaim> for proto::SetClaim {
    fn from(claim: SetClaim) -> Self {
        Self {
            name: claim.name,
            uid: claim.uid.0,
            version: claim.version,
            deleting: claim.deleting,
            labels: unsorted(claim.labels),
            made_for: claim.made_for,
            owners: to_wire(claim.owners),
        }
    }
}

impl TryFrom<proto::SetClaim> for SetClaim {
    type Error = Violations;

    fn try_from(claim: proto::SetClaim) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let name = filled(&mut violations, "name", claim.name);
        let uid = Uid(filled(&mut violations, "uid", claim.uid));
        violations.finish(Some(Self {
            name,
            uid,
            version: claim.version,
            deleting: claim.deleting,
            labels: sorted(claim.labels),
            made_for: claim.made_for,
            owners: claim.owners.into_iter().map(Into::into).collect(),
        }))
    }
}

impl From<ClaimCreation> for proto::ClaimCreation {
    fn from(creation: ClaimCreation) -> Self {
        Self {
            ordinal: creation.ordinal.0,
            name: creation.name,
            template: creation.template,
            labels: unsorted(creation.labels),
            annotations: unsorted(creation.annotations),
            owners: to_wire(creation.owners),
        }
    }
}

impl TryFrom<proto::ClaimCreation> for ClaimCreation {
    type Error = Violations;

    fn try_from(creation: proto::ClaimCreation) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let ordinal = ordinal(&mut violations, "ordinal", creation.ordinal);
        let name = filled(&mut violations, "name", creation.name);
        let template = filled(&mut violations, "template", creation.template);
        let (labels, annotations) = (sorted(creation.labels), sorted(creation.annotations));
        let owners = creation.owners.into_iter().map(Into::into).collect();
        violations.finish(Some(Self { ordinal, name, template, labels, annotations, owners }))
    }
}

impl From<OwnerChange> for proto::OwnerChange {
    fn from(change: OwnerChange) -> Self {
        Self {
            ordinal: change.ordinal.0,
            claim: change.claim,
            uid: change.uid.0,
            version: change.version,
            owners: to_wire(change.owners),
            why: change.why,
        }
    }
}

impl TryFrom<proto::OwnerChange> for OwnerChange {
    type Error = Violations;

    fn try_from(change: proto::OwnerChange) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let ordinal = ordinal(&mut violations, "ordinal", change.ordinal);
        let claim = filled(&mut violations, "claim", change.claim);
        let uid = Uid(filled(&mut violations, "uid", change.uid));
        let owners = change.owners.into_iter().map(Into::into).collect();
        violations.finish(Some(Self { ordinal, claim, uid, version: change.version, owners, why: change.why }))
    }
}

impl From<SetClaimsPlan> for proto::PlanSetResponse {
    fn from(plan: SetClaimsPlan) -> Self {
        Self {
            create: to_wire(plan.create),
            owners: to_wire(plan.owners),
            waits: to_wire(plan.waits),
            events: to_wire(plan.events),
        }
    }
}

impl TryFrom<proto::PlanSetResponse> for SetClaimsPlan {
    type Error = Violations;

    fn try_from(plan: proto::PlanSetResponse) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let create = violations.list("create", plan.create);
        let owners = violations.list("owners", plan.owners);
        let waits = violations.list("waits", plan.waits);
        let events = violations.list("events", plan.events);
        violations.finish(Some(Self { create, owners, waits, events }))
    }
}
