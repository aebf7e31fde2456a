//! Decision records: one for each pass that changed something, or whose reasons to wait are new.

use std::collections::HashMap;
use std::sync::Mutex;

use api::manifest::Kind;
use domain::{DecisionRecord, Uid, Wait, WaitRun};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::waiting::Waiting;
use crate::objects::{precise_time_text, time};
use crate::world::{Key, Object, Transaction, World};

/// Records kept per set: enough for a rollout of a usual set, little enough for a thousand sets.
const RECORDS_PER_SET_MAX: usize = 50;

/// Longest trail of one record. A pass over a huge set says how many steps it left out.
const STEPS_MAX: usize = 200;

/// Reasons to wait that the line for people names.
const WAITS_IN_LINE_MAX: usize = 10;

/// Remembers what each set last waited for.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    last: Mutex<HashMap<Uid, Last>>,
}

#[derive(Debug, Clone, Default)]
struct Last {
    number: u64,
    waits: Vec<Wait>,
    /// How long it has waited for each of the reasons among them.
    waiting: Waiting,
}

impl Recorder {
    /// Adds the record to the transaction if it says anything new. Call [`Recorder::committed`] once that is durable.
    pub(super) fn add(
        &self,
        transaction: &mut Transaction,
        world: &World,
        set: &Object,
        record: &DecisionRecord,
    ) -> Option<u64> {
        let last = self.last(world, set);
        if record.steps.is_empty() && record.waits == last.waits {
            return None;
        }
        let number = last.number + 1;
        transaction.record(key(set, number), Some(to_json(set, number, record)));
        if let Some(old) = number.checked_sub(RECORDS_PER_SET_MAX as u64).filter(|old| *old > 0) {
            transaction.record(key(set, old), None);
        }
        Some(number)
    }

    /// The record is durable.
    pub(super) fn committed(&self, set: &Object, number: u64, waits: Vec<Wait>) {
        let mut last = self.last.lock().expect("no holder of this lock panics");
        let waiting = last.remove(&set.uid()).map(|last| last.waiting).unwrap_or_default();
        last.insert(set.uid(), Last { number, waits, waiting });
    }

    /// How long a set has waited for each reason, of the last time that it did.
    pub(super) fn waiting(&self, world: &World, set: &Object) -> Waiting {
        let known =
            self.last.lock().expect("no holder of this lock panics").get(&set.uid()).map(|last| last.waiting.clone());
        known.unwrap_or_else(|| self.last(world, set).waiting)
    }

    /// Keeps that for the next time.
    pub(super) fn keep(&self, world: &World, set: &Object, waiting: Waiting) {
        if let Some(last) = self.last.lock().expect("no holder of this lock panics").get_mut(&set.uid()) {
            last.waiting = waiting;
            return;
        }
        let last = Last { waiting, ..self.last(world, set) };
        self.last.lock().expect("no holder of this lock panics").insert(set.uid(), last);
    }

    /// What a set last waited for.
    pub(super) fn waits(&self, world: &World, set: &Object) -> Vec<Wait> {
        self.last(world, set).waits
    }

    /// The set is gone.
    pub(super) fn forget(&self, uid: &Uid) {
        self.last.lock().expect("no holder of this lock panics").remove(uid);
    }

    fn last(&self, world: &World, set: &Object) -> Last {
        let uid = set.uid();
        if let Some(last) = self.last.lock().expect("no holder of this lock panics").get(&uid) {
            return last.clone();
        }
        // After a start: the stored records tell.
        let owned = world.owned_by(&uid.0);
        let newest = owned.iter().filter(|object| object.kind() == Kind::Decision).max_by_key(|object| number(object));
        newest.map_or_else(Last::default, |object| Last {
            number: number(object),
            waits: recorded_waits(object),
            waiting: Waiting::known_since(time(object.text("/metadata/creationTimestamp"))),
        })
    }
}

fn recorded_waits(record: &Object) -> Vec<Wait> {
    let runs = record.value.get("waits").map(Vec::<WaitRun>::deserialize);
    let runs = runs.and_then(Result::ok).unwrap_or_default();
    runs.iter().flat_map(WaitRun::waits).collect()
}

fn number(record: &Object) -> u64 {
    record.value.get("number").and_then(Value::as_u64).unwrap_or(0)
}

fn key(set: &Object, number: u64) -> Key {
    Key::new(Kind::Decision, &set.key.namespace, &format!("{}.{number:010}", set.key.name))
}

fn to_json(set: &Object, number: u64, record: &DecisionRecord) -> Value {
    let key = key(set, number);
    let left_out = record.steps.len().saturating_sub(STEPS_MAX);
    json!({
        "apiVersion": Kind::Decision.api_version(),
        "kind": "Decision",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": service_kit::random::uid(),
            "creationTimestamp": precise_time_text(record.at),
            "labels": { "setkeeper.dev/set": set.key.name },
            "ownerReferences": [{
                "apiVersion": set.text("/apiVersion"),
                "kind": "StatefulSet",
                "name": set.key.name,
                "uid": record.set.uid.0,
            }],
        },
        "number": number,
        "set": record.set.name,
        "generation": record.generation.0,
        "traceId": record.trace_id,
        "steps": record.steps.iter().take(STEPS_MAX).collect::<Vec<_>>(),
        "stepsLeftOut": left_out,
        "waits": WaitRun::of(&record.waits),
        "summary": summary(record),
    })
}

/// The record in one line. Of reasons to wait only the first: the record itself has them all.
fn summary(record: &DecisionRecord) -> String {
    let steps = record.steps.iter().map(|step| format!("{} {}: {}", step.action, step.object, step.why));
    let waits = Some(wait_words(&record.waits)).filter(|words| !words.is_empty());
    steps.take(STEPS_MAX).chain(waits).collect::<Vec<_>>().join("; ")
}

/// Reasons to wait in one line: the first ones, and how many more wait.
pub(super) fn wait_words(waits: &[Wait]) -> String {
    let runs = WaitRun::of(waits);
    let (named, others) = runs.split_at(runs.len().min(WAITS_IN_LINE_MAX));
    let waits = named.iter().map(|run| match (run.ordinal, run.through) {
        (Some(first), Some(last)) => format!("pods {first} to {last} wait: {}", run.reason),
        (Some(ordinal), None) => format!("pod {ordinal} waits: {}", run.reason),
        (None, _) => run.reason.to_string(),
    });
    let more = others.iter().flat_map(WaitRun::waits).count();
    let more = (more > 0).then(|| format!("and {more} more wait"));
    waits.chain(more).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use domain::{Generation, Ordinal, SetRef, Timestamp, WaitReason};

    use super::*;

    #[test]
    fn pods_that_follow_each_other_and_wait_for_the_same_are_told_once() {
        let missing = |ordinal| Wait { ordinal, reason: WaitReason::Missing { ordinal: Ordinal(1) } };
        let waits = (2..90).chain([95]).map(|ordinal| missing(Some(Ordinal(ordinal)))).chain([missing(None)]).collect();
        let (set, generation, at) = (SetRef::default(), Generation(1), Timestamp(0));
        let record = DecisionRecord { set, generation, at, trace_id: String::new(), steps: Vec::new(), waits };
        let reason = "waiting for pod 1 to be created";
        let line = format!("pods 2 to 89 wait: {reason}; pod 95 waits: {reason}; {reason}");
        assert_eq!(summary(&record), line);
        let reason = json!({ "Missing": { "ordinal": 1 } });
        let stored = json!([
            { "ordinal": 2, "through": 89, "reason": reason },
            { "ordinal": 95, "reason": reason },
            { "ordinal": null, "reason": reason },
        ]);
        assert_eq!(serde_json::to_value(WaitRun::of(&record.waits)).unwrap(), stored);
        let fifteen = (0..30).step_by(2).map(|ordinal| missing(Some(Ordinal(ordinal)))).collect();
        let line = summary(&DecisionRecord { waits: fifteen, ..record });
        assert!(line.ends_with("pod 18 waits: waiting for pod 1 to be created; and 5 more wait"), "{line}");
    }
}
