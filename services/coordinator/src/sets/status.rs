//! The status of a set as JSON: counters, revisions, conditions, where a partition lies, and what the next pass must remember.

mod conditions;

use domain::{Failures, Outage, SetStatus, Snapshot, Switches, Timestamp, Wait, WaitReason};
use serde_json::{Map, Value, json};

use self::conditions::Conditions;
use super::Decision;
use super::scene::Scene;
use super::stored::{FAILURES, FORMED, OUTAGES, PAUSED_AT, RESUMED_AT, formed_json, paused_at};
use crate::objects::{object_mut, precise_time_text};
use crate::rollouts;

/// Field of the status: the lowest ordinal that a partitioned update reaches.
const PARTITION_ORDINAL: &str = "partitionOrdinal";

/// The set with the status of a decision, or none if nothing about it changes.
pub(super) fn decided(scene: &Scene, decision: &Decision, waits: &[Wait], now: Timestamp) -> Option<Value> {
    let mut changed = scene.set.value.clone();
    let fields = object_mut(&mut changed, "status");
    let publishes = scene.snapshot.switches.publish_conditions;
    let due = publishes || differs(&scene.snapshot.status, &decision.update.status);
    if due {
        write_counters(fields, &decision.update.status, scene.snapshot.switches);
    }
    if is_complete(fields, scene, decision, waits) {
        rollouts::complete(fields, now);
    }
    write_partition(fields, &scene.snapshot);
    write_memory(fields, scene, decision);
    if publishes {
        Conditions { scene, decision: Some(decision), waits, now }.write(fields);
    } else if due {
        // Kubernetes has no conditions of its own, and wipes those of others with what it writes.
        fields.remove("conditions");
    }
    (changed != scene.set.value).then_some(changed)
}

/// The set with its status as stored, that waits because nobody could decide; none if nothing about it changes.
pub(super) fn undecided(scene: &Scene, waits: &[Wait], now: Timestamp) -> Option<Value> {
    let mut changed = scene.set.value.clone();
    if scene.snapshot.switches.publish_conditions {
        let fields = object_mut(&mut changed, "status");
        Conditions { scene, decision: None, waits, now }.write(fields);
        write_pause(fields, scene);
    }
    (changed != scene.set.value).then_some(changed)
}

/// Whether a set has all that is wanted of it: nothing is to be done, and what still waits is held back on purpose.
fn is_complete(fields: &Map<String, Value>, scene: &Scene, decision: &Decision, waits: &[Wait]) -> bool {
    let Decision { update, order, .. } = decision;
    let rests = update.replace.is_empty() && order.create.is_empty() && order.delete.is_empty();
    let on_purpose = |wait: &Wait| matches!(wait.reason, WaitReason::Partition { .. } | WaitReason::OnDelete);
    let Snapshot { spec, generation, .. } = &scene.snapshot;
    let count = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
    let counted = ["replicas", "availableReplicas"].iter().all(|name| count(name) == u64::from(spec.replicas));
    let observed = fields.get("observedGeneration").and_then(Value::as_i64) == Some(generation.0);
    let updated = count("updatedReplicas") == u64::from(spec.replicas) || !waits.is_empty();
    rests && observed && counted && updated && waits.iter().all(on_purpose)
}

/// Whether Kubernetes writes this status (section 10.5).
fn differs(stored: &SetStatus, computed: &SetStatus) -> bool {
    let SetStatus { observed_generation, collision_count, .. } = *stored;
    let counted = SetStatus { observed_generation, collision_count, ..computed.clone() };
    counted != *stored || computed.observed_generation > observed_generation
}

fn write_counters(fields: &mut Map<String, Value>, status: &SetStatus, switches: Switches) {
    for (name, count) in [
        ("replicas", status.replicas),
        ("availableReplicas", status.available_replicas),
        ("collisionCount", status.collision_count),
    ] {
        fields.insert(name.to_owned(), count.into());
    }
    for (name, count) in [
        ("readyReplicas", status.ready_replicas),
        ("currentReplicas", status.current_replicas),
        ("updatedReplicas", status.updated_replicas),
    ] {
        put(fields, name, (count > 0 || switches.write_zero_counters).then(|| count.into()));
    }
    fields.insert("observedGeneration".to_owned(), status.observed_generation.into());
    fields.insert("currentRevision".to_owned(), (*status.current_revision.0).into());
    fields.insert("updateRevision".to_owned(), (*status.update_revision.0).into());
}

/// The lowest ordinal that the partition lets an update reach, where there is one: a partition counts from the first
/// ordinal on, and documents of Kubernetes say otherwise (kubernetes/kubernetes 128529).
fn write_partition(fields: &mut Map<String, Value>, snapshot: &Snapshot) {
    let partition = snapshot.spec.partition();
    let told = partition > 0 && snapshot.switches.publish_conditions;
    put(fields, PARTITION_ORDINAL, told.then(|| snapshot.spec.ordinal_at(partition).into()));
}

/// What the planners want to be told again; without the switches that ask for it there is nothing.
fn write_memory(fields: &mut Map<String, Value>, scene: &Scene, decision: &Decision) {
    let Switches { break_cold_start, recreate_together, .. } = scene.snapshot.switches;
    let through = scene.told.formed_by_now().filter(|_| break_cold_start || recreate_together);
    let formed = through.map(|through| formed_json(through, &scene.snapshot.spec));
    put(fields, FORMED, formed);
    let failures: Vec<Value> = decision.order.failures.iter().map(failure_json).collect();
    put(fields, FAILURES, (!failures.is_empty()).then_some(Value::Array(failures)));
    let outages: Vec<Value> = decision.update.outages.iter().map(outage_json).collect();
    put(fields, OUTAGES, (!outages.is_empty()).then_some(Value::Array(outages)));
    write_pause(fields, scene);
}

/// Since when the set is paused, or was resumed while it still waits for something that it waited for then.
fn write_pause(fields: &mut Map<String, Value>, scene: &Scene) {
    let Snapshot { spec, switches, resumed_at, now, .. } = &scene.told;
    let paused_at = spec.paused.then(|| paused_at(&scene.set.value).unwrap_or(*now));
    let waits = scene.told.first_unhealthy().is_some() || scene.told.condemned().next().is_some();
    for (name, moment) in [(PAUSED_AT, paused_at), (RESUMED_AT, resumed_at.filter(|_| waits))] {
        put(fields, name, moment.filter(|_| switches.watch_progress).map(|moment| precise_time_text(moment).into()));
    }
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => fields.insert(name.to_owned(), value),
        None => fields.remove(name),
    };
}

fn failure_json(failures: &Failures) -> Value {
    json!({
        "ordinal": failures.ordinal.0,
        "count": failures.count,
        "lastTime": precise_time_text(failures.last_at),
    })
}

fn outage_json(outage: &Outage) -> Value {
    json!({ "ordinal": outage.ordinal.0, "since": precise_time_text(outage.since) })
}
