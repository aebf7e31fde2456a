//! One container of a pod: ports, environment, mounts, probes, hooks, resources.

use std::collections::BTreeSet;

use domain::quantity_nanos;
use serde_json::Value;

use super::super::field::Field;
use super::super::violation::Report;
use super::{label_name, not_negative, one_of, port_number, relative_path};

/// Fields of the pod that variables can show; labels and annotations are given with their key.
const DOWNWARD: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Sources of the value of a variable.
const VALUE_SOURCES: [&str; 5] = ["configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"];

pub(super) fn validate(container: &Field<'_>, is_init: bool, volumes: &BTreeSet<&str>, report: &mut Report) {
    label_name(&container.get("name"), report);
    let image = container.get("image");
    if image.is_empty() {
        report.required(&image.path, "");
    } else if image.text().trim() != image.text() {
        report.invalid(&image.path, image.value, "must not have leading or trailing whitespace");
    }
    one_of(&container.get("imagePullPolicy"), &["Always", "IfNotPresent", "Never"], report);
    one_of(&container.get("terminationMessagePolicy"), &["FallbackToLogsOnError", "File"], report);
    one_of(&container.get("restartPolicy"), &["Always", "Never", "OnFailure"], report);
    ports(&container.get("ports"), report);
    environment(container, report);
    mounts(container, volumes, report);
    resources(&container.get("resources"), report);
    let is_sidecar = container.get("restartPolicy").text() == "Always";
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let field = container.get(name);
        if field.is_set() && is_init && !is_sidecar {
            report.forbidden(&field.path, "may not be set for init containers without restartPolicy=Always");
        } else if field.is_set() {
            probe(&field, name, report);
        }
    }
    for name in ["postStart", "preStop"] {
        let hook = container.get("lifecycle").get(name);
        if hook.is_set() && is_init && !is_sidecar {
            report.forbidden(&hook.path, "may not be set for init containers without restartPolicy=Always");
        } else if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], report);
        }
    }
    let context = container.get("securityContext");
    not_negative(&context.get("runAsUser"), report);
    not_negative(&context.get("runAsGroup"), report);
    if context.get("privileged").flag() && context.get("allowPrivilegeEscalation").value == &Value::Bool(false) {
        let path = context.get("allowPrivilegeEscalation").path;
        report.invalid(
            &path,
            &Value::Bool(false),
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        );
    }
}

fn ports(ports: &Field<'_>, report: &mut Report) {
    let mut names = BTreeSet::new();
    for port in ports.items() {
        let number = port.get("containerPort");
        if number.integer().unwrap_or(0) == 0 {
            report.required(&number.path, "");
        }
        if number.integer() != Some(0) {
            port_number(&number, report);
        }
        port_number(&port.get("hostPort"), report);
        one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"], report);
        let name = port.get("name");
        if name.is_empty() {
            continue;
        }
        if let Some(why) = port_name_error(name.text()) {
            report.invalid(&name.path, name.value, why);
        }
        if !names.insert(name.text()) {
            report.duplicate(&name.path, name.value);
        }
    }
}

/// Why a text cannot be the name of a port: an IANA service name.
pub(super) fn port_name_error(name: &str) -> Option<&'static str> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.len() > 15 {
        Some("must be no more than 15 characters")
    } else if !name.bytes().all(allowed) {
        Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    } else if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        Some("must contain at least one letter (a-z)")
    } else if name.contains("--") {
        Some("must not contain consecutive hyphens")
    } else if name.starts_with('-') || name.ends_with('-') {
        Some("must not begin or end with a hyphen")
    } else {
        None
    }
}

fn environment(container: &Field<'_>, report: &mut Report) {
    for variable in container.get("env").items() {
        let name = variable.get("name");
        if name.is_empty() {
            report.required(&name.path, "");
        } else if name.text().bytes().any(|b| b == b'=' || !(b' '..=b'~').contains(&b)) {
            let why =
                "a valid environment variable name must consist only of printable ASCII characters other than '='";
            report.invalid(&name.path, name.value, why);
        }
        let from = variable.get("valueFrom");
        if !from.is_set() {
            continue;
        }
        let given = VALUE_SOURCES.iter().filter(|source| from.get(source).is_set()).count();
        if !variable.get("value").is_empty() {
            report.invalid(&from.path, &Value::from(""), "may not be specified when `value` is not empty");
        }
        if given != 1 {
            let why = if given == 0 {
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
            } else {
                "may not have more than one field specified at a time"
            };
            report.invalid(&from.path, &Value::from(""), why);
        }
        field_path(&from.get("fieldRef").get("fieldPath"), from.get("fieldRef").is_set(), report);
        for source in ["configMapKeyRef", "secretKeyRef"] {
            let key = from.get(source).get("key");
            if from.get(source).is_set() && key.is_empty() {
                report.required(&key.path, "");
            }
        }
    }
    for source in container.get("envFrom").items() {
        let given = ["configMapRef", "secretRef"].iter().filter(|name| source.get(name).is_set()).count();
        if given != 1 {
            let why = if given == 0 {
                "must specify one of: `configMapRef` or `secretRef`"
            } else {
                "may not have more than one field specified at a time"
            };
            report.invalid(&source.path, &Value::from(""), why);
        }
    }
}

fn field_path(path: &Field<'_>, wanted: bool, report: &mut Report) {
    let text = path.text();
    let with_key = ["metadata.labels['", "metadata.annotations['"].iter().any(|map| text.starts_with(map));
    if wanted && path.is_empty() {
        report.required(&path.path, "");
    } else if wanted && !(with_key && text.ends_with("']")) {
        one_of(path, &DOWNWARD, report);
    }
}

fn mounts(container: &Field<'_>, volumes: &BTreeSet<&str>, report: &mut Report) {
    let mut paths = BTreeSet::new();
    for mount in container.get("volumeMounts").items() {
        mounted_volume(&mount.get("name"), volumes, report);
        let path = mount.get("mountPath");
        if path.is_empty() {
            report.required(&path.path, "");
        } else if path.text().contains(':') {
            report.invalid(&path.path, path.value, "must not contain ':'");
        }
        if !path.is_empty() && !paths.insert(path.text()) {
            report.invalid(&path.path, path.value, "must be unique");
        }
        let (sub, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
        relative_path(&sub, report);
        relative_path(&expression, report);
        if !sub.is_empty() && !expression.is_empty() {
            report.invalid(&expression.path, expression.value, "subPathExpr and subPath are mutually exclusive");
        }
        one_of(&mount.get("mountPropagation"), &["Bidirectional", "HostToContainer", "None"], report);
    }
    for device in container.get("volumeDevices").items() {
        mounted_volume(&device.get("name"), volumes, report);
        let path = device.get("devicePath");
        if path.is_empty() {
            report.required(&path.path, "");
        } else if !paths.insert(path.text()) {
            report.invalid(&path.path, path.value, "must be unique");
        }
    }
}

fn mounted_volume(name: &Field<'_>, volumes: &BTreeSet<&str>, report: &mut Report) {
    if name.is_empty() {
        report.required(&name.path, "");
    } else if !volumes.contains(name.text()) {
        report.not_found(&name.path, name.value);
    }
}

fn resources(resources: &Field<'_>, report: &mut Report) {
    let limits = resources.get("limits");
    for (resource, request) in resources.get("requests").entries() {
        let limit = limits.value.get(resource);
        let amounts = (amount(Some(request)), amount(limit));
        if let (Some(requested), Some(allowed)) = amounts
            && requested > allowed
        {
            let limit = limit.and_then(Value::as_str).unwrap_or_default();
            let why = format!("must be less than or equal to {resource} limit of {limit}");
            report.invalid(&resources.get("requests").path, request, why);
        }
    }
}

fn amount(quantity: Option<&Value>) -> Option<u128> {
    quantity_nanos(quantity?.as_str()?).ok()
}

fn probe(probe: &Field<'_>, name: &str, report: &mut Report) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], report);
    for number in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        not_negative(&probe.get(number), report);
    }
    let successes = probe.get("successThreshold");
    if name != "readinessProbe" && successes.integer().is_some_and(|number| number > 1) {
        report.invalid(&successes.path, successes.value, "must be 1");
    }
    let grace = probe.get("terminationGracePeriodSeconds");
    if name == "readinessProbe" && grace.is_set() {
        report.invalid(&grace.path, grace.value, "must not be set for readinessProbes");
    } else if grace.integer().is_some_and(|seconds| seconds <= 0) {
        report.invalid(&grace.path, grace.value, "must be greater than 0");
    }
}

/// Checks that exactly one of `kinds` is given, and that one.
fn handler(handler: &Field<'_>, kinds: &[&str], report: &mut Report) {
    let given: Vec<_> = kinds.iter().map(|kind| handler.get(kind)).filter(Field::is_set).collect();
    if given.is_empty() {
        report.required(&handler.path, "must specify a handler type");
    }
    for extra in given.iter().skip(1) {
        report.forbidden(&extra.path, "may not specify more than 1 handler type");
    }
    let exec = handler.get("exec");
    if exec.is_set() && exec.get("command").is_empty() {
        report.required(&exec.get("command").path, "");
    }
    for name in ["httpGet", "tcpSocket", "grpc"] {
        let port = handler.get(name).get("port");
        if !handler.get(name).is_set() {
            continue;
        }
        match port.value {
            Value::String(text) => {
                if let Some(why) = port_name_error(text) {
                    report.invalid(&port.path, port.value, why);
                }
            }
            Value::Null => {
                report.required(&port.path, "");
            }
            _ => port_number(&port, report),
        }
    }
    one_of(&handler.get("httpGet").get("scheme"), &["HTTP", "HTTPS"], report);
}
