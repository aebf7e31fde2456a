//! The end of sets, claims and namespaces; and what comes after under the same name.

use api::proto::coordinator::v1::ApplyRequest;
use domain::Profile;
use serde_json::{Value, json};
use support::until;
use tonic::Code;

use crate::levels::{pod, retaining, user_of};
use crate::plane::text;
use crate::quiet::goes_quiet;
use crate::{Machine, Plane, reason, set, with_claims};

async fn gone(plane: &Plane, kind: &str, name: &str) {
    until(&format!("{kind} {name} is gone"), || async {
        match plane.get(kind, name).await {
            None => Ok(()),
            Some(object) => Err(object.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_pods_stop_in_order_before_the_set_goes() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    machine.eagerness(true, false);
    plane.apply(&[set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    plane.delete("sts", "web", "").await.unwrap();
    for name in ["web-2", "web-1", "web-0"] {
        machine.must_stop(name).await;
        assert_eq!(machine.stopped().last().unwrap(), name);
        assert!(plane.get("sts", "web").await.is_some());
        machine.stop(name).await;
    }
    gone(&plane, "sts", "web").await;
    assert!(plane.list("controllerrevisions").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn s_149_in_the_background_the_set_goes_at_once_and_its_pods_follow() {
    for (when_deleted, claims_left) in [("Delete", 0), ("Retain", 2)] {
        let plane = Plane::start().await;
        let machine = Machine::eager(&plane).await;
        machine.eagerness(true, false);
        let mut more = with_claims();
        more["persistentVolumeClaimRetentionPolicy"] = json!({ "whenDeleted": when_deleted });
        plane.apply(&[set("web", 2, more)]).await;
        plane.complete("web", 2).await;
        plane.delete("sts", "web", "background").await.unwrap();
        assert_eq!(plane.get("sts", "web").await, None);
        for name in ["web-0", "web-1"] {
            machine.must_stop(name).await;
        }
        assert_eq!(plane.list("pvc").await.len(), 2, "claims go after their pods");
        for name in ["web-0", "web-1"] {
            machine.stop(name).await;
        }
        plane.has_pods(&[]).await;
        until("claims and revisions are collected", || async {
            let left = (plane.list("pvc").await.len(), plane.list("controllerrevisions").await.len());
            if left == (claims_left, 0) { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_149_kubernetes_deletes_in_the_background_where_nobody_says_how() {
    let plane = Plane::start_as(Profile::Kubernetes).await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, json!({}))]).await;
    plane.has_pods(&["web-0"]).await;
    plane.delete("sts", "web", "").await.unwrap();
    assert_eq!(plane.get("sts", "web").await, None);
    plane.has_pods(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_150_in_the_foreground_pods_stop_at_once_and_none_is_replaced() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    machine.eagerness(true, false);
    plane.apply(&[set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    plane.delete("sts", "web", "foreground").await.unwrap();
    for name in ["web-0", "web-1", "web-2"] {
        machine.must_stop(name).await;
    }
    machine.stop("web-1").await;
    plane.scale("web", 5).await;
    until("the status follows", || async {
        let set = plane.get("sts", "web").await.ok_or("it is not there")?;
        // Pods that stop are of no revision that counts.
        let counted = |count: &str| set["status"][count] == 2;
        let all = ["replicas", "readyReplicas", "availableReplicas"].into_iter().all(counted);
        if all { Ok(()) } else { Err(set["status"].to_string()) }
    })
    .await;
    plane.has_pods(&["web-0", "web-2"]).await;
    assert!(plane.get("sts", "web").await.unwrap().pointer("/metadata/deletionTimestamp").is_some());
    machine.stop("web-0").await;
    machine.stop("web-2").await;
    gone(&plane, "sts", "web").await;
    assert_eq!(machine.ran().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_150_in_kubernetes_a_set_that_goes_observes_its_changes_and_leaves_its_claims_as_they_are() {
    for profile in [Profile::Kubernetes, Profile::Setkeeper] {
        let plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        machine.eagerness(true, false);
        plane.apply(&[set("web", 2, with_claims())]).await;
        plane.complete("web", 2).await;
        plane.delete("sts", "web", "foreground").await.unwrap();
        machine.must_stop("web-0").await;
        machine.must_stop("web-1").await;
        plane.scale("web", 5).await;
        machine.stop("web-1").await;
        let kubernetes = profile == Profile::Kubernetes;
        until("the status follows", || async {
            let set = plane.get("sts", "web").await.ok_or("it is not there")?;
            let observed = set["status"]["observedGeneration"] == set["metadata"]["generation"];
            let counted = set["status"]["replicas"] == 1;
            if counted && observed == kubernetes { Ok(()) } else { Err(set["status"].to_string()) }
        })
        .await;
        plane.has_pods(&["web-0"]).await;
        machine.stop("web-0").await;
        gone(&plane, "sts", "web").await;
        assert_eq!(plane.list("pvc").await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_150_a_set_that_goes_in_the_foreground_goes_after_all_that_it_owns() {
    for (profile, when_deleted) in [
        (Profile::Kubernetes, "Delete"),
        (Profile::Setkeeper, "Delete"),
        (Profile::Kubernetes, "Retain"),
        (Profile::Setkeeper, "Retain"),
    ] {
        let mut plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 2, retaining(when_deleted, "Retain", &json!({})))]).await;
        plane.has_counts("web", "2/2/2/2/2").await;
        plane.apply(&[user_of("data-web-1")]).await;
        machine.has("user").await;
        machine.eagerness(true, false);
        plane.delete("sts", "web", "foreground").await.unwrap();
        for name in ["web-0", "web-1"] {
            machine.must_stop(name).await;
        }
        assert_eq!(
            plane.list("controllerrevisions").await.len(),
            1,
            "{profile}: its revisions stay as long as its pods"
        );
        for name in ["web-0", "web-1"] {
            machine.stop(name).await;
        }
        if when_deleted == "Delete" {
            until("all is gone but what somebody uses", || async {
                let claims: Vec<_> =
                    plane.list("pvc").await.iter().map(|claim| text(claim, "/metadata/name").into()).collect();
                let left: (Vec<String>, usize) = (claims, plane.list("controllerrevisions").await.len());
                if left == (vec!["data-web-1".into()], 0) { Ok(()) } else { Err(format!("{left:?}")) }
            })
            .await;
            plane.has_counts("web", "0/0/0/0/0").await;
            if profile == Profile::Kubernetes {
                // Has it look again: it finds its revision as ever, and does not make it.
                plane.scale("web", 7).await;
            }
            until("why it waits is written down", || async {
                let decisions = plane.list("decisions").await;
                let said = decisions.iter().any(|one| one["waits"].to_string().contains("data-web-1"));
                if said { Ok(()) } else { Err(format!("{decisions:?}")) }
            })
            .await;
            if profile == Profile::Setkeeper {
                plane.waits_for("web", "waiting for claim data-web-1, which is being deleted").await;
            }
            goes_quiet(&mut plane, "web", "0/0/0/0/0").await;
            assert!(plane.list("controllerrevisions").await.is_empty(), "{profile}: what goes is not made again");
            assert!(!plane.list("decisions").await.is_empty(), "{profile}: what was decided stays as long as the set");
            plane.delete("pod", "user", "").await.unwrap();
            machine.must_stop("user").await;
            machine.stop("user").await;
        }
        gone(&plane, "sts", "web").await;
        assert!(plane.list("controllerrevisions").await.is_empty(), "{profile}, {when_deleted}");
        assert_eq!(plane.list("pvc").await.len(), if when_deleted == "Delete" { 0 } else { 2 }, "{profile}");
    }
}

/// Makes pod `other` one more owner of the claim of web-0. Returns the reference to it.
async fn shared_with_other(plane: &Plane) -> Value {
    let uid = plane.uid("pod", "other").await;
    let of_other = json!({ "apiVersion": "v1", "kind": "Pod", "name": "other", "uid": uid });
    let share = |claim: &mut Value| {
        let owners = claim["metadata"]["ownerReferences"].as_array_mut().expect("its set has it");
        owners.push(of_other.clone());
    };
    plane.edit("pvc", "data-web-0", share).await;
    of_other
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_foreground_all_that_is_its_own_goes_and_what_others_own_too_stays() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    machine.eagerness(true, false);
    plane.apply(&[set("web", 2, retaining("Delete", "Retain", &json!({}))), pod("other", &json!({}))]).await;
    plane.has_counts("web", "2/2/2/2/2").await;
    let of_other = shared_with_other(&plane).await;
    let web = plane.uid("sts", "web").await;
    let owner = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": web });
    let mut own = pod("own", &json!({}));
    own["metadata"]["ownerReferences"] = json!([owner]);
    let mut shared = pod("shared", &json!({}));
    shared["metadata"]["ownerReferences"] = json!([owner, of_other]);
    plane.apply(&[own, shared]).await;
    machine.has("own").await;
    // Asked to stop in order first: the later wish counts.
    plane.delete("sts", "web", "ordered").await.unwrap();
    machine.must_stop("web-1").await;
    plane.delete("sts", "web", "foreground").await.unwrap();
    for name in ["web-0", "own"] {
        machine.must_stop(name).await;
    }
    for name in ["web-0", "web-1"] {
        machine.stop(name).await;
    }
    plane.has_counts("web", "0/0/0/0/0").await;
    assert_eq!(plane.list("pvc").await.len(), 2, "a pod of it is there");
    machine.stop("own").await;
    gone(&plane, "sts", "web").await;
    plane.lacks("pvc", "data-web-1").await;
    assert_eq!(plane.owners("data-web-0").await, "Pod/other");
    assert!(plane.get("pod", "shared").await.unwrap().pointer("/metadata/deletionTimestamp").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_one_owner_outlives_forgets_the_other() {
    for profile in [Profile::Kubernetes, Profile::Setkeeper] {
        let plane = Plane::start_as(profile).await;
        let _machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 1, retaining("Delete", "Retain", &json!({}))), pod("other", &json!({}))]).await;
        plane.has_counts("web", "1/1/1/1/1").await;
        shared_with_other(&plane).await;
        plane.has_owners("data-web-0", "StatefulSet/web Pod/other").await;
        plane.delete("pod", "other", "").await.unwrap();
        plane.has_owners("data-web-0", "StatefulSet/web").await;
        plane.delete("sts", "web", "foreground").await.unwrap();
        gone(&plane, "sts", "web").await;
        plane.lacks("pvc", "data-web-0").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_151_orphans_of_every_kind_lose_their_owner_and_stay() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let mut more = with_claims();
    more["persistentVolumeClaimRetentionPolicy"] = json!({ "whenDeleted": "Delete" });
    plane.apply(&[set("web", 2, more)]).await;
    plane.complete("web", 2).await;
    plane.leave_behind("web").await;
    for (kind, count) in [("pods", 2), ("pvc", 2), ("controllerrevisions", 1)] {
        let left = plane.list(kind).await;
        assert_eq!(left.len(), count, "{kind}");
        for object in left {
            assert!(object.pointer("/metadata/ownerReferences").is_none(), "{object}");
            assert!(object.pointer("/metadata/deletionTimestamp").is_none(), "{object}");
        }
    }
    assert!(machine.stopped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn s_152_scaled_to_nothing_pods_stop_in_order() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    plane.scale("web", 0).await;
    plane.complete("web", 0).await;
    plane.delete("sts", "web", "background").await.unwrap();
    assert_eq!(machine.stopped(), ["web-2", "web-1", "web-0"]);
    gone(&plane, "sts", "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_of_nothing_are_written_unless_kubernetes_is_wanted() {
    for profile in [Profile::Kubernetes, Profile::Setkeeper] {
        let plane = Plane::start_as(profile).await;
        let _machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 1, json!({}))]).await;
        plane.complete("web", 1).await;
        plane.scale("web", 0).await;
        plane.has_pods(&[]).await;
        until("the status counts nothing", || async {
            let status = plane.get("sts", "web").await.unwrap()["status"].clone();
            let counts = ["replicas", "availableReplicas", "readyReplicas", "currentReplicas", "updatedReplicas"];
            let counts = counts.map(|name| status.get(name).cloned());
            let (zero, left_out) =
                (Some(Value::from(0)), if profile == Profile::Setkeeper { Some(0.into()) } else { None });
            let expected = [zero.clone(), zero, left_out.clone(), left_out.clone(), left_out];
            if counts == expected { Ok(()) } else { Err(format!("{profile}: {status}")) }
        })
        .await;
    }
}

/// Rolls a second template out to the pods from ordinal 1 on, and returns the revision of ordinal 0.
async fn half_updated(plane: &Plane) -> String {
    let strategy = json!({ "updateStrategy": { "rollingUpdate": { "partition": 1 } } });
    plane.apply(&[set("web", 2, strategy.clone())]).await;
    plane.complete("web", 2).await;
    let old = plane.list("controllerrevisions").await.remove(0);
    let mut web = set("web", 2, strategy);
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2".into();
    plane.apply(&[web]).await;
    until("web-1 is updated", || async {
        let set = plane.get("sts", "web").await.ok_or("it is not there")?;
        let status = &set["status"];
        let done = status["updatedReplicas"] == 1 && status["readyReplicas"] == 2;
        if done { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    text(&old, "/metadata/name").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn s_117_a_revision_in_use_is_protected_unless_kubernetes_is_wanted() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let old = half_updated(&plane).await;
    for revision in plane.list("controllerrevisions").await {
        let name = text(&revision, "/metadata/name");
        let refused = plane.delete("controllerrevision", name, "").await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "REVISION_IN_USE"));
        assert!(refused.message().contains("roll the set out to another revision first"), "{refused}");
    }
    plane.apply(&[set("web", 2, json!({}))]).await;
    plane.complete("web", 2).await;
    let unused = plane.list("controllerrevisions").await;
    let unused = unused.iter().map(|revision| text(revision, "/metadata/name")).find(|name| *name != old);
    plane.delete("controllerrevision", unused.unwrap(), "").await.unwrap();

    let plane = Plane::start_as(Profile::Kubernetes).await;
    assert_eq!(plane.system().await.profile, "kubernetes");
    let _machine = Machine::eager(&plane).await;
    let old = half_updated(&plane).await;
    plane.delete("controllerrevision", &old, "").await.unwrap();
    plane.delete("pod", "web-0", "").await.unwrap();
    until("the partition no longer protects", || async {
        let pod = plane.get("pod", "web-0").await.ok_or("it is not there")?;
        let revision = text(&pod, "/metadata/labels/controller-revision-hash").to_owned();
        if revision == old { Err(revision) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_go_on_and_are_adopted_without_a_restart() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let web = set("web", 3, with_claims());
    plane.apply(std::slice::from_ref(&web)).await;
    plane.complete("web", 3).await;
    let pods: Vec<_> = plane.list("pods").await.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect();
    plane.leave_behind("web").await;
    let orphans = plane.list("pods").await;
    assert!(orphans.iter().all(|pod| pod.pointer("/metadata/ownerReferences").is_none()), "{orphans:?}");
    // Fewer this time: those out of range are taken over too, and then scaled down.
    let mut fewer = web;
    fewer["spec"]["replicas"] = 2.into();
    plane.apply(&[fewer]).await;
    plane.complete("web", 2).await;
    plane.has_pods(&["web-0", "web-1"]).await;
    assert_eq!([plane.uid("pod", "web-0").await, plane.uid("pod", "web-1").await], pods[..2]);
    assert_eq!(machine.stopped(), ["web-2"]);
    assert_eq!(plane.list("controllerrevisions").await.len(), 1);
}

/// More than one commit lets go.
#[tokio::test(flavor = "multi_thread")]
async fn the_orphans_of_a_large_set_all_go_on() {
    const PODS: u32 = 600;
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let mut web = set("web", PODS, json!({}));
    web["spec"]["podManagementPolicy"] = "Parallel".into();
    plane.apply(&[web]).await;
    plane.complete("web", PODS.into()).await;
    plane.leave_behind("web").await;
    let pods = plane.list("pods").await;
    let goes_on = |pod: &Value| {
        pod.pointer("/metadata/ownerReferences").is_none() && pod.pointer("/metadata/deletionTimestamp").is_none()
    };
    assert_eq!((pods.len(), pods.iter().filter(|pod| goes_on(pod)).count()), (600, 600));
    assert_eq!(machine.stopped(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_the_same_name_waits_for_the_pods_of_the_one_before() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    machine.eagerness(true, false);
    plane.apply(&[set("web", 2, json!({}))]).await;
    plane.complete("web", 2).await;
    let old = plane.uid("pod", "web-0").await;
    plane.delete("sts", "web", "background").await.unwrap();
    plane.apply(&[set("web", 2, json!({}))]).await;
    machine.must_stop("web-0").await;
    plane.waits_for("web", "pod 0 to terminate").await;
    // It waits without writing, and without spinning.
    let revision = plane.revision().await;
    assert_eq!(plane.uid("pod", "web-0").await, old);
    assert!(plane.revision().await <= revision + 1);
    machine.must_stop("web-1").await;
    machine.stop("web-1").await;
    machine.stop("web-0").await;
    plane.complete("web", 2).await;
    assert_ne!(plane.uid("pod", "web-0").await, old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_somebody_else_made_is_left_alone_and_named() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let squatter = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web-0", "labels": { "app": "other" } },
        "spec": { "containers": [{ "name": "main", "image": "busybox" }] } });
    plane.apply(&[squatter]).await;
    let uid = plane.uid("pod", "web-0").await;
    plane.apply(&[set("web", 1, json!({}))]).await;
    plane.waits_for("web", "does not belong to this set").await;
    assert_eq!(plane.uid("pod", "web-0").await, uid);
    plane.delete("pod", "web-0", "").await.unwrap();
    plane.complete("web", 1).await;
    assert_ne!(plane.uid("pod", "web-0").await, uid);
    drop(machine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_in_use_waits_for_its_pod() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, with_claims())]).await;
    plane.complete("web", 1).await;
    plane.delete("pvc", "data-web-0", "").await.unwrap();
    let claim = plane.get("pvc", "data-web-0").await.expect("protected");
    assert!(claim.pointer("/metadata/deletionTimestamp").is_some());
    plane.scale("web", 0).await;
    gone(&plane, "pvc", "data-web-0").await;
    plane.scale("web", 1).await;
    plane.complete("web", 1).await;
    assert_ne!(plane.uid("pvc", "data-web-0").await, text(&claim, "/metadata/uid"));
    drop(machine);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_go_with_scaled_down_pods_where_the_policy_says_so() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let mut more = with_claims();
    more["persistentVolumeClaimRetentionPolicy"] = json!({ "whenScaled": "Delete", "whenDeleted": "Retain" });
    plane.apply(&[set("web", 2, more)]).await;
    plane.complete("web", 2).await;
    plane.scale("web", 1).await;
    gone(&plane, "pvc", "data-web-1").await;
    plane.complete("web", 1).await;
    assert!(plane.get("pvc", "data-web-0").await.is_some());
    plane.delete("sts", "web", "").await.unwrap();
    gone(&plane, "sts", "web").await;
    plane.has_pods(&[]).await;
    assert!(plane.get("pvc", "data-web-0").await.is_some(), "retained");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_takes_everything_along() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
    let objects: Vec<Value> = vec![namespace, set("web", 2, with_claims())];
    let objects = objects.iter().map(api::object::to_struct).collect();
    let request = ApplyRequest { objects, namespace: "shop".into(), ..ApplyRequest::default() };
    plane.objects().apply(request.clone()).await.unwrap();
    until("both pods are ready", || async {
        let sets = plane.list("sts").await;
        if sets[0]["status"]["readyReplicas"] == 2 { Ok(()) } else { Err(sets[0]["status"].to_string()) }
    })
    .await;
    plane.delete("namespace", "shop", "").await.unwrap();
    gone(&plane, "namespace", "shop").await;
    for kind in ["sts", "pods", "pvc", "controllerrevisions", "decisions", "pv"] {
        until(&format!("{kind} are gone"), || async {
            let left = plane.list(kind).await;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
    let late = plane.objects().apply(ApplyRequest { objects: request.objects[1..].to_vec(), ..request }).await;
    assert_eq!(late.unwrap_err().code(), tonic::Code::NotFound);
}
