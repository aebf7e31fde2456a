//! The columns of each kind, as kubectl has them.

use api::manifest::Kind;
use domain::Timestamp;
use serde_json::Value;

use super::age::age;
use super::json::{list, name_of, number, text};
use super::pod::summarize;

/// Mark of the class that claims without one get.
const DEFAULT_CLASS: &str = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";

/// Longest text of a cell that holds prose.
const PROSE_LENGTH_MAX: usize = 200;

/// What stands where there is nothing.
const NONE: &str = "<none>";

/// Headings of a kind's columns.
#[must_use]
pub(crate) fn headers(kind: Kind, wide: bool) -> Vec<String> {
    let (usual, more): (&[&str], &[&str]) = match kind {
        Kind::StatefulSet => (&["NAME", "READY", "AGE"], &["CONTAINERS", "IMAGES"]),
        Kind::Pod => {
            (&["NAME", "READY", "STATUS", "RESTARTS", "AGE"], &["IP", "NODE", "NOMINATED NODE", "READINESS GATES"])
        }
        Kind::Service => (&["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"], &["SELECTOR"]),
        Kind::PersistentVolumeClaim => (
            &["NAME", "STATUS", "VOLUME", "CAPACITY", "ACCESS MODES", "STORAGECLASS", "VOLUMEATTRIBUTESCLASS", "AGE"],
            &["VOLUMEMODE"],
        ),
        Kind::PersistentVolume => (
            &[
                "NAME",
                "CAPACITY",
                "ACCESS MODES",
                "RECLAIM POLICY",
                "STATUS",
                "CLAIM",
                "STORAGECLASS",
                "VOLUMEATTRIBUTESCLASS",
                "REASON",
                "AGE",
            ],
            &["VOLUMEMODE"],
        ),
        Kind::StorageClass => {
            (&["NAME", "PROVISIONER", "RECLAIMPOLICY", "VOLUMEBINDINGMODE", "ALLOWVOLUMEEXPANSION", "AGE"], &[])
        }
        Kind::ConfigMap => (&["NAME", "DATA", "AGE"], &[]),
        Kind::Secret => (&["NAME", "TYPE", "DATA", "AGE"], &[]),
        Kind::Namespace => (&["NAME", "STATUS", "AGE"], &[]),
        Kind::Event => {
            (&["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], &["SOURCE", "FIRST SEEN", "COUNT", "NAME"])
        }
        Kind::ControllerRevision => (&["NAME", "CONTROLLER", "REVISION", "AGE"], &[]),
        Kind::Decision => (&["NAME", "SET", "AGE", "SUMMARY"], &[]),
        Kind::Node => (&["NAME", "STATUS", "ROLES", "AGE", "VERSION"], &["INTERNAL-IP"]),
    };
    let more = if wide { more } else { &[] };
    usual.iter().chain(more).map(|heading| (*heading).to_owned()).collect()
}

/// Cells of one object.
#[must_use]
pub(crate) fn row(kind: Kind, object: &Value, wide: bool, now: Timestamp) -> Vec<String> {
    let name = name_of(object).to_owned();
    let age = age(text(object, "/metadata/creationTimestamp"), now);
    let mut cells = match kind {
        Kind::StatefulSet => vec![name, set_ready(object), age],
        Kind::Pod => {
            let summary = summarize(object);
            vec![name, summary.ready_column(), summary.status.clone(), summary.restarts_column(now), age]
        }
        Kind::Service => service(object, name, age),
        Kind::PersistentVolumeClaim => claim(object, name, age),
        Kind::PersistentVolume => volume(object, name, age),
        Kind::StorageClass => class(object, name, age),
        Kind::ConfigMap => vec![name, (entries(object, "/data") + entries(object, "/binaryData")).to_string(), age],
        Kind::Secret => vec![name, or(text(object, "/type"), "Opaque"), entries(object, "/data").to_string(), age],
        Kind::Namespace => vec![name, or(text(object, "/status/phase"), "Active"), age],
        Kind::Event => event(object, now),
        Kind::ControllerRevision => {
            vec![name, controller(object), number(object, "/revision").to_string(), age]
        }
        Kind::Decision => vec![
            name,
            text(object, "/set").to_owned(),
            age,
            prose(or(text(object, "/summary"), super::decision::SETTLED)),
        ],
        Kind::Node => {
            let version = or(text(object, "/status/nodeInfo/kubeletVersion"), "");
            vec![name, node_status(object).to_owned(), NONE.to_owned(), age, version]
        }
    };
    if wide {
        cells.extend(more(kind, object, now));
    }
    cells
}

fn more(kind: Kind, object: &Value, now: Timestamp) -> Vec<String> {
    let containers = |field: &str| {
        let containers = list(object, "/spec/template/spec/containers");
        containers.iter().map(|container| text(container, field)).collect::<Vec<_>>().join(",")
    };
    match kind {
        Kind::StatefulSet => vec![containers("/name"), containers("/image")],
        Kind::Pod => vec![
            or(text(object, "/status/podIP"), NONE),
            or(text(object, "/spec/nodeName"), NONE),
            or(text(object, "/status/nominatedNodeName"), NONE),
            gates(object),
        ],
        Kind::Service => vec![or(&pairs(object, "/spec/selector"), NONE)],
        Kind::PersistentVolumeClaim | Kind::PersistentVolume => {
            vec![or(text(object, "/spec/volumeMode"), "Filesystem")]
        }
        Kind::Event => vec![
            text(object, "/source/component").to_owned(),
            age(text(object, "/firstTimestamp"), now),
            number(object, "/count").max(1).to_string(),
            name_of(object).to_owned(),
        ],
        Kind::Node => {
            let addresses = list(object, "/status/addresses");
            let internal = addresses.iter().find(|address| text(address, "/type") == "InternalIP");
            vec![or(internal.map_or("", |address| text(address, "/address")), NONE)]
        }
        _ => Vec::new(),
    }
}

fn set_ready(set: &Value) -> String {
    let replicas = set.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    format!("{}/{replicas}", number(set, "/status/readyReplicas"))
}

fn service(object: &Value, name: String, age: String) -> Vec<String> {
    let kind = or(text(object, "/spec/type"), "ClusterIP");
    let address = or(text(object, "/spec/clusterIP"), NONE);
    let external = match text(object, "/spec/externalName") {
        "" => list_of_text(object, "/spec/externalIPs"),
        name => name.to_owned(),
    };
    let ports = list(object, "/spec/ports").iter().map(|port| {
        let node_port = match number(port, "/nodePort") {
            0 => String::new(),
            port => format!(":{port}"),
        };
        format!("{}{node_port}/{}", number(port, "/port"), or(text(port, "/protocol"), "TCP"))
    });
    let ports = ports.collect::<Vec<_>>().join(",");
    vec![name, kind, address, or(&external, NONE), or(&ports, NONE), age]
}

fn claim(object: &Value, name: String, age: String) -> Vec<String> {
    let volume = text(object, "/spec/volumeName");
    // Blank until bound; then what the volume has (volume rules 8.3).
    let (capacity, modes) = match volume {
        "" => (String::new(), String::new()),
        _ => (text(object, "/status/capacity/storage").to_owned(), access_modes(object, "/status/accessModes")),
    };
    vec![
        name,
        phase(object),
        volume.to_owned(),
        capacity,
        modes,
        text(object, "/spec/storageClassName").to_owned(),
        or(text(object, "/spec/volumeAttributesClassName"), "<unset>"),
        age,
    ]
}

fn volume(object: &Value, name: String, age: String) -> Vec<String> {
    let claim = match text(object, "/spec/claimRef/name") {
        "" => String::new(),
        claim => format!("{}/{claim}", text(object, "/spec/claimRef/namespace")),
    };
    vec![
        name,
        text(object, "/spec/capacity/storage").to_owned(),
        access_modes(object, "/spec/accessModes"),
        or(text(object, "/spec/persistentVolumeReclaimPolicy"), "Retain"),
        phase(object),
        claim,
        text(object, "/spec/storageClassName").to_owned(),
        or(text(object, "/spec/volumeAttributesClassName"), "<unset>"),
        text(object, "/status/reason").to_owned(),
        age,
    ]
}

fn class(object: &Value, name: String, age: String) -> Vec<String> {
    let name = if text(object, DEFAULT_CLASS) == "true" { format!("{name} (default)") } else { name };
    vec![
        name,
        text(object, "/provisioner").to_owned(),
        or(text(object, "/reclaimPolicy"), "Delete"),
        or(text(object, "/volumeBindingMode"), "Immediate"),
        (object["allowVolumeExpansion"] == true).to_string(),
        age,
    ]
}

fn event(object: &Value, now: Timestamp) -> Vec<String> {
    let seen = match text(object, "/lastTimestamp") {
        "" => text(object, "/eventTime"),
        time => time,
    };
    let last = age(seen, now);
    let count = number(object, "/count");
    let last =
        if count > 1 { format!("{last} (x{count} over {})", age(text(object, "/firstTimestamp"), now)) } else { last };
    let about =
        format!("{}/{}", text(object, "/involvedObject/kind").to_lowercase(), text(object, "/involvedObject/name"));
    vec![
        last,
        text(object, "/type").to_owned(),
        text(object, "/reason").to_owned(),
        about,
        text(object, "/message").trim().to_owned(),
    ]
}

/// By the time of the last occurrence; within a second, as they were stored.
pub(crate) fn sort_events(events: &mut [Value]) {
    let version = |event: &Value| text(event, "/metadata/resourceVersion").parse().unwrap_or(0_u64);
    events.sort_by_cached_key(|event| (text(event, "/lastTimestamp").to_owned(), version(event)));
}

fn phase(object: &Value) -> String {
    match text(object, "/metadata/deletionTimestamp") {
        "" => or(text(object, "/status/phase"), "Pending"),
        _ => "Terminating".to_owned(),
    }
}

/// `RWO,ROX`.
pub(super) fn access_modes(object: &Value, pointer: &str) -> String {
    let short = |mode: &Value| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO".to_owned(),
        "ReadOnlyMany" => "ROX".to_owned(),
        "ReadWriteMany" => "RWX".to_owned(),
        "ReadWriteOncePod" => "RWOP".to_owned(),
        other => other.to_owned(),
    };
    list(object, pointer).iter().map(short).collect::<Vec<_>>().join(",")
}

/// `app=web,tier=db`, in the order of the names.
pub(super) fn pairs(object: &Value, pointer: &str) -> String {
    let map = object.pointer(pointer).and_then(Value::as_object);
    let pairs = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(",")
}

/// Labels of an object as one cell.
#[must_use]
pub(crate) fn labels(object: &Value) -> String {
    or(&pairs(object, "/metadata/labels"), NONE)
}

/// `StatefulSet` objects that control others, as `statefulset.apps/web`.
fn controller(object: &Value) -> String {
    let owners = list(object, "/metadata/ownerReferences");
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else { return NONE.to_owned() };
    let kind = Kind::from_text(text(owner, "/kind"));
    kind.map_or_else(|| NONE.to_owned(), |kind| super::qualified_name(kind, text(owner, "/name")))
}

fn node_status(node: &Value) -> &'static str {
    let conditions = list(node, "/status/conditions");
    match conditions.iter().find(|condition| text(condition, "/type") == "Ready") {
        Some(condition) if text(condition, "/status") == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
}

fn gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let conditions = list(pod, "/status/conditions");
    let met = gates.iter().filter(|gate| {
        conditions.iter().any(|condition| {
            text(condition, "/type") == text(gate, "/conditionType") && text(condition, "/status") == "True"
        })
    });
    format!("{}/{}", met.count(), gates.len())
}

fn entries(object: &Value, pointer: &str) -> usize {
    object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

fn list_of_text(object: &Value, pointer: &str) -> String {
    list(object, pointer).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

fn prose(text: String) -> String {
    match text.char_indices().nth(PROSE_LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
