//! Fences: the word of somebody who knows that nothing runs on a machine any more, kept in the machine's object. As in
//! Kubernetes it is the taint `out-of-service`.

use domain::Timestamp;
use domain::fencing::{Contact, Release, Stranded, release};
use serde_json::{Value, json};

use crate::events::{self, Event};
use crate::objects::{object_mut, set_condition, time_text};
use crate::pods::read::phase;
use crate::world::{Object, Transaction, World};

/// Taint of a machine on which nothing runs.
const TAINT: &str = "node.kubernetes.io/out-of-service";

/// Annotation of a machine: how it is known that nothing runs there.
const EVIDENCE: &str = "setkeeper.dev/fence-evidence";

/// Reason of a pod whose end is known from a fence, and of a machine that is fenced.
const FENCED: &str = "Fenced";

/// Exit code of a container that got lost: as if killed.
const LOST_EXIT_CODE: i32 = 137;

/// Writes of one commit; the next pass continues.
const RELEASED_AT_ONCE_MAX: usize = 256;

/// Bytes of one commit, roughly: half of what the store takes at once.
const RELEASED_BYTES_MAX: usize = crate::store::BATCH_BYTES_MAX / 2;

/// Whether nothing runs on a machine.
pub(crate) fn is_fenced(machine: &Object) -> bool {
    let taints = machine.value.pointer("/spec/taints").and_then(Value::as_array);
    taints.into_iter().flatten().any(|taint| taint.get("key").is_some_and(|key| key == TAINT))
}

/// How that is known.
pub(crate) fn evidence(machine: &Object) -> &str {
    machine.annotation(EVIDENCE).unwrap_or_default()
}

/// That a machine is fenced, and how it is known that nothing runs there.
pub(crate) fn words(machine: &Object, evidence: &str) -> String {
    format!("machine {} is fenced, nothing runs there: {evidence}", machine.key.name)
}

/// The machine with a fence around it, until its runtime registers again; none where there is one already.
pub(crate) fn fenced(machine: &Object, evidence: &str, now: Timestamp) -> Option<Value> {
    if is_fenced(machine) {
        return None;
    }
    let mut value = machine.value.clone();
    let taint = json!({ "key": TAINT, "value": "fenced", "effect": "NoExecute", "timeAdded": time_text(now) });
    let spec = object_mut(&mut value, "spec");
    spec.insert("unschedulable".to_owned(), true.into());
    spec.insert("taints".to_owned(), json!([taint]));
    let annotations = object_mut(&mut value, "metadata").entry("annotations").or_insert_with(|| json!({}));
    annotations[EVIDENCE] = evidence.into();
    let message = words(machine, evidence);
    set_condition(object_mut(&mut value, "status"), "Ready", "False", (FENCED, &message), now);
    Some(value)
}

/// Takes the fence away from a machine that is there.
pub(super) fn lift(machine: &Object, now: Timestamp) -> Transaction {
    let mut value = machine.value.clone();
    let spec = object_mut(&mut value, "spec");
    spec.remove("unschedulable");
    spec.remove("taints");
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(EVIDENCE);
    }
    set_condition(object_mut(&mut value, "status"), "Ready", "True", super::REGISTERED, now);
    let mut transaction = Transaction::default();
    transaction.update(machine, value);
    transaction
}

/// Whether a pod has ended because its machine was fenced. Should the machine come back, it must not hear of it: what it has
/// left of it ends.
pub(crate) fn is_released(pod: &Object) -> bool {
    pod.text("/status/reason") == FENCED && phase(pod).terminal()
}

/// Releases the pods of a machine, as its fence allows, and whether there are more than one commit should hold. Each rests on
/// the fence being there.
pub(super) fn release_pods(
    world: &World,
    machine: &Object,
    pods: impl Iterator<Item = impl AsRef<Object>>,
    now: Timestamp,
) -> (Transaction, bool) {
    let contact = if is_fenced(machine) { Contact::Fenced } else { Contact::Silent };
    let mut transaction = Transaction::default();
    for pod in pods {
        if transaction.len() >= RELEASED_AT_ONCE_MAX || transaction.bytes() >= RELEASED_BYTES_MAX {
            transaction.unchanged(machine);
            return (transaction, true);
        }
        let pod = pod.as_ref();
        let held = pod.finalizers().next().is_some();
        match release(contact, Stranded { deleting: pod.deleting(), held, ended: phase(pod).terminal() }) {
            Release::Keep => {}
            Release::Remove => transaction.delete(pod),
            Release::End => {
                let message = words(machine, evidence(machine));
                let event = Event::warning(FENCED, message.as_str());
                events::record(&mut transaction, world, (&pod.key, &pod.uid().0), "coordinator", &event, now);
                transaction.update(pod, ended(pod, &message, now));
            }
        }
    }
    if !transaction.is_empty() {
        transaction.unchanged(machine);
    }
    (transaction, false)
}

/// The pod, ended; as in Kubernetes, which cannot find its containers either.
fn ended(pod: &Object, message: &str, now: Timestamp) -> Value {
    let mut value = pod.value.clone();
    let status = object_mut(&mut value, "status");
    status.insert("phase".to_owned(), "Failed".into());
    status.insert("reason".to_owned(), FENCED.into());
    status.insert("message".to_owned(), message.into());
    for list in ["initContainerStatuses", "containerStatuses"] {
        let containers = status.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        let runs = |container: &&mut Value| container.is_object() && container.pointer("/state/terminated").is_none();
        for container in containers.filter(runs) {
            container["ready"] = false.into();
            container["started"] = false.into();
            let unknown = json!({ "reason": "ContainerStatusUnknown", "message": message, "exitCode": LOST_EXIT_CODE });
            container["state"] = json!({ "terminated": unknown });
        }
    }
    for kind in ["Ready", "ContainersReady"] {
        set_condition(status, kind, "False", (FENCED, message), now);
    }
    value
}
