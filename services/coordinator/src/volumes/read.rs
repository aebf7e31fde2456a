//! From stored objects to what the volume planner decides by.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::manifest::Kind;
use api::question::VolumesQuestion;
use domain::volume::{
    AccessMode, BindingMode, CLAIM_PROTECTION, Claim, ClaimPhase, ClaimRef, ClaimUser, DIRECTORY_FINALIZER,
    LabelSelector, MachineNode, NodeTerm, Operator, OwnerReference, ReclaimPolicy, Requirement, StorageClass,
    VOLUME_PROTECTION, Volume, VolumeMode, VolumePhase, VolumeSource, VolumeSwitches, provisioned_name,
};
use domain::{Quantity, Switches, Timestamp, Uid};
use serde_json::{Value, json};

use crate::machines;
use crate::objects::{texts, time};
use crate::pods::read::{claim_names, phase};
use crate::world::{Key, Object, View};

/// Where a claim that names no class may have one still (volume rules, section 1.3).
const OLD_CLASS_ANNOTATION: &str = "/metadata/annotations/volume.beta.kubernetes.io~1storage-class";

/// What a question tells of: claims, volumes, and pods that use claims, by key.
#[derive(Debug, Default)]
pub(super) struct Told {
    objects: BTreeMap<Key, Arc<Object>>,
    pods: BTreeMap<Key, Arc<Object>>,
}

impl Told {
    /// Every claim and volume there is.
    pub(super) fn everything(view: &View<'_>) -> Self {
        let all = |kind| view.list(kind, None).into_iter().map(|object| (object.key.clone(), object));
        let objects = all(Kind::PersistentVolume).chain(all(Kind::PersistentVolumeClaim)).collect();
        Self { objects, pods: all(Kind::Pod).collect() }
    }

    /// Claims and volumes that are not at rest, and all that these refer to: whoever is left out counts as gone. Those at
    /// rest refer to each other alone, so nothing that is told of here refers to one that is not.
    pub(super) fn loose(view: &View<'_>) -> Self {
        let mut told = Self::default();
        for object in view.loose() {
            told.bring(view, object);
            let claim = if object.kind() == Kind::PersistentVolume {
                object.bound_to()
            } else {
                // One of another claim may have the name of the volume that would be made for this one.
                told.bring_named(view, &Key::new(Kind::PersistentVolume, "", &provisioned_name(&object.uid())));
                Some(object.key.clone())
            };
            // Who uses the claim, or the one whose volume it was: and what those pods wait for beside it.
            for pod in claim.iter().flat_map(|claim| view.users(claim)) {
                if told.pods.insert(pod.key.clone(), pod.clone()).is_none() {
                    pod.claims_used().for_each(|used| told.bring_named(view, &used));
                }
            }
        }
        told
    }

    /// Adds a claim or a volume with what it is bound to, with what that is bound to, and so on.
    fn bring(&mut self, view: &View<'_>, object: &Arc<Object>) {
        let mut next = Some(object.clone());
        while let Some(object) = next {
            next = object.bound_to().and_then(|other| view.get(&other));
            if self.objects.insert(object.key.clone(), object).is_some() {
                return;
            }
        }
    }

    fn bring_named(&mut self, view: &View<'_>, key: &Key) {
        view.get(key).iter().for_each(|object| self.bring(view, object));
    }

    /// A claim or a volume that was told of.
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// The question about them.
    pub(super) fn question(&self, view: &View<'_>, switches: Switches, now: Timestamp) -> VolumesQuestion {
        let node = machines::usable(&view.list(Kind::Node, None)).next().map(|node| machine(node)).unwrap_or_default();
        let classes = view.list(Kind::StorageClass, None).iter().map(|object| class(object)).collect();
        let switches = VolumeSwitches { classless_before_default: switches.classless_before_default };
        let mut question = VolumesQuestion::new(classes, node, switches, now);
        let of = |kind| self.objects.values().filter(move |object| object.kind() == kind);
        question.claims(
            of(Kind::PersistentVolumeClaim).flat_map(|one| one.parts(|one| [one.claim().clone().into()].into())),
        );
        question
            .volumes(of(Kind::PersistentVolume).flat_map(|one| one.parts(|one| [one.volume().clone().into()].into())));
        let uses = |pod: &Object| users(pod).into_iter().map(Into::into).collect();
        question.users(self.pods.values().flat_map(|pod| pod.parts(uses)));
        question
    }
}

/// `metadata.ownerReferences`.
pub(crate) fn owners(value: &Value) -> Vec<OwnerReference> {
    items(value.pointer("/metadata/ownerReferences"))
        .map(|owner| OwnerReference {
            api_version: text(owner, "/apiVersion"),
            kind: text(owner, "/kind"),
            name: text(owner, "/name"),
            uid: Uid(text(owner, "/uid")),
            controller: flag(owner, "/controller"),
            block_owner_deletion: flag(owner, "/blockOwnerDeletion"),
        })
        .collect()
}

/// An owner reference as objects hold it.
pub(crate) fn owner_json(owner: &OwnerReference) -> Value {
    let mut value = json!({
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid.0,
    });
    for (field, set) in [("controller", owner.controller), ("blockOwnerDeletion", owner.block_owner_deletion)] {
        if set {
            value[field] = true.into();
        }
    }
    value
}

/// Whether a machine reaches a volume, by the volume's node affinity.
pub(crate) fn reachable(object: &Object, node: &Object) -> bool {
    object.volume().reachable_from(&machine(node))
}

/// Whether only one pod may use a claim.
pub(crate) fn single_user(object: &Object) -> bool {
    modes(object.value.pointer("/spec/accessModes")).contains(&AccessMode::ReadWriteOncePod)
}

/// What a stored claim says.
pub(crate) fn claim(object: &Object) -> Claim {
    let value = &object.value;
    let class = value.pointer(OLD_CLASS_ANNOTATION).or_else(|| value.pointer("/spec/storageClassName"));
    Claim {
        namespace: object.key.namespace.clone(),
        name: object.key.name.clone(),
        uid: object.uid(),
        version: object.version.0,
        created_at: time(object.text("/metadata/creationTimestamp")).unwrap_or_default(),
        deleting: object.deleting(),
        protected: object.finalizers().any(|finalizer| finalizer == CLAIM_PROTECTION),
        phase: match object.text("/status/phase") {
            "Bound" => ClaimPhase::Bound,
            "Lost" => ClaimPhase::Lost,
            _ => ClaimPhase::Pending,
        },
        class: class.and_then(Value::as_str).map(str::to_owned),
        access_modes: modes(value.pointer("/spec/accessModes")),
        request: quantity(value.pointer("/spec/resources/requests/storage")).unwrap_or_default(),
        volume_mode: volume_mode(object),
        selector: value.pointer("/spec/selector").map(selector),
        volume_name: object.text("/spec/volumeName").to_owned(),
        attributes_class: object.text("/spec/volumeAttributesClassName").to_owned(),
        data_source: data_source(value),
        bind_completed: annotation(object, "pv.kubernetes.io/bind-completed") == "yes",
        capacity: quantity(value.pointer("/status/capacity/storage")),
        bound_access_modes: modes(value.pointer("/status/accessModes")),
    }
}

fn data_source(value: &Value) -> String {
    let source = value.pointer("/spec/dataSourceRef").or_else(|| value.pointer("/spec/dataSource"));
    source.map(|source| format!("{} {}", text(source, "/kind"), text(source, "/name"))).unwrap_or_default()
}

/// What a stored volume says.
pub(crate) fn volume(object: &Object) -> Volume {
    let value = &object.value;
    let has = |finalizer: &str| object.finalizers().any(|one| one == finalizer);
    let claim_ref = value.pointer("/spec/claimRef").map(|claim| ClaimRef {
        namespace: text(claim, "/namespace"),
        name: text(claim, "/name"),
        uid: Uid(text(claim, "/uid")),
    });
    Volume {
        name: object.key.name.clone(),
        uid: object.uid(),
        version: object.version.0,
        deleting: object.deleting(),
        protected: has(VOLUME_PROTECTION),
        holds_directory: has(DIRECTORY_FINALIZER),
        phase: match object.text("/status/phase") {
            "Available" => VolumePhase::Available,
            "Bound" => VolumePhase::Bound,
            "Released" => VolumePhase::Released,
            "Failed" => VolumePhase::Failed,
            _ => VolumePhase::Pending,
        },
        capacity: quantity(value.pointer("/spec/capacity/storage")).unwrap_or_default(),
        access_modes: modes(value.pointer("/spec/accessModes")),
        class: object.text("/spec/storageClassName").to_owned(),
        volume_mode: volume_mode(object),
        reclaim_policy: reclaim_policy(object.text("/spec/persistentVolumeReclaimPolicy"), ReclaimPolicy::Retain),
        claim_ref,
        bound_by_controller: annotation(object, "pv.kubernetes.io/bound-by-controller") == "yes",
        provisioned_by: annotation(object, "pv.kubernetes.io/provisioned-by").to_owned(),
        labels: texts(value.pointer("/metadata/labels")),
        node_affinity: value
            .pointer("/spec/nodeAffinity/required/nodeSelectorTerms")
            .map(|terms| items(Some(terms)).map(node_term).collect()),
        source: match (value.pointer("/spec/hostPath"), value.pointer("/spec/local")) {
            (Some(_), _) => VolumeSource::HostPath,
            (None, Some(_)) => VolumeSource::Local,
            (None, None) => VolumeSource::Other,
        },
        attributes_class: object.text("/spec/volumeAttributesClassName").to_owned(),
    }
}

fn class(object: &Object) -> StorageClass {
    let value = &object.value;
    let default = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    StorageClass {
        name: object.key.name.clone(),
        provisioner: object.text("/provisioner").to_owned(),
        reclaim_policy: reclaim_policy(object.text("/reclaimPolicy"), ReclaimPolicy::Delete),
        binding_mode: match object.text("/volumeBindingMode") {
            "WaitForFirstConsumer" => BindingMode::WaitForFirstConsumer,
            _ => BindingMode::Immediate,
        },
        is_default: default.into_iter().any(|name| annotation(object, name) == "true"),
        created_at: time(object.text("/metadata/creationTimestamp")).unwrap_or_default(),
        allowed_topologies: items(value.get("allowedTopologies")).map(topology).collect(),
        mount_options: items(value.get("mountOptions")).filter_map(Value::as_str).map(str::to_owned).collect(),
        allow_expansion: flag(value, "/allowVolumeExpansion"),
    }
}

fn users(pod: &Object) -> Vec<ClaimUser> {
    claim_names(&pod.value)
        .map(|claim| ClaimUser {
            namespace: pod.key.namespace.clone(),
            claim: claim.to_owned(),
            pod: pod.key.name.clone(),
            pod_uid: pod.uid(),
            created_at: time(pod.text("/metadata/creationTimestamp")).unwrap_or_default(),
            node: pod.text("/spec/nodeName").to_owned(),
            ending: pod.deleting() || phase(pod).terminal(),
        })
        .collect()
}

fn machine(node: &Object) -> MachineNode {
    MachineNode { name: node.key.name.clone(), labels: texts(node.value.pointer("/metadata/labels")) }
}

fn modes(value: Option<&Value>) -> Vec<AccessMode> {
    items(value).filter_map(|mode| mode.as_str()?.parse().ok()).collect()
}

fn quantity(value: Option<&Value>) -> Option<Quantity> {
    match value? {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64().map(Quantity),
    }
}

fn volume_mode(object: &Object) -> VolumeMode {
    match object.text("/spec/volumeMode") {
        "Block" => VolumeMode::Block,
        _ => VolumeMode::Filesystem,
    }
}

fn reclaim_policy(text: &str, default: ReclaimPolicy) -> ReclaimPolicy {
    match text {
        "Retain" => ReclaimPolicy::Retain,
        "Delete" => ReclaimPolicy::Delete,
        "Recycle" => ReclaimPolicy::Recycle,
        _ => default,
    }
}

fn selector(value: &Value) -> LabelSelector {
    LabelSelector {
        labels: texts(value.get("matchLabels")),
        expressions: items(value.get("matchExpressions")).map(requirement).collect(),
    }
}

fn requirement(value: &Value) -> Requirement {
    Requirement {
        key: text(value, "/key"),
        operator: match text(value, "/operator").as_str() {
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::Gt,
            "Lt" => Operator::Lt,
            _ => Operator::In,
        },
        values: items(value.get("values")).filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

fn node_term(value: &Value) -> NodeTerm {
    NodeTerm {
        labels: items(value.get("matchExpressions")).map(requirement).collect(),
        fields: items(value.get("matchFields")).map(requirement).collect(),
    }
}

/// A topology term of a class: requirements on node labels, all of the form "one of".
fn topology(value: &Value) -> NodeTerm {
    NodeTerm { labels: items(value.get("matchLabelExpressions")).map(requirement).collect(), fields: Vec::new() }
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

fn annotation<'a>(object: &'a Object, name: &str) -> &'a str {
    let annotations = object.value.pointer("/metadata/annotations");
    annotations.and_then(|annotations| annotations.get(name)?.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
