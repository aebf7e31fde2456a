use std::collections::HashSet;

use api::manifest::Kind;
use serde_json::json;

use super::*;
use crate::world::Key;

const SET: &str = "set-uid";
const ROOT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01";

fn root() -> SpanAddress {
    ROOT.parse().expect("valid")
}

fn set(traceparent: &str, completed: Option<&str>) -> Object {
    let mut value = json!({
        "metadata": { "uid": SET, "generation": 3 },
        "spec": { "minReadySeconds": 2 },
        "status": { "rollout": { "traceparent": traceparent, "startedAt": "1970-01-01T00:00:01Z" } },
    });
    if let Some(completed) = completed {
        value["status"]["rollout"]["completedAt"] = completed.into();
    }
    Object::new(Key::new(Kind::StatefulSet, "default", "web"), value, StoreRevision(1))
}

/// A pod as it is stored after these words: `claim`, `placed`, `running`, `ready`, `deleting`.
fn pod(uid: &str, words: &str) -> Object {
    let has = |word: &str| words.split(' ').any(|one| one == word);
    let mut value = json!({
        "metadata": {
            "uid": uid,
            "creationTimestamp": "1970-01-01T00:00:00Z",
            "annotations": { "setkeeper.dev/traceparent": root().below("web-0").to_string() },
            "ownerReferences": [{ "uid": SET, "controller": true }],
        },
        "spec": {},
        "status": { "conditions": [] },
    });
    if has("claim") {
        value["spec"]["volumes"] = json!([{ "persistentVolumeClaim": { "claimName": "www-web-0" } }]);
    }
    if has("placed") {
        value["spec"]["nodeName"] = "here".into();
    }
    if has("running") {
        value["status"]["phase"] = "Running".into();
    }
    if has("ready") {
        value["status"]["conditions"] =
            json!([{ "type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:05Z" }]);
    }
    if has("deleting") {
        value["metadata"]["deletionTimestamp"] = "1970-01-01T00:01:00Z".into();
    }
    Object::new(Key::new(Kind::Pod, "default", "web-0"), value, StoreRevision(1))
}

/// Name, beginning and end in seconds, and what went wrong.
fn told(timeline: &mut Timeline) -> Vec<String> {
    let one = |span: PastSpan| {
        let error = span.error.map(|error| format!(" ({error})")).unwrap_or_default();
        format!("{} {}-{}{error}", span.name, span.start.0 / 1000, span.end.0 / 1000)
    };
    timeline.take().into_iter().map(one).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp(second * 1000)
}

/// A timeline that has seen the rollout begin.
fn begun() -> Timeline {
    let mut timeline = Timeline::default();
    timeline.set_changed(at(1), &set(ROOT, None), true);
    timeline
}

/// The same pod, as seen at these seconds.
fn seen(timeline: &mut Timeline, uid: &str, changes: &[(i64, &str)]) {
    for (second, words) in changes {
        timeline.pod_changed(
            at(*second),
            &pod(uid, words),
            true,
            StoreRevision(u64::try_from(*second).expect("small")),
        );
    }
}

#[test]
fn a_pod_is_replaced_phase_by_phase() {
    let mut timeline = begun();
    seen(&mut timeline, "old", &[(2, "placed running ready deleting")]);
    timeline.published(at(3), StoreRevision(1));
    assert_eq!(told(&mut timeline), [] as [&str; 0], "names are served as of before");
    timeline.published(at(3), StoreRevision(2));
    timeline.pod_changed(at(4), &pod("old", "placed deleting"), false, StoreRevision(4));
    assert_eq!(told(&mut timeline), ["drain 2-3", "stop 3-4"]);
    seen(&mut timeline, "new", &[(5, "claim"), (6, "claim placed"), (8, "claim placed running")]);
    seen(&mut timeline, "new", &[(9, "claim placed running ready")]);
    assert_eq!(told(&mut timeline), ["volume 5-6", "start 6-8", "ready 8-9"]);
    assert_eq!(timeline.next(), Some(at(11)));
    timeline.passed(at(10));
    assert_eq!(told(&mut timeline), [] as [&str; 0]);
    timeline.passed(at(12));
    assert_eq!(told(&mut timeline), ["soak 9-11", "web-0 2-11"]);
    timeline.set_changed(at(12), &set(ROOT, Some("1970-01-01T00:00:12Z")), true);
    assert_eq!(told(&mut timeline), ["rollout web 1-12"]);
}

#[test]
fn spans_hang_together() {
    let mut timeline = begun();
    seen(&mut timeline, "new", &[(5, "placed"), (6, "placed running ready")]);
    timeline.passed(at(8));
    timeline.set_changed(at(9), &set(ROOT, Some("1970-01-01T00:00:09Z")), true);
    let spans = timeline.take();
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"));
    let ordinal = root().below("web-0");
    assert_eq!((find("rollout web").address, find("rollout web").parent), (root(), None));
    assert_eq!((find("web-0").address, find("web-0").parent), (ordinal, Some(root())));
    for phase in ["start", "ready", "soak"] {
        assert_eq!(find(phase).parent, Some(ordinal));
    }
    let places: HashSet<_> = spans.iter().map(|span| span.address).collect();
    assert_eq!(places.len(), spans.len(), "{spans:?}");
}

#[test]
fn a_rollout_ends_no_sooner_than_what_was_seen_of_its_pods() {
    let mut timeline = begun();
    seen(&mut timeline, "new", &[(5, "placed"), (6, "placed running ready")]);
    timeline.passed(at(8));
    // The pass that decided so began before that.
    timeline.set_changed(at(8), &set(ROOT, Some("1970-01-01T00:00:07Z")), true);
    let all = told(&mut timeline);
    assert!(all.contains(&"rollout web 1-8".to_owned()) && all.contains(&"web-0 5-8".to_owned()), "{all:?}");
}

#[test]
fn what_is_broken_off_says_by_what() {
    let mut timeline = begun();
    seen(&mut timeline, "a", &[(2, "placed running ready"), (3, "placed running"), (4, "placed running deleting")]);
    timeline.pod_changed(at(5), &pod("a", ""), false, StoreRevision(5));
    let broken =
        ["ready 2-2", "soak 2-3 (the pod is no longer ready)", "ready 3-4 (the pod was asked to go)", "drain 4-5"];
    let all = told(&mut timeline);
    assert!(broken.iter().all(|span| all.contains(&(*span).to_owned())), "{all:?}");
    seen(&mut timeline, "b", &[(6, "placed")]);
    timeline.pod_changed(at(7), &pod("b", ""), false, StoreRevision(7));
    assert_eq!(told(&mut timeline), ["start 6-7 (the pod is gone)"]);
    timeline.set_changed(at(8), &set(ROOT, None), false);
    assert_eq!(told(&mut timeline), ["web-0 2-7", "rollout web 1-8"]);
}

#[test]
fn a_later_change_takes_over_what_is_under_way() {
    let mut timeline = begun();
    seen(&mut timeline, "a", &[(2, "placed")]);
    timeline.set_changed(at(4), &set(NEXT, None), true);
    assert_eq!(told(&mut timeline), ["start 2-4 (superseded)", "web-0 2-2", "rollout web 1-4"]);
    seen(&mut timeline, "a", &[(5, "placed running ready")]);
    timeline.passed(at(7));
    let spans = timeline.take();
    let next: SpanAddress = NEXT.parse().expect("valid");
    let ordinal = spans.iter().find(|span| span.name == "web-0").expect("it is available");
    assert_eq!((ordinal.address, ordinal.parent), (next.below("web-0"), Some(next)));
    // What is stored with the pod still names the rollout before.
    seen(&mut timeline, "a", &[(8, "placed running ready deleting")]);
    timeline.published(at(9), StoreRevision(8));
    let drain = timeline.take().into_iter().find(|span| span.name == "drain").expect("it is over");
    assert_eq!(drain.parent, Some(next.below("web-0")));
}

#[test]
fn a_gap_names_its_cause() {
    let mut timeline = begun();
    let shown = WaitReason::NotReady { ordinal: domain::Ordinal(1) };
    let hidden = WaitReason::ServiceUnavailable { service: "update-planner".into(), error: "gone".into() };
    let waits = [shown, hidden].map(|reason| Wait { ordinal: None, reason });
    let away = json!({ "waits": waits });
    timeline.decided(at(2), SET, &away);
    timeline.decided(at(3), SET, &away);
    assert_eq!(told(&mut timeline), [] as [&str; 0], "it goes on");
    timeline.decided(at(5), SET, &json!({ "waits": [] }));
    assert_eq!(told(&mut timeline), ["wait: update-planner does not answer: gone 2-5"]);
}

#[test]
fn a_start_goes_on_where_the_process_before_was() {
    let mut timeline = Timeline::default();
    let ready = pod("a", "placed running ready");
    timeline.resume(at(6), &set(ROOT, None), &[&ready], Some(at(3)));
    assert_eq!(told(&mut timeline), ["wait: no coordinator 5-6"], "the last that is known of before");
    timeline.passed(at(7));
    assert_eq!(told(&mut timeline), ["soak 5-7", "web-0 0-7"]);
    // Nobody is told of again who was available long before another became ready.
    let mut late = pod("b", "placed running ready");
    late.key.name = "web-1".into();
    late.value["status"]["conditions"][0]["lastTransitionTime"] = "1970-01-01T00:00:20Z".into();
    late.value["metadata"]["annotations"]["setkeeper.dev/traceparent"] = root().below("web-1").to_string().into();
    let mut timeline = Timeline::default();
    timeline.resume(at(30), &set(ROOT, None), &[&ready, &late], None);
    assert_eq!(told(&mut timeline), ["soak 20-22", "web-1 0-22"]);
    // One that was complete long ago is told of no more; one that was just now is told of again.
    let complete = set(ROOT, Some("1970-01-01T00:00:06Z"));
    let again = |now| {
        let mut timeline = Timeline::default();
        timeline.resume(now, &complete, &[], None);
        told(&mut timeline)
    };
    assert_eq!((again(at(60)).len(), again(at(7))), (0, vec!["rollout web 1-6".to_owned()]));
}

#[test]
fn an_ordinal_has_one_span_though_another_rollout_of_the_trace_ends() {
    let mut timeline = begun();
    seen(&mut timeline, "a", &[(2, "placed running ready")]);
    timeline.passed(at(4));
    // One call may change several sets: their rollouts share its trace.
    let mut other = set(NEXT, None);
    other.value["metadata"]["uid"] = "other".into();
    let other = |completed: Option<&str>| {
        let mut value = other.value.clone();
        if let Some(completed) = completed {
            value["status"]["rollout"]["completedAt"] = completed.into();
        }
        Object::new(Key::new(Kind::StatefulSet, "default", "other"), value, StoreRevision(1))
    };
    timeline.set_changed(at(4), &other(None), true);
    timeline.set_changed(at(5), &other(Some("1970-01-01T00:00:05Z")), true);
    assert_eq!(told(&mut timeline).iter().filter(|span| span.starts_with("web-0 ")).count(), 1);
    seen(&mut timeline, "a", &[(6, "placed running deleting")]);
    timeline.pod_changed(at(7), &pod("a", ""), false, StoreRevision(7));
    seen(&mut timeline, "b", &[(8, "placed running ready")]);
    timeline.passed(at(10));
    assert_eq!(told(&mut timeline).iter().filter(|span| span.starts_with("web-0 ")).count(), 0);
}
