//! The claims of one set: which to create, whom they belong to, which ordinals must wait for them.

use std::collections::BTreeMap;

use super::{OwnerReference, VolumeEvent};
use crate::{Intent, Ordinal, Phase, Pod, PodCreation, RetentionPolicy, SetRef, SetSpec, Switches, Uid, Wait};

/// A claim template, without its spec: that is copied by whoever creates the claim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimTemplate {
    /// Name; unique in the set.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The pod of an ordinal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrdinalPod {
    /// Incarnation.
    pub uid: Uid,
    /// Phase as last reported.
    pub phase: Phase,
    /// Whether deletion has been requested.
    pub terminating: bool,
}

/// An ordinal that has a pod, or gets one in this pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimOrdinal {
    /// Which.
    pub ordinal: Ordinal,
    /// Whether the set should have it; else it is condemned.
    pub in_range: bool,
    /// Its pod; none if it is to be created in this pass.
    pub pod: Option<OrdinalPod>,
}

impl ClaimOrdinal {
    /// Of a pod that is there.
    #[must_use]
    pub fn of(spec: &SetSpec, pod: &Pod) -> Self {
        let known = OrdinalPod { uid: pod.uid.clone(), phase: pod.phase, terminating: pod.terminating };
        Self { ordinal: pod.ordinal, in_range: spec.contains(pod.ordinal), pod: Some(known) }
    }

    /// Of a pod that is to be created.
    #[must_use]
    pub fn to_create(creation: &PodCreation) -> Self {
        Self { ordinal: creation.ordinal, in_range: true, pod: None }
    }
}

/// A claim that has the name of a claim of this set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetClaim {
    /// Name.
    pub name: String,
    /// Incarnation.
    pub uid: Uid,
    /// Version of the stored object.
    pub version: u64,
    /// Whether deletion has been requested.
    pub deleting: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotation [`super::SET_ANNOTATION`]; empty without one.
    pub made_for: String,
    /// Owners, in their order.
    pub owners: Vec<OwnerReference>,
}

/// Question about the claims of one set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetClaimsRequest {
    /// The set.
    pub set: SetRef,
    /// What is to become of it.
    pub intent: Intent,
    /// What becomes of claims.
    pub retention: RetentionPolicy,
    /// `spec.selector.matchLabels`: they go onto every claim.
    pub match_labels: BTreeMap<String, String>,
    /// Claim templates, in the order of the spec.
    pub templates: Vec<ClaimTemplate>,
    /// Ordinals that have a pod or get one, ascending.
    pub ordinals: Vec<ClaimOrdinal>,
    /// Whether pods out of range may be deleted now: always under Parallel, else once every pod in range is available.
    /// Their claims are handed to them only then.
    pub scaling_down: bool,
    /// One out of range that goes before that, if there is one.
    pub abandoned: Option<Ordinal>,
    /// The claims that exist under the names of those ordinals, by name.
    pub claims: Vec<SetClaim>,
    /// Which mends of Kubernetes' behaviour apply.
    pub switches: Switches,
}

/// A claim to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimCreation {
    /// For which ordinal.
    pub ordinal: Ordinal,
    /// Name.
    pub name: String,
    /// Template whose spec it gets.
    pub template: String,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// All its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
}

/// New owners of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerChange {
    /// Of which ordinal.
    pub ordinal: Ordinal,
    /// Name of the claim.
    pub claim: String,
    /// Its incarnation.
    pub uid: Uid,
    /// Version it was decided from.
    pub version: u64,
    /// All its owners from now on, in this order.
    pub owners: Vec<OwnerReference>,
    /// Why, in words for a person.
    pub why: String,
}

/// Answer about the claims of one set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetClaimsPlan {
    /// Claims to create, by ordinal, then in template order. Before any pod.
    pub create: Vec<ClaimCreation>,
    /// Owners to change. Before any pod is deleted.
    pub owners: Vec<OwnerChange>,
    /// Ordinals whose pod must not be created now, and why.
    pub waits: Vec<Wait>,
    /// What to tell people, about the set.
    pub events: Vec<VolumeEvent>,
}
