//! What an earlier pass wrote into the status of a set, read again.

use domain::{Failures, Ordinal, RevisionName, SetStatus};
use serde_json::Value;

use crate::objects::{condition, time};

/// Condition: the set is started as a whole after a total outage.
pub(super) const COLD_START: &str = "ColdStart";

/// Field of the status: the highest ordinal up to which the set was complete at one time.
pub(super) const FORMED: &str = "formedThrough";

/// Field of the status: ordinals whose pods have ended lately.
pub(super) const FAILURES: &str = "failures";

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
    let stored = set.pointer(&format!("/status/{FAILURES}")).and_then(Value::as_array).into_iter().flatten();
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
    let number = set.pointer(&format!("/status/{FORMED}"))?.as_u64()?;
    u32::try_from(number).ok().map(Ordinal).filter(|ordinal| *ordinal <= Ordinal::MAX)
}

/// Whether a condition is stored as true.
pub(super) fn holds(set: &Value, kind: &str) -> bool {
    condition(set, kind).is_some_and(|condition| condition.get("status").is_some_and(|status| status == "True"))
}
