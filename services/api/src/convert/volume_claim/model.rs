//! Claims, volumes, classes and what they are made of.

use domain::Uid;
use domain::volume::{
    Claim, ClaimRef, ClaimUser, LabelSelector, MachineNode, NodeTerm, ObjectVersion, OwnerReference, Requirement,
    StorageClass, Volume, VolumeEvent,
};

use super::{filled, from_modes, quantity, sorted, to_modes, to_wire, unsorted};
use crate::convert::{Violations, to_timestamp};
use crate::proto::volume_claim::v1 as proto;

impl From<Requirement> for proto::Requirement {
    fn from(one: Requirement) -> Self {
        Self { key: one.key, operator: proto::Operator::from(one.operator).into(), values: one.values }
    }
}

impl TryFrom<proto::Requirement> for Requirement {
    type Error = Violations;

    fn try_from(one: proto::Requirement) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let operator = violations.enumeration::<proto::Operator, _>("operator", one.operator);
        violations.finish(operator.map(|operator| Self { key: one.key, operator, values: one.values }))
    }
}

impl From<LabelSelector> for proto::LabelSelector {
    fn from(selector: LabelSelector) -> Self {
        Self { labels: unsorted(selector.labels), expressions: to_wire(selector.expressions) }
    }
}

impl TryFrom<proto::LabelSelector> for LabelSelector {
    type Error = Violations;

    fn try_from(selector: proto::LabelSelector) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let expressions = violations.list("expressions", selector.expressions);
        violations.finish(Some(Self { labels: sorted(selector.labels), expressions }))
    }
}

impl From<NodeTerm> for proto::NodeTerm {
    fn from(term: NodeTerm) -> Self {
        Self { labels: to_wire(term.labels), fields: to_wire(term.fields) }
    }
}

impl TryFrom<proto::NodeTerm> for NodeTerm {
    type Error = Violations;

    fn try_from(term: proto::NodeTerm) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let labels = violations.list("labels", term.labels);
        let fields = violations.list("fields", term.fields);
        violations.finish(Some(Self { labels, fields }))
    }
}

impl From<Claim> for proto::Claim {
    fn from(claim: Claim) -> Self {
        Self {
            namespace: claim.namespace,
            name: claim.name,
            uid: claim.uid.0,
            version: claim.version,
            created_at: Some(to_timestamp(claim.created_at)),
            deleting: claim.deleting,
            protected: claim.protected,
            phase: proto::ClaimPhase::from(claim.phase).into(),
            class: claim.class,
            access_modes: to_modes(claim.access_modes),
            request_bytes: claim.request.0,
            volume_mode: proto::VolumeMode::from(claim.volume_mode).into(),
            selector: claim.selector.map(Into::into),
            volume_name: claim.volume_name,
            attributes_class: claim.attributes_class,
            data_source: claim.data_source,
            bind_completed: claim.bind_completed,
            capacity_bytes: claim.capacity.map(|capacity| capacity.0),
            bound_access_modes: to_modes(claim.bound_access_modes),
        }
    }
}

impl TryFrom<proto::Claim> for Claim {
    type Error = Violations;

    fn try_from(claim: proto::Claim) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let phase = violations.enumeration::<proto::ClaimPhase, _>("phase", claim.phase);
        let volume_mode = violations.enumeration::<proto::VolumeMode, _>("volume_mode", claim.volume_mode);
        let namespace = filled(&mut violations, "namespace", claim.namespace);
        let name = filled(&mut violations, "name", claim.name);
        let uid = Uid(filled(&mut violations, "uid", claim.uid));
        let created_at = violations.timestamp("created_at", claim.created_at).unwrap_or_default();
        let access_modes = from_modes(&mut violations, "access_modes", claim.access_modes);
        let bound_access_modes = from_modes(&mut violations, "bound_access_modes", claim.bound_access_modes);
        let selector = violations.optional("selector", claim.selector);
        violations.finish(phase.zip(volume_mode).map(|(phase, volume_mode)| Self {
            namespace,
            name,
            uid,
            version: claim.version,
            created_at,
            deleting: claim.deleting,
            protected: claim.protected,
            phase,
            class: claim.class,
            access_modes,
            request: quantity(claim.request_bytes),
            volume_mode,
            selector,
            volume_name: claim.volume_name,
            attributes_class: claim.attributes_class,
            data_source: claim.data_source,
            bind_completed: claim.bind_completed,
            capacity: claim.capacity_bytes.map(quantity),
            bound_access_modes,
        }))
    }
}

impl From<Volume> for proto::Volume {
    fn from(volume: Volume) -> Self {
        let claim_ref = |one: ClaimRef| proto::ClaimRef { namespace: one.namespace, name: one.name, uid: one.uid.0 };
        Self {
            name: volume.name,
            uid: volume.uid.0,
            version: volume.version,
            deleting: volume.deleting,
            protected: volume.protected,
            holds_directory: volume.holds_directory,
            phase: proto::VolumePhase::from(volume.phase).into(),
            capacity_bytes: volume.capacity.0,
            access_modes: to_modes(volume.access_modes),
            class: volume.class,
            volume_mode: proto::VolumeMode::from(volume.volume_mode).into(),
            reclaim_policy: proto::ReclaimPolicy::from(volume.reclaim_policy).into(),
            claim_ref: volume.claim_ref.map(claim_ref),
            bound_by_controller: volume.bound_by_controller,
            provisioned_by: volume.provisioned_by,
            labels: unsorted(volume.labels),
            node_affinity: volume.node_affinity.map(|terms| proto::NodeAffinity { terms: to_wire(terms) }),
            source: proto::VolumeSource::from(volume.source).into(),
            attributes_class: volume.attributes_class,
        }
    }
}

impl TryFrom<proto::Volume> for Volume {
    type Error = Violations;

    fn try_from(volume: proto::Volume) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let phase = violations.enumeration::<proto::VolumePhase, _>("phase", volume.phase);
        let volume_mode = violations.enumeration::<proto::VolumeMode, _>("volume_mode", volume.volume_mode);
        let policy = violations.enumeration::<proto::ReclaimPolicy, _>("reclaim_policy", volume.reclaim_policy);
        let source = violations.enumeration::<proto::VolumeSource, _>("source", volume.source);
        let name = filled(&mut violations, "name", volume.name);
        let uid = Uid(filled(&mut violations, "uid", volume.uid));
        let access_modes = from_modes(&mut violations, "access_modes", volume.access_modes);
        let terms = |affinity: proto::NodeAffinity| violations.list("node_affinity.terms", affinity.terms);
        let node_affinity = volume.node_affinity.map(terms);
        let claim_ref = |one: proto::ClaimRef| ClaimRef { namespace: one.namespace, name: one.name, uid: Uid(one.uid) };
        let whole = phase.zip(volume_mode).zip(policy).zip(source);
        violations.finish(whole.map(|(((phase, volume_mode), reclaim_policy), source)| Self {
            name,
            uid,
            version: volume.version,
            deleting: volume.deleting,
            protected: volume.protected,
            holds_directory: volume.holds_directory,
            phase,
            capacity: quantity(volume.capacity_bytes),
            access_modes,
            class: volume.class,
            volume_mode,
            reclaim_policy,
            claim_ref: volume.claim_ref.map(claim_ref),
            bound_by_controller: volume.bound_by_controller,
            provisioned_by: volume.provisioned_by,
            labels: sorted(volume.labels),
            node_affinity,
            source,
            attributes_class: volume.attributes_class,
        }))
    }
}

impl From<StorageClass> for proto::StorageClass {
    fn from(class: StorageClass) -> Self {
        Self {
            name: class.name,
            provisioner: class.provisioner,
            reclaim_policy: proto::ReclaimPolicy::from(class.reclaim_policy).into(),
            binding_mode: proto::BindingMode::from(class.binding_mode).into(),
            is_default: class.is_default,
            created_at: Some(to_timestamp(class.created_at)),
            allowed_topologies: to_wire(class.allowed_topologies),
            mount_options: class.mount_options,
            allow_expansion: class.allow_expansion,
        }
    }
}

impl TryFrom<proto::StorageClass> for StorageClass {
    type Error = Violations;

    fn try_from(class: proto::StorageClass) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let policy = violations.enumeration::<proto::ReclaimPolicy, _>("reclaim_policy", class.reclaim_policy);
        let mode = violations.enumeration::<proto::BindingMode, _>("binding_mode", class.binding_mode);
        let name = filled(&mut violations, "name", class.name);
        let created_at = violations.timestamp("created_at", class.created_at).unwrap_or_default();
        let allowed_topologies = violations.list("allowed_topologies", class.allowed_topologies);
        violations.finish(policy.zip(mode).map(|(reclaim_policy, binding_mode)| Self {
            name,
            provisioner: class.provisioner,
            reclaim_policy,
            binding_mode,
            is_default: class.is_default,
            created_at,
            allowed_topologies,
            mount_options: class.mount_options,
            allow_expansion: class.allow_expansion,
        }))
    }
}

impl From<ClaimUser> for proto::ClaimUser {
    fn from(user: ClaimUser) -> Self {
        Self {
            namespace: user.namespace,
            claim: user.claim,
            pod: user.pod,
            pod_uid: user.pod_uid.0,
            created_at: Some(to_timestamp(user.created_at)),
            node: user.node,
            ending: user.ending,
        }
    }
}

impl TryFrom<proto::ClaimUser> for ClaimUser {
    type Error = Violations;

    fn try_from(user: proto::ClaimUser) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let namespace = filled(&mut violations, "namespace", user.namespace);
        let claim = filled(&mut violations, "claim", user.claim);
        let pod = filled(&mut violations, "pod", user.pod);
        let created_at = violations.timestamp("created_at", user.created_at).unwrap_or_default();
        let (pod_uid, node, ending) = (Uid(user.pod_uid), user.node, user.ending);
        violations.finish(Some(Self { namespace, claim, pod, pod_uid, created_at, node, ending }))
    }
}

impl From<MachineNode> for proto::MachineNode {
    fn from(node: MachineNode) -> Self {
        Self { name: node.name, labels: unsorted(node.labels) }
    }
}

impl From<proto::MachineNode> for MachineNode {
    fn from(node: proto::MachineNode) -> Self {
        Self { name: node.name, labels: sorted(node.labels) }
    }
}

impl From<OwnerReference> for proto::OwnerReference {
    fn from(owner: OwnerReference) -> Self {
        Self {
            api_version: owner.api_version,
            kind: owner.kind,
            name: owner.name,
            uid: owner.uid.0,
            controller: owner.controller,
            block_owner_deletion: owner.block_owner_deletion,
        }
    }
}

impl From<proto::OwnerReference> for OwnerReference {
    fn from(owner: proto::OwnerReference) -> Self {
        Self {
            api_version: owner.api_version,
            kind: owner.kind,
            name: owner.name,
            uid: Uid(owner.uid),
            controller: owner.controller,
            block_owner_deletion: owner.block_owner_deletion,
        }
    }
}

impl From<ObjectVersion> for proto::ObjectVersion {
    fn from(one: ObjectVersion) -> Self {
        Self { object: Some(one.object.into()), version: one.version }
    }
}

impl TryFrom<proto::ObjectVersion> for ObjectVersion {
    type Error = Violations;

    fn try_from(one: proto::ObjectVersion) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let object = violations.required("object", one.object);
        violations.finish(object.map(|object| Self { object, version: one.version }))
    }
}

impl From<VolumeEvent> for proto::VolumeEvent {
    fn from(event: VolumeEvent) -> Self {
        let (warning, reason, message) = (event.warning, event.reason, event.message);
        Self { object: Some(event.object.into()), warning, reason, message }
    }
}

impl TryFrom<proto::VolumeEvent> for VolumeEvent {
    type Error = Violations;

    fn try_from(event: proto::VolumeEvent) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let object = violations.required("object", event.object);
        let (warning, reason, message) = (event.warning, event.reason, event.message);
        violations.finish(object.map(|object| Self { object, warning, reason, message }))
    }
}
