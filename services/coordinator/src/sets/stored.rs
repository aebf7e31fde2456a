//! What an earlier pass wrote into the status of a set, read again.

use domain::{Failures, Ordinal, Outage, RevisionName, SetSpec, SetStatus, Timestamp};
use serde_json::{Value, json};

use crate::objects::{condition, time};

/// Condition: the set is started as a whole after a total outage.
pub(super) const COLD_START: &str = "ColdStart";

/// Condition: ordinals have not been available before their progress deadline.
pub(super) const STUCK: &str = "Stuck";

/// Field of the status: the range in which every pod was available at one time.
pub(super) const FORMED: &str = "formed";

/// Field of the status: when the set was paused.
pub(super) const PAUSED_AT: &str = "pausedAt";

/// Field of the status: when the set was resumed, until all that it waits for has come.
pub(super) const RESUMED_AT: &str = "resumedAt";

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

/// Up to where every pod of the set was available at one time, as stored; none where an ordinal up to there is in its range
/// that was not then: nobody knows who was a member.
pub(super) fn formed(set: &Value, spec: &SetSpec) -> Option<Ordinal> {
    let stored = set.pointer(&format!("/status/{FORMED}"))?;
    let ordinal = |value: &Value| u32::try_from(value.as_u64()?).ok().map(Ordinal).filter(|it| *it <= Ordinal::MAX);
    let (start, through) = (ordinal(stored.get("start")?)?, ordinal(stored.get("through")?)?);
    let left_out: Option<Vec<Ordinal>> = stored.get("reserved")?.as_array()?.iter().map(ordinal).collect();
    let is_left_out = |ordinal: &Ordinal| *ordinal < spec.start || *ordinal > through || spec.is_reserved(*ordinal);
    let members = spec.start >= start && left_out?.iter().all(is_left_out);
    (members && through >= spec.start).then_some(through)
}

/// The range in which every pod is known to have been available, with all that it depends on.
pub(super) fn formed_json(through: Ordinal, spec: &SetSpec) -> Value {
    let reserved: Vec<u32> = spec.reserved.iter().map(|ordinal| ordinal.0).collect();
    json!({ "start": spec.start.0, "through": through.0, "reserved": reserved })
}

/// When a set was paused that is so still, as a pass has found it.
pub(super) fn paused_at(set: &Value) -> Option<Timestamp> {
    moment(set, PAUSED_AT)
}

/// When a set was resumed that is not paused `now`: in this pass, if the one before found it paused.
pub(super) fn resumed_at(set: &Value, now: Timestamp) -> Option<Timestamp> {
    // One that lies ahead was written by a clock that has been put right since.
    paused_at(set).map(|_| now).or_else(|| moment(set, RESUMED_AT)).map(|moment| moment.min(now))
}

fn moment(set: &Value, field: &str) -> Option<Timestamp> {
    time(set.get("status")?.get(field)?.as_str()?)
}

/// Whether a condition is stored as true.
pub(super) fn holds(set: &Value, kind: &str) -> bool {
    condition(set, kind).is_some_and(|condition| condition.get("status").is_some_and(|status| status == "True"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stay_known_while_no_other_ordinal_comes_among_them() {
        let spec = |start, reserved: &[u32]| {
            let reserved = reserved.iter().copied().map(Ordinal).collect();
            SetSpec { start: Ordinal(start), replicas: 9, reserved, ..SetSpec::default() }
        };
        let set = json!({ "status": { FORMED: formed_json(Ordinal(6), &spec(2, &[4, 8])) } });
        for (spec, expected) in [
            (spec(2, &[4, 8]), Some(6)),
            (spec(2, &[4, 5]), Some(6)),
            (spec(5, &[]), Some(6)),
            (spec(2, &[5]), None),
            (spec(1, &[4]), None),
            (spec(7, &[]), None),
        ] {
            assert_eq!(formed(&set, &spec), expected.map(Ordinal), "{spec:?}");
        }
    }
}
