//! Pods that cannot be created, or not be put right: what goes on without them, and in Kubernetes does not.

use domain::Profile;
use serde_json::json;
use support::until;

use crate::levels::pod;
use crate::retention::claim_that_goes;
use crate::{Machine, Plane, set, with_claims};

/// Returns when something was said of a set at least so often.
async fn has_said_often(plane: &Plane, set: &str, words: &str, times: u64) {
    until(&format!("{words} was said {times} times"), || async {
        let said = plane.has_said(set, words).await;
        if said >= times { Ok(()) } else { Err(said.to_string()) }
    })
    .await;
}

/// Names of the claims, sorted.
async fn claims(plane: &Plane) -> Vec<String> {
    let claims = plane.list("pvc").await;
    claims.iter().filter_map(|claim| Some(claim["metadata"]["name"].as_str()?.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s_12_a_refused_creation_leaves_nothing_half_made_and_is_tried_again() {
    // Nobody sets a quota here; who can refuse is a service that takes part in the creation.
    for policy in ["OrderedReady", "Parallel"] {
        let mut plane = Plane::start().await;
        let _machine = Machine::eager(&plane).await;
        plane.stop("identity-dns").await;
        let mut more = with_claims();
        more["podManagementPolicy"] = policy.into();
        plane.apply(&[set("web", 2, more)]).await;
        plane.waits_for("web", "identity-dns does not answer").await;
        assert_eq!((plane.pods().await.len(), plane.list("pvc").await.len()), (0, 0), "no claim without its pod");
        assert_eq!(plane.get("sts", "web").await.unwrap()["status"]["replicas"], 0);
        // Nothing changes in the store but what a retry does.
        plane.begin("identity-dns").await;
        plane.complete("web", 2).await;
        let said = plane.said_of("web").await;
        let created = said.iter().filter(|one| one.starts_with("1 SuccessfulCreate: ")).count();
        assert_eq!((created, said.len()), (4, 4), "two claims, two pods: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_13_one_pod_that_cannot_be_created_holds_up_no_other_of_a_parallel_set() {
    // Kubernetes does not attempt the pods of later batches until this one is allowed.
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[pod("web-1", &json!({ "app": "other" }))]).await;
    plane.apply(&[set("web", 8, json!({ "podManagementPolicy": "Parallel" }))]).await;
    plane.has_counts("web", "7/7/7/7/7").await;
    plane.waits_for("web", "pod web-1 with uid").await;
    assert_eq!(plane.pods().await.len(), 8);
    plane.delete("pod", "web-1", "").await.unwrap();
    plane.complete("web", 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_12_in_kubernetes_a_refused_pod_leaves_its_claim_and_is_tried_again() {
    let plane = Plane::start_as(Profile::Kubernetes).await;
    let _machine = Machine::eager(&plane).await;
    // Its pods would have labels that are too long.
    let long = "w".repeat(62);
    let first = format!("{long}-0");
    let mut web = set(&long, 2, with_claims());
    web["spec"]["serviceName"] = "".into();
    plane.apply(&[web]).await;
    let failed =
        format!("FailedCreate: Create Pod {first} in StatefulSet {long} failed error: Pod \"{first}\" is invalid: ");
    has_said_often(&plane, &long, &failed, 2).await;
    let before = plane.get("sts", &long).await.unwrap();
    let times = plane.has_said(&long, &failed).await;
    has_said_often(&plane, &long, &failed, times + 2).await;
    assert_eq!(plane.get("sts", &long).await.unwrap(), before, "a pass that fails again writes no status");
    assert_eq!(plane.counts(&long).await, "0/0/0/0/0");
    assert_eq!((plane.pods().await, claims(&plane).await), (vec![], vec![format!("data-{first}")]));
    let said = plane.said_of(&long).await;
    let created = format!("1 SuccessfulCreate: Create Claim data-{first} Pod {first} in StatefulSet {long} success");
    assert!(said.len() == 2 && said.contains(&created), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s_12_in_kubernetes_a_pod_whose_name_is_taken_is_created_when_it_is_free() {
    let plane = Plane::start_as(Profile::Kubernetes).await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[pod("web-0", &json!({ "app": "other" }))]).await;
    plane.apply(&[set("web", 2, with_claims())]).await;
    plane.has_said("web", "Create Claim data-web-0 Pod web-0").await;
    plane.has_counts("web", "0/0/0/0/0").await;
    assert_eq!((plane.pods().await, claims(&plane).await), (vec!["web-0".to_owned()], vec!["data-web-0".to_owned()]));
    plane.delete("pod", "web-0", "").await.unwrap();
    plane.has_counts("web", "2/2/2/2/2").await;
    let said = plane.said_of("web").await;
    assert!(said.len() == 4 && said.iter().all(|one| one.starts_with("1 SuccessfulCreate")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s_13_in_kubernetes_the_batch_after_a_refused_pod_is_not_begun() {
    let plane = Plane::start_as(Profile::Kubernetes).await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[pod("web-1", &json!({ "app": "other" }))]).await;
    let mut more = with_claims();
    more["podManagementPolicy"] = "Parallel".into();
    plane.apply(&[set("web", 8, more)]).await;
    plane.has_counts("web", "2/2/2/2/2").await;
    plane.has_pods(&["web-0", "web-1", "web-2"]).await;
    assert_eq!(claims(&plane).await, ["data-web-0", "data-web-1", "data-web-2"]);
    // Neither does a later pass begin it, nor come to what is out of range.
    plane.scale("web", 2).await;
    plane.has_counts("web", "2/2/2/2/2").await;
    plane.has_pods(&["web-0", "web-1", "web-2"]).await;
    plane.scale("web", 8).await;
    plane.delete("pod", "web-1", "").await.unwrap();
    plane.has_counts("web", "8/8/8/8/8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_139_in_kubernetes_a_claim_that_goes_ends_a_parallel_pass_after_its_batch() {
    let plane = Plane::start_as(Profile::Kubernetes).await;
    let _machine = claim_that_goes(&plane, "data-web-1").await;
    let mut more = with_claims();
    more["podManagementPolicy"] = "Parallel".into();
    plane.apply(&[set("web", 5, more)]).await;
    let failed = "FailedCreate: Create Pod web-1 in StatefulSet web failed error: pvc data-web-1 is being deleted";
    has_said_often(&plane, "web", failed, 3).await;
    plane.has_counts("web", "2/2/2/2/2").await;
    assert_eq!(plane.pods().await, ["user", "web-0", "web-2"]);
    plane.delete("pod", "user", "").await.unwrap();
    plane.has_counts("web", "5/5/5/5/5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_taken_over_without_its_claims_is_told_and_in_kubernetes_holds_up_its_set() {
    for profile in [Profile::Kubernetes, Profile::Setkeeper] {
        let plane = Plane::start_as(profile).await;
        let _machine = Machine::eager(&plane).await;
        plane.apply(&[pod("web-0", &json!({ "app": "web" }))]).await;
        // Else the update replaces it, which is of no revision, before anybody deletes it.
        let mut more = with_claims();
        more["updateStrategy"] = json!({ "type": "OnDelete" });
        plane.apply(&[set("web", 2, more)]).await;
        if profile == Profile::Kubernetes {
            let failed = "FailedUpdate: Update Pod web-0 in StatefulSet web failed error: Pod \"web-0\" is invalid";
            has_said_often(&plane, "web", failed, 3).await;
            assert_eq!((plane.pods().await, claims(&plane).await), (vec!["web-0".into()], vec!["data-web-0".into()]));
        } else {
            let told = "ClaimsUnused: pod web-0 does not use the claims of its ordinal; delete it";
            assert_eq!(plane.has_said("web", told).await, 1);
        }
        plane.delete("pod", "web-0", "").await.unwrap();
        plane.has_counts("web", "2/2/2/2/2").await;
        assert_eq!(claims(&plane).await, ["data-web-0", "data-web-1"]);
    }
}
