//! Progress deadlines: what is told when one passes, and what the set does about it.

use std::time::Duration;

use api::manifest::Kind;
use serde_json::{Value, json};
use support::until;

use crate::levels::pod;
use crate::plane::{condition, text};
use crate::progress::{has_condition, own};
use crate::retention::claim_that_goes;
use crate::{Machine, Plane, set, with_claims};

/// The set with another image.
fn with_image(mut set: Value, image: &str) -> Value {
    set["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    set
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_misses_its_deadline_is_told_with_its_cause() {
    let plane = Plane::start().await;
    let machine = Machine::join(&plane).await;
    plane.apply(&[own(2, json!({ "progressDeadlineSeconds": 1 }))]).await;
    machine.report("web-0", "Running", false).await.unwrap();
    // On a slow machine the deadline may pass before the report is there; then the cause is known a little later.
    let set = has_condition(&plane, "Stuck", "True", "Readiness").await;
    let progressing = condition(&set, "Progressing").expect("always there");
    assert_eq!((text(progressing, "/status"), text(progressing, "/reason")), ("False", "ProgressDeadlineExceeded"));
    let message = text(condition(&set, "Stuck").expect("it is stuck"), "/message");
    assert!(message.starts_with("web-0 has not been available since 20"), "{message}");
    assert!(message.contains(": it runs and is not ready"), "{message}");
    machine.ready("web-0").await;
    machine.ready("web-1").await;
    plane.complete("web", 2).await;
    let set = has_condition(&plane, "Stuck", "False", "").await;
    assert_eq!(condition(&set, "Progressing").expect("always there")["status"], "True");
}

/// Lets ten minutes and more pass, and has the set looked at.
async fn deadline_passes(plane: &Plane) {
    plane.clock().forward(Duration::from_secs(631));
    let seen = plane.revision().await.to_string();
    plane.edit("sts", "web", |web| web["metadata"]["labels"] = json!({ "seen": seen })).await;
}

/// Returns the message of a set that is stuck for this class of cause.
async fn stuck_for(plane: &Plane, cause: &str) -> String {
    let set = has_condition(plane, "Stuck", "True", cause).await;
    let progressing = condition(&set, "Progressing").expect("always there");
    assert_eq!(text(progressing, "/reason"), "ProgressDeadlineExceeded");
    let message = text(progressing, "/message").to_owned();
    assert_eq!(text(condition(&set, "Stuck").expect("it is stuck"), "/message"), message);
    message
}

/// Returns when the set is complete, and checks that nothing is left of its trouble.
async fn recovers(plane: &Plane, replicas: u64) {
    plane.complete("web", replicas).await;
    let set = has_condition(plane, "Stuck", "False", "").await;
    assert_eq!(set["status"]["outages"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_was_paused_has_all_its_time_when_it_is_resumed() {
    let plane = Plane::start().await;
    let machine = Machine::join(&plane).await;
    let web = own(1, json!({ "progressDeadlineSeconds": 600 }));
    plane.apply(std::slice::from_ref(&web)).await;
    machine.ready("web-0").await;
    plane.complete("web", 1).await;
    machine.eagerness(false, true);
    let before = plane.uid("pod", "web-0").await;
    plane.apply(&[with_image(web, "busybox:2")]).await;
    let pod = plane.successor("web-0", &before).await;
    machine.runs("web-0", &pod).await;
    machine.report("web-0", "Running", false).await.unwrap();
    let paused = async |paused: bool| plane.edit("sts", "web", |web| web["spec"]["paused"] = paused.into()).await;
    paused(true).await;
    has_condition(&plane, "Progressing", "Unknown", "Paused").await;
    deadline_passes(&plane).await;
    paused(false).await;
    let set = has_condition(&plane, "Progressing", "True", "Waiting").await;
    assert!(condition(&set, "Stuck").is_none(), "{}", set["status"]);
    assert!(set["status"]["pausedAt"].is_null() && set["status"]["resumedAt"].is_string(), "{}", set["status"]);
    deadline_passes(&plane).await;
    stuck_for(&plane, "Readiness").await;
    machine.ready("web-0").await;
    recovers(&plane, 1).await;
    let status = plane.get("sts", "web").await.unwrap()["status"].clone();
    assert!(status["resumedAt"].is_null(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinal_that_waits_for_its_claim_has_its_time_too() {
    let plane = Plane::start().await;
    let machine = claim_that_goes(&plane, "data-web-0").await;
    plane.apply(&[own(2, with_claims())]).await;
    plane.waits_for("web", "claim data-web-0, which is being deleted").await;
    let outages = plane.get("sts", "web").await.unwrap()["status"]["outages"].clone();
    assert_eq!((outages.as_array().map(Vec::len), &outages[0]["ordinal"]), (Some(1), &json!(0)));
    deadline_passes(&plane).await;
    let message = stuck_for(&plane, "Volume").await;
    assert!(message.starts_with("web-0 has not been available since 20"), "{message}");
    // The other ordinal waits for this one, and has no time of its own.
    assert!(message.ends_with(": waiting for claim data-web-0, which is being deleted"), "{message}");
    // Passes that change nothing write nothing.
    let told = plane.get("sts", "web").await.unwrap()["status"].clone();
    assert_eq!(told["outages"], outages);
    deadline_passes(&plane).await;
    plane.apply(&[set("probe", 0, json!({ "serviceName": "probe" }))]).await;
    plane.complete("probe", 0).await;
    assert_eq!(plane.get("sts", "web").await.unwrap()["status"], told);
    plane.delete("pod", "user", "").await.unwrap();
    recovers(&plane, 2).await;
    drop(machine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_told_after_the_deadline() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[pod("web-1", &json!({ "app": "other" }))]).await;
    plane.apply(&[own(2, json!({}))]).await;
    plane.waits_for("web", "pod web-1 with uid").await;
    deadline_passes(&plane).await;
    let message = stuck_for(&plane, "Name").await;
    assert!(message.ends_with(" exists and does not belong to this set"), "{message}");
    plane.delete("pod", "web-1", "").await.unwrap();
    recovers(&plane, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_does_not_stop_is_told_after_the_deadline() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[own(3, json!({}))]).await;
    plane.complete("web", 3).await;
    machine.eagerness(true, false);
    plane.delete("pod", "web-1", "").await.unwrap();
    plane.waits_for("web", "pod 1 to terminate").await;
    deadline_passes(&plane).await;
    let message = stuck_for(&plane, "Termination").await;
    assert!(message.starts_with("web-1 ") && message.ends_with(": it does not stop"), "{message}");
    machine.stop("web-1").await;
    recovers(&plane, 3).await;
    // One that nobody wants any more holds the set up as well.
    plane.scale("web", 2).await;
    machine.must_stop("web-2").await;
    deadline_passes(&plane).await;
    let message = stuck_for(&plane, "Termination").await;
    assert!(message.starts_with("web-2 should have stopped by 20"), "{message}");
    machine.stop("web-2").await;
    recovers(&plane, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pod_is_no_new_time() {
    let plane = Plane::start().await;
    let machine = Machine::join(&plane).await;
    plane.apply(&[own(1, json!({}))]).await;
    let mut uid = text(&machine.has("web-0").await, "/metadata/uid").to_owned();
    for _ in 0..3 {
        plane.clock().forward(Duration::from_secs(250));
        plane.delete("pod", "web-0", "").await.unwrap();
        machine.must_stop("web-0").await;
        machine.stop("web-0").await;
        uid = plane.successor("web-0", &uid).await;
        machine.runs("web-0", &uid).await;
    }
    let message = stuck_for(&plane, "Unknown").await;
    assert!(message.starts_with("web-0 has not been available since 20"), "{message}");
    machine.ready("web-0").await;
    recovers(&plane, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_misses_its_deadline_goes_back_where_the_set_wants_that() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let policy = json!({ "progressDeadlineSeconds": 1, "progressDeadlinePolicy": "Revert" });
    let good = own(3, policy);
    plane.apply(std::slice::from_ref(&good)).await;
    plane.complete("web", 3).await;
    let kept = [plane.uid("pod", "web-0").await, plane.uid("pod", "web-1").await];
    let revision = text(&plane.get("sts", "web").await.unwrap(), "/status/currentRevision").to_owned();
    machine.eagerness(false, true);
    plane.apply(&[with_image(good, "bad")]).await;
    until("the update is taken back", || async {
        let set = plane.get("sts", "web").await.unwrap();
        let image = text(&set, "/spec/template/spec/containers/0/image").to_owned();
        if image == "busybox" && set["status"]["updateRevision"] == revision { Ok(()) } else { Err(set.to_string()) }
    })
    .await;
    machine.eagerness(true, true);
    until("the good pod is ready", || async {
        machine.report("web-2", "Running", true).await.map_err(|status| status.to_string())?;
        let set = plane.get("sts", "web").await.unwrap();
        if set["status"]["readyReplicas"] == 3 { Ok(()) } else { Err(set["status"].to_string()) }
    })
    .await;
    plane.complete("web", 3).await;
    assert_eq!([plane.uid("pod", "web-0").await, plane.uid("pod", "web-1").await], kept);
    let events = plane.list(Kind::Event.plural()).await;
    let told = |reason: &str| events.iter().any(|event| event["reason"] == reason);
    assert!(told("ProgressDeadlineExceeded"), "{events:?}");
    let set = plane.get("sts", "web").await.unwrap();
    assert!(condition(&set, "Healing").is_some(), "the broken pod of the bad revision was healed: {set}");
    assert_eq!(set["metadata"]["generation"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_set_holds_its_update_and_says_so() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let good = own(2, json!({}));
    plane.apply(std::slice::from_ref(&good)).await;
    plane.complete("web", 2).await;
    let mut paused = with_image(good.clone(), "other");
    paused["spec"]["paused"] = true.into();
    plane.apply(&[paused]).await;
    let set = has_condition(&plane, "Progressing", "Unknown", "Paused").await;
    assert_eq!(set["status"]["updatedReplicas"], 0);
    let pods = plane.list("pods").await;
    assert!(pods.iter().all(|pod| pod.pointer("/metadata/deletionTimestamp").is_none()));
    let mut resumed = with_image(good, "other");
    resumed["spec"]["paused"] = false.into();
    plane.apply(&[resumed]).await;
    plane.complete("web", 2).await;
}
