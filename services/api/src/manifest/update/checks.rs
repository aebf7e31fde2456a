//! What may change of an object that exists.

use serde_json::{Value, json};

use crate::manifest::field::Field;
use crate::manifest::violation::Report;
use crate::manifest::{Kind, own};

const SET_FORBIDDEN: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
     'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

const OWN_SET_FORBIDDEN: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
     'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy', 'minReadySeconds', \
     'podManagementPolicy', 'paused', 'reserveOrdinals', 'progressDeadlineSeconds' and 'progressDeadlinePolicy' are \
     forbidden";

const SET_MUTABLE: [&str; 7] = [
    "minReadySeconds",
    "ordinals",
    "persistentVolumeClaimRetentionPolicy",
    "replicas",
    "revisionHistoryLimit",
    "template",
    "updateStrategy",
];

const IMMUTABLE: &str = "field is immutable";

/// Notes what a manifest changes of an object and must not.
pub(super) fn check(kind: Kind, old: &Value, new: &Value, report: &mut Report) {
    match kind {
        Kind::StatefulSet => set(old, new, report),
        Kind::PersistentVolumeClaim => claim(old, new, report),
        Kind::PersistentVolume => volume(old, new, report),
        Kind::StorageClass => {
            immutable(old, new, &["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"], report);
        }
        Kind::Service => service(old, new, report),
        Kind::Pod => pod(old, new, report),
        Kind::ConfigMap | Kind::Secret => {
            if old.get("immutable") == Some(&Value::Bool(true)) {
                immutable(old, new, &["binaryData", "data", "immutable"], report);
            }
            if kind == Kind::Secret {
                immutable(old, new, &["type"], report);
            }
        }
        Kind::Namespace | Kind::Event | Kind::ControllerRevision | Kind::Decision | Kind::Node => {}
    }
}

fn immutable(old: &Value, new: &Value, fields: &[&str], report: &mut Report) {
    let new = Field::root(new);
    for field in fields.iter().map(|field| new.get(field)) {
        if old.get(&field.path).unwrap_or(&Value::Null) != field.value {
            report.invalid(&field.path, field.value, IMMUTABLE);
        }
    }
}

/// The members of two objects that differ.
fn differing<'a>(old: &'a Value, new: &'a Value) -> Vec<&'a str> {
    let names = |value: &'a Value| value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let mut names: Vec<_> = names(old).chain(names(new)).filter(|name| old.get(name) != new.get(name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn set(old: &Value, new: &Value, report: &mut Report) {
    let changed = differing(&old["spec"], &new["spec"]);
    let is_own = own::is_own(new);
    let mutable = |name: &str| {
        SET_MUTABLE.contains(&name) || own::FIELDS.contains(&name) || (is_own && name == "podManagementPolicy")
    };
    let forbidden: Vec<_> = changed.into_iter().filter(|name| !mutable(name)).collect();
    if !forbidden.is_empty() {
        let mut hint = format!("this manifest changes {}", forbidden.join(", "));
        hint.push_str(": delete the set keeping its pods (orphan) and apply again");
        if forbidden == ["podManagementPolicy"] {
            hint.push_str(&format!("; or write apiVersion: {}, under which it may change", own::API_VERSION));
        }
        report.forbidden("spec", if is_own { OWN_SET_FORBIDDEN } else { SET_FORBIDDEN }).hint = Some(hint);
    }
}

fn claim(old: &Value, new: &Value, report: &mut Report) {
    const FORBIDDEN: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName \
         for bound claims";
    let (stored, wanted) = (&old["spec"], &new["spec"]);
    let bound = old["status"]["phase"] == "Bound";
    let is_new = |name: &str| stored.get(name).is_none_or(|value| value == "");
    for name in differing(stored, wanted) {
        match name {
            "volumeName" if is_new(name) => {}
            "storageClassName" if stored.get(name).is_none() => {}
            "volumeAttributesClassName" if bound && wanted.get(name).is_some_and(|value| value != "") => {}
            "resources" => claim_size(old, new, bound, report),
            _ => {
                report.forbidden("spec", FORBIDDEN).hint = Some(format!("this manifest changes spec.{name}"));
            }
        }
    }
}

/// A request may grow once the claim is bound; it may shrink only to take back a growth that has not happened.
fn claim_size(old: &Value, new: &Value, bound: bool, report: &mut Report) {
    const PATH: &str = "/spec/resources/requests/storage";
    let size = |value: Option<&Value>| value.and_then(Value::as_str).and_then(|text| domain::quantity_nanos(text).ok());
    let (before, after) = (size(old.pointer(PATH)), size(new.pointer(PATH)));
    let without_size = |object: &Value| {
        let mut resources = object["spec"]["resources"].clone();
        let requests = resources.get_mut("requests").and_then(Value::as_object_mut);
        requests.map(|requests| requests.remove("storage"));
        resources
    };
    if without_size(old) != without_size(new) {
        let hint = "this manifest changes more of spec.resources than requests.storage";
        report.forbidden("spec.resources", "only requests.storage may change").hint = Some(hint.to_owned());
    }
    if before == after {
        return;
    }
    let field = "spec.resources.requests.storage";
    if !bound {
        report.forbidden(field, "only bound claims can be expanded");
    } else if after < before {
        let capacity = size(old.pointer("/status/capacity/storage"));
        if capacity.is_none_or(|capacity| after <= Some(capacity)) {
            report.forbidden(field, "can not be less than status.capacity").hint = Some(
                "a volume never shrinks; a request can be lowered only while an expansion has not happened".to_owned(),
            );
        }
    }
}

fn volume(old: &Value, new: &Value, report: &mut Report) {
    const MUTABLE: [&str; 7] = [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
    ];
    let (stored, wanted) = (&old["spec"], &new["spec"]);
    for name in differing(stored, wanted) {
        match name {
            name if MUTABLE.contains(&name) => {}
            "nodeAffinity" if stored.get(name).is_none() => {}
            "nodeAffinity" | "volumeMode" => {
                report.invalid(&format!("spec.{name}"), &wanted[name], IMMUTABLE);
            }
            _ => {
                let why = "spec.persistentvolumesource is immutable after creation";
                report.forbidden("spec.persistentvolumesource", why).hint =
                    Some(format!("this manifest changes spec.{name}"));
            }
        }
    }
}

/// A service that has an address keeps it; one that has none never gets one.
fn service(old: &Value, new: &Value, report: &mut Report) {
    let address = |object: &Value| object["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    let named = |object: &Value| object["spec"]["type"] == "ExternalName";
    let (before, after) = (address(old), address(new));
    if !named(old) && !named(new) && !before.is_empty() && before != after {
        report.invalid("spec.clusterIP", &json!(after), IMMUTABLE);
    }
}

/// Of a pod only the images, the deadline and added tolerations may change.
fn pod(old: &Value, new: &Value, report: &mut Report) {
    const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
         `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
         tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container.as_object_mut().map(|container| container.remove("image"));
            }
        }
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("activeDeadlineSeconds");
            spec.remove("tolerations");
        }
        spec
    };
    let (stored, wanted) = (fixed(old), fixed(new));
    let mut changed = differing(&stored, &wanted);
    let tolerations = |object: &Value| object["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let kept = tolerations(new);
    if tolerations(old).iter().any(|toleration| !kept.contains(toleration)) {
        changed.push("tolerations");
    }
    if !changed.is_empty() {
        let hint = format!("this manifest changes {}: delete the pod and apply again", changed.join(", "));
        report.forbidden("spec", FORBIDDEN).hint = Some(hint);
    }
}
