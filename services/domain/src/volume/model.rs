//! The objects, reduced to what is decided by.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{LabelSelector, NodeTerm};
use crate::{Quantity, Timestamp, Uid};

/// How many may use a volume, and how. A matching key, not a write protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessMode {
    /// From one node; several pods there may share it.
    ReadWriteOnce,
    /// Read-only from many nodes.
    ReadOnlyMany,
    /// From many nodes.
    ReadWriteMany,
    /// From one pod in the whole cluster.
    ReadWriteOncePod,
}

impl AccessMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::ReadWriteOnce, Self::ReadOnlyMany, Self::ReadWriteMany, Self::ReadWriteOncePod];

    /// As manifests write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadOnlyMany => "ReadOnlyMany",
            Self::ReadWriteMany => "ReadWriteMany",
            Self::ReadWriteOncePod => "ReadWriteOncePod",
        }
    }

    /// As listings write it.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "RWO",
            Self::ReadOnlyMany => "ROX",
            Self::ReadWriteMany => "RWX",
            Self::ReadWriteOncePod => "RWOP",
        }
    }
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is no access mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an access mode")]
pub struct UnknownAccessMode(String);

impl FromStr for AccessMode {
    type Err = UnknownAccessMode;

    fn from_str(text: &str) -> Result<Self, UnknownAccessMode> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(|| UnknownAccessMode(text.to_owned()))
    }
}

/// What a volume is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VolumeMode {
    /// A directory.
    #[default]
    Filesystem,
    /// A device.
    Block,
}

/// What becomes of a volume when its claim is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReclaimPolicy {
    /// Volume and data stay.
    #[default]
    Retain,
    /// Whoever made the data deletes it; then the volume goes.
    Delete,
    /// Deprecated in Kubernetes; treated as Retain, with a warning.
    Recycle,
}

/// When a claim of a class is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BindingMode {
    /// At once.
    #[default]
    Immediate,
    /// When a pod uses it.
    WaitForFirstConsumer,
}

/// Phase of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClaimPhase {
    /// Not bound.
    #[default]
    Pending,
    /// Bound: claim and volume point at each other.
    Bound,
    /// It was bound, and its volume is gone or points elsewhere. Not final.
    Lost,
}

/// Phase of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VolumePhase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// Free, or reserved for a claim by name.
    Available,
    /// Bound.
    Bound,
    /// Its claim is gone. Never given to another.
    Released,
    /// Its reclaim policy could not be carried out.
    Failed,
}

impl VolumePhase {
    /// As manifests write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Available => "Available",
            Self::Bound => "Bound",
            Self::Released => "Released",
            Self::Failed => "Failed",
        }
    }
}

impl ClaimPhase {
    /// As manifests write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Bound => "Bound",
            Self::Lost => "Lost",
        }
    }
}

/// Where the data of a volume is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum VolumeSource {
    /// A path of the machine the pod runs on.
    HostPath,
    /// A path of one machine, named by the node affinity.
    Local,
    /// Anything else, by its field's name, such as `nfs`.
    #[default]
    Other,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Incarnation.
    pub uid: Uid,
    /// Version of the stored object.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether deletion has been requested.
    pub deleting: bool,
    /// Whether it has the finalizer [`super::CLAIM_PROTECTION`].
    pub protected: bool,
    /// Phase as stored.
    pub phase: ClaimPhase,
    /// Class: none is not the same as empty (volume rules, section 2).
    pub class: Option<String>,
    /// Requested modes, at least one.
    pub access_modes: Vec<AccessMode>,
    /// Requested size.
    pub request: Quantity,
    /// Requested kind of volume.
    pub volume_mode: VolumeMode,
    /// Which volumes it accepts, by their labels; none accepts all.
    pub selector: Option<LabelSelector>,
    /// Name of its volume; empty while it has none.
    pub volume_name: String,
    /// `volumeAttributesClassName`; empty without one.
    pub attributes_class: String,
    /// What it is to be filled from, such as `VolumeSnapshot monday`; empty without a source.
    pub data_source: String,
    /// Whether it has been bound (annotation `pv.kubernetes.io/bind-completed`).
    pub bind_completed: bool,
    /// Size as last reported; none before binding.
    pub capacity: Option<Quantity>,
    /// Modes as last reported.
    pub bound_access_modes: Vec<AccessMode>,
}

impl Claim {
    /// Class it asks for; none and empty are the same here.
    #[must_use]
    pub fn effective_class(&self) -> &str {
        self.class.as_deref().unwrap_or_default()
    }
}

/// A volume's pointer at a claim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimRef {
    /// Namespace of the claim.
    pub namespace: String,
    /// Name of the claim.
    pub name: String,
    /// Incarnation of the claim; empty where an administrator reserves the volume by name.
    pub uid: Uid,
}

impl ClaimRef {
    /// Whether it means this claim: same name, and no uid or the same.
    #[must_use]
    pub fn means(&self, claim: &Claim) -> bool {
        self.namespace == claim.namespace && self.name == claim.name && (self.uid.0.is_empty() || self.uid == claim.uid)
    }
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Incarnation.
    pub uid: Uid,
    /// Version of the stored object.
    pub version: u64,
    /// Whether deletion has been requested.
    pub deleting: bool,
    /// Whether it has the finalizer [`super::VOLUME_PROTECTION`].
    pub protected: bool,
    /// Whether it has the finalizer [`super::DIRECTORY_FINALIZER`].
    pub holds_directory: bool,
    /// Phase as stored.
    pub phase: VolumePhase,
    /// Size.
    pub capacity: Quantity,
    /// Modes it offers.
    pub access_modes: Vec<AccessMode>,
    /// Class; empty without one.
    pub class: String,
    /// Kind.
    pub volume_mode: VolumeMode,
    /// What becomes of it when its claim is gone.
    pub reclaim_policy: ReclaimPolicy,
    /// Claim it belongs to, or is reserved for.
    pub claim_ref: Option<ClaimRef>,
    /// Whether we chose the claim (annotation `pv.kubernetes.io/bound-by-controller`).
    pub bound_by_controller: bool,
    /// Provisioner that made it (annotation `pv.kubernetes.io/provisioned-by`); empty where somebody made it by hand.
    pub provisioned_by: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Nodes that reach it; none where all do.
    pub node_affinity: Option<Vec<NodeTerm>>,
    /// Where its data is.
    pub source: VolumeSource,
    /// `volumeAttributesClassName`; empty without one.
    pub attributes_class: String,
}

impl Volume {
    /// Whether we made its directory.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self.provisioned_by.as_str(), super::DIRECTORY_PROVISIONER | super::LOCAL_PATH_PROVISIONER)
            && self.name.starts_with("pvc-")
    }

    /// Whether `node` reaches it.
    #[must_use]
    pub fn reachable_from(&self, node: &MachineNode) -> bool {
        self.node_affinity.as_ref().is_none_or(|terms| terms.iter().any(|term| term.admits(node)))
    }
}

/// A class.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorageClass {
    /// Name.
    pub name: String,
    /// Who makes its volumes.
    pub provisioner: String,
    /// Policy of the volumes it makes; Delete where a manifest says nothing.
    pub reclaim_policy: ReclaimPolicy,
    /// When claims are bound.
    pub binding_mode: BindingMode,
    /// Whether it is annotated as the default.
    pub is_default: bool,
    /// When it was made. Of several defaults the newest counts.
    pub created_at: Timestamp,
    /// Nodes it may provision for; empty for all.
    pub allowed_topologies: Vec<NodeTerm>,
    /// Options of the volumes it makes.
    pub mount_options: Vec<String>,
    /// Whether claims may grow.
    pub allow_expansion: bool,
}

/// One use of one claim by one pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimUser {
    /// Namespace of both.
    pub namespace: String,
    /// Claim.
    pub claim: String,
    /// Pod.
    pub pod: String,
    /// Incarnation of the pod.
    pub pod_uid: Uid,
    /// When the pod was made.
    pub created_at: Timestamp,
    /// Node of the pod; empty while it has none.
    pub node: String,
    /// Whether the pod has ended or is asked to: it needs no new volume, but may still use the one it has.
    pub ending: bool,
}

/// The machine that volumes are made on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MachineNode {
    /// Name; empty while no machine has registered.
    pub name: String,
    /// Labels, `kubernetes.io/hostname` among them.
    pub labels: BTreeMap<String, String>,
}

/// An owner of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OwnerReference {
    /// Group and version, such as `apps/v1`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Incarnation.
    pub uid: Uid,
    /// Whether it manages the object.
    pub controller: bool,
    /// Whether deleting it in the foreground waits for the object.
    pub block_owner_deletion: bool,
}
