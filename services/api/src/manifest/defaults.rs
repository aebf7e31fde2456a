//! Values of fields that were left out (StatefulSet rules 1.2, pod rules 1, volume rules 1.2 to 1.4, DNS rules 1.1).

use serde_json::{Map, Value, json};

use super::{Kind, own};

mod pod;

pub(super) use pod::default_template;

/// Fills in what was left out. `value` has the right shape.
pub(super) fn default_object(kind: Kind, value: &mut Value) {
    match kind {
        Kind::StatefulSet => stateful_set(value),
        Kind::Service => service(value),
        Kind::Pod => pod::pod(value),
        Kind::PersistentVolume => volume(value),
        Kind::PersistentVolumeClaim => claim(value),
        Kind::StorageClass => {
            set(value, "reclaimPolicy", json!("Delete"));
            set(value, "volumeBindingMode", json!("Immediate"));
        }
        Kind::Secret => secret(value),
        Kind::Namespace => namespace(value),
        Kind::ConfigMap | Kind::Event | Kind::ControllerRevision | Kind::Decision | Kind::Node => {}
    }
}

/// Sets `key` unless something is there. Does nothing to a value that is no object.
fn set(value: &mut Value, key: &str, default: Value) {
    if let Value::Object(members) = value {
        let slot = members.entry(key).or_insert(Value::Null);
        if slot.is_null() {
            *slot = default;
        }
    }
}

/// Sets `key`, whatever is there. Does nothing to a value that is no object.
fn put(value: &mut Value, key: &str, to: Value) {
    if let Value::Object(members) = value {
        members.insert(key.to_owned(), to);
    }
}

/// The object `key` of `value`, made if it is not there. None if either is something else.
fn object<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let members = value.as_object_mut()?;
    let slot = members.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.is_object().then_some(slot)
}

/// The elements of the list `key`.
fn items<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

fn stateful_set(value: &mut Value) {
    let is_own = own::is_own(value);
    if let Some(spec) = object(value, "spec") {
        if is_own {
            let min_ready = spec.get("minReadySeconds").and_then(Value::as_u64).unwrap_or(0);
            let deadline = own::default_deadline(u32::try_from(min_ready).unwrap_or(u32::MAX));
            set(spec, "progressDeadlineSeconds", json!(deadline));
            set(spec, "progressDeadlinePolicy", json!("Hold"));
        }
        set(spec, "podManagementPolicy", json!("OrderedReady"));
        set(spec, "replicas", json!(1));
        set(spec, "revisionHistoryLimit", json!(10));
        set(spec, "serviceName", json!(""));
        if let Some(policy) = object(spec, "persistentVolumeClaimRetentionPolicy") {
            set(policy, "whenDeleted", json!("Retain"));
            set(policy, "whenScaled", json!("Retain"));
        }
        if let Some(ordinals) = spec.get_mut("ordinals") {
            set(ordinals, "start", json!(0));
        }
        update_strategy(spec);
        if let Some(template) = object(spec, "template") {
            default_template(template);
        }
        for template in items(spec, "volumeClaimTemplates") {
            set(template, "apiVersion", json!("v1"));
            set(template, "kind", json!("PersistentVolumeClaim"));
            claim(template);
        }
    }
    put(value, "status", json!({"replicas": 0, "availableReplicas": 0}));
}

/// A missing type brings its block with it; a written one does not. The difference shows in which revision a
/// re-created pod gets, so it is kept.
fn update_strategy(spec: &mut Value) {
    let Some(strategy) = object(spec, "updateStrategy") else { return };
    if strategy.get("type").is_none_or(Value::is_null) {
        set(strategy, "type", json!("RollingUpdate"));
        set(strategy, "rollingUpdate", json!({}));
    }
    if strategy["type"] == "RollingUpdate"
        && let Some(block) = strategy.get_mut("rollingUpdate")
    {
        set(block, "partition", json!(0));
        set(block, "maxUnavailable", json!(1));
    }
}

fn claim(value: &mut Value) {
    if let Some(spec) = object(value, "spec") {
        set(spec, "volumeMode", json!("Filesystem"));
    }
    put(value, "status", json!({"phase": "Pending"}));
}

fn volume(value: &mut Value) {
    if let Some(spec) = object(value, "spec") {
        set(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
        set(spec, "volumeMode", json!("Filesystem"));
        if spec.get("storageClassName").is_some_and(|class| class == "") {
            spec.as_object_mut().map(|spec| spec.remove("storageClassName"));
        }
        pod::volume_source(spec);
    }
    put(value, "status", json!({"phase": "Pending"}));
}

fn service(value: &mut Value) {
    let Some(spec) = object(value, "spec") else { return };
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if spec["sessionAffinity"] == "ClientIP" {
        set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10_800}}));
    }
    if let Some(address) = spec.get("clusterIP").cloned() {
        set(spec, "clusterIPs", json!([address]));
    } else if let Some(first) = spec.pointer("/clusterIPs/0").cloned() {
        set(spec, "clusterIP", first);
    }
    for port in items(spec, "ports") {
        set(port, "protocol", json!("TCP"));
        let unset = port.get("targetPort").is_none_or(|target| target == 0 || target == "");
        if let Some(number) = port.get("port").cloned().filter(|_| unset) {
            put(port, "targetPort", number);
        }
    }
    put(value, "status", json!({"loadBalancer": {}}));
}

/// `stringData` is another way to write `data`; it wins, and is not kept.
fn secret(value: &mut Value) {
    set(value, "type", json!("Opaque"));
    let plain = value.as_object_mut().and_then(|members| members.remove("stringData"));
    let Some(Value::Object(plain)) = plain else { return };
    if let Some(Value::Object(data)) = object(value, "data") {
        for (key, text) in plain {
            data.insert(key, Value::String(base64(text.as_str().unwrap_or_default().as_bytes())));
        }
    }
}

fn namespace(value: &mut Value) {
    let name = value.pointer("/metadata/name").cloned();
    if let Some(name) = name
        && let Some(metadata) = object(value, "metadata")
        && let Some(labels) = object(metadata, "labels")
    {
        put(labels, "kubernetes.io/metadata.name", name);
    }
    put(value, "status", json!({"phase": "Active"}));
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = group >> (18 - 6 * place) & 63;
            text.push(if place <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_standard() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
