//! The object of a new pod (StatefulSet rules, section 3.2).

use crate::sets::templates;
use api::manifest;
use domain::{PodIdentity, Timestamp, claim_name};
use serde_json::{Map, Value, json};

use crate::objects::{object_mut, time_text};
use crate::world::{Object, controller_reference};

/// Builds the pod of an identity from the template of its revision. The template's name and namespace are ignored; its
/// labels, annotations and finalizers are copied; hostname, subdomain and claim volumes are ours.
pub(crate) fn pod(set: &Object, template: &Value, identity: &PodIdentity, now: Timestamp) -> Value {
    let mut labels = map_at(template, "/metadata/labels");
    for (name, value) in &identity.labels {
        labels.insert(name.clone(), value.as_str().into());
    }
    let mut metadata = Map::new();
    metadata.insert("name".into(), identity.name.as_str().into());
    metadata.insert("generateName".into(), format!("{}-", set.key.name).into());
    metadata.insert("namespace".into(), set.key.namespace.as_str().into());
    metadata.insert("uid".into(), service_kit::random::uid().into());
    metadata.insert("creationTimestamp".into(), time_text(now).into());
    metadata.insert("labels".into(), Value::Object(labels));
    for field in ["annotations", "finalizers"] {
        if let Some(value) = template.pointer(&format!("/metadata/{field}")) {
            metadata.insert(field.into(), value.clone());
        }
    }
    metadata.insert("ownerReferences".into(), json!([controller_reference(set)]));
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_default(),
        "status": { "phase": "Pending" },
    });
    let spec = object_mut(&mut pod, "spec");
    spec.insert("hostname".into(), identity.hostname.as_str().into());
    if identity.subdomain.is_empty() {
        spec.remove("subdomain");
    } else {
        spec.insert("subdomain".into(), identity.subdomain.as_str().into());
    }
    let volumes = volumes(set, spec.get("volumes"), identity);
    if !volumes.is_empty() {
        spec.insert("volumes".into(), Value::Array(volumes));
    }
    manifest::default_pod(&mut pod);
    pod
}

/// Annotation of a pod whose names are served before it is ready.
const SERVED_EARLY: &str = "setkeeper.dev/served-early";

/// Whether the names of the pod are served before it is ready.
pub(crate) fn is_served_early(pod: &Object) -> bool {
    pod.annotation(SERVED_EARLY) == Some("true")
}

/// The pod whose names are served early, or no longer.
pub(crate) fn served_early(pod: &Object, early: bool) -> Value {
    let mut value = pod.value.clone();
    let metadata = object_mut(&mut value, "metadata");
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(SERVED_EARLY);
        if early {
            annotations.insert(SERVED_EARLY.into(), "true".into());
        }
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    value
}

/// One volume per claim template, in template order; then the template's volumes whose names are not taken.
fn volumes(set: &Object, own: Option<&Value>, identity: &PodIdentity) -> Vec<Value> {
    let mut volumes: Vec<Value> = Vec::new();
    let taken =
        |volumes: &[Value], name: &str| volumes.iter().any(|volume| volume.get("name").is_some_and(|n| n == name));
    for template in templates::claim_templates(&set.value) {
        let Some(name) = template.pointer("/metadata/name").and_then(Value::as_str) else { continue };
        if !taken(&volumes, name) {
            let claim = claim_name(name, &set.key.name, identity.ordinal);
            volumes.push(json!({ "name": name, "persistentVolumeClaim": { "claimName": claim } }));
        }
    }
    for volume in own.and_then(Value::as_array).into_iter().flatten() {
        let name = volume.get("name").and_then(Value::as_str).unwrap_or_default();
        if !taken(&volumes, name) {
            volumes.push(volume.clone());
        }
    }
    volumes
}

fn map_at(value: &Value, pointer: &str) -> Map<String, Value> {
    value.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default()
}
