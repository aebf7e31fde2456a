//! Binding, provisioning and reclaiming: question and answer.

use super::{
    AccessMode, Claim, ClaimPhase, ClaimUser, MachineNode, PendingReason, PodWaitReason, ReclaimPolicy, Rejection,
    StorageClass, Volume, VolumeMode, VolumePhase,
};
use crate::{ObjectRef, Quantity, Timestamp, Uid};

/// Where binding deviates from Kubernetes, as switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VolumeSwitches {
    /// A claim without a class takes a fitting volume without a class before the default class is written into it.
    ///
    /// Kubernetes writes the default class when the claim is made, which hides volumes made by hand (scenario V-10);
    /// it lets an existing classless match win only if the default class appeared later (volume rules, section 2).
    /// Here both orders give the same: a volume that somebody made for the purpose is used, else the class.
    pub classless_before_default: bool,
}

impl VolumeSwitches {
    /// Kubernetes exactly.
    pub const KUBERNETES: Self = Self { classless_before_default: false };

    /// Every mend. The default.
    pub const SETKEEPER: Self = Self { classless_before_default: true };
}

impl Default for VolumeSwitches {
    fn default() -> Self {
        Self::SETKEEPER
    }
}

/// Question about every claim and volume, at one store revision. Those at rest ([`at_rest`](super::at_rest)) may be left out
/// where nothing here refers to them: no claim or volume names one, no pod that uses a claim of these uses one, and none has
/// the name of what would be made for a claim here ([`provisioned_name`](super::provisioned_name)). What is said of a claim
/// that cannot be served names volumes that do not fit; it names all only where it is told of all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumesRequest {
    /// Every claim. A claim that is left out counts as gone.
    pub claims: Vec<Claim>,
    /// Every volume.
    pub volumes: Vec<Volume>,
    /// Every class.
    pub classes: Vec<StorageClass>,
    /// Every use of a claim by a pod.
    pub users: Vec<ClaimUser>,
    /// The machine.
    pub node: MachineNode,
    /// Where to deviate.
    pub switches: VolumeSwitches,
    /// The time of this pass.
    pub now: Timestamp,
}

/// An object at a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectVersion {
    /// Which.
    pub object: ObjectRef,
    /// Version it was decided from.
    pub version: u64,
}

/// One thing to do. Every object occurs in at most one action that changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeAction {
    /// Write a class into a claim that names none.
    SetClass {
        /// The claim.
        claim: ObjectVersion,
        /// The class.
        class: String,
    },
    /// Make claim and volume point at each other and both Bound, in one transaction; finishes a bond that a crash
    /// left half made.
    Bind {
        /// The claim.
        claim: ObjectVersion,
        /// The volume.
        volume: ObjectVersion,
        /// Whether the volume is marked as chosen by us: nobody had reserved it.
        mark_volume: bool,
        /// Whether the claim is marked as bound by us: it named no volume.
        mark_claim: bool,
        /// The volume's size, for the claim's status.
        capacity: Quantity,
        /// The volume's modes, for the claim's status.
        access_modes: Vec<AccessMode>,
        /// Node that was selected for it; empty where the node did not matter.
        node: String,
    },
    /// Make a directory, then a volume, bound to the claim.
    Provision {
        /// The claim.
        claim: ObjectVersion,
        /// Its class.
        class: String,
        /// Provisioner of the class.
        provisioner: String,
        /// Name of the volume: `pvc-<claim uid>`.
        volume: String,
        /// Size.
        capacity: Quantity,
        /// Modes.
        access_modes: Vec<AccessMode>,
        /// Kind.
        volume_mode: VolumeMode,
        /// Policy.
        reclaim_policy: ReclaimPolicy,
        /// Mount options.
        mount_options: Vec<String>,
        /// Node it is made on.
        node: String,
        /// Whether the node was selected because a pod waits there.
        waited_for_pod: bool,
    },
    /// Change the phase of a volume.
    SetVolumePhase {
        /// The volume.
        volume: ObjectVersion,
        /// Its new phase.
        phase: VolumePhase,
        /// Why, for `status.message`; empty where there is nothing to say.
        message: String,
    },
    /// Take a volume back from a claim that is bound elsewhere; it becomes Available.
    Unbind {
        /// The volume.
        volume: ObjectVersion,
        /// Whether it stays reserved by name: somebody had reserved it. Else its `claimRef` goes.
        keep_reservation: bool,
    },
    /// Change the phase of a claim to Lost.
    SetClaimPhase {
        /// The claim.
        claim: ObjectVersion,
        /// Its new phase.
        phase: ClaimPhase,
        /// Why.
        message: String,
    },
    /// A directory is not bounded: record the new size on both sides.
    Expand {
        /// The claim.
        claim: ObjectVersion,
        /// Its volume.
        volume: ObjectVersion,
        /// New size.
        capacity: Quantity,
    },
    /// Request the deletion of a released volume whose policy is Delete.
    DeleteVolume {
        /// The volume.
        volume: ObjectVersion,
    },
    /// Remove the directory of a volume that is being deleted, then its finalizers.
    Deprovision {
        /// The volume.
        volume: ObjectVersion,
        /// Claim the directory was made for.
        claim_uid: Uid,
    },
    /// Release the protection of a volume that is being deleted.
    ReleaseVolume {
        /// The volume.
        volume: ObjectVersion,
    },
    /// Release the protection of a claim that is being deleted and that no pod uses.
    ReleaseClaim {
        /// The claim.
        claim: ObjectVersion,
    },
}

/// Something to tell people, about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeEvent {
    /// About what.
    pub object: ObjectRef,
    /// Whether a person should look.
    pub warning: bool,
    /// CamelCase, such as `FailedBinding`.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// Why a claim is Pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimReport {
    /// The claim.
    pub claim: ObjectVersion,
    /// Why, for programs.
    pub reason: PendingReason,
    /// Why, in words.
    pub message: String,
    /// Volumes that were looked at and do not fit, by name; bounded.
    pub rejected: Vec<Rejection>,
    /// How many were rejected in all.
    pub rejected_total: u32,
}

/// A pod that cannot be placed because of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodWait {
    /// The pod.
    pub pod: ObjectRef,
    /// The claim, by name.
    pub claim: String,
    /// Why, for programs.
    pub reason: PodWaitReason,
    /// Why, in words.
    pub message: String,
}

/// Answer about every claim and volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumesPlan {
    /// What to do, in this order.
    pub actions: Vec<VolumeAction>,
    /// Why each claim that stays Pending does.
    pub pending: Vec<ClaimReport>,
    /// Pods that must wait for their claims.
    pub pod_waits: Vec<PodWait>,
    /// What to tell people, once per action.
    pub events: Vec<VolumeEvent>,
}
