//! From what the volume planner decided to stored objects.

use std::sync::Arc;

use api::manifest::Kind;
use domain::volume::{
    AccessMode, ClaimReport, DIRECTORY_FINALIZER, ObjectVersion, ReclaimPolicy, VOLUME_PROTECTION, VolumeAction,
    VolumeEvent, VolumeMode,
};
use domain::{ObjectRef, Quantity, Timestamp};
use serde_json::{Map, Value, json};

use super::read::Told;
use crate::collect;
use crate::events::{self, Event};
use crate::objects::{condition, object_mut, set_condition, time_text};
use crate::world::{Key, Object, Transaction, World};

/// Who says so, in events.
const COMPONENT: &str = "volume-claim";

const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// Builds one transaction. Every object it changes is at the version the plan was made from.
pub(super) struct Writer<'a> {
    world: &'a World,
    told: &'a Told,
    now: Timestamp,
    transaction: Transaction,
}

impl<'a> Writer<'a> {
    pub(super) fn new(world: &'a World, told: &'a Told, now: Timestamp) -> Self {
        Self { world, told, now, transaction: Transaction::default() }
    }

    pub(super) fn finish(self) -> Transaction {
        self.transaction
    }

    /// Writes what an action changes in stored objects.
    pub(super) fn write(&mut self, action: &VolumeAction) -> Result<(), String> {
        match action {
            VolumeAction::SetClass { claim, class } => {
                self.change(claim, |claim| put(claim, "spec", "storageClassName", class.as_str().into()))
            }
            VolumeAction::Bind { claim, volume, mark_volume, mark_claim, capacity, access_modes, node } => {
                let claim_object = self.find(claim)?;
                self.change(volume, |value| {
                    put(value, "spec", "claimRef", claim_ref(&claim_object));
                    if *mark_volume {
                        annotate(value, BOUND_BY_CONTROLLER, "yes");
                    }
                    put(value, "status", "phase", "Bound".into());
                })?;
                self.bind_claim(claim, &volume.object.name, (*mark_claim, *capacity, access_modes), node)
            }
            VolumeAction::Provision { .. } => Err("a volume is written when its directory exists".to_owned()),
            VolumeAction::SetVolumePhase { volume, phase, message } => self.change(volume, |value| {
                put(value, "status", "phase", phase.name().into());
                if message.is_empty() {
                    object_mut(value, "status").remove("message");
                } else {
                    put(value, "status", "message", message.as_str().into());
                }
            }),
            VolumeAction::Unbind { volume, keep_reservation } => self.change(volume, |value| {
                if *keep_reservation {
                    if let Some(claim) = value.pointer_mut("/spec/claimRef").and_then(Value::as_object_mut) {
                        claim.remove("uid");
                    }
                } else {
                    object_mut(value, "spec").remove("claimRef");
                }
                if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
                    annotations.remove(BOUND_BY_CONTROLLER);
                }
                put(value, "status", "phase", "Available".into());
            }),
            VolumeAction::SetClaimPhase { claim, phase, message } => {
                let now = self.now;
                self.change(claim, |value| {
                    put(value, "status", "phase", phase.name().into());
                    let status = object_mut(value, "status");
                    set_condition(status, "Bound", "False", (phase.name(), message), now);
                })
            }
            VolumeAction::Expand { claim, volume, capacity } => {
                let size = capacity.to_string();
                self.change(volume, |value| value["spec"]["capacity"]["storage"] = size.as_str().into())?;
                self.change(claim, |value| value["status"]["capacity"]["storage"] = size.as_str().into())
            }
            VolumeAction::DeleteVolume { volume } => {
                let object = self.find(volume)?;
                collect::delete(&mut self.transaction, &object, self.now);
                Ok(())
            }
            VolumeAction::Deprovision { volume, .. } => self.release(volume, &[DIRECTORY_FINALIZER, VOLUME_PROTECTION]),
            VolumeAction::ReleaseVolume { volume } => self.release(volume, &[DIRECTORY_FINALIZER, VOLUME_PROTECTION]),
            VolumeAction::ReleaseClaim { claim } => self.release(claim, &[domain::volume::CLAIM_PROTECTION]),
        }
    }

    /// The directory of a volume exists: write the volume, bound to its claim.
    pub(super) fn provisioned(&mut self, action: &VolumeAction, path: &str) -> Result<(), String> {
        let VolumeAction::Provision {
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
        } = action
        else {
            return Err("only a provisioned volume has a directory".to_owned());
        };
        let claim_object = self.find(claim)?;
        let key = Key::new(Kind::PersistentVolume, "", volume);
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": volume,
                "uid": service_kit::random::uid(),
                "creationTimestamp": time_text(self.now),
                "annotations": { "pv.kubernetes.io/provisioned-by": provisioner },
                "finalizers": [VOLUME_PROTECTION, DIRECTORY_FINALIZER],
            },
            "spec": {
                "capacity": { "storage": capacity.to_string() },
                "accessModes": names(access_modes),
                "claimRef": claim_ref(&claim_object),
                "hostPath": { "path": path, "type": "Directory" },
                "persistentVolumeReclaimPolicy": match reclaim_policy {
                    ReclaimPolicy::Delete => "Delete",
                    ReclaimPolicy::Retain | ReclaimPolicy::Recycle => "Retain",
                },
                "storageClassName": class,
                "volumeMode": match volume_mode {
                    VolumeMode::Filesystem => "Filesystem",
                    VolumeMode::Block => "Block",
                },
                "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                    { "key": "kubernetes.io/hostname", "operator": "In", "values": [node] },
                ]}]}},
            },
            "status": { "phase": "Bound" },
        });
        if !mount_options.is_empty() {
            object["spec"]["mountOptions"] = json!(mount_options);
        }
        self.transaction.create(key, object);
        let selected = if *waited_for_pod { node.as_str() } else { "" };
        self.bind_claim(claim, volume, (true, *capacity, access_modes), selected)?;
        let message = format!("Successfully provisioned volume {volume} in {path}");
        self.say(&claim.object, &Event::normal("ProvisioningSucceeded", message));
        Ok(())
    }

    /// An action could not be carried out.
    pub(super) fn failed(&mut self, action: &VolumeAction, error: &str) {
        match action {
            VolumeAction::Provision { claim, .. } => {
                self.say(&claim.object, &Event::warning("ProvisioningFailed", error));
            }
            VolumeAction::Deprovision { volume, .. } => {
                self.say(&volume.object, &Event::warning("VolumeFailedDelete", error));
            }
            _ => {}
        }
    }

    /// Says of a claim that stays Pending why it does; once, until the reason changes.
    pub(super) fn pending(&mut self, report: &ClaimReport) {
        let Ok(claim) = self.find(&report.claim) else { return };
        let message = report.message.clone();
        let reason = format!("{:?}", report.reason);
        let said = condition(&claim.value, "Bound");
        let said = |field: &str| said.and_then(|said| said.get(field)?.as_str()).unwrap_or_default();
        if (said("reason"), said("message")) == (reason.as_str(), message.as_str())
            || self.transaction.touches(&claim.key)
        {
            return;
        }
        let mut value = claim.value.clone();
        set_condition(object_mut(&mut value, "status"), "Bound", "False", (&reason, &message), self.now);
        self.transaction.update(&claim, value);
        let event = Event { warning: report.reason.warning(), reason: report.reason.event().to_owned(), message };
        self.say(&report.claim.object, &event);
    }

    /// Tells people what the planner says.
    pub(super) fn event(&mut self, event: &VolumeEvent) {
        let said = Event { warning: event.warning, reason: event.reason.clone(), message: event.message.clone() };
        self.say(&event.object, &said);
    }

    fn say(&mut self, about: &ObjectRef, event: &Event) {
        let Some(kind) = Kind::from_text(&about.kind) else { return };
        let key = Key::new(kind, &about.namespace, &about.name);
        events::record(&mut self.transaction, self.world, (&key, &about.uid.0), COMPONENT, event, self.now);
    }

    fn bind_claim(
        &mut self,
        claim: &ObjectVersion,
        volume: &str,
        (mark, capacity, access_modes): (bool, Quantity, &[AccessMode]),
        selected_node: &str,
    ) -> Result<(), String> {
        let now = self.now;
        self.change(claim, |value| {
            put(value, "spec", "volumeName", volume.into());
            annotate(value, BIND_COMPLETED, "yes");
            if mark {
                annotate(value, BOUND_BY_CONTROLLER, "yes");
            }
            if !selected_node.is_empty() {
                annotate(value, "volume.kubernetes.io/selected-node", selected_node);
            }
            let status = object_mut(value, "status");
            status.insert("phase".into(), "Bound".into());
            status.insert("capacity".into(), json!({ "storage": capacity.to_string() }));
            status.insert("accessModes".into(), json!(names(access_modes)));
            set_condition(status, "Bound", "True", ("Bound", &format!("bound to {volume}")), now);
        })
    }

    fn release(&mut self, object: &ObjectVersion, finalizers: &[&str]) -> Result<(), String> {
        let stored = self.find(object)?;
        let left: Vec<&str> = stored.finalizers().filter(|finalizer| !finalizers.contains(finalizer)).collect();
        if left.is_empty() && stored.deleting() {
            self.transaction.delete(&stored);
            return Ok(());
        }
        let left = json!(left);
        self.change(object, |value| put(value, "metadata", "finalizers", left.clone()))
    }

    /// Changes an object that the plan names, at the version it names.
    fn change(&mut self, object: &ObjectVersion, change: impl FnOnce(&mut Value)) -> Result<(), String> {
        let stored = self.find(object)?;
        let mut value = stored.value.clone();
        change(&mut value);
        if value != stored.value {
            self.transaction.update(&stored, value);
        }
        Ok(())
    }

    fn find(&self, object: &ObjectVersion) -> Result<Arc<Object>, String> {
        let kind = Kind::from_text(&object.object.kind);
        let key = kind.map(|kind| Key::new(kind, &object.object.namespace, &object.object.name));
        let stored = key.and_then(|key| self.told.get(&key)).filter(|stored| stored.version.0 == object.version);
        stored.cloned().ok_or_else(|| format!("it was not shown {} {:?}", object.object.kind, object.object.name))
    }
}

fn put(value: &mut Value, section: &str, field: &str, new: Value) {
    object_mut(value, section).insert(field.to_owned(), new);
}

fn annotate(value: &mut Value, name: &str, text: &str) {
    let metadata = object_mut(value, "metadata");
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(name.to_owned(), text.into());
    }
}

fn claim_ref(claim: &Object) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": claim.key.namespace,
        "name": claim.key.name,
        "uid": claim.uid().0,
    })
}

fn names(modes: &[AccessMode]) -> Vec<&'static str> {
    modes.iter().map(|mode| mode.name()).collect()
}
