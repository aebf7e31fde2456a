//! Everything about an object, for reading.

mod page;
mod pod;
mod set;

use api::manifest::Kind;
use domain::Timestamp;
use serde_json::Value;

use self::page::Page;
pub(super) use self::pod::pod_template;
use super::age::age;
use super::columns::{access_modes, pairs};
use super::decision;
use super::json::{as_yaml, list, name_of, number, text};

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
        Kind::StatefulSet => set::set(&mut page, object, pods, decisions, now),
        Kind::Pod => pod::pod(&mut page, object, now),
        Kind::PersistentVolumeClaim | Kind::PersistentVolume => storage(&mut page, kind, object),
        Kind::Secret => secret(&mut page, object),
        Kind::Node => node(&mut page, object),
        Kind::Decision => decided(&mut page, object),
        _ => rest(&mut page, object),
    }
    show_events(&mut page, events, now);
    page.text
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
