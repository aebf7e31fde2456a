//! Progress deadlines: what is told when one passes, and what the set does about it.

use api::manifest::Kind;
use serde_json::{Value, json};
use support::until;

use crate::plane::{condition, text};
use crate::progress::{has_condition, own};
use crate::{Machine, Plane};

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
    let set = has_condition(&plane, "Progressing", "False", "ProgressDeadlineExceeded").await;
    let stuck = condition(&set, "Stuck").expect("it is stuck");
    assert_eq!((text(stuck, "/status"), text(stuck, "/reason")), ("True", "Readiness"));
    let message = text(stuck, "/message");
    assert!(message.starts_with("web-0 has not been available since 20"), "{message}");
    assert!(message.contains(": it runs and is not ready"), "{message}");
    machine.ready("web-0").await;
    machine.ready("web-1").await;
    plane.complete("web", 2).await;
    let set = has_condition(&plane, "Stuck", "False", "").await;
    assert_eq!(condition(&set, "Progressing").expect("always there")["status"], "True");
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
