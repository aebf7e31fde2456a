//! Claims when a set is scaled, updated and changed: nothing that is wanted is lost.

use domain::Profile;
use serde_json::json;

use crate::levels::{retaining, user_of};
use crate::{Machine, Plane, set};

const BOTH: [Profile; 2] = [Profile::Kubernetes, Profile::Setkeeper];

#[tokio::test(flavor = "multi_thread")]
async fn s_126_retained_claims_have_no_owner_and_are_used_again() {
    for profile in BOTH {
        let plane = Plane::start_as(profile).await;
        let _machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 3, retaining("Retain", "Retain", &json!({})))]).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        let claims = [plane.uid("pvc", "data-web-1").await, plane.uid("pvc", "data-web-2").await];
        plane.scale("web", 1).await;
        plane.has_counts("web", "1/1/1/1/1").await;
        plane.has_pods(&["web-0"]).await;
        for claim in ["data-web-0", "data-web-1", "data-web-2"] {
            assert_eq!(plane.owners(claim).await, "");
        }
        plane.scale("web", 3).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        assert_eq!([plane.uid("pvc", "data-web-1").await, plane.uid("pvc", "data-web-2").await], claims);
        let created = plane.said_of("web").await.iter().filter(|one| one.contains("Create Claim")).count();
        assert_eq!(created, 3, "no claim was created twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_07_s_137_s_158_restarts_failures_updates_and_lost_machines_keep_every_claim() {
    for profile in BOTH {
        let plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        let mut web = set("web", 3, retaining("Delete", "Delete", &json!({})));
        plane.apply(&[web.clone()]).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        let claims = async || {
            let claims = plane.list("pvc").await.into_iter();
            let facts =
                claims.map(|claim| (claim["metadata"]["uid"].clone(), claim["metadata"]["ownerReferences"].clone()));
            facts.collect::<Vec<_>>()
        };
        let before = claims().await;
        assert_eq!(before.len(), 3);
        // Somebody deletes a pod: another one with the same names.
        let old = plane.uid("pod", "web-1").await;
        plane.delete("pod", "web-1", "").await.unwrap();
        plane.successor("web-1", &old).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        let pod = plane.get("pod", "web-1").await.unwrap();
        let claim = &pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"];
        assert_eq!((&pod["spec"]["hostname"], claim), (&json!("web-1"), &json!("data-web-1")));
        assert_eq!(claims().await, before, "{profile}: restarted");
        // One ends.
        let old = plane.uid("pod", "web-2").await;
        machine.report("web-2", "Failed", false).await.unwrap();
        plane.successor("web-2", &old).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        assert_eq!(claims().await, before, "{profile}: failed");
        // All are updated.
        web["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2".into();
        plane.apply(&[web]).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        assert_eq!(claims().await, before, "{profile}: updated");
        // The machine of one does not answer, and does not stop it. Nobody takes its place before somebody says it is gone.
        machine.eagerness(true, false);
        let lost = plane.uid("pod", "web-1").await;
        machine.report("web-1", "Unknown", false).await.unwrap();
        plane.delete("pod", "web-1", "").await.unwrap();
        plane.has_counts("web", "3/2/2/2/2").await;
        assert_eq!(plane.uid("pod", "web-1").await, lost);
        machine.stop("web-1").await;
        plane.successor("web-1", &lost).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        assert_eq!(claims().await, before, "{profile}: lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_131_a_scale_down_that_is_withdrawn_before_it_began_gives_the_claims_back() {
    for profile in BOTH {
        let plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 5, retaining("Retain", "Delete", &json!({})))]).await;
        plane.has_counts("web", "5/5/5/5/5").await;
        let claims = [plane.uid("pvc", "data-web-3").await, plane.uid("pvc", "data-web-4").await];
        machine.eagerness(true, false);
        for name in ["web-3", "web-4"] {
            machine.report(name, "Running", false).await.unwrap();
        }
        plane.has_counts("web", "5/3/3/5/5").await;
        plane.scale("web", 3).await;
        plane.has_owners("data-web-4", "Pod/web-4").await;
        plane.has_owners("data-web-3", "Pod/web-3").await;
        // Kubernetes does not scale a broken pod down while a lower one is broken; Setkeeper does.
        if profile == Profile::Kubernetes {
            plane.has_counts("web", "5/3/3/5/5").await;
            assert!(machine.stopped().is_empty());
        } else {
            machine.must_stop("web-4").await;
        }
        plane.scale("web", 5).await;
        machine.ready("web-3").await;
        if profile == Profile::Kubernetes {
            machine.ready("web-4").await;
        }
        plane.has_owners("data-web-4", "").await;
        plane.has_owners("data-web-3", "").await;
        for pod in ["web-3", "web-4"] {
            plane.has_said("web", &format!("SuccessfulUpdate: Update Pod {pod} in StatefulSet web successful")).await;
        }
        if profile == Profile::Setkeeper {
            machine.stop("web-4").await;
        }
        plane.has_counts("web", "5/5/5/5/5").await;
        assert_eq!([plane.uid("pvc", "data-web-3").await, plane.uid("pvc", "data-web-4").await], claims);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_133_s_214_a_scale_down_that_is_withdrawn_while_the_pod_stops_keeps_its_claim() {
    let parallel = json!({ "podManagementPolicy": "Parallel" });
    for (profile, more) in [
        (Profile::Kubernetes, parallel.clone()),
        (Profile::Setkeeper, parallel),
        // Ordered, Kubernetes loses it: see below.
        (Profile::Setkeeper, json!({})),
    ] {
        let plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 3, retaining("Retain", "Delete", &more))]).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        let (pod, claim) = (plane.uid("pod", "web-2").await, plane.uid("pvc", "data-web-2").await);
        machine.eagerness(true, false);
        plane.scale("web", 2).await;
        plane.has_owners("data-web-2", "Pod/web-2").await;
        machine.must_stop("web-2").await;
        plane.scale("web", 3).await;
        plane.has_owners("data-web-2", "").await;
        machine.stop("web-2").await;
        plane.successor("web-2", &pod).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        assert_eq!(plane.uid("pvc", "data-web-2").await, claim);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_132_in_kubernetes_such_a_claim_is_lost() {
    let plane = Plane::start_as(Profile::Kubernetes).await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 3, retaining("Retain", "Delete", &json!({})))]).await;
    plane.has_counts("web", "3/3/3/3/3").await;
    let claim = plane.uid("pvc", "data-web-2").await;
    machine.eagerness(true, false);
    plane.scale("web", 2).await;
    machine.must_stop("web-2").await;
    plane.scale("web", 3).await;
    plane.has_counts("web", "3/3/3/2/2").await;
    assert_eq!(plane.owners("data-web-2").await, "Pod/web-2");
    // It is held in the state in which it waits to be collected.
    plane.apply(&[user_of("data-web-2")]).await;
    machine.has("user").await;
    machine.stop("web-2").await;
    plane.has_counts("web", "2/2/2/2/2").await;
    plane.delete("pod", "user", "").await.unwrap();
    machine.must_stop("user").await;
    machine.stop("user").await;
    plane.lacks("pvc", "data-web-2").await;
    // Nobody wakes the set; a pass that happens to run goes on, with an empty volume.
    plane.edit("sts", "web", |web| web["metadata"]["labels"] = json!({ "touched": "yes" })).await;
    plane.has_counts("web", "3/3/3/3/3").await;
    assert_ne!(plane.uid("pvc", "data-web-2").await, claim);
    let said = plane.said_of("web").await;
    assert!(said.iter().all(|one| !one.contains("FailedCreate")), "a stale claim is silent: {said:?}");
}

/// Returns when a claim was asked to go.
async fn goes(plane: &Plane, claim: &str) {
    support::until(&format!("{claim} goes"), || async {
        let stored = plane.get("pvc", claim).await.ok_or("it is gone")?;
        stored.pointer("/metadata/deletionTimestamp").map(drop).ok_or_else(|| stored["metadata"].to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_134_a_claim_whose_ordinal_is_wanted_again_when_its_pod_vanishes_is_given_back() {
    let mut plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 3, retaining("Retain", "Delete", &json!({})))]).await;
    plane.has_counts("web", "3/3/3/3/3").await;
    let claims = [plane.uid("pvc", "data-web-1").await, plane.uid("pvc", "data-web-2").await];
    machine.eagerness(true, false);
    plane.scale("web", 1).await;
    machine.must_stop("web-2").await;
    machine.stop("web-2").await;
    plane.lacks("pvc", "data-web-2").await;
    machine.must_stop("web-1").await;
    // Nobody can take the reference back before the pod is gone.
    plane.stop("volume-claim").await;
    plane.scale("web", 2).await;
    machine.stop("web-1").await;
    plane.lacks("pod", "web-1").await;
    // A collector that has looked at everything has looked at this claim.
    for _ in 0..2 {
        plane.stop("coordinator").await;
        plane.begin("coordinator").await;
    }
    plane.waits_for("web", "volume-claim does not answer").await;
    assert_eq!(
        (plane.owners("data-web-1").await, plane.uid("pvc", "data-web-1").await),
        ("Pod/web-1".into(), claims[0].clone())
    );
    plane.begin("volume-claim").await;
    plane.has_counts("web", "2/2/2/2/2").await;
    assert_eq!(
        (plane.owners("data-web-1").await, plane.uid("pvc", "data-web-1").await),
        (String::new(), claims[0].clone())
    );
    let said = plane.list("events").await;
    let told: Vec<_> = said.iter().filter(|event| event["involvedObject"]["kind"] == "PersistentVolumeClaim").collect();
    let why = "Delete Claim data-web-2: pod web-2 is gone, to which a scale-down had handed it";
    assert!(told.iter().any(|event| event["message"] == why), "{told:?}");
    assert!(
        told.iter().all(|event| event["involvedObject"]["uid"] != claims[0] || event["reason"] != "SuccessfulDelete")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn s_134_a_claim_that_waits_to_be_given_back_goes_when_it_is_not_wanted_after_all() {
    let mut plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 2, retaining("Retain", "Delete", &json!({})))]).await;
    plane.has_counts("web", "2/2/2/2/2").await;
    machine.eagerness(true, false);
    plane.scale("web", 1).await;
    machine.must_stop("web-1").await;
    plane.stop("volume-claim").await;
    plane.scale("web", 2).await;
    machine.stop("web-1").await;
    plane.lacks("pod", "web-1").await;
    assert_eq!(plane.owners("data-web-1").await, "Pod/web-1");
    plane.scale("web", 1).await;
    goes(&plane, "data-web-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_136_a_changed_policy_does_not_reach_claims_that_were_left_over() {
    for profile in BOTH {
        let plane = Plane::start_as(profile).await;
        let _machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 3, retaining("Retain", "Retain", &json!({})))]).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        plane.scale("web", 1).await;
        plane.has_pods(&["web-0"]).await;
        plane.apply(&[set("web", 1, retaining("Delete", "Delete", &json!({})))]).await;
        plane.has_owners("data-web-0", "StatefulSet/web").await;
        assert_eq!([plane.owners("data-web-1").await, plane.owners("data-web-2").await], ["", ""]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_138_a_raised_start_collects_the_claims_of_the_lowest_ordinals() {
    for profile in BOTH {
        let plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 3, retaining("Retain", "Delete", &json!({})))]).await;
        plane.has_counts("web", "3/3/3/3/3").await;
        machine.eagerness(false, false);
        let raised = json!({ "ordinals": { "start": 2 } });
        plane.apply(&[set("web", 3, retaining("Retain", "Delete", &raised))]).await;
        for name in ["web-3", "web-4"] {
            machine.has(name).await;
            assert_eq!([plane.owners("data-web-0").await, plane.owners("data-web-1").await], ["", ""]);
            assert!(machine.stopped().is_empty());
            machine.ready(name).await;
        }
        plane.has_owners("data-web-1", "Pod/web-1").await;
        plane.has_owners("data-web-0", "Pod/web-0").await;
        machine.must_stop("web-1").await;
        plane.has_counts("web", "5/5/5/4/4").await;
        assert_eq!(machine.stopped(), ["web-1"]);
        machine.stop("web-1").await;
        plane.lacks("pvc", "data-web-1").await;
        machine.must_stop("web-0").await;
        assert_eq!(plane.owners("data-web-0").await, "Pod/web-0");
        machine.stop("web-0").await;
        plane.lacks("pvc", "data-web-0").await;
        plane.has_counts("web", "3/3/3/3/3").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_138_under_parallel_all_of_it_happens_at_once() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let parallel = json!({ "podManagementPolicy": "Parallel" });
    plane.apply(&[set("web", 3, retaining("Retain", "Delete", &parallel))]).await;
    plane.has_counts("web", "3/3/3/3/3").await;
    machine.eagerness(false, false);
    let raised = json!({ "podManagementPolicy": "Parallel", "ordinals": { "start": 2 } });
    plane.apply(&[set("web", 3, retaining("Retain", "Delete", &raised))]).await;
    for name in ["web-3", "web-4"] {
        machine.has(name).await;
    }
    for name in ["web-0", "web-1"] {
        machine.must_stop(name).await;
        assert_eq!(plane.owners(&format!("data-{name}")).await, format!("Pod/{name}"));
        machine.stop(name).await;
        plane.lacks("pvc", &format!("data-{name}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_147_a_claim_takes_the_place_of_a_volume_of_its_name() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let mut web = set("web", 1, crate::with_claims());
    web["spec"]["template"]["spec"]["volumes"] =
        json!([{ "name": "data", "emptyDir": {} }, { "name": "scratch", "emptyDir": {} }]);
    plane.apply(&[web]).await;
    plane.complete("web", 1).await;
    let pod = machine.has("web-0").await;
    let expected = json!([
        { "name": "data", "persistentVolumeClaim": { "claimName": "data-web-0" } },
        { "name": "scratch", "emptyDir": {} },
    ]);
    assert_eq!(pod["spec"]["volumes"], expected);
}

/// A claim that goes and cannot go yet, and the machine that keeps it.
pub(crate) async fn claim_that_goes(plane: &Plane, claim: &str) -> Machine {
    let machine = Machine::eager(plane).await;
    let held = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": claim },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } },
    });
    plane.apply(&[held, user_of(claim)]).await;
    machine.has("user").await;
    plane.delete("pvc", claim, "").await.unwrap();
    machine
}

#[tokio::test(flavor = "multi_thread")]
async fn s_135_what_a_scale_down_that_is_held_up_has_handed_over_is_kept_as_soon_as_the_policy_says_so() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 3, retaining("Retain", "Delete", &json!({})))]).await;
    plane.has_counts("web", "3/3/3/3/3").await;
    machine.eagerness(true, false);
    plane.scale("web", 2).await;
    machine.must_stop("web-2").await;
    plane.has_owners("data-web-2", "Pod/web-2").await;
    machine.report("web-0", "Running", false).await.unwrap();
    plane.apply(&[set("web", 2, retaining("Retain", "Retain", &json!({})))]).await;
    plane.has_owners("data-web-2", "").await;
    plane.delete("sts", "web", "foreground").await.unwrap();
    for name in ["web-0", "web-1"] {
        machine.must_stop(name).await;
        machine.stop(name).await;
    }
    machine.stop("web-2").await;
    plane.lacks("sts", "web").await;
    assert_eq!(plane.list("pvc").await.len(), 3);
}

const FAILED: &str = "FailedCreate: Create Pod web-0 in StatefulSet web failed error: pvc data-web-0 is being deleted";

#[tokio::test(flavor = "multi_thread")]
async fn s_213_a_claim_that_is_gone_wakes_its_set() {
    let plane = Plane::start().await;
    let machine = claim_that_goes(&plane, "data-web-0").await;
    plane.apply(&[set("web", 2, crate::with_claims())]).await;
    plane.waits_for("web", "claim data-web-0, which is being deleted").await;
    let said = plane.has_said("web", FAILED).await;
    let revision = plane.revision().await;
    // Passes that change nothing say nothing again.
    for round in ["one", "two", "three"] {
        plane.edit("sts", "web", |web| web["metadata"]["labels"] = json!({ "round": round })).await;
        plane.apply(&[set("probe", 0, json!({ "serviceName": "probe" }))]).await;
        plane.complete("probe", 0).await;
        plane.delete("sts", "probe", "").await.unwrap();
        plane.lacks("sts", "probe").await;
    }
    assert_eq!((plane.has_said("web", FAILED).await, said), (1, 1), "since revision {revision}");
    assert_eq!(plane.pods().await, ["user"]);
    plane.delete("pod", "user", "").await.unwrap();
    plane.complete("web", 2).await;
    drop(machine);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_213_in_kubernetes_the_pass_fails_and_is_repeated() {
    let plane = Plane::start_as(Profile::Kubernetes).await;
    let machine = claim_that_goes(&plane, "data-web-0").await;
    plane.apply(&[set("web", 2, crate::with_claims())]).await;
    support::until("it failed again and again", || async {
        let said = plane.has_said("web", FAILED).await;
        if said >= 3 { Ok(()) } else { Err(format!("{said}")) }
    })
    .await;
    assert_eq!((plane.pods().await, plane.counts("web").await), (vec!["user".to_owned()], "0/0/0/0/0".to_owned()));
    plane.delete("pod", "user", "").await.unwrap();
    plane.has_counts("web", "2/2/2/2/2").await;
    drop(machine);
}

/// Returns when the newest decision about a set waits first of all for this.
async fn waits_first_for(plane: &Plane, ordinal: u32, reason: &serde_json::Value) {
    support::until("the last decision says why", || async {
        let decisions = plane.list("decisions").await;
        let first = &decisions.last().ok_or("there is none")?["waits"][0];
        let expected = json!({ "ordinal": ordinal, "reason": reason });
        if *first == expected { Ok(()) } else { Err(first.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_216_a_claim_that_is_in_the_way_is_the_first_reason() {
    let plane = Plane::start().await;
    let machine = claim_that_goes(&plane, "data-web-0").await;
    plane.apply(&[set("web", 3, retaining("Retain", "Delete", &json!({})))]).await;
    waits_first_for(&plane, 0, &json!({ "ClaimTerminating": { "claim": "data-web-0" } })).await;
    plane.delete("pod", "user", "").await.unwrap();
    plane.complete("web", 3).await;
    // A claim that belongs to the pod before, and is held until it may be collected.
    plane.lacks("pod", "user").await;
    plane.apply(&[user_of("data-web-2")]).await;
    machine.has("user").await;
    plane.scale("web", 2).await;
    plane.complete("web", 2).await;
    goes(&plane, "data-web-2").await;
    plane.scale("web", 3).await;
    waits_first_for(&plane, 2, &json!({ "ClaimStale": { "claim": "data-web-2" } })).await;
    let stale = "FailedCreate: Create Pod web-2 in StatefulSet web failed error: pvc data-web-2 of an earlier pod";
    assert_eq!(plane.has_said("web", stale).await, 1);
    assert!(plane.get("pod", "web-2").await.is_none());
    let claim = plane.uid("pvc", "data-web-2").await;
    plane.delete("pod", "user", "").await.unwrap();
    plane.complete("web", 3).await;
    assert_ne!(plane.uid("pvc", "data-web-2").await, claim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_136_a_claim_that_the_policy_kept_is_not_reached_by_a_later_one() {
    let mut plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 2, retaining("Retain", "Delete", &json!({})))]).await;
    plane.has_counts("web", "2/2/2/2/2").await;
    let kept = plane.uid("pvc", "data-web-1").await;
    machine.eagerness(true, false);
    plane.scale("web", 1).await;
    machine.must_stop("web-1").await;
    assert_eq!(plane.owners("data-web-1").await, "Pod/web-1");
    // Nobody takes the reference back before the pod is gone.
    plane.stop("volume-claim").await;
    plane.apply(&[set("web", 1, retaining("Retain", "Retain", &json!({})))]).await;
    machine.stop("web-1").await;
    plane.lacks("pod", "web-1").await;
    support::until("the claim is nobody's", || async {
        let owners = plane.owners("data-web-1").await;
        if owners.is_empty() { Ok(()) } else { Err(owners) }
    })
    .await;
    plane.begin("volume-claim").await;
    plane.apply(&[set("web", 1, retaining("Retain", "Delete", &json!({})))]).await;
    plane.has_counts("web", "1/1/1/1/1").await;
    // A collector that has looked at everything has looked at this claim.
    for _ in 0..2 {
        plane.stop("coordinator").await;
        plane.begin("coordinator").await;
    }
    let claim = plane.get("pvc", "data-web-1").await.expect("it is kept");
    assert_eq!(
        (claim["metadata"]["uid"].as_str(), &claim["metadata"]["deletionTimestamp"]),
        (Some(&*kept), &json!(null))
    );
}
