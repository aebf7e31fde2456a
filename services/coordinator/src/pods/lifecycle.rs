//! Requesting the deletion of a pod, and removing it when that is due (pod rules, section 8.1).

use std::time::Duration;

use domain::Timestamp;
use serde_json::Value;

use crate::objects::{object_mut, time, time_text};
use crate::pods::read::phase;
use crate::world::{Object, Transaction};

/// Seconds a pod gets to stop where neither the request nor its spec says.
const GRACE_SECONDS_DEFAULT: i64 = 30;

/// Adds the deletion of this version of a pod to the transaction.
///
/// A pod that no machine has, or that has ended, is removed at once. Any other gets `deletionTimestamp`, the moment
/// its grace period ends; its machine removes it by reporting it stopped. A repeated request can only shorten.
pub(crate) fn delete(transaction: &mut Transaction, pod: &Object, grace_seconds: Option<i64>, now: Timestamp) {
    let held = pod.finalizers().next().is_some();
    let running = !pod.text("/spec/nodeName").is_empty() && !phase(pod).terminal();
    if !running && !held {
        transaction.delete(pod);
        return;
    }
    let of_spec = pod.value.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    let grace = match grace_seconds.or(of_spec).unwrap_or(GRACE_SECONDS_DEFAULT) {
        negative if negative < 0 => 1,
        grace => grace,
    };
    let deadline = now.plus(Duration::from_secs(u64::try_from(grace).unwrap_or(0)));
    let earlier = time(pod.text("/metadata/deletionTimestamp"));
    if earlier.is_some_and(|earlier| earlier <= deadline) {
        return;
    }
    let mut value = pod.value.clone();
    let metadata = object_mut(&mut value, "metadata");
    metadata.insert("deletionTimestamp".into(), time_text(deadline).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    transaction.update(pod, value);
}

#[cfg(test)]
mod tests {
    use api::manifest::Kind;
    use serde_json::json;

    use super::*;
    use crate::store::StoreRevision;
    use crate::world::Key;

    fn pod(value: Value) -> Object {
        Object::new(Key::new(Kind::Pod, "default", "web-0"), value, StoreRevision(7))
    }

    fn deleted(pod: &Object, grace: Option<i64>) -> Option<Value> {
        let mut transaction = Transaction::default();
        delete(&mut transaction, pod, grace, Timestamp(1_000_000));
        assert!(transaction.len() <= 1);
        transaction.pending(&pod.key).cloned()
    }

    #[test]
    fn a_running_pod_gets_a_deadline_that_only_shortens() {
        let running = json!({"metadata": {"name": "web-0"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}});
        let first = deleted(&pod(running), None).unwrap();
        assert_eq!(first["metadata"]["deletionTimestamp"], "1970-01-01T00:17:10Z");
        let shorter = deleted(&pod(first.clone()), Some(10)).unwrap();
        assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 10);
        assert_eq!(deleted(&pod(shorter), Some(100)), None, "never prolonged");
    }

    #[test]
    fn an_unplaced_or_ended_pod_goes_at_once() {
        for value in [
            json!({"metadata": {"name": "web-0"}, "spec": {}, "status": {"phase": "Pending"}}),
            json!({"metadata": {"name": "web-0"}, "spec": {"nodeName": "n"}, "status": {"phase": "Failed"}}),
        ] {
            let pod = pod(value);
            let mut transaction = Transaction::default();
            delete(&mut transaction, &pod, None, Timestamp(0));
            assert!(transaction.touches(&pod.key) && transaction.pending(&pod.key).is_none());
        }
    }
}
