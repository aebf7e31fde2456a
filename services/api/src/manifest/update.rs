//! What stays, and what becomes of the rest, when a manifest is applied to an object that exists.

mod checks;

use serde_json::{Map, Value, json};

use super::violation::{Report, Violation};
use super::{Kind, Manifest, own};

/// Fields of metadata that the system writes. A manifest does not change them.
const SYSTEM_METADATA: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generateName",
    "generation",
    "resourceVersion",
    "uid",
];

/// Fields of metadata that a manifest may write, and that stay as they are if it does not.
const KEPT_METADATA: [&str; 2] = ["finalizers", "ownerReferences"];

/// Annotation of a set whose manifest leaves `spec.replicas` to somebody else. Who never wrote the number leaves it alone
/// with the next apply; who takes it out of a manifest gets the default (StatefulSet rules, section 1.3).
const REPLICAS_UNSET: &str = "setkeeper.dev/replicas-unset";

/// Annotations that the system and its commands write; a manifest that does not name them leaves them alone.
const SYSTEM_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/",
    "kubernetes.io/change-cause",
    "pv.kubernetes.io/",
    "setkeeper.dev/",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/",
];

/// What an applied manifest makes of a stored object.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The object to store. Everything the system writes is that of the stored one: `metadata.generation` is for the
    /// caller to raise if `spec_changed`.
    pub value: Value,
    /// Whether what is wanted differs in meaning: the generation rises by one.
    pub spec_changed: bool,
    /// Whether anything differs at all; if not, nothing has to be written.
    pub changed: bool,
    /// What the change takes away that its author may not have in mind.
    pub warnings: Vec<String>,
}

/// Applies an admitted manifest to the stored object of the same kind and name.
///
/// Of fields that the manifest leaves out and that others fill in, the stored value stays: `replicas` of a set whose
/// manifest never had them, the class and volume of a claim, the address of a service, the claim of a volume, the node of a pod.
///
/// # Errors
/// When it would change what must not change (StatefulSet rules 2.3, volume rules 1.2 to 1.4, DNS rules 1.1).
pub fn admit_update(old: &Value, new: Manifest) -> Result<Update, Vec<Violation>> {
    let Manifest { kind, mut value, origin, unset_replicas, unset_paused, .. } = new;
    let (mut report, mut warnings) = (Report::default(), Vec::new());
    merge_metadata(old, &mut value);
    keep_status(old, &mut value);
    match kind {
        Kind::StatefulSet => {
            if unset_replicas && has_annotation(old, REPLICAS_UNSET) {
                keep(old, &mut value, "/spec", &["replicas"]);
            } else if unset_replicas && old["spec"]["replicas"] != value["spec"]["replicas"] {
                warnings.push(format!(
                    "spec.replicas: is no longer in the manifest: {}, the default, takes the place of {}; write the number \
                     to keep it",
                    value["spec"]["replicas"], old["spec"]["replicas"],
                ));
            }
            // Who paused an update by hand does not want the next apply to let it go on.
            if unset_paused && own::is_own(&value) && old.pointer("/spec/paused").is_some() {
                keep(old, &mut value, "/spec", &["paused"]);
                warnings.push(
                    "spec.paused: stays true, as the manifest does not speak of it: write paused: false, or resume the \
                     rollout"
                        .to_owned(),
                );
            }
        }
        Kind::PersistentVolumeClaim => {
            keep(old, &mut value, "/spec", &["storageClassName", "volumeName", "volumeAttributesClassName"]);
        }
        Kind::PersistentVolume => keep(old, &mut value, "/spec", &["claimRef", "nodeAffinity"]),
        Kind::Service => keep_service(old, &mut value),
        Kind::Pod => keep_pod(old, &mut value),
        _ => {}
    }
    if kind == Kind::StatefulSet {
        keep_annotations(old.pointer("/spec/template/metadata"), value.pointer_mut("/spec/template/metadata"));
    }
    checks::check(kind, old, &value, &mut report);
    if !report.violations.is_empty() {
        let object = Some(origin.object_of(kind, &value));
        let place = |violation: Violation| Violation {
            document: origin.document,
            line: origin.line,
            object: object.clone(),
            ..violation
        };
        return Err(report.violations.into_iter().map(place).collect());
    }
    let desired = |object: &Value| {
        let mut object = object.as_object().cloned().unwrap_or_default();
        for not_desired in ["apiVersion", "kind", "metadata", "status"] {
            object.remove(not_desired);
        }
        object
    };
    let spec_changed = desired(old) != desired(&value);
    let object = origin.object_of(kind, &value);
    if kind == Kind::StatefulSet {
        warnings.extend(own::losses(old, &value));
    }
    let warnings = warnings.into_iter().map(|warning| format!("{object}: {warning}")).collect();
    Ok(Update { changed: *old != value, value, spec_changed, warnings })
}

/// Notes on a set that its manifest says no number of replicas.
pub(super) fn note_unset_replicas(set: &mut Value) {
    let metadata = set.get_mut("metadata").and_then(Value::as_object_mut);
    let annotations = metadata.map(|metadata| metadata.entry("annotations").or_insert_with(|| json!({})));
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.insert(REPLICAS_UNSET.to_owned(), "true".into());
    }
}

fn has_annotation(object: &Value, name: &str) -> bool {
    object.pointer("/metadata/annotations").is_some_and(|annotations| annotations.get(name).is_some())
}

fn merge_metadata(old: &Value, new: &mut Value) {
    let Some(stored) = old.get("metadata").and_then(Value::as_object) else { return };
    let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for field in SYSTEM_METADATA {
        metadata.remove(field);
        if let Some(value) = stored.get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    for field in KEPT_METADATA {
        if let Some(value) = stored.get(field).filter(|_| !metadata.contains_key(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    keep_annotations(old.get("metadata"), new.get_mut("metadata"));
}

/// Copies annotations that the system wrote and the manifest does not name.
fn keep_annotations(old: Option<&Value>, new: Option<&mut Value>) {
    let stored = old.and_then(|metadata| metadata.get("annotations")).and_then(Value::as_object);
    let Some(metadata) = new.and_then(Value::as_object_mut) else { return };
    let of_system =
        |key: &str| key != REPLICAS_UNSET && SYSTEM_ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix));
    for (key, value) in stored.into_iter().flatten().filter(|(key, _)| of_system(key)) {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if let Some(annotations) = annotations.as_object_mut().filter(|annotations| !annotations.contains_key(key)) {
            annotations.insert(key.clone(), value.clone());
        }
    }
}

fn keep_status(old: &Value, new: &mut Value) {
    let Some(members) = new.as_object_mut() else { return };
    members.remove("status");
    if let Some(status) = old.get("status") {
        members.insert("status".to_owned(), status.clone());
    }
}

/// Copies `fields` of the object at `path` that the manifest leaves out.
fn keep(old: &Value, new: &mut Value, path: &str, fields: &[&str]) {
    let Some(stored) = old.pointer(path).and_then(Value::as_object) else { return };
    let Some(members) = new.pointer_mut(path).and_then(Value::as_object_mut) else { return };
    for &field in fields {
        // A default that was filled in for a missing `replicas` gives way as well.
        if let Some(value) = stored.get(field).filter(|_| field == "replicas" || !members.contains_key(field)) {
            members.insert(field.to_owned(), value.clone());
        }
    }
}

fn keep_service(old: &Value, new: &mut Value) {
    if new.pointer("/spec/type").is_some_and(|kind| kind != "ExternalName") {
        const ASSIGNED: [&str; 5] = ["clusterIP", "clusterIPs", "healthCheckNodePort", "ipFamilies", "ipFamilyPolicy"];
        keep(old, new, "/spec", &ASSIGNED);
    }
}

fn keep_pod(old: &Value, new: &mut Value) {
    const ASSIGNED: [&str; 9] = [
        "hostname",
        "nodeName",
        "nodeSelector",
        "preemptionPolicy",
        "priority",
        "serviceAccount",
        "serviceAccountName",
        "subdomain",
        "tolerations",
    ];
    keep(old, new, "/spec", &ASSIGNED);
}
