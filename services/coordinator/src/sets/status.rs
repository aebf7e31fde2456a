//! The status of a set as JSON: counters, revisions, conditions, and what the next pass must remember.

mod conditions;

use domain::{Failures, Ordinal, RevisionName, SetStatus, Timestamp, Wait};
use serde_json::{Map, Value, json};

use self::conditions::Conditions;
use super::Decision;
use super::scene::Scene;
use crate::objects::{condition, object_mut, precise_time_text, time};

pub(super) use self::conditions::COLD_START;

/// Field of the status: the highest ordinal up to which the set was complete at one time.
const FORMED: &str = "formedThrough";

/// Field of the status: ordinals whose pods have ended lately.
const FAILURES: &str = "failures";

/// The set with the status of a decision, or none if nothing about it changes.
pub(super) fn decided(scene: &Scene, decision: &Decision, waits: &[Wait], now: Timestamp) -> Option<Value> {
    let mut changed = scene.set.value.clone();
    let fields = object_mut(&mut changed, "status");
    write_counters(fields, &decision.update.status);
    if scene.snapshot.switches.publish_conditions {
        write_memory(fields, scene, decision);
        Conditions { scene, decision: Some(decision), waits, now }.write(fields);
    } else {
        // Kubernetes has no conditions of its own, and wipes those of others.
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
    }
    (changed != scene.set.value).then_some(changed)
}

fn write_counters(fields: &mut Map<String, Value>, status: &SetStatus) {
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
}

/// What the planners want to be told again.
fn write_memory(fields: &mut Map<String, Value>, scene: &Scene, decision: &Decision) {
    let formed = scene.snapshot.formed_by_now().map(|ordinal| Value::from(ordinal.0));
    put(fields, FORMED, formed);
    let failures: Vec<Value> = decision.order.failures.iter().map(failure_json).collect();
    put(fields, FAILURES, (!failures.is_empty()).then_some(Value::Array(failures)));
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

/// Counters and revisions as stored.
pub(super) fn counters(set: &Value) -> SetStatus {
    let number = |field: &str| set.pointer(&format!("/status/{field}")).and_then(Value::as_i64).unwrap_or(0);
    let count = |field: &str| u32::try_from(number(field)).unwrap_or(0);
    let name = |field: &str| {
        RevisionName(set.pointer(&format!("/status/{field}")).and_then(Value::as_str).unwrap_or_default().to_owned())
    };
    SetStatus {
        observed_generation: number("observedGeneration"),
        replicas: count("replicas"),
        ready_replicas: count("readyReplicas"),
        available_replicas: count("availableReplicas"),
        current_replicas: count("currentReplicas"),
        updated_replicas: count("updatedReplicas"),
        current_revision: name("currentRevision"),
        update_revision: name("updateRevision"),
        collision_count: count("collisionCount"),
    }
}

/// Ordinals whose pods have ended lately, as stored, ascending.
pub(super) fn failures(set: &Value) -> Vec<Failures> {
    let stored = set.pointer("/status/failures").and_then(Value::as_array).into_iter().flatten();
    let mut failures: Vec<Failures> = stored.filter_map(failure).collect();
    failures.sort_by_key(|failures| failures.ordinal);
    failures.dedup_by_key(|failures| failures.ordinal);
    failures
}

fn failure(value: &Value) -> Option<Failures> {
    let number = |field: &str| u32::try_from(value.get(field)?.as_u64()?).ok();
    Some(Failures {
        ordinal: Ordinal(number("ordinal")?),
        count: number("count").filter(|count| *count > 0)?,
        last_at: time(value.get("lastTime")?.as_str()?)?,
    })
}

/// Up to where the set was complete at one time, as stored.
pub(super) fn formed(set: &Value) -> Option<Ordinal> {
    let number = set.pointer("/status/formedThrough")?.as_u64()?;
    u32::try_from(number).ok().map(Ordinal).filter(|ordinal| *ordinal <= Ordinal::MAX)
}

/// Whether a condition is stored as true.
pub(super) fn holds(set: &Value, kind: &str) -> bool {
    condition(set, kind).is_some_and(|condition| condition.get("status").is_some_and(|status| status == "True"))
}
