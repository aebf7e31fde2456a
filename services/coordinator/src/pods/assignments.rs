//! What a machine is told: its pods, each with all it refers to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::manifest::Kind;
use api::proto::coordinator::v1::{Assignment, ClaimVolume};
use bytes::Bytes;
use serde_json::Value;

use crate::machines::fence;
use crate::world::{Change, Key, Object, View};

/// A pod with everything it refers to, as one machine needs it.
pub(crate) fn assignment(view: &View<'_>, pod: &Object) -> Assignment {
    let mut missing = Vec::new();
    let namespace = &pod.key.namespace;
    let mut objects = |kind: Kind, names: BTreeSet<(String, bool)>| {
        let mut found = HashMap::new();
        for (name, optional) in names {
            match view.get(&Key::new(kind, namespace, &name)) {
                Some(object) => _ = found.insert(name, bytes(&object.value)),
                None if optional => {}
                None => missing.push(format!("{} {name:?} not found", kind.name())),
            }
        }
        found
    };
    let config_maps = objects(Kind::ConfigMap, references(&pod.value, "configMap"));
    let secrets = objects(Kind::Secret, references(&pod.value, "secret"));
    let claims = claims(view, pod, &mut missing);
    Assignment { pod: bytes(&pod.value), claims, config_maps, secrets, missing, revision: view.revision().0 }
}

/// Whether a machine is to hear of a pod.
pub(crate) fn is_assigned(pod: &Object, node: &str) -> bool {
    pod.text("/spec/nodeName") == node && !fence::is_released(pod)
}

/// An object as a machine gets it.
fn bytes(value: &Value) -> Bytes {
    serde_json::to_vec(value).expect("a value is valid JSON").into()
}

fn claims(view: &View<'_>, pod: &Object, missing: &mut Vec<String>) -> HashMap<String, ClaimVolume> {
    let volumes = pod.value.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let mut claims = HashMap::new();
    for volume in volumes {
        let Some(source) = volume.get("persistentVolumeClaim") else { continue };
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = text(source, "claimName");
        let read_only = source.get("readOnly").and_then(Value::as_bool).unwrap_or(false);
        match claim_volume(view, &pod.key.namespace, &name, read_only) {
            Ok(volume_at) => _ = claims.insert(text(volume, "name"), volume_at),
            Err(why) => missing.push(why),
        }
    }
    claims
}

/// The directory of a bound claim. Both sides of the bond must agree, by uid.
fn claim_volume(view: &View<'_>, namespace: &str, name: &str, read_only: bool) -> Result<ClaimVolume, String> {
    let claim = view
        .get(&Key::new(Kind::PersistentVolumeClaim, namespace, name))
        .ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
    let volume_name = claim.text("/spec/volumeName");
    let volume = view
        .get(&Key::new(Kind::PersistentVolume, "", volume_name))
        .filter(|volume| volume.text("/spec/claimRef/uid") == claim.uid().0)
        .ok_or_else(|| format!("persistentvolumeclaim {name:?} is not bound"))?;
    let path = [volume.text("/spec/hostPath/path"), volume.text("/spec/local/path")];
    let path = path.into_iter().find(|path| !path.is_empty());
    let path = path.ok_or_else(|| {
        format!("volume {volume_name:?} of claim {name:?} is neither hostPath nor local: this machine cannot mount it")
    })?;
    Ok(ClaimVolume {
        claim: name.to_owned(),
        claim_uid: claim.uid().0,
        path: path.to_owned(),
        host_path_type: volume.text("/spec/hostPath/type").to_owned(),
        read_only,
    })
}

/// Names of the ConfigMaps (`what` = `configMap`) or Secrets (`secret`) a pod refers to, and whether it can do without.
fn references(pod: &Value, what: &str) -> BTreeSet<(String, bool)> {
    let mut found = BTreeMap::new();
    if let Some(spec) = pod.get("spec") {
        for field in ["volumes", "containers", "initContainers"] {
            if let Some(value) = spec.get(field) {
                collect(value, what, &mut found);
            }
        }
    }
    found.into_iter().collect()
}

fn collect(value: &Value, what: &str, found: &mut BTreeMap<String, bool>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, what, found)),
        Value::Object(fields) => {
            for (field, value) in fields {
                if field.strip_prefix(what).is_some_and(|rest| matches!(rest, "" | "Ref" | "KeyRef")) {
                    let name = value.get("name").or_else(|| value.get("secretName")).and_then(Value::as_str);
                    let optional = value.get("optional").and_then(Value::as_bool).unwrap_or(false);
                    if let Some(name) = name {
                        // Needed once is needed.
                        *found.entry(name.to_owned()).or_insert(true) &= optional;
                    }
                }
                collect(value, what, found);
            }
        }
        _ => {}
    }
}

/// Pods on `node` that a change concerns: the pod itself, or those that refer to what changed.
pub(crate) fn concerned(view: &View<'_>, node: &str, change: &Change) -> Vec<Arc<Object>> {
    let here = |pod: &Arc<Object>| is_assigned(pod, node);
    let users = |namespace: Option<&str>, uses: &dyn Fn(&Object) -> bool| {
        view.list(Kind::Pod, namespace).into_iter().filter(|pod| uses(pod) && here(pod)).collect()
    };
    let (name, namespace) = (change.key.name.as_str(), Some(change.key.namespace.as_str()));
    match change.key.kind {
        Kind::Pod => view.get(&change.key).into_iter().filter(here).collect(),
        Kind::PersistentVolumeClaim => view.users(&change.key).filter(|pod| here(pod)).cloned().collect(),
        Kind::ConfigMap => {
            users(namespace, &|pod| references(&pod.value, "configMap").iter().any(|(used, _)| used == name))
        }
        Kind::Secret => users(namespace, &|pod| references(&pod.value, "secret").iter().any(|(used, _)| used == name)),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_refer_is_found() {
        let pod = json!({"spec": {
            "volumes": [
                {"name": "a", "configMap": {"name": "files", "optional": true}},
                {"name": "b", "secret": {"secretName": "keys"}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "more"}}, {"secret": {"name": "token"}}]}},
            ],
            "containers": [{
                "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "files", "key": "x"}}}],
                "envFrom": [{"secretRef": {"name": "env", "optional": true}}],
            }],
        }});
        let names = |what| references(&pod, what);
        let expected = [("files", false), ("more", false)].map(|(name, optional)| (name.to_owned(), optional));
        assert_eq!(names("configMap"), BTreeSet::from(expected));
        let expected = [("keys", false), ("token", false), ("env", true)].map(|(n, optional)| (n.to_owned(), optional));
        assert_eq!(names("secret"), BTreeSet::from(expected));
    }
}
