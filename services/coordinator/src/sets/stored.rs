//! What an earlier pass wrote into the status of a set, read again.

use domain::{Failures, Ordinal, Outage, RevisionName, SetSpec, SetStatus};
use serde_json::{Value, json};

use crate::objects::{condition, time};

/// Condition: the set is started as a whole after a total outage.
pub(super) const COLD_START: &str = "ColdStart";

/// Condition: ordinals have not been available before their progress deadline.
pub(super) const STUCK: &str = "Stuck";

/// Condition: how the set gets on.
pub(super) const PROGRESSING: &str = "Progressing";

/// Reason of [`PROGRESSING`]: somebody paused the set.
pub(super) const PAUSED: &str = "Paused";

/// Field of the status: the range in which the set was complete at one time.
pub(super) const FORMED: &str = "formed";

/// Field of the status: ordinals whose pods have ended lately.
pub(super) const FAILURES: &str = "failures";

/// Field of the status: ordinals that have not been available for longer than their pods tell.
pub(super) const OUTAGES: &str = "outages";

/// Counters and revisions as stored.
pub(super) fn counters(set: &Value) -> SetStatus {
    let number = |field: &str| set.pointer(&format!("/status/{field}")).and_then(Value::as_i64).unwrap_or(0);
    let count = |field: &str| u32::try_from(number(field)).unwrap_or(0);
    let name = |field: &str| {
        RevisionName(set.pointer(&format!("/status/{field}")).and_then(Value::as_str).unwrap_or_default().into())
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

/// Ordinals that have not been available for longer than their pods tell, as stored, ascending.
pub(super) fn outages(set: &Value) -> Vec<Outage> {
    let stored = set.pointer(&format!("/status/{OUTAGES}")).and_then(Value::as_array).into_iter().flatten();
    let mut outages: Vec<Outage> = stored.filter_map(outage).collect();
    outages.sort_by_key(|outage| outage.ordinal);
    outages.dedup_by_key(|outage| outage.ordinal);
    outages
}

fn outage(value: &Value) -> Option<Outage> {
    let ordinal = Ordinal(u32::try_from(value.get("ordinal")?.as_u64()?).ok()?);
    Some(Outage { ordinal, since: time(value.get("since")?.as_str()?)? })
}

/// Up to where the set was complete at one time, as stored; none where its range begins elsewhere by now, or leaves other
/// ordinals out: then nobody knows who was a member.
pub(super) fn formed(set: &Value, spec: &SetSpec) -> Option<Ordinal> {
    let stored = set.pointer(&format!("/status/{FORMED}"))?;
    let through = u32::try_from(stored.get("through")?.as_u64()?).ok().map(Ordinal)?;
    (*stored == formed_json(through, spec) && through <= Ordinal::MAX).then_some(through)
}

/// The range in which a set is complete, with all that it depends on.
pub(super) fn formed_json(through: Ordinal, spec: &SetSpec) -> Value {
    let reserved: Vec<u32> = spec.reserved.iter().map(|ordinal| ordinal.0).collect();
    json!({ "start": spec.start.0, "through": through.0, "reserved": reserved })
}

/// Whether the pass before found the set paused, and not complete.
pub(super) fn was_paused(set: &Value) -> bool {
    condition(set, PROGRESSING).is_some_and(|condition| condition.get("reason").is_some_and(|reason| reason == PAUSED))
}

/// Whether a condition is stored as true.
pub(super) fn holds(set: &Value, kind: &str) -> bool {
    condition(set, kind).is_some_and(|condition| condition.get("status").is_some_and(|status| status == "True"))
}
