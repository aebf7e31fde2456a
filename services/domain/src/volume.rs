//! Claims, volumes and storage classes as the volume planner sees them, and what it answers.
//!
//! Two questions: [`SetClaimsRequest`] is about the claims of one set, [`VolumesRequest`] about all claims and volumes that
//! are not at rest ([`at_rest`]). Both are answered by pure functions; the answers name exact versions, so that nothing is
//! done to an object that has changed meanwhile.

mod binding;
mod model;
mod reason;
mod rest;
mod selection;
mod set_claims;

pub use binding::{
    ClaimReport, ObjectVersion, PodWait, VolumeAction, VolumeEvent, VolumeSwitches, VolumesPlan, VolumesRequest,
};
pub use model::{
    AccessMode, BindingMode, Claim, ClaimPhase, ClaimRef, ClaimUser, MachineNode, OwnerReference, ReclaimPolicy,
    StorageClass, Volume, VolumeMode, VolumePhase, VolumeSource,
};
pub use reason::{FailedTest, PendingReason, PodWaitReason, Rejection};
pub use rest::at_rest;
pub use selection::{LabelSelector, NodeTerm, Operator, Requirement};
pub use set_claims::{
    ClaimCreation, ClaimOrdinal, ClaimTemplate, OrdinalPod, OwnerChange, SetClaim, SetClaimsPlan, SetClaimsRequest,
};

/// Provisioner of our own default class: a directory on this machine per volume.
pub const DIRECTORY_PROVISIONER: &str = "setkeeper.dev/directory";

/// Provisioner that people's manifests name for the same thing; served as well.
pub const LOCAL_PATH_PROVISIONER: &str = "rancher.io/local-path";

/// "Never provisions": only volumes made by hand are used.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// Finalizer of a claim that a pod may still use.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";

/// Finalizer of a volume that may be bound.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

/// Finalizer of a volume whose directory is removed before its object goes.
pub const DIRECTORY_FINALIZER: &str = "setkeeper.dev/directory";

/// Annotation of a claim: the set it was made for. Tells apart sets whose claim names meet (`a` + `b-c`, `a-b` + `c`).
pub const SET_ANNOTATION: &str = "setkeeper.dev/set";

/// Name of the volume that is provisioned for a claim. The same at every attempt, so that repeated ones meet.
#[must_use]
pub fn provisioned_name(claim_uid: &crate::Uid) -> String {
    format!("pvc-{claim_uid}")
}
