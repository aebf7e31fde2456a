//! Objects, the world they are in, and [`World::settle`], which applies a plan as the coordinator does.

use domain::volume::{
    AccessMode, BindingMode, Claim, ClaimPhase, ClaimRef, ClaimUser, DIRECTORY_PROVISIONER, MachineNode, NodeTerm,
    Operator, PendingReason, PodWaitReason, ReclaimPolicy, Requirement, StorageClass, Volume, VolumeAction,
    VolumePhase, VolumeSource, VolumesPlan, VolumesRequest,
};
use domain::{Quantity, Uid};

use crate::plan_volumes::plan_volumes;

/// More rounds than any chain of steps needs; reaching it means that plans do not settle.
const ROUNDS_MAX: usize = 32;

/// Everything that is stored, and what planning makes of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) request: VolumesRequest,
    pub(crate) plan: VolumesPlan,
    pub(crate) events: Vec<String>,
    pub(crate) removed_directories: Vec<String>,
}

pub(crate) fn world() -> World {
    let labels = [("kubernetes.io/hostname".to_owned(), "here".to_owned())].into();
    let node = MachineNode { name: "here".into(), labels };
    World { request: VolumesRequest { node, ..VolumesRequest::default() }, ..World::default() }
}

pub(crate) fn modes(text: &str) -> Vec<AccessMode> {
    let find = |short: &str| AccessMode::ALL.into_iter().find(|mode| mode.short() == short);
    text.split(',').map(|short| find(short).unwrap_or_else(|| panic!("{short} is a mode"))).collect()
}

pub(crate) fn size(text: &str) -> Quantity {
    text.parse().unwrap()
}

/// A volume: `name size modes`, without class, made by hand.
pub(crate) fn pv(name: &str, capacity: &str, access: &str) -> Volume {
    Volume {
        name: name.into(),
        uid: Uid(format!("uid-{name}")),
        protected: true,
        capacity: size(capacity),
        access_modes: modes(access),
        source: VolumeSource::HostPath,
        ..Volume::default()
    }
}

/// A claim in namespace default: `name size modes` and its class.
pub(crate) fn pvc(name: &str, request: &str, access: &str, class: Option<&str>) -> Claim {
    Claim {
        namespace: "default".into(),
        name: name.into(),
        uid: Uid(format!("uid-{name}")),
        protected: true,
        class: class.map(str::to_owned),
        access_modes: modes(access),
        request: size(request),
        ..Claim::default()
    }
}

pub(crate) fn class(name: &str, provisioner: &str, binding_mode: BindingMode) -> StorageClass {
    let (name, provisioner) = (name.to_owned(), provisioner.to_owned());
    let reclaim_policy = ReclaimPolicy::Delete;
    StorageClass { name, provisioner, reclaim_policy, binding_mode, allow_expansion: true, ..StorageClass::default() }
}

pub(crate) fn standard() -> StorageClass {
    let class = class("standard", DIRECTORY_PROVISIONER, BindingMode::WaitForFirstConsumer);
    StorageClass { is_default: true, ..class }
}

pub(crate) fn user(pod: &str, claim: &str) -> ClaimUser {
    ClaimUser {
        namespace: "default".into(),
        claim: claim.into(),
        pod: pod.into(),
        pod_uid: Uid(format!("uid-{pod}")),
        ..ClaimUser::default()
    }
}

pub(crate) fn reserved_for(name: &str, volume: Volume) -> Volume {
    let claim_ref = ClaimRef { namespace: "default".into(), name: name.into(), uid: Uid::default() };
    Volume { claim_ref: Some(claim_ref), ..volume }
}

pub(crate) fn elsewhere() -> Option<Vec<NodeTerm>> {
    let host =
        Requirement { key: "kubernetes.io/hostname".into(), operator: Operator::In, values: vec!["elsewhere".into()] };
    Some(vec![NodeTerm { labels: vec![host], fields: vec![] }])
}

impl World {
    pub(crate) fn with(mut self, volumes: &[Volume], claims: &[Claim], classes: &[StorageClass]) -> Self {
        self.request.volumes.extend_from_slice(volumes);
        self.request.claims.extend_from_slice(claims);
        self.request.classes.extend_from_slice(classes);
        self
    }

    pub(crate) fn used(mut self, users: &[ClaimUser]) -> Self {
        self.request.users.extend_from_slice(users);
        self
    }

    /// Plans and applies until a plan has nothing to do.
    pub(crate) fn settle(mut self) -> Self {
        for _ in 0..ROUNDS_MAX {
            self.plan = plan_volumes(&self.request);
            self.events.extend(self.plan.events.iter().map(|event| event.reason.clone()));
            if self.plan.actions.is_empty() {
                return self;
            }
            for action in self.plan.actions.clone() {
                self.apply(action);
            }
        }
        panic!("plans do not settle: {:#?}", self.plan.actions);
    }

    pub(crate) fn claim_mut(&mut self, uid: &Uid) -> &mut Claim {
        self.request.claims.iter_mut().find(|claim| claim.uid == *uid).expect("actions name claims that exist")
    }

    pub(crate) fn volume_mut(&mut self, name: &str) -> &mut Volume {
        self.request.volumes.iter_mut().find(|volume| volume.name == name).expect("actions name volumes that exist")
    }

    /// What the coordinator commits for an action.
    fn apply(&mut self, action: VolumeAction) {
        match action {
            VolumeAction::SetClass { claim, class } => self.claim_mut(&claim.object.uid).class = Some(class),
            VolumeAction::Bind { claim, volume, mark_volume, capacity, access_modes, .. } => {
                let claim = self.claim_mut(&claim.object.uid);
                claim.volume_name.clone_from(&volume.object.name);
                (claim.phase, claim.bind_completed, claim.capacity) = (ClaimPhase::Bound, true, Some(capacity));
                claim.bound_access_modes = access_modes;
                let (namespace, name) = (claim.namespace.clone(), claim.name.clone());
                let claim_ref = ClaimRef { namespace, name, uid: claim.uid.clone() };
                let volume = self.volume_mut(&volume.object.name);
                (volume.claim_ref, volume.phase) = (Some(claim_ref), VolumePhase::Bound);
                volume.bound_by_controller |= mark_volume;
            }
            VolumeAction::Provision { claim, class, provisioner, volume, capacity, reclaim_policy, .. } => {
                let claim = self.claim_mut(&claim.object.uid);
                claim.volume_name.clone_from(&volume);
                (claim.phase, claim.bind_completed, claim.capacity) = (ClaimPhase::Bound, true, Some(capacity));
                claim.bound_access_modes.clone_from(&claim.access_modes);
                let made = Volume {
                    claim_ref: Some(ClaimRef {
                        namespace: claim.namespace.clone(),
                        name: claim.name.clone(),
                        uid: claim.uid.clone(),
                    }),
                    phase: VolumePhase::Bound,
                    capacity,
                    access_modes: claim.access_modes.clone(),
                    class,
                    reclaim_policy,
                    provisioned_by: provisioner,
                    holds_directory: reclaim_policy == ReclaimPolicy::Delete,
                    ..pv(&volume, "1", "RWO")
                };
                assert!(self.request.volumes.iter().all(|one| one.name != made.name), "made twice");
                self.request.volumes.push(made);
            }
            VolumeAction::SetVolumePhase { volume, phase, .. } => self.volume_mut(&volume.object.name).phase = phase,
            VolumeAction::Unbind { volume, keep_reservation } => {
                let volume = self.volume_mut(&volume.object.name);
                volume.phase = VolumePhase::Available;
                volume.bound_by_controller = false;
                volume.claim_ref = volume.claim_ref.take().filter(|_| keep_reservation);
                volume.claim_ref.iter_mut().for_each(|one| one.uid = Uid::default());
            }
            VolumeAction::SetClaimPhase { claim, phase, .. } => self.claim_mut(&claim.object.uid).phase = phase,
            VolumeAction::Expand { claim, volume, capacity } => {
                self.claim_mut(&claim.object.uid).capacity = Some(capacity);
                self.volume_mut(&volume.object.name).capacity = capacity;
            }
            VolumeAction::DeleteVolume { volume } => self.volume_mut(&volume.object.name).deleting = true,
            VolumeAction::Deprovision { volume, .. } => {
                self.removed_directories.push(volume.object.name.clone());
                self.request.volumes.retain(|one| one.name != volume.object.name);
            }
            VolumeAction::ReleaseVolume { volume } => {
                self.request.volumes.retain(|one| one.name != volume.object.name);
            }
            VolumeAction::ReleaseClaim { claim } => {
                self.request.claims.retain(|one| one.uid != claim.object.uid);
            }
        }
    }

    pub(crate) fn claim(&self, name: &str) -> &Claim {
        self.request.claims.iter().find(|claim| claim.name == name).unwrap()
    }

    pub(crate) fn volume(&self, name: &str) -> Option<&Volume> {
        self.request.volumes.iter().find(|volume| volume.name == name)
    }

    /// `name=volume(size)` of every claim, or `name?reason` where it is pending.
    pub(crate) fn claims(&self) -> String {
        let one = |claim: &Claim| match claim.phase {
            ClaimPhase::Bound => format!("{}={}({})", claim.name, claim.volume_name, claim.capacity.unwrap()),
            ClaimPhase::Lost => format!("{} lost", claim.name),
            ClaimPhase::Pending => {
                let report = self.plan.pending.iter().find(|report| report.claim.object.uid == claim.uid);
                format!("{}?{:?}", claim.name, report.map(|report| report.reason))
            }
        };
        self.request
            .claims
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join(" ")
            .replace("Some(", "")
            .replace("))", ")")
            .replace("NoMatch)", "NoMatch")
    }

    /// `name:phase` of every volume.
    pub(crate) fn volumes(&self) -> String {
        let one = |volume: &Volume| format!("{}:{}", volume.name, volume.phase.name());
        self.request.volumes.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn reason(&self, claim: &str) -> Option<PendingReason> {
        let uid = &self.claim(claim).uid;
        self.plan.pending.iter().find(|report| report.claim.object.uid == *uid).map(|report| report.reason)
    }

    pub(crate) fn message(&self, claim: &str) -> &str {
        let uid = &self.claim(claim).uid;
        let report = self.plan.pending.iter().find(|report| report.claim.object.uid == *uid);
        report.map(|report| report.message.as_str()).unwrap_or_default()
    }

    pub(crate) fn pod_wait(&self, pod: &str) -> Option<PodWaitReason> {
        self.plan.pod_waits.iter().find(|wait| wait.pod.name == pod).map(|wait| wait.reason)
    }

    pub(crate) fn delete_claim(mut self, name: &str) -> Self {
        let uid = self.claim(name).uid.clone();
        self.claim_mut(&uid).deleting = true;
        self
    }

    pub(crate) fn place(mut self, pod: &str) -> Self {
        self.request.users.iter_mut().filter(|user| user.pod == pod).for_each(|user| user.node = "here".into());
        self
    }

    pub(crate) fn remove_pod(mut self, pod: &str) -> Self {
        self.request.users.retain(|user| user.pod != pod);
        self
    }
}

/// Settles claims against volumes, all without class, and compares.
pub(crate) fn check(volumes: &[Volume], claims: &[Claim], expected: &str) {
    assert_eq!(world().with(volumes, claims, &[]).settle().claims(), expected);
}

pub(crate) fn classless(name: &str, request: &str, access: &str) -> Claim {
    pvc(name, request, access, Some(""))
}

pub(crate) fn naming(volume: &str, claim: Claim) -> Claim {
    Claim { volume_name: volume.into(), ..claim }
}

pub(crate) fn wanting(name: &str, request: &str) -> Claim {
    pvc(name, request, "RWO", Some("standard"))
}
