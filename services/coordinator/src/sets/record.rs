//! Decision records: one for each pass that changed something, or whose reasons to wait are new.

use std::collections::HashMap;
use std::sync::Mutex;

use api::manifest::Kind;
use domain::{DecisionRecord, Uid, Wait};
use serde_json::{Value, json};

use crate::objects::precise_time_text;
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
        last.insert(set.uid(), Last { number, waits });
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
            waits: object
                .value
                .get("waits")
                .cloned()
                .and_then(|waits| serde_json::from_value(waits).ok())
                .unwrap_or_default(),
        })
    }
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
        "waits": record.waits,
        "summary": summary(record),
    })
}

/// The record in one line. Of reasons to wait only the first: the record itself has them all.
fn summary(record: &DecisionRecord) -> String {
    let steps = record.steps.iter().map(|step| format!("{} {}: {}", step.action, step.object, step.why));
    let waits = record.waits.iter().map(|wait| match wait.ordinal {
        Some(ordinal) => format!("pod {ordinal} waits: {}", wait.reason),
        None => wait.reason.to_string(),
    });
    let more = record.waits.len().checked_sub(WAITS_IN_LINE_MAX).filter(|more| *more > 0);
    let more = more.map(|more| format!("and {more} more wait"));
    steps.take(STEPS_MAX).chain(waits.take(WAITS_IN_LINE_MAX)).chain(more).collect::<Vec<_>>().join("; ")
}
