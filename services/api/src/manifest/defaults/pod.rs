//! Defaults of pods and of templates. Those of templates enter the revision hash.

use serde_json::{Value, json};

use super::{items, object, put, set};

/// A pod gets a little more than a template: requests from limits, service links, ports of the host.
pub(super) fn pod(value: &mut Value) {
    default_template(value);
    if let Some(spec) = object(value, "spec") {
        set(spec, "enableServiceLinks", json!(true));
        let host_network = spec["hostNetwork"] == true;
        for list in ["containers", "initContainers"] {
            for container in items(spec, list) {
                requests_from_limits(container);
                for port in items(container, "ports").filter(|_| host_network) {
                    if let Some(number) = port.get("containerPort").cloned() {
                        set(port, "hostPort", number);
                    }
                }
            }
        }
    }
    put(value, "status", json!({"phase": "Pending"}));
}

/// Fills in what a pod template leaves out.
pub(in super::super) fn default_template(template: &mut Value) {
    let Some(spec) = object(template, "spec") else { return };
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "schedulerName", json!("default-scheduler"));
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    // Two names of one field; Kubernetes writes both.
    for (from, to) in [("serviceAccountName", "serviceAccount"), ("serviceAccount", "serviceAccountName")] {
        if let Some(account) = spec.get(from).cloned() {
            set(spec, to, account);
        }
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        items(spec, list).for_each(container);
    }
    items(spec, "volumes").for_each(volume);
}

fn container(container: &mut Value) {
    let policy = pull_policy(container["image"].as_str().unwrap_or_default());
    set(container, "imagePullPolicy", json!(policy));
    set(container, "resources", json!({}));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    for port in items(container, "ports") {
        set(port, "protocol", json!("TCP"));
    }
    for variable in items(container, "env") {
        variable.get_mut("valueFrom").into_iter().for_each(downward);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        container.get_mut(name).into_iter().for_each(probe);
    }
    for name in ["postStart", "preStop"] {
        let hook = container.get_mut("lifecycle").and_then(|lifecycle| lifecycle.get_mut(name));
        hook.into_iter().for_each(http_get);
    }
}

/// `Always` for the tag `latest` and for no tag without a digest, else `IfNotPresent`.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    // A colon before the last slash belongs to the port of a registry.
    let name = image.rsplit('/').next().unwrap_or_default();
    match name.split_once(':') {
        Some((_, tag)) if tag != "latest" => "IfNotPresent",
        _ => "Always",
    }
}

fn probe(probe: &mut Value) {
    set(probe, "timeoutSeconds", json!(1));
    set(probe, "periodSeconds", json!(10));
    set(probe, "successThreshold", json!(1));
    set(probe, "failureThreshold", json!(3));
    http_get(probe);
    if let Some(grpc) = probe.get_mut("grpc") {
        set(grpc, "service", json!(""));
    }
}

fn http_get(handler: &mut Value) {
    if let Some(request) = handler.get_mut("httpGet") {
        set(request, "path", json!("/"));
        set(request, "scheme", json!("HTTP"));
    }
}

/// References to fields of the pod, in variables and in files.
fn downward(source: &mut Value) {
    if let Some(field) = source.get_mut("fieldRef") {
        set(field, "apiVersion", json!("v1"));
    }
    if let Some(resource) = source.get_mut("resourceFieldRef") {
        set(resource, "divisor", json!("0"));
    }
}

fn volume(volume: &mut Value) {
    let sources = volume.as_object().map_or(0, |members| members.keys().filter(|key| *key != "name").count());
    if sources == 0 {
        set(volume, "emptyDir", json!({}));
    }
    volume_source(volume);
    for name in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(name) {
            set(source, "defaultMode", json!(0o644));
        }
    }
    if let Some(source) = volume.get_mut("downwardAPI") {
        items(source, "items").for_each(downward);
    }
    if let Some(projected) = volume.get_mut("projected") {
        for source in items(projected, "sources") {
            if let Some(token) = source.get_mut("serviceAccountToken") {
                set(token, "expirationSeconds", json!(3600));
            }
            if let Some(files) = source.get_mut("downwardAPI") {
                items(files, "items").for_each(downward);
            }
        }
    }
    if let Some(template) = volume.get_mut("ephemeral").and_then(|source| source.get_mut("volumeClaimTemplate"))
        && let Some(spec) = object(template, "spec")
    {
        set(spec, "volumeMode", json!("Filesystem"));
    }
}

/// Defaults of sources that pods and volumes share.
pub(super) fn volume_source(holder: &mut Value) {
    if let Some(path) = holder.get_mut("hostPath") {
        set(path, "type", json!(""));
    }
    if let Some(iscsi) = holder.get_mut("iscsi") {
        set(iscsi, "iscsiInterface", json!("default"));
    }
}

fn requests_from_limits(container: &mut Value) {
    let Some(limits) = container.pointer("/resources/limits").and_then(Value::as_object).cloned() else { return };
    let resources = object(container, "resources").and_then(|resources| object(resources, "requests"));
    if let Some(requests) = resources {
        for (resource, limit) in limits {
            set(requests, &resource, limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_fixed_tag_are_always_pulled() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.7.9", "IfNotPresent"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
            ("registry.k8s.io/nginx-slim:0.24", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
