//! Refusals, crashes, storms and stale views: nothing is half-made, nothing is done twice.

use std::time::Duration;

use api::proto::coordinator::v1::ListRequest;
use domain::Profile;
use serde_json::{Value, json};
use support::until;

use crate::levels::retaining;
use crate::plane::text;
use crate::{Machine, Plane, set, with_claims};

/// Crashes in one test: more than there are kinds of commits in the life of a pod.
const CRASHES: usize = 16;

/// Returns after the next commit, at once: whatever follows it is under way.
async fn next_commit(plane: &Plane) {
    let before = plane.revision().await;
    let commit = async {
        while plane.revision().await == before {
            tokio::task::yield_now().await;
        }
    };
    // A set that is at rest commits nothing.
    let _at_rest = tokio::time::timeout(Duration::from_millis(300), commit).await;
}

async fn crash(plane: &mut Plane) {
    plane.kill("coordinator").await;
    plane.begin("coordinator").await;
    // The first call may still go into the connection of the one that died.
    let plane = &*plane;
    until("the API answers again", || async {
        let request = ListRequest { kind: "namespaces".to_owned(), ..ListRequest::default() };
        plane.objects().list(request).await.map(drop).map_err(|status| status.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_195_a_coordinator_that_dies_anywhere_makes_one_claim_and_one_pod_of_each() {
    // A claim and its pod are one commit, so there is no moment between them.
    for profile in [Profile::Kubernetes, Profile::Setkeeper] {
        let mut plane = Plane::start_as(profile).await;
        let machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 4, with_claims())]).await;
        for _ in 0..CRASHES {
            next_commit(&plane).await;
            crash(&mut plane).await;
            // Pods first: passes go on meanwhile, and a claim is never later than its pod.
            let wanted: Vec<String> = plane.pods().await.iter().map(|pod| format!("data-{pod}")).collect();
            let claims = plane.list("pvc").await;
            let claims: Vec<&str> = claims.iter().map(|claim| text(claim, "/metadata/name")).collect();
            assert!(wanted.iter().all(|claim| claims.contains(&claim.as_str())), "{wanted:?} {claims:?}");
        }
        plane.has_counts("web", "4/4/4/4/4").await;
        assert_eq!(machine.ran(), ["web-0", "web-1", "web-2", "web-3"], "each in one incarnation");
        assert_eq!((plane.list("pvc").await.len(), plane.list("pv").await.len()), (4, 4));
        let said = plane.said_of("web").await;
        let created: Vec<_> = said.iter().filter(|one| one.contains("SuccessfulCreate")).collect();
        assert_eq!(created.len(), 8, "{said:?}");
        assert!(created.iter().all(|one| one.starts_with("1 ")), "nothing was done twice: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_196_s_197_a_coordinator_that_dies_while_it_scales_down_or_updates_goes_on() {
    // All claims of a scale-down change hands in one commit, so there is no moment between them.
    let mut plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let web = |replicas, image: &str| {
        let mut web = set("web", replicas, retaining("Retain", "Delete", &json!({})));
        web["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        web
    };
    plane.apply(&[web(5, "busybox")]).await;
    plane.complete("web", 5).await;
    let kept = [plane.uid("pvc", "data-web-0").await, plane.uid("pvc", "data-web-1").await];
    machine.eagerness(true, false);
    plane.scale("web", 2).await;
    machine.must_stop("web-4").await;
    for ordinal in [4, 3, 2] {
        crash(&mut plane).await;
        for claim in 2..=ordinal {
            assert_eq!(plane.owners(&format!("data-web-{claim}")).await, format!("Pod/web-{claim}"));
        }
        machine.must_stop(&format!("web-{ordinal}")).await;
        machine.stop(&format!("web-{ordinal}")).await;
        plane.lacks("pvc", &format!("data-web-{ordinal}")).await;
    }
    plane.complete("web", 2).await;
    assert_eq!([plane.owners("data-web-0").await, plane.owners("data-web-1").await], ["", ""]);
    // And an update, with a death after each deletion: no other pod goes before this one is back.
    let told = machine.told().len();
    plane.apply(&[web(2, "busybox:2")]).await;
    for name in ["web-1", "web-0"] {
        let old = plane.uid("pod", name).await;
        until("it must stop", || async {
            let stop = crate::machine::Told::Stop(name.to_owned(), old.clone());
            if machine.told()[told..].contains(&stop) { Ok(()) } else { Err(format!("{:?}", &machine.told()[told..])) }
        })
        .await;
        crash(&mut plane).await;
        next_commit(&plane).await;
        let going = plane.list("pods").await;
        let going = going.iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_some()).count();
        assert_eq!(going, 1);
        machine.stop(name).await;
        plane.successor(name, &old).await;
    }
    plane.complete("web", 2).await;
    assert_eq!([plane.uid("pvc", "data-web-0").await, plane.uid("pvc", "data-web-1").await], kept);
}

/// Changes a label of the set, unless somebody else changes the set at the same time.
async fn touch(plane: &Plane, round: usize) {
    let mut web = plane.get("sts", "web").await.unwrap();
    web["metadata"]["labels"] = json!({ "round": round.to_string() });
    match plane.try_apply(&[web]).await {
        Ok(_) => {}
        Err(status) => assert_eq!(status.code(), tonic::Code::Aborted, "{status}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_199_s_200_s_203_a_set_that_changes_during_its_passes_is_updated_once() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let mut web = set("web", 3, json!({}));
    plane.apply(std::slice::from_ref(&web)).await;
    plane.complete("web", 3).await;
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2".into();
    plane.apply(&[web]).await;
    let touches = async {
        let mut observed = 0;
        for round in 0..60 {
            next_commit(&plane).await;
            touch(&plane, round).await;
            let now = plane.get("sts", "web").await.unwrap()["status"]["observedGeneration"].as_i64().unwrap();
            assert!(now >= observed, "a status of an older generation came later");
            observed = now;
        }
    };
    tokio::join!(touches, plane.complete("web", 3));
    plane.complete("web", 3).await;
    assert_eq!(machine.stopped(), ["web-2", "web-1", "web-0"]);
    let mut ran = machine.ran();
    ran.sort();
    assert_eq!(ran, ["web-0", "web-0", "web-1", "web-1", "web-2", "web-2"], "each was replaced once");
    for ordinal in 0..3 {
        assert_eq!(plane.has_said("web", &format!("SuccessfulDelete: Delete Pod web-{ordinal} ")).await, 1);
        assert_eq!(plane.has_said("web", &format!("SuccessfulCreate: Create Pod web-{ordinal} ")).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_202_a_storm_about_one_set_delays_no_other() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("noisy", 1, json!({}))]).await;
    plane.complete("noisy", 1).await;
    let mut reports = 0;
    let storm = async {
        loop {
            machine.report("noisy-0", "Running", reports % 2 == 0).await.unwrap();
            reports += 1;
        }
    };
    let work = async {
        plane.apply(&[set("web", 5, with_claims())]).await;
        plane.complete("web", 5).await;
    };
    tokio::select! {
        () = work => {}
        () = storm => {}
    }
    assert!(reports > 20, "it was a storm: {reports}");
    machine.report("noisy-0", "Running", true).await.unwrap();
    plane.complete("noisy", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_216_the_first_reason_is_the_one_that_matters() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let mut web = set("web", 3, json!({ "updateStrategy": { "rollingUpdate": { "partition": 2 } } }));
    plane.apply(std::slice::from_ref(&web)).await;
    plane.complete("web", 3).await;
    machine.eagerness(false, true);
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2".into();
    let old = plane.uid("pod", "web-2").await;
    plane.apply(&[web]).await;
    let new = plane.successor("web-2", &old).await;
    machine.runs("web-2", &new).await;
    machine.report("web-2", "Running", false).await.unwrap();
    let first = |waits: &Value| (waits[0]["ordinal"].clone(), waits[0]["reason"].clone());
    until("the last decision says why", || async {
        let decisions = plane.list("decisions").await;
        let waits = &decisions.last().ok_or("there is none")?["waits"];
        let expected = (json!(2), json!({ "NotReady": { "ordinal": 2 } }));
        if first(waits) == expected { Ok(()) } else { Err(waits.to_string()) }
    })
    .await;
    plane.waits_for("web", "\"waiting for pod 2 to become ready; held back by partition 2\"").await;
    machine.ready("web-2").await;
    plane.waits_for("web", "\"held back by partition 2\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_215_a_coordinator_that_dies_while_a_set_is_deleted_in_order_goes_on() {
    let mut plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 3, retaining("Delete", "Retain", &json!({})))]).await;
    plane.complete("web", 3).await;
    machine.eagerness(true, false);
    plane.delete("sts", "web", "").await.unwrap();
    for (ordinal, left) in [(2, &["web-0", "web-1", "web-2"][..]), (1, &["web-0", "web-1"]), (0, &["web-0"])] {
        machine.must_stop(&format!("web-{ordinal}")).await;
        crash(&mut plane).await;
        next_commit(&plane).await;
        plane.has_pods(left).await;
        let going = plane.list("pods").await;
        let going = going.iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_some()).count();
        assert_eq!(going, 1, "one after the other");
        assert_eq!(plane.list("pvc").await.len(), 3, "claims go with their set");
        machine.stop(&format!("web-{ordinal}")).await;
    }
    plane.lacks("sts", "web").await;
    for ordinal in 0..3 {
        plane.lacks("pvc", &format!("data-web-{ordinal}")).await;
    }
}
