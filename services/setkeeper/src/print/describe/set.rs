//! A set: what it wants, how far it is, and why it goes no further.

use api::manifest::Kind;
use api::rollout::{is_paused, reach, trace_id};
use domain::Timestamp;
use serde_json::Value;

use super::conditions;
use super::page::Page;
use super::pod::containers;
use crate::print::age::age;
use crate::print::columns::{access_modes, headers, pairs, row};
use crate::print::decision;
use crate::print::json::{list, name_of, number, text};

/// Decisions that are shown; the newest tell why a set waits.
const DECISIONS_MAX: usize = 5;

pub(super) fn set(page: &mut Page, object: &Value, pods: &[Value], decisions: &[Value], now: Timestamp) {
    page.field("Selector", &pairs(object, "/spec/selector/matchLabels"));
    page.fields("Labels", &pairs(object, "/metadata/labels"));
    page.fields("Annotations", &pairs(object, "/metadata/annotations"));
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    page.field("Replicas", &format!("{wanted} desired | {} total", number(object, "/status/replicas")));
    page.field("Update Strategy", text(object, "/spec/updateStrategy/type"));
    if object.pointer("/spec/updateStrategy/rollingUpdate").is_some() {
        let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
        let reached = reach(object).map_or_else(String::new, |pods| format!(" (updates reach {pods})"));
        page.field("  Partition", &format!("{partition}{reached}"));
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
    if let Some(trace) = trace_id(object) {
        page.field("Trace", &format!("{trace} (of the latest rollout)"));
    }
    let count = |phase: &str| pods.iter().filter(|pod| text(pod, "/status/phase") == phase).count();
    let (running, waiting) = (count("Running"), count("Pending"));
    let (succeeded, failed) = (count("Succeeded"), count("Failed"));
    page.field(
        "Pods Status",
        &format!("{running} Running / {waiting} Waiting / {succeeded} Succeeded / {failed} Failed"),
    );
    let mut rows = vec![headers(Kind::Pod, false)];
    rows.extend(pods.iter().map(|pod| row(Kind::Pod, pod, false, now)));
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

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
