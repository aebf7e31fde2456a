//! The order in which pods come, go and are replaced.

use domain::Profile;
use serde_json::json;
use support::until;

use crate::machine::Told;
use crate::plane::{condition, text};
use crate::progress::own;
use crate::{Machine, Plane, set, with_claims};

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_is_created_only_when_its_predecessor_is_ready() {
    let plane = Plane::start().await;
    let machine = Machine::join(&plane).await;
    plane.apply(&[set("web", 3, json!({}))]).await;
    machine.has("web-0").await;
    plane.waits_for("web", "pod 0").await;
    assert_eq!(plane.pods().await, ["web-0"]);
    // Running alone is not enough.
    machine.report("web-0", "Running", false).await.unwrap();
    plane.waits_for("web", "pod 0 to become ready").await;
    assert_eq!(plane.pods().await, ["web-0"]);
    machine.ready("web-0").await;
    machine.has("web-1").await;
    // A predecessor that is no longer ready holds back the rest.
    machine.report("web-0", "Running", false).await.unwrap();
    machine.ready("web-1").await;
    plane.waits_for("web", "pod 0 to become ready").await;
    assert_eq!(plane.pods().await, ["web-0", "web-1"]);
    machine.ready("web-0").await;
    machine.ready("web-2").await;
    plane.complete("web", 3).await;
    assert_eq!(machine.ran(), ["web-0", "web-1", "web-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_planned_while_the_report_that_it_follows_from_is_on_its_way() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, json!({}))]).await;
    plane.complete("web", 1).await;
    let along = || plane.measured("coordinator", "setkeeper_coordinator_passes_ahead_total", &["outcome=\"along\""]);
    // Where the machine is busy, some come too late for it.
    for replicas in 2..50_i32 {
        plane.scale("web", replicas).await;
        plane.complete("web", replicas.unsigned_abs().into()).await;
        if along() >= 3.0 {
            return;
        }
    }
    panic!("{} of some dozen passes", along());
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_down_goes_highest_first_and_on_only_when_the_machine_said_stopped() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    machine.eagerness(true, false);
    plane.scale("web", 0).await;
    for (name, others) in [("web-2", 1), ("web-1", 2), ("web-0", 3)] {
        machine.must_stop(name).await;
        assert_eq!(machine.stopped().len(), others, "{:?}", machine.stopped());
        let pods = plane.list("pods").await;
        assert_eq!(pods.iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_some()).count(), 1);
        machine.stop(name).await;
    }
    plane.has_pods(&[]).await;
    assert_eq!(machine.stopped(), ["web-2", "web-1", "web-0"]);
    plane.complete("web", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_pod_is_replaced_with_its_name_and_its_claim() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, with_claims())]).await;
    plane.complete("web", 1).await;
    let (pod, claim) = (plane.uid("pod", "web-0").await, plane.uid("pvc", "data-web-0").await);
    machine.report("web-0", "Failed", false).await.unwrap();
    until("web-0 is replaced", || async {
        let now = plane.get("pod", "web-0").await.ok_or("gone")?;
        if text(&now, "/metadata/uid") != pod { Ok(()) } else { Err(now["status"].to_string()) }
    })
    .await;
    plane.complete("web", 1).await;
    assert_eq!(plane.uid("pvc", "data-web-0").await, claim);
    // The machine heard of the end of the old one before it heard of the new one.
    let told = machine.told();
    let gone = told.iter().position(|one| *one == Told::Gone("web-0".into(), pod.clone())).unwrap();
    let new = plane.uid("pod", "web-0").await;
    let run = told.iter().position(|one| *one == Told::Run("web-0".into(), new.clone())).unwrap();
    assert!(gone < run, "{told:?}");
    // Nothing living was called gone.
    assert!(!told.contains(&Told::Gone("web-0".into(), new)));
}

#[tokio::test(flavor = "multi_thread")]
async fn under_parallel_nobody_waits() {
    let plane = Plane::start().await;
    let machine = Machine::join(&plane).await;
    plane.apply(&[set("web", 4, json!({ "podManagementPolicy": "Parallel" }))]).await;
    plane.has_pods(&["web-0", "web-1", "web-2", "web-3"]).await;
    machine.has("web-3").await;
    plane.scale("web", 1).await;
    for name in ["web-1", "web-2", "web-3"] {
        machine.must_stop(name).await;
    }
    assert!(plane.get("pod", "web-0").await.unwrap().pointer("/metadata/deletionTimestamp").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_a_live_set_of_our_own_group_may_change() {
    let plane = Plane::start().await;
    let machine = Machine::join(&plane).await;
    let with = |policy: &str| own(3, json!({ "podManagementPolicy": policy }));
    plane.apply(&[with("OrderedReady")]).await;
    machine.report("web-0", "Running", false).await.unwrap();
    plane.waits_for("web", "pod 0 to become ready").await;
    let first = plane.uid("pod", "web-0").await;
    plane.apply(&[with("Parallel")]).await;
    plane.has_pods(&["web-0", "web-1", "web-2"]).await;
    // And back: pods that are there stay, and the next wait their turn.
    plane.apply(&[with("OrderedReady")]).await;
    plane.scale("web", 4).await;
    plane.waits_for("web", "pod 0 to become ready").await;
    assert_eq!(plane.pods().await, ["web-0", "web-1", "web-2"]);
    for name in ["web-0", "web-1", "web-2", "web-3"] {
        machine.ready(name).await;
    }
    plane.complete("web", 4).await;
    assert_eq!(plane.uid("pod", "web-0").await, first, "no pod restarts because of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_change_replaces_pods_from_the_highest_and_undoes_by_the_old_revision() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let first = set("web", 3, json!({}));
    let mut second = first.clone();
    second["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2".into();
    plane.apply(std::slice::from_ref(&first)).await;
    plane.complete("web", 3).await;
    plane.apply(&[second]).await;
    plane.complete("web", 3).await;
    assert_eq!(machine.stopped(), ["web-2", "web-1", "web-0"]);
    plane.apply(&[first]).await;
    plane.complete("web", 3).await;
    assert_eq!(plane.list("controllerrevisions").await.len(), 2, "the old revision is used again");
    let node = plane.get("node", crate::machine::NODE).await.unwrap();
    assert_eq!(condition(&node, "Ready").unwrap()["status"], "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_parallel_pods_come_within_seconds() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let before = plane.revision().await;
    plane.apply(&[set("web", 500, json!({ "podManagementPolicy": "Parallel" }))]).await;
    plane.complete("web", 500).await;
    let commits = plane.revision().await - before;
    // One for each report, and few for everything else: passes collapse.
    assert!(commits < 1600, "{commits} commits for 500 pods");
}

#[tokio::test(flavor = "multi_thread")]
async fn s_96_a_lost_pod_of_a_set_without_a_block_comes_back_once_and_in_kubernetes_by_a_detour() {
    for (profile, created, deleted) in [(Profile::Kubernetes, 3, 1), (Profile::Setkeeper, 2, 0)] {
        let plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        let web = |image: &str| {
            let more = json!({ "podManagementPolicy": "Parallel", "updateStrategy": { "type": "RollingUpdate" } });
            let mut web = set("web", 3, more);
            web["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
            web
        };
        plane.apply(&[web("busybox:1")]).await;
        plane.complete("web", 3).await;
        // The new web-2 is not ready, so that the update stands still when web-0 is lost.
        machine.eagerness(false, true);
        let old = plane.uid("pod", "web-2").await;
        plane.apply(&[web("busybox:2")]).await;
        plane.successor("web-2", &old).await;
        let lost = plane.uid("pod", "web-0").await;
        plane.delete("pod", "web-0", "").await.unwrap();
        plane.successor("web-0", &lost).await;
        plane.has_counts("web", "3/1/1/1/2").await;
        let said = plane.said_of("web").await;
        let times = |words: &str| {
            let one = said.iter().find_map(|one| one.split_once(' ').filter(|(_, rest)| rest.ends_with(words)));
            one.map_or(0, |(count, _)| count.parse().unwrap())
        };
        assert_eq!(times("Create Pod web-0 in StatefulSet web successful"), created, "{profile}: {said:?}");
        assert_eq!(times("Delete Pod web-0 in StatefulSet web successful"), deleted, "{profile}: {said:?}");
        assert_eq!(machine.ran().iter().filter(|name| *name == "web-0").count(), 2, "no machine sees the detour");
    }
}
