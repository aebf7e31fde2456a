//! Whose pods are whose: by selector, name and owner together.

use std::time::Duration;

use domain::Profile;
use serde_json::{Value, json};
use support::until;

use crate::levels::pod;
use crate::plane::text;
use crate::{Machine, Plane, set};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Names of the owners of a pod, with their kinds.
fn owner_of(pod: &Value) -> (&str, &str) {
    (text(pod, "/metadata/ownerReferences/0/kind"), text(pod, "/metadata/ownerReferences/0/name"))
}

#[tokio::test(flavor = "multi_thread")]
async fn s_20_the_label_with_the_name_of_a_pod_is_put_back() {
    for profile in [Profile::Kubernetes, Profile::Setkeeper] {
        let plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 3, json!({}))]).await;
        plane.complete("web", 3).await;
        let (pod, version) = (plane.uid("pod", "web-1").await, plane.get("sts", "web").await.unwrap());
        let labelled = || async {
            let pod = plane.get("pod", "web-1").await.unwrap();
            let label = |name: &str| pod["metadata"]["labels"][name].as_str().unwrap_or_default().to_owned();
            let labels = (label(POD_NAME), label(POD_INDEX));
            if labels == ("web-1".to_owned(), "1".to_owned()) { Ok(()) } else { Err(format!("{labels:?}")) }
        };
        let without = |pod: &mut Value, gone: &[&str]| {
            pod["metadata"]["labels"].as_object_mut().unwrap().retain(|name, _| !gone.contains(&name.as_str()));
        };
        plane.edit("pod", "web-1", |pod| without(pod, &[POD_NAME, POD_INDEX])).await;
        until("both labels are back", labelled).await;
        plane.edit("pod", "web-1", |pod| pod["metadata"]["labels"][POD_NAME] = "web-2".into()).await;
        until("the label is right again", labelled).await;
        assert_eq!(plane.has_said("web", "SuccessfulUpdate: Update Pod web-1 in StatefulSet web successful").await, 2);
        assert_eq!(plane.get("sts", "web").await.unwrap(), version, "the status is not written");
        // The other label alone is not put back.
        plane.edit("pod", "web-1", |pod| without(pod, &[POD_INDEX])).await;
        plane.scale("web", 4).await;
        plane.complete("web", 4).await;
        let after = plane.get("pod", "web-1").await.unwrap();
        assert_eq!(after["metadata"]["labels"].get(POD_INDEX), None);
        assert_eq!((text(&after, "/metadata/uid"), machine.stopped().len()), (pod.as_str(), 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_153_a_pod_whose_labels_no_longer_match_is_released_and_taken_back() {
    for profile in [Profile::Kubernetes, Profile::Setkeeper] {
        let plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 3, json!({}))]).await;
        plane.complete("web", 3).await;
        let uid = plane.uid("pod", "web-1").await;
        plane.edit("pod", "web-1", |pod| pod["metadata"]["labels"]["app"] = "x".into()).await;
        // Kubernetes tries to create the pod and fails without a word; here the set says what is in the way.
        if profile == Profile::Setkeeper {
            plane.waits_for("web", &format!("pod web-1 with uid {uid} exists and does not belong to this set")).await;
        }
        plane.has_counts("web", "2/2/2/2/2").await;
        let released = plane.get("pod", "web-1").await.unwrap();
        assert_eq!(released.pointer("/metadata/ownerReferences"), None);
        assert_eq!(text(&released, "/status/phase"), "Running");
        plane.edit("pod", "web-1", |pod| pod["metadata"]["labels"]["app"] = "web".into()).await;
        plane.complete("web", 3).await;
        let again = plane.get("pod", "web-1").await.unwrap();
        assert_eq!((owner_of(&again), text(&again, "/metadata/uid")), (("StatefulSet", "web"), uid.as_str()));
        let decisions = plane.list("decisions").await;
        let steps = decisions.iter().filter_map(|decision| decision["steps"].as_array()).flatten();
        let hands = steps.filter(|step| step["object"] == "web-1").map(|step| text(step, "/action"));
        assert_eq!(hands.collect::<Vec<_>>(), ["create Pod", "release Pod", "adopt Pod"]);
        assert!(machine.stopped().is_empty());
        assert_eq!(machine.ran().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_155_a_matching_orphan_of_another_name_is_left_alone() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    // `web-01` and `web-x` look like pods of the set, and are not.
    let strangers = ["other-1", "web-01", "web-x"];
    plane.apply(&strangers.map(|name| pod(name, &json!({ "app": "web" })))).await;
    for name in strangers {
        until(&format!("{name} runs"), || async {
            let pod = plane.get("pod", name).await.unwrap();
            if pod["status"]["phase"] == "Running" { Ok(()) } else { Err(pod["status"].to_string()) }
        })
        .await;
    }
    let before = plane.list("pods").await;
    plane.apply(&[set("web", 2, json!({}))]).await;
    plane.complete("web", 2).await;
    plane.scale("web", 0).await;
    plane.complete("web", 0).await;
    plane.delete("sts", "web", "").await.unwrap();
    plane.lacks("sts", "web").await;
    assert_eq!(plane.list("pods").await, before);
    assert_eq!(machine.stopped(), ["web-1", "web-0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_156_a_pod_of_another_controller_in_our_slot_is_left_alone() {
    for profile in [Profile::Kubernetes, Profile::Setkeeper] {
        let plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        let mut taken = pod("web-0", &json!({ "app": "web" }));
        taken["metadata"]["ownerReferences"] = json!([
            { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "7", "controller": true },
        ]);
        plane.apply(&[taken]).await;
        let uid = plane.uid("pod", "web-0").await;
        plane.apply(&[set("web", 2, json!({}))]).await;
        if profile == Profile::Setkeeper {
            plane.waits_for("web", &format!("pod web-0 with uid {uid} exists and does not belong to this set")).await;
        }
        plane.has_counts("web", "0/0/0/0/0").await;
        assert_eq!(plane.pods().await, ["web-0"]);
        let said = plane.said_of("web").await;
        let told = "1 FailedCreate: Create Pod web-0 in StatefulSet web failed error: pods \"web-0\" already exists";
        let expected = if profile == Profile::Kubernetes { &[][..] } else { &[told][..] };
        assert_eq!(said, expected, "{profile}");
        assert_eq!(owner_of(&plane.get("pod", "web-0").await.unwrap()), ("ReplicaSet", "x"));
        plane.delete("pod", "web-0", "").await.unwrap();
        plane.complete("web", 2).await;
        assert_ne!(plane.uid("pod", "web-0").await, uid);
        drop(machine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_goes_is_forgotten_and_the_last_takes_along_what_it_owns() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let service = |name: &str| {
        let spec = json!({ "clusterIP": "None", "selector": { "app": name } });
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": spec })
    };
    plane.apply(&[service("goes"), service("stays")]).await;
    let mut owned = pod("owned", &json!({}));
    let mut owners = Vec::new();
    for name in ["goes", "stays"] {
        let uid = plane.uid("service", name).await;
        owners.push(json!({ "apiVersion": "v1", "kind": "Service", "name": name, "uid": uid }));
    }
    owned["metadata"]["ownerReferences"] = owners.into();
    plane.apply(&[owned]).await;
    plane.delete("service", "goes", "").await.unwrap();
    until("one owner is left", || async {
        let pod = plane.get("pod", "owned").await.unwrap();
        let owners = pod["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        if owners.len() == 1 && owner_of(&pod) == ("Service", "stays") { Ok(()) } else { Err(format!("{owners:?}")) }
    })
    .await;
    plane.delete("service", "stays", "").await.unwrap();
    plane.lacks("pod", "owned").await;
}

/// A set whose selector and template are those of others too.
fn sharing(name: &str, replicas: u32) -> Value {
    let mut set = set(name, replicas, json!({}));
    set["spec"]["selector"]["matchLabels"]["app"] = "nginx".into();
    set["spec"]["template"]["metadata"]["labels"]["app"] = "nginx".into();
    set
}

#[tokio::test(flavor = "multi_thread")]
async fn s_157_two_sets_of_one_selector_manage_only_their_own_names() {
    for profile in [Profile::Kubernetes, Profile::Setkeeper] {
        let plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        // The name of one begins with the other's.
        plane.apply(&[sharing("web", 2), sharing("db", 2), sharing("web-1", 2)]).await;
        for set in ["web", "db", "web-1"] {
            plane.complete(set, 2).await;
        }
        let owned = |pods: &[Value]| -> Vec<String> {
            pods.iter().map(|pod| format!("{} {}", text(pod, "/metadata/name"), owner_of(pod).1)).collect()
        };
        let expected = ["db-0 db", "db-1 db", "web-0 web", "web-1 web", "web-1-0 web-1", "web-1-1 web-1"];
        assert_eq!(owned(&plane.list("pods").await), expected);
        plane.scale("web", 1).await;
        plane.complete("web", 1).await;
        plane.delete("sts", "db", "ordered").await.unwrap();
        plane.lacks("sts", "db").await;
        assert_eq!(owned(&plane.list("pods").await), ["web-0 web", "web-1-0 web-1", "web-1-1 web-1"]);
        assert_eq!(machine.stopped(), ["web-1", "db-1", "db-0"]);
        for set in ["web", "web-1"] {
            let ready = &plane.get("sts", set).await.unwrap()["status"]["readyReplicas"];
            assert_eq!(*ready, if set == "web" { 1 } else { 2 });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_157_no_set_takes_over_the_revision_of_one_whose_name_begins_with_its_own() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[sharing("web", 1)]).await;
    plane.complete("web", 1).await;
    plane.clock().forward(Duration::from_secs(2));
    plane.apply(&[sharing("web-1", 1)]).await;
    plane.complete("web-1", 1).await;
    let revision = |set: Value| text(&set, "/status/updateRevision").to_owned();
    let before = revision(plane.get("sts", "web").await.unwrap());
    plane.leave_behind("web-1").await;
    // The newer of two records with the same template, and free.
    plane.scale("web", 2).await;
    plane.complete("web", 2).await;
    assert_eq!(revision(plane.get("sts", "web").await.unwrap()), before);
    plane.apply(&[sharing("web-1", 1)]).await;
    plane.complete("web-1", 1).await;
    assert_eq!((plane.list("controllerrevisions").await.len(), machine.stopped()), (2, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn s_159_no_disruption_budget_holds_up_an_update() {
    // Setkeeper has no such objects, and says so instead of keeping one that nobody obeys.
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    machine.eagerness(true, false);
    let mut web = set("web", 3, json!({}));
    plane.apply(std::slice::from_ref(&web)).await;
    plane.complete("web", 3).await;
    let budget = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": { "name": "web" },
        "spec": { "maxUnavailable": 0, "selector": { "matchLabels": { "app": "web" } } },
    });
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2".into();
    let refused = plane.try_apply(&[budget, web.clone()]).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("PodDisruptionBudget"), "{refused}");
    plane.complete("web", 3).await;
    plane.apply(&[web]).await;
    machine.must_stop("web-2").await;
}
