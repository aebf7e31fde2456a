//! The status of a set as JSON: counters, revisions, conditions.

use domain::{SetSpec, SetStatus, Timestamp, Wait};
use serde_json::{Map, Value};

use crate::objects::{object_mut, set_condition};

/// Waits that a condition's message names; the decision record has them all.
const WAITS_NAMED_MAX: usize = 3;

/// The set with its new status, or none if nothing about it changes. Conditions of others stay.
pub(super) fn with_status(
    set: &Value,
    spec: &SetSpec,
    status: &SetStatus,
    waits: &[Wait],
    now: Timestamp,
) -> Option<Value> {
    let mut changed = set.clone();
    let fields = object_mut(&mut changed, "status");
    for (name, count) in [
        ("replicas", status.replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
        ("currentReplicas", status.current_replicas),
        ("updatedReplicas", status.updated_replicas),
        ("collisionCount", status.collision_count),
    ] {
        fields.insert(name.to_owned(), count.into());
    }
    fields.insert("observedGeneration".to_owned(), status.observed_generation.into());
    fields.insert("currentRevision".to_owned(), status.current_revision.0.as_str().into());
    fields.insert("updateRevision".to_owned(), status.update_revision.0.as_str().into());
    let generation = set.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1);
    conditions(fields, (spec, generation), status, waits, now);
    (changed != *set).then_some(changed)
}

fn conditions(
    fields: &mut Map<String, Value>,
    (spec, generation): (&SetSpec, i64),
    status: &SetStatus,
    waits: &[Wait],
    now: Timestamp,
) {
    let (replicas, available) = (spec.replicas, status.available_replicas);
    let all = available >= replicas;
    let message = format!("{available} of {replicas} pods are available");
    set_condition(
        fields,
        "Available",
        if all { "True" } else { "False" },
        (if all { "AllPodsAvailable" } else { "PodsUnavailable" }, &message),
        now,
    );
    let done = all
        && status.observed_generation == generation
        && status.replicas == replicas
        && status.updated_replicas == replicas
        && status.current_revision == status.update_revision;
    let (reason, message) = match (done, waits.is_empty()) {
        (true, _) => ("Complete", String::new()),
        (false, true) => ("Working", String::new()),
        (false, false) => ("Waiting", summary(waits)),
    };
    set_condition(fields, "Progressing", if done { "False" } else { "True" }, (reason, &message), now);
}

fn summary(waits: &[Wait]) -> String {
    let mut seen: Vec<String> = Vec::new();
    for wait in waits {
        let text = wait.reason.to_string();
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    let more = seen.len().saturating_sub(WAITS_NAMED_MAX);
    seen.truncate(WAITS_NAMED_MAX);
    let named = seen.join("; ");
    if more == 0 { named } else { format!("{named}; and {more} more") }
}
