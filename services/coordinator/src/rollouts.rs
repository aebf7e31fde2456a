//! One rollout is one trace.
//!
//! A rollout is what follows from one change of what is wanted of a set: everything until the set is so. Its place in a
//! trace is stored with the set, in the very commit that changes it, so that the trace goes on in whichever coordinator,
//! and whichever service, takes part: passes are its children, pods carry the place of their ordinal.
//!
//! `timeline` makes spans of what is seen to change, `observer` watches and records them. Where nothing is recorded,
//! nothing of this is stored.

pub(crate) mod observer;
mod timeline;

use std::sync::Arc;

use api::manifest::Kind;
use domain::Timestamp;
use serde_json::{Value, json};
use service_kit::telemetry::{PastSpan, SpanAddress, TRACEPARENT_ANNOTATION};
use tracing::Span;

use crate::objects::{object_mut, precise_time_text, time};
use crate::world::{Key, Object, World};

/// Field of the status of a set: its latest rollout.
const ROLLOUT: &str = "rollout";

/// A rollout as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// Its root span.
    pub(crate) root: SpanAddress,
    /// The call, or the pass, that began it.
    caller: Option<SpanAddress>,
    started_at: Timestamp,
    /// None while it goes on.
    completed_at: Option<Timestamp>,
}

impl Rollout {
    /// The latest rollout of a set, if it is traced.
    pub(crate) fn of(set: &Value) -> Option<Self> {
        let stored = set.get("status")?.get(ROLLOUT)?;
        let text = |field: &str| stored.get(field).and_then(Value::as_str);
        Some(Self {
            root: text("traceparent")?.parse().ok()?,
            caller: text("caller").and_then(|caller| caller.parse().ok()),
            started_at: text("startedAt").and_then(time)?,
            completed_at: text("completedAt").and_then(time),
        })
    }

    /// The rollout of a set that is under way.
    pub(crate) fn under_way(set: &Value) -> Option<Self> {
        Self::of(set).filter(|rollout| rollout.completed_at.is_none())
    }

    /// The place of the pod of an ordinal, which all incarnations of this rollout share.
    pub(crate) fn of_pod(&self, pod: &str) -> SpanAddress {
        self.root.below(pod)
    }
}

/// What is wanted of an object has changed: its next generation begins, and with that of a set a rollout.
pub(crate) fn next_generation(object: &mut Value, now: Timestamp) {
    let metadata = object_mut(object, "metadata");
    let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or(0) + 1;
    metadata.insert("generation".into(), generation.into());
    if object.get("kind").is_some_and(|kind| kind == Kind::StatefulSet.name()) {
        begin(object, now);
    }
}

fn begin(set: &mut Value, now: Timestamp) {
    let Some(caller) = SpanAddress::current() else {
        if let Some(status) = set.get_mut("status").and_then(Value::as_object_mut) {
            status.remove(ROLLOUT);
        }
        return;
    };
    let root = caller.below(&format!("rollout/{}", service_kit::random::uid()));
    let rollout = json!({
        "traceId": root.trace_id(),
        "traceparent": root.to_string(),
        "caller": caller.to_string(),
        "startedAt": precise_time_text(now),
    });
    object_mut(set, "status").insert(ROLLOUT.into(), rollout);
}

/// The set has all that is wanted of it.
pub(crate) fn complete(status: &mut serde_json::Map<String, Value>, now: Timestamp) {
    if let Some(rollout) = status.get_mut(ROLLOUT).and_then(Value::as_object_mut) {
        rollout.entry("completedAt").or_insert_with(|| precise_time_text(now).into());
    }
}

/// Writes the place that a pod has in the rollout of its set into it; false if there is no rollout under way.
pub(crate) fn mark(pod: &mut Value, set: &Object, name: &str) -> bool {
    let Some(rollout) = Rollout::under_way(&set.value) else { return false };
    let metadata = object_mut(pod, "metadata");
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    annotations[TRACEPARENT_ANNOTATION] = rollout.of_pod(name).to_string().into();
    true
}

/// The place that a pod has in the trace of a rollout.
pub(crate) fn place(pod: &Value) -> Option<SpanAddress> {
    pod.pointer("/metadata/annotations")?.get(TRACEPARENT_ANNOTATION)?.as_str()?.parse().ok()
}

/// The place of a pod in its rollout while that is under way.
pub(crate) fn place_under_way(world: &World, pod: &Object) -> Option<SpanAddress> {
    let place = place(&pod.value)?;
    let owned = |set: &Arc<Object>| pod.controller_uid() == Some(&*set.uid().0);
    let set = pod.key.name.rsplit_once('-').map(|(set, _)| Key::new(Kind::StatefulSet, &pod.key.namespace, set));
    let set = set.and_then(|set| world.get(&set)).filter(owned);
    let rollout = set.and_then(|set| Rollout::under_way(&set.value))?;
    (rollout.of_pod(&pod.key.name) == place).then_some(place)
}

/// Tells that the names of a pod which became ready are served; at its place in its rollout.
pub(crate) fn named(parent: SpanAddress, pod: &Object, start: Timestamp, end: Timestamp) {
    let span = PastSpan {
        name: "DNS".into(),
        address: parent.below(&format!("{}/DNS/{}", pod.uid(), start.0)),
        parent: Some(parent),
        start,
        end,
        attributes: vec![("k8s.pod.name", pod.key.name.clone()), ("k8s.pod.uid", pod.uid().0)],
        error: None,
    };
    span.record(observer::SERVICE);
}

/// Makes a span part of the trace of a rollout.
pub(crate) fn join(span: &Span, place: Option<SpanAddress>) {
    if let Some(place) = place {
        service_kit::telemetry::set_parent(span, &place.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_stored_where_nothing_is_recorded() {
        let mut set = json!({ "kind": "StatefulSet", "metadata": {}, "status": { "rollout": { "traceId": "of before" }, "replicas": 1 } });
        next_generation(&mut set, Timestamp(0));
        assert_eq!(set, json!({ "kind": "StatefulSet", "metadata": { "generation": 1 }, "status": { "replicas": 1 } }));
        assert_eq!(Rollout::of(&set), None);
    }

    #[test]
    fn a_rollout_is_under_way_until_it_is_complete() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut set = json!({ "status": { "rollout": {
            "traceparent": traceparent, "startedAt": "2026-11-26T05:00:00.123Z",
        } } });
        let rollout = Rollout::under_way(&set).expect("stored");
        assert_eq!((rollout.root.to_string().as_str(), rollout.caller), (traceparent, None));
        complete(set["status"].as_object_mut().expect("an object"), Timestamp(1_800_000_000_000));
        complete(set["status"].as_object_mut().expect("an object"), Timestamp(1_900_000_000_000));
        assert_eq!(Rollout::under_way(&set), None);
        assert_eq!(Rollout::of(&set).and_then(|rollout| rollout.completed_at), Some(Timestamp(1_800_000_000_000)));
        complete(&mut serde_json::Map::new(), Timestamp(0));
    }
}
