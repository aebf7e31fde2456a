//! The labels by which a Service finds one pod of a set, put back where somebody took them away (StatefulSet rules,
//! section 3.4). What else makes a pod its ordinal, its name and its volumes, nobody can change; a pod that was taken over
//! may have other volumes.

use std::sync::Arc;

use domain::{Intent, Ordinal, Snapshot};
use serde_json::{Map, Value};

use super::claims::walk_stop;
use super::roster::Member;
use super::scene::Scene;
use super::templates::{claim_names_of, claim_templates};
use crate::objects::object_mut;
use crate::world::Object;

/// Label with the name of the pod.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// Label with its ordinal. As in Kubernetes it is put back together with the other one, never for its own sake.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Pods of the scene that do not carry their name, ascending by ordinal.
pub(super) fn unmarked(scene: &Scene) -> impl Iterator<Item = (Ordinal, &Arc<Object>)> {
    let snapshot = &scene.snapshot;
    let stop = walk_stop(snapshot);
    let unmarked = scene.members.iter().zip(&snapshot.pods).filter(|(member, _)| !member.marked);
    let repaired = unmarked.filter(move |(_, pod)| is_repaired(snapshot, stop, pod));
    repaired.map(|(member, _)| (member.ordinal, &member.object))
}

/// Ordinals whose pod does not use their claims, ascending, where Kubernetes' walk comes by: it tries to change the pod,
/// and fails (switch `isolate_refusals`).
pub(super) fn without_their_claims(scene: &Scene) -> impl Iterator<Item = Ordinal> {
    let snapshot = &scene.snapshot;
    let stop = walk_stop(snapshot);
    let walked = move |pod: &domain::Pod| !snapshot.switches.isolate_refusals && is_repaired(snapshot, stop, pod);
    let members = scene.members.iter().zip(&snapshot.pods).filter(move |(_, pod)| walked(pod));
    let uses = |member: &Member| uses_its_claims(&scene.set.value, member.ordinal, &member.object.value);
    members.filter(move |(member, _)| !uses(member)).map(|(member, _)| member.ordinal)
}

/// Whether a pod has a volume for every claim of the ordinal.
pub(super) fn uses_its_claims(set: &Value, ordinal: Ordinal, pod: &Value) -> bool {
    let volumes = || pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let names = claim_templates(set).filter_map(|template| template.pointer("/metadata/name"));
    names.zip(claim_names_of(set, ordinal)).all(|(template, claim)| {
        let is_its =
            |volume: &Value| volume.pointer("/persistentVolumeClaim/claimName").is_some_and(|name| *name == claim);
        volumes().any(|volume| volume.get("name") == Some(template) && is_its(volume))
    })
}

/// What people are told of a pod that does not use them.
pub(super) fn claims_unused(name: &str) -> String {
    format!("pod {name} does not use the claims of its ordinal; delete it, and it comes back with them")
}

/// Whether a pod carries its own name.
pub(super) fn is_marked(pod: &Object) -> bool {
    pod.label(POD_NAME) == Some(pod.key.name.as_str())
}

/// Whether the labels of this pod are looked at: while it is wanted and neither ends nor has ended, and the walk comes by;
/// that of Kubernetes does under Parallel also while it stops (switch `visit_every_member`).
fn is_repaired(snapshot: &Snapshot, stop: Option<Ordinal>, pod: &domain::Pod) -> bool {
    let wanted = snapshot.intent == Intent::Keep && snapshot.spec.contains(pod.ordinal);
    let stays = !pod.terminating || !snapshot.switches.visit_every_member;
    wanted && stays && !pod.phase.terminal() && stop.is_none_or(|stop| pod.ordinal < stop)
}

/// The pod with both labels.
pub(super) fn marked(pod: &Value, ordinal: Ordinal, name: &str) -> Value {
    let mut pod = pod.clone();
    let labels = object_mut(&mut pod, "metadata").entry("labels").or_insert_with(|| Value::Object(Map::new()));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(POD_NAME.into(), name.into());
        labels.insert(POD_INDEX.into(), ordinal.to_string().into());
    }
    pod
}

#[cfg(test)]
mod tests {
    use domain::{Phase, Pod, PodManagementPolicy, SetSpec, Switches};
    use serde_json::json;

    use super::*;

    #[test]
    fn both_labels_are_put_back_and_the_others_stay() {
        let name = "web-1";
        for before in [json!({}), json!({ POD_NAME: "web-7", POD_INDEX: "7" }), json!({ POD_INDEX: "1" })] {
            let mut labels = before.clone();
            labels["app"] = "web".into();
            let after = marked(&json!({ "metadata": { "name": name, "labels": labels } }), Ordinal(1), name);
            let expected = json!({ "app": "web", POD_NAME: name, POD_INDEX: "1" });
            assert_eq!(after["metadata"]["labels"], expected, "{before}");
        }
    }

    /// Ordinals of a set of three whose labels are looked at, where the second pod is like this.
    fn looked_at(switches: Switches, policy: PodManagementPolicy, second: impl Fn(&mut Pod)) -> Vec<u32> {
        let pod = |ordinal| Pod { ordinal: Ordinal(ordinal), phase: Phase::Running, ready: true, ..Pod::default() };
        let mut pods: Vec<Pod> = (0..4).map(pod).collect();
        second(&mut pods[1]);
        let spec = SetSpec { replicas: 3, policy, ..SetSpec::default() };
        let snapshot = Snapshot { pods: pods.into(), spec, switches, ..Snapshot::default() };
        let stop = walk_stop(&snapshot);
        let looked_at = snapshot.pods.iter().filter(|pod| is_repaired(&snapshot, stop, pod));
        looked_at.map(|pod| pod.ordinal.0).collect()
    }

    #[test]
    fn members_that_live_are_looked_at_and_in_kubernetes_only_as_far_as_the_walk_comes() {
        use PodManagementPolicy::{OrderedReady, Parallel};
        let (ours, kubernetes) = (Switches::SETKEEPER, Switches::KUBERNETES);
        assert_eq!(looked_at(ours, OrderedReady, |_| ()), [0, 1, 2]);
        assert_eq!(looked_at(kubernetes, OrderedReady, |_| ()), [0, 1, 2]);
        assert_eq!(looked_at(ours, OrderedReady, |pod| pod.ready = false), [0, 1, 2]);
        assert_eq!(looked_at(kubernetes, OrderedReady, |pod| pod.ready = false), [0]);
        assert_eq!(looked_at(kubernetes, Parallel, |pod| pod.ready = false), [0, 1, 2]);
        assert_eq!(looked_at(ours, OrderedReady, |pod| pod.terminating = true), [0, 2]);
        assert_eq!(looked_at(ours, Parallel, |pod| pod.phase = Phase::Failed), [0, 2]);
    }
}
