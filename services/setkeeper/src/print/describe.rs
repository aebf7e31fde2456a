//! Everything about an object, for reading.

use std::fmt::Write as _;

use api::manifest::Kind;
use domain::Timestamp;
use serde_json::Value;

use super::age::age;
use super::columns::{access_modes, headers, pairs};
use super::decision;
use super::json::{as_yaml, list, name_of, number, text};
use super::partition;
use super::pod::summarize;
use super::rollout::is_paused;
use super::table::Table;

/// Column where values begin.
const VALUE_COLUMN: usize = 24;

/// Decisions that are shown; the newest tell why a set waits.
const DECISIONS_MAX: usize = 5;

/// Text that is built line by line.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn field(&mut self, name: &str, value: &str) {
        let value = if value.is_empty() { "<none>" } else { value };
        let label = format!("{name}:");
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{label:<VALUE_COLUMN$}{value}");
    }

    /// Several values, one below the other.
    fn fields(&mut self, name: &str, values: &str) {
        let mut values = values.split(',').filter(|value| !value.is_empty());
        self.field(name, values.next().unwrap_or_default());
        for value in values {
            self.field_more(value);
        }
    }

    /// One more value below the last.
    fn field_more(&mut self, value: &str) {
        let _ = writeln!(self.text, "{:<VALUE_COLUMN$}{value}", "");
    }

    /// Lines below a heading.
    fn list(&mut self, heading: &str, lines: &[String]) {
        if lines.is_empty() {
            self.field(heading, "");
            return;
        }
        self.line(&format!("{heading}:"));
        for line in lines {
            self.line(&format!("  {line}"));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn table(&mut self, heading: &str, rows: &[Vec<String>]) {
        if rows.len() <= 1 {
            self.field(heading, "");
            return;
        }
        self.line(&format!("{heading}:"));
        for line in Table::new().render(rows).lines() {
            self.line(&format!("  {line}"));
        }
    }
}

/// Everything about an object. `pods` are those of a set; `decisions` its newest passes; `events` are about the object.
#[must_use]
pub(crate) fn describe(
    kind: Kind,
    object: &Value,
    pods: &[Value],
    decisions: &[Value],
    events: &[Value],
    now: Timestamp,
) -> String {
    let mut page = Page::default();
    page.field("Name", name_of(object));
    if kind.namespaced() {
        page.field("Namespace", text(object, "/metadata/namespace"));
    }
    page.field("CreationTimestamp", text(object, "/metadata/creationTimestamp"));
    if !text(object, "/metadata/deletionTimestamp").is_empty() {
        page.field("Deletion requested", text(object, "/metadata/deletionTimestamp"));
    }
    match kind {
        Kind::StatefulSet => set(&mut page, object, pods, decisions, now),
        Kind::Pod => pod(&mut page, object, now),
        Kind::PersistentVolumeClaim | Kind::PersistentVolume => storage(&mut page, kind, object),
        Kind::Secret => secret(&mut page, object),
        Kind::Node => node(&mut page, object),
        Kind::Decision => decided(&mut page, object),
        _ => rest(&mut page, object),
    }
    show_events(&mut page, events, now);
    page.text
}

/// What only sets of our own group have, and a pause, which any set may have.
fn own_fields(page: &mut Page, object: &Value) {
    if is_paused(object) {
        page.field("Paused", "True");
    }
    let reserved: Vec<String> = list(object, "/spec/reserveOrdinals").iter().map(ToString::to_string).collect();
    if !reserved.is_empty() {
        page.field("Reserved Ordinals", &reserved.join(", "));
    }
    if let Some(seconds) = object.pointer("/spec/progressDeadlineSeconds") {
        let deadline = match seconds.as_i64() {
            Some(0) => "none".to_owned(),
            _ => format!("{seconds}s, then {}", text(object, "/spec/progressDeadlinePolicy")),
        };
        page.field("Progress Deadline", &deadline);
    }
}

/// A pod template alone.
#[must_use]
pub(super) fn pod_template(template: &Value) -> String {
    let mut page = Page::default();
    page.line("Pod Template:");
    page.fields("  Labels", &pairs(template, "/metadata/labels"));
    if template.pointer("/metadata/annotations").is_some() {
        page.fields("  Annotations", &pairs(template, "/metadata/annotations"));
    }
    let spec = template.pointer("/spec").unwrap_or(&Value::Null);
    containers(&mut page, "  ", spec, &Value::Null, Timestamp::default());
    if !list(spec, "/volumes").is_empty() {
        page.line("  Volumes:");
        volumes(&mut page, "    ", spec);
    }
    page.text
}

fn set(page: &mut Page, object: &Value, pods: &[Value], decisions: &[Value], now: Timestamp) {
    page.field("Selector", &pairs(object, "/spec/selector/matchLabels"));
    page.fields("Labels", &pairs(object, "/metadata/labels"));
    page.fields("Annotations", &pairs(object, "/metadata/annotations"));
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    page.field("Replicas", &format!("{wanted} desired | {} total", number(object, "/status/replicas")));
    page.field("Update Strategy", text(object, "/spec/updateStrategy/type"));
    if object.pointer("/spec/updateStrategy/rollingUpdate").is_some() {
        let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
        let reach = partition::reach(object).map_or_else(String::new, |pods| format!(" (updates reach {pods})"));
        page.field("  Partition", &format!("{partition}{reach}"));
        let unavailable = object.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable");
        page.field("  MaxUnavailable", &unavailable.map_or_else(|| "1".to_owned(), plain));
    }
    page.field("Pod Management", text(object, "/spec/podManagementPolicy"));
    own_fields(page, object);
    page.field("Service Name", text(object, "/spec/serviceName"));
    let retention = format!(
        "when deleted {}, when scaled {}",
        text(object, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted"),
        text(object, "/spec/persistentVolumeClaimRetentionPolicy/whenScaled"),
    );
    page.field("Claims", &retention);
    page.field("Current Revision", text(object, "/status/currentRevision"));
    page.field("Update Revision", text(object, "/status/updateRevision"));
    let count = |phase: &str| pods.iter().filter(|pod| text(pod, "/status/phase") == phase).count();
    let (running, waiting) = (count("Running"), count("Pending"));
    let (succeeded, failed) = (count("Succeeded"), count("Failed"));
    page.field(
        "Pods Status",
        &format!("{running} Running / {waiting} Waiting / {succeeded} Succeeded / {failed} Failed"),
    );
    let mut rows = vec![headers(Kind::Pod, false)];
    rows.extend(pods.iter().map(|pod| super::row(Kind::Pod, pod, false, now)));
    page.table("Pods", &rows);
    page.line("Pod Template:");
    page.fields("  Labels", &pairs(object, "/spec/template/metadata/labels"));
    containers(page, "  ", object.pointer("/spec/template/spec").unwrap_or(&Value::Null), &Value::Null, now);
    page.line("Volume Claims:");
    for claim in list(object, "/spec/volumeClaimTemplates") {
        page.field("  Name", name_of(claim));
        page.field("  StorageClass", text(claim, "/spec/storageClassName"));
        page.field("  Capacity", text(claim, "/spec/resources/requests/storage"));
        page.field("  Access Modes", &access_modes(claim, "/spec/accessModes"));
    }
    conditions(page, object);
    show_decisions(page, decisions, now);
}

fn pod(page: &mut Page, object: &Value, now: Timestamp) {
    let summary = summarize(object);
    page.fields("Labels", &pairs(object, "/metadata/labels"));
    page.fields("Annotations", &pairs(object, "/metadata/annotations"));
    page.field("Node", text(object, "/spec/nodeName"));
    page.field("Status", &summary.status);
    page.field("Phase", text(object, "/status/phase"));
    if !text(object, "/status/message").is_empty() {
        page.field("Message", text(object, "/status/message"));
    }
    page.field("IP", text(object, "/status/podIP"));
    page.field("Hostname", text(object, "/spec/hostname"));
    page.field("Subdomain", text(object, "/spec/subdomain"));
    let owner = list(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true);
    page.field(
        "Controlled By",
        &owner.map(|owner| format!("{}/{}", text(owner, "/kind"), text(owner, "/name"))).unwrap_or_default(),
    );
    containers(page, "", object.pointer("/spec").unwrap_or(&Value::Null), object, now);
    conditions(page, object);
    page.line("Volumes:");
    volumes(page, "  ", object.pointer("/spec").unwrap_or(&Value::Null));
}

fn volumes(page: &mut Page, indent: &str, spec: &Value) {
    for volume in list(spec, "/volumes") {
        let source = volume.as_object().into_iter().flatten().find(|(field, _)| *field != "name");
        let source = source.map(|(field, source)| match text(source, "/claimName") {
            "" => field.clone(),
            claim => format!("{field} {claim}"),
        });
        page.field(&format!("{indent}{}", text(volume, "/name")), &source.unwrap_or_default());
    }
}

fn containers(page: &mut Page, indent: &str, spec: &Value, pod: &Value, now: Timestamp) {
    for (heading, field, statuses) in [
        ("Init Containers", "/initContainers", "/status/initContainerStatuses"),
        ("Containers", "/containers", "/status/containerStatuses"),
    ] {
        let containers = list(spec, field);
        if containers.is_empty() {
            continue;
        }
        page.line(&format!("{indent}{heading}:"));
        for container in containers {
            let name = text(container, "/name");
            page.line(&format!("{indent}  {name}:"));
            let inner = format!("{indent}    ");
            page.field(&format!("{inner}Image"), text(container, "/image"));
            let ports = list(container, "/ports").iter().map(|port| {
                let protocol = text(port, "/protocol");
                format!("{}/{}", number(port, "/containerPort"), if protocol.is_empty() { "TCP" } else { protocol })
            });
            page.field(&format!("{inner}Ports"), &ports.collect::<Vec<_>>().join(", "));
            for (heading, field) in [("Command", "/command"), ("Args", "/args")] {
                let words = list(container, field).iter().filter_map(Value::as_str).collect::<Vec<_>>();
                if !words.is_empty() {
                    page.field(&format!("{inner}{heading}"), &words.join(" "));
                }
            }
            let variables = list(container, "/env").iter().map(|variable| match variable.get("valueFrom") {
                None => format!("{}={}", text(variable, "/name"), text(variable, "/value")),
                Some(_) => format!("{} from elsewhere", text(variable, "/name")),
            });
            let variables = variables.collect::<Vec<_>>();
            if let Some((first, rest)) = variables.split_first() {
                page.field(&format!("{inner}Environment"), first);
                rest.iter().for_each(|variable| page.field_more(variable));
            }
            let status = list(pod, statuses).iter().find(|status| text(status, "/name") == name);
            if let Some(status) = status {
                container_status(page, &inner, status, now);
            }
            let mounts = list(container, "/volumeMounts").iter().map(|mount| {
                let access = if mount["readOnly"] == true { "ro" } else { "rw" };
                format!("{} from {} ({access})", text(mount, "/mountPath"), text(mount, "/name"))
            });
            page.fields(&format!("{inner}Mounts"), &mounts.collect::<Vec<_>>().join(","));
        }
    }
}

fn container_status(page: &mut Page, indent: &str, status: &Value, now: Timestamp) {
    for (heading, pointer) in [("State", "/state"), ("Last State", "/lastState")] {
        let state = status.pointer(pointer).and_then(Value::as_object).and_then(|state| state.iter().next());
        let Some((name, state)) = state else { continue };
        let mut line = match name.as_str() {
            "running" => format!("Running for {}", age(text(state, "/startedAt"), now)),
            "terminated" => format!("Terminated, exit code {}", number(state, "/exitCode")),
            _ => "Waiting".to_owned(),
        };
        for detail in [text(state, "/reason"), text(state, "/message")] {
            if !detail.is_empty() {
                let _ = write!(line, ": {}", detail.trim());
            }
        }
        page.field(&format!("{indent}{heading}"), &line);
    }
    page.field(&format!("{indent}Ready"), if status["ready"] == true { "True" } else { "False" });
    page.field(&format!("{indent}Restart Count"), &number(status, "/restartCount").to_string());
}

fn conditions(page: &mut Page, object: &Value) {
    let conditions = list(object, "/status/conditions");
    if conditions.is_empty() {
        return;
    }
    let mut rows = vec![["TYPE", "STATUS", "REASON", "MESSAGE"].map(str::to_owned).to_vec()];
    rows.extend(conditions.iter().map(|condition| {
        ["/type", "/status", "/reason", "/message"].map(|field| text(condition, field).to_owned()).to_vec()
    }));
    page.table("Conditions", &rows);
}

fn storage(page: &mut Page, kind: Kind, object: &Value) {
    page.fields("Labels", &pairs(object, "/metadata/labels"));
    page.field("StorageClass", text(object, "/spec/storageClassName"));
    page.field("Status", text(object, "/status/phase"));
    if kind == Kind::PersistentVolumeClaim {
        page.field("Volume", text(object, "/spec/volumeName"));
        page.field("Requested", text(object, "/spec/resources/requests/storage"));
        page.field("Capacity", text(object, "/status/capacity/storage"));
        page.field("Access Modes", &access_modes(object, "/spec/accessModes"));
    } else {
        page.field("Reclaim Policy", text(object, "/spec/persistentVolumeReclaimPolicy"));
        let claim = format!("{}/{}", text(object, "/spec/claimRef/namespace"), text(object, "/spec/claimRef/name"));
        page.field("Claim", if claim == "/" { "" } else { &claim });
        page.field("Capacity", text(object, "/spec/capacity/storage"));
        page.field("Access Modes", &access_modes(object, "/spec/accessModes"));
        for pointer in ["/spec/hostPath/path", "/spec/local/path"] {
            if !text(object, pointer).is_empty() {
                page.field("Path", text(object, pointer));
            }
        }
    }
    page.fields("Finalizers", &finalizers(object));
    conditions(page, object);
}

fn finalizers(object: &Value) -> String {
    list(object, "/metadata/finalizers").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

/// Sizes only: what is secret is not shown by accident.
fn secret(page: &mut Page, object: &Value) {
    page.field("Type", text(object, "/type"));
    page.line("Data:");
    for (key, value) in object.pointer("/data").and_then(Value::as_object).into_iter().flatten() {
        // Base64 has four characters for three bytes.
        let encoded = value.as_str().unwrap_or_default().trim_end_matches('=').len();
        page.field(&format!("  {key}"), &format!("{} bytes", encoded * 3 / 4));
    }
}

fn rest(page: &mut Page, object: &Value) {
    page.fields("Labels", &pairs(object, "/metadata/labels"));
    let mut shown = object.clone();
    if let Some(fields) = shown.as_object_mut() {
        for known in ["metadata", "apiVersion", "kind"] {
            fields.remove(known);
        }
        if !fields.is_empty() {
            page.text.push_str(&as_yaml(&[shown], true));
        }
    }
}

/// A machine: how pods run there, and what its kind of isolation lacks.
fn node(page: &mut Page, object: &Value) {
    const TIER: &str = "/metadata/annotations/setkeeper.dev~1tier";
    const DEGRADED: &str = "/metadata/annotations/setkeeper.dev~1degraded";
    const RUNTIME: &str = "/metadata/annotations/setkeeper.dev~1runtime-address";
    page.fields("Labels", &pairs(object, "/metadata/labels"));
    page.field("Tier", text(object, TIER));
    let mut lacks = text(object, DEGRADED).split("; ").filter(|lack| !lack.is_empty());
    page.field("Degraded", lacks.next().unwrap_or_default());
    for lack in lacks {
        page.field_more(lack);
    }
    page.field("Pod Runtime", text(object, RUNTIME));
    page.line("Addresses:");
    for address in list(object, "/status/addresses") {
        page.field(&format!("  {}", text(address, "/type")), text(address, "/address"));
    }
    conditions(page, object);
}

fn decided(page: &mut Page, object: &Value) {
    page.field("Set", text(object, "/set"));
    page.field("Generation", &number(object, "/generation").to_string());
    page.field("Trace", text(object, "/traceId"));
    for (heading, lines) in [("Decided", decision::lines(object)), ("Waits", decision::waits(object))] {
        page.list(heading, &lines);
    }
}

/// Why the set is not done, and the passes before.
fn show_decisions(page: &mut Page, decisions: &[Value], now: Timestamp) {
    let Some(newest) = decisions.last() else { return };
    page.list("Waits", &decision::waits(newest));
    let mut rows = vec![["AGE", "DECISION"].map(str::to_owned).to_vec()];
    for decision in &decisions[decisions.len().saturating_sub(DECISIONS_MAX)..] {
        let mut age = age(text(decision, "/metadata/creationTimestamp"), now);
        for line in decision::lines(decision) {
            rows.push(vec![std::mem::take(&mut age), line]);
        }
    }
    page.table("Last Decisions", &rows);
}

fn show_events(page: &mut Page, events: &[Value], now: Timestamp) {
    let mut rows = vec![["TYPE", "REASON", "AGE", "FROM", "MESSAGE"].map(str::to_owned).to_vec()];
    rows.extend(events.iter().map(|event| {
        let last = age(text(event, "/lastTimestamp"), now);
        let count = number(event, "/count");
        let age = match count {
            ..=1 => last,
            count => format!("{last} (x{count} over {})", age(text(event, "/firstTimestamp"), now)),
        };
        vec![
            text(event, "/type").to_owned(),
            text(event, "/reason").to_owned(),
            age,
            text(event, "/source/component").to_owned(),
            text(event, "/message").trim().to_owned(),
        ]
    }));
    page.table("Events", &rows);
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(3_600_000);

    #[test]
    fn a_set_tells_what_it_is_and_why_it_waits() {
        let set = json!({
            "metadata": { "name": "web", "namespace": "default", "creationTimestamp": "1970-01-01T00:00:00Z" },
            "spec": { "replicas": 3, "selector": { "matchLabels": { "app": "web" } }, "serviceName": "nginx",
                "podManagementPolicy": "OrderedReady",
                "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } },
                "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Delete" },
                "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [
                    { "name": "nginx", "image": "nginx:1.27", "ports": [{ "containerPort": 80 }],
                      "volumeMounts": [{ "name": "www", "mountPath": "/html" }] }] } },
                "volumeClaimTemplates": [{ "metadata": { "name": "www" }, "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } }] },
            "status": { "replicas": 1, "currentRevision": "web-a", "updateRevision": "web-a" },
        });
        let pod = json!({ "metadata": { "name": "web-0", "creationTimestamp": "1970-01-01T00:59:00Z" },
            "spec": { "containers": [{}] }, "status": { "phase": "Pending" } });
        let decision = json!({ "metadata": { "creationTimestamp": "1970-01-01T00:59:00Z" },
            "steps": [], "waits": [{ "ordinal": 1, "reason": { "Pending": { "ordinal": 0 } } },
                { "ordinal": 2, "reason": { "Pending": { "ordinal": 0 } } }] });
        let event = json!({ "type": "Normal", "reason": "SuccessfulCreate", "message": "create Pod web-0",
            "lastTimestamp": "1970-01-01T00:59:00Z", "source": { "component": "statefulset-controller" } });
        insta::assert_snapshot!(describe(Kind::StatefulSet, &set, &[pod], &[decision], &[event], NOW), @r"
        Name:                   web
        Namespace:              default
        CreationTimestamp:      1970-01-01T00:00:00Z
        Selector:               app=web
        Labels:                 <none>
        Annotations:            <none>
        Replicas:               3 desired | 1 total
        Update Strategy:        RollingUpdate
          Partition:            1 (updates reach web-1 and above)
          MaxUnavailable:       1
        Pod Management:         OrderedReady
        Service Name:           nginx
        Claims:                 when deleted Retain, when scaled Delete
        Current Revision:       web-a
        Update Revision:        web-a
        Pods Status:            0 Running / 1 Waiting / 0 Succeeded / 0 Failed
        Pods:
          NAME    READY   STATUS    RESTARTS   AGE
          web-0   0/1     Pending   0          60s
        Pod Template:
          Labels:               app=web
          Containers:
            nginx:
              Image:            nginx:1.27
              Ports:            80/TCP
              Mounts:           /html from www (rw)
        Volume Claims:
          Name:                 www
          StorageClass:         <none>
          Capacity:             1Gi
          Access Modes:         RWO
        Waits:
          pods 1-2: waiting for pod 0 to start its containers
        Last Decisions:
          AGE   DECISION
          60s   pods 1-2: waiting for pod 0 to start its containers
        Events:
          TYPE     REASON             AGE   FROM                     MESSAGE
          Normal   SuccessfulCreate   60s   statefulset-controller   create Pod web-0
        ");
    }

    #[test]
    fn a_machine_tells_how_pods_run_and_what_is_degraded() {
        let node = json!({ "metadata": { "name": "here", "annotations": { "setkeeper.dev/tier": "process",
                "setkeeper.dev/degraded": "no mounts; memory and CPU limits are not enforced",
                "setkeeper.dev/runtime-address": "127.0.0.1:7705" } },
            "status": { "addresses": [{ "type": "InternalIP", "address": "10.77.0.1" }],
                "conditions": [{ "type": "Ready", "status": "True", "reason": "RuntimeConnected" }] } });
        insta::assert_snapshot!(describe(Kind::Node, &node, &[], &[], &[], NOW), @r"
        Name:                   here
        CreationTimestamp:      <none>
        Labels:                 <none>
        Tier:                   process
        Degraded:               no mounts
                                memory and CPU limits are not enforced
        Pod Runtime:            127.0.0.1:7705
        Addresses:
          InternalIP:           10.77.0.1
        Conditions:
          TYPE    STATUS   REASON             MESSAGE
          Ready   True     RuntimeConnected
        Events:                 <none>
        ");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = json!({ "metadata": { "name": "s" }, "type": "Opaque", "data": { "password": "aHVudGVyMg==" } });
        let text = describe(Kind::Secret, &secret, &[], &[], &[], NOW);
        assert!(text.contains("7 bytes") && !text.contains("aHVu"), "{text}");
    }
}
