//! Question and answer about every claim and volume.

use domain::Uid;
use domain::volume::{ClaimReport, PodWait, Rejection, VolumeAction, VolumeSwitches, VolumesPlan, VolumesRequest};

use super::{filled, from_modes, quantity, to_modes, to_wire};
use crate::convert::{Violations, to_timestamp};
use crate::proto::volume_claim::v1 as proto;
use crate::proto::volume_claim::v1::volume_action::Action;

impl From<VolumesRequest> for proto::PlanVolumesRequest {
    fn from(request: VolumesRequest) -> Self {
        let classless_before_default = request.switches.classless_before_default;
        Self {
            claims: to_wire(request.claims),
            volumes: to_wire(request.volumes),
            classes: to_wire(request.classes),
            users: to_wire(request.users),
            node: Some(request.node.into()),
            switches: Some(proto::VolumeSwitches { classless_before_default }),
            now: Some(to_timestamp(request.now)),
        }
    }
}

impl TryFrom<proto::PlanVolumesRequest> for VolumesRequest {
    type Error = Violations;

    fn try_from(request: proto::PlanVolumesRequest) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let claims = violations.list("claims", request.claims);
        let volumes = violations.list("volumes", request.volumes);
        let classes = violations.list("classes", request.classes);
        let users = violations.list("users", request.users);
        let node = request.node.map(Into::into).unwrap_or_default();
        let switches =
            |one: proto::VolumeSwitches| VolumeSwitches { classless_before_default: one.classless_before_default };
        let switches = request.switches.map(switches).unwrap_or_default();
        violations.require(request.now.is_some(), "now", "is required");
        let now = violations.timestamp("now", request.now);
        violations.finish(now.map(|now| Self { claims, volumes, classes, users, node, switches, now }))
    }
}

impl From<VolumeAction> for proto::VolumeAction {
    fn from(action: VolumeAction) -> Self {
        Self { action: Some(to_action(action)) }
    }
}

fn to_action(action: VolumeAction) -> Action {
    match action {
        VolumeAction::SetClass { claim, class } => {
            Action::SetClass(proto::SetClass { claim: Some(claim.into()), class })
        }
        VolumeAction::Bind { claim, volume, mark_volume, mark_claim, capacity, access_modes, node } => {
            Action::Bind(proto::Bind {
                claim: Some(claim.into()),
                volume: Some(volume.into()),
                mark_volume,
                mark_claim,
                capacity_bytes: capacity.0,
                access_modes: to_modes(access_modes),
                node,
            })
        }
        VolumeAction::Provision {
            claim,
            class,
            provisioner,
            volume,
            capacity,
            access_modes,
            volume_mode,
            reclaim_policy,
            mount_options,
            node,
            waited_for_pod,
        } => Action::Provision(proto::Provision {
            claim: Some(claim.into()),
            class,
            provisioner,
            volume,
            capacity_bytes: capacity.0,
            access_modes: to_modes(access_modes),
            volume_mode: proto::VolumeMode::from(volume_mode).into(),
            reclaim_policy: proto::ReclaimPolicy::from(reclaim_policy).into(),
            mount_options,
            node,
            waited_for_pod,
        }),
        VolumeAction::SetVolumePhase { volume, phase, message } => Action::SetVolumePhase(proto::SetVolumePhase {
            volume: Some(volume.into()),
            phase: proto::VolumePhase::from(phase).into(),
            message,
        }),
        VolumeAction::Unbind { volume, keep_reservation } => {
            Action::Unbind(proto::Unbind { volume: Some(volume.into()), keep_reservation })
        }
        VolumeAction::SetClaimPhase { claim, phase, message } => Action::SetClaimPhase(proto::SetClaimPhase {
            claim: Some(claim.into()),
            phase: proto::ClaimPhase::from(phase).into(),
            message,
        }),
        VolumeAction::Expand { claim, volume, capacity } => Action::Expand(proto::Expand {
            claim: Some(claim.into()),
            volume: Some(volume.into()),
            capacity_bytes: capacity.0,
        }),
        VolumeAction::DeleteVolume { volume } => Action::DeleteVolume(volume.into()),
        VolumeAction::Deprovision { volume, claim_uid } => {
            Action::Deprovision(proto::DeprovisionVolume { volume: Some(volume.into()), claim_uid: claim_uid.0 })
        }
        VolumeAction::ReleaseVolume { volume } => Action::ReleaseVolume(volume.into()),
        VolumeAction::ReleaseClaim { claim } => Action::ReleaseClaim(claim.into()),
    }
}

impl TryFrom<proto::VolumeAction> for VolumeAction {
    type Error = Violations;

    fn try_from(action: proto::VolumeAction) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let decoded = match action.action {
            None => return Err(Violations::of("action", "is required")),
            Some(Action::SetClass(one)) => {
                let claim = violations.required("claim", one.claim);
                claim.map(|claim| Self::SetClass { claim, class: one.class })
            }
            Some(Action::Bind(one)) => from_bind(&mut violations, one),
            Some(Action::Provision(one)) => from_provision(&mut violations, one),
            Some(Action::SetVolumePhase(one)) => {
                let volume = violations.required("volume", one.volume);
                let phase = violations.enumeration::<proto::VolumePhase, _>("phase", one.phase);
                volume.zip(phase).map(|(volume, phase)| Self::SetVolumePhase { volume, phase, message: one.message })
            }
            Some(Action::Unbind(one)) => {
                let volume = violations.required("volume", one.volume);
                volume.map(|volume| Self::Unbind { volume, keep_reservation: one.keep_reservation })
            }
            Some(Action::SetClaimPhase(one)) => {
                let claim = violations.required("claim", one.claim);
                let phase = violations.enumeration::<proto::ClaimPhase, _>("phase", one.phase);
                claim.zip(phase).map(|(claim, phase)| Self::SetClaimPhase { claim, phase, message: one.message })
            }
            Some(Action::Expand(one)) => {
                let claim = violations.required("claim", one.claim);
                let volume = violations.required("volume", one.volume);
                let capacity = quantity(one.capacity_bytes);
                claim.zip(volume).map(|(claim, volume)| Self::Expand { claim, volume, capacity })
            }
            Some(Action::DeleteVolume(one)) => {
                violations.required("volume", Some(one)).map(|volume| Self::DeleteVolume { volume })
            }
            Some(Action::Deprovision(one)) => {
                let volume = violations.required("volume", one.volume);
                let claim_uid = Uid(filled(&mut violations, "claim_uid", one.claim_uid));
                volume.map(|volume| Self::Deprovision { volume, claim_uid })
            }
            Some(Action::ReleaseVolume(one)) => {
                violations.required("volume", Some(one)).map(|volume| Self::ReleaseVolume { volume })
            }
            Some(Action::ReleaseClaim(one)) => {
                violations.required("claim", Some(one)).map(|claim| Self::ReleaseClaim { claim })
            }
        };
        violations.finish(decoded)
    }
}

fn from_bind(violations: &mut Violations, one: proto::Bind) -> Option<VolumeAction> {
    let claim = violations.required("claim", one.claim);
    let volume = violations.required("volume", one.volume);
    let access_modes = from_modes(violations, "access_modes", one.access_modes);
    claim.zip(volume).map(|(claim, volume)| VolumeAction::Bind {
        claim,
        volume,
        mark_volume: one.mark_volume,
        mark_claim: one.mark_claim,
        capacity: quantity(one.capacity_bytes),
        access_modes,
        node: one.node,
    })
}

fn from_provision(violations: &mut Violations, one: proto::Provision) -> Option<VolumeAction> {
    let claim = violations.required("claim", one.claim);
    let access_modes = from_modes(violations, "access_modes", one.access_modes);
    let volume_mode = violations.enumeration::<proto::VolumeMode, _>("volume_mode", one.volume_mode);
    let policy = violations.enumeration::<proto::ReclaimPolicy, _>("reclaim_policy", one.reclaim_policy);
    let volume = filled(violations, "volume", one.volume);
    claim.zip(volume_mode).zip(policy).map(|((claim, volume_mode), reclaim_policy)| VolumeAction::Provision {
        claim,
        class: one.class,
        provisioner: one.provisioner,
        volume,
        capacity: quantity(one.capacity_bytes),
        access_modes,
        volume_mode,
        reclaim_policy,
        mount_options: one.mount_options,
        node: one.node,
        waited_for_pod: one.waited_for_pod,
    })
}

impl From<Rejection> for proto::Rejection {
    fn from(one: Rejection) -> Self {
        Self { volume: one.volume, test: proto::FailedTest::from(one.test).into(), message: one.message }
    }
}

impl TryFrom<proto::Rejection> for Rejection {
    type Error = Violations;

    fn try_from(one: proto::Rejection) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let test = violations.enumeration::<proto::FailedTest, _>("test", one.test);
        violations.finish(test.map(|test| Self { volume: one.volume, test, message: one.message }))
    }
}

impl From<ClaimReport> for proto::ClaimReport {
    fn from(report: ClaimReport) -> Self {
        Self {
            claim: Some(report.claim.into()),
            reason: proto::PendingReason::from(report.reason).into(),
            message: report.message,
            rejected: to_wire(report.rejected),
            rejected_total: report.rejected_total,
        }
    }
}

impl TryFrom<proto::ClaimReport> for ClaimReport {
    type Error = Violations;

    fn try_from(report: proto::ClaimReport) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let claim = violations.required("claim", report.claim);
        let reason = violations.enumeration::<proto::PendingReason, _>("reason", report.reason);
        let rejected = violations.list("rejected", report.rejected);
        let (message, rejected_total) = (report.message, report.rejected_total);
        let whole = claim.zip(reason);
        violations.finish(whole.map(|(claim, reason)| Self { claim, reason, message, rejected, rejected_total }))
    }
}

impl From<PodWait> for proto::PodWait {
    fn from(wait: PodWait) -> Self {
        Self {
            pod: Some(wait.pod.into()),
            claim: wait.claim,
            reason: proto::PodWaitReason::from(wait.reason).into(),
            message: wait.message,
        }
    }
}

impl TryFrom<proto::PodWait> for PodWait {
    type Error = Violations;

    fn try_from(wait: proto::PodWait) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let pod = violations.required("pod", wait.pod);
        let reason = violations.enumeration::<proto::PodWaitReason, _>("reason", wait.reason);
        let (claim, message) = (wait.claim, wait.message);
        violations.finish(pod.zip(reason).map(|(pod, reason)| Self { pod, claim, reason, message }))
    }
}

impl From<VolumesPlan> for proto::PlanVolumesResponse {
    fn from(plan: VolumesPlan) -> Self {
        Self {
            actions: to_wire(plan.actions),
            pending: to_wire(plan.pending),
            pod_waits: to_wire(plan.pod_waits),
            events: to_wire(plan.events),
        }
    }
}

impl TryFrom<proto::PlanVolumesResponse> for VolumesPlan {
    type Error = Violations;

    fn try_from(plan: proto::PlanVolumesResponse) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let actions = violations.list("actions", plan.actions);
        let pending = violations.list("pending", plan.pending);
        let pod_waits = violations.list("pod_waits", plan.pod_waits);
        let events = violations.list("events", plan.events);
        violations.finish(Some(Self { actions, pending, pod_waits, events }))
    }
}
