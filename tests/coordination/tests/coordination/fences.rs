//! Machines that say nothing: their pods keep their places until somebody says how they know that nothing runs there.

use std::time::Duration;

use api::proto::coordinator::v1::node_service_client::NodeServiceClient;
use api::proto::coordinator::v1::system_service_client::SystemServiceClient;
use api::proto::coordinator::v1::{DrainRequest, FenceNodeRequest, FenceNodeResponse, WatchAssignmentsRequest};
use domain::fencing::SILENCE_MAX;
use serde_json::{Value, json};
use support::until;
use tonic::Status;

use crate::evictions::evict;
use crate::machine::{NODE, Told, register};
use crate::plane::{condition, lone_pod, service, text};
use crate::{Machine, Plane, reason, set, with_claims};

/// Comes after the other by name: whoever takes the first machine takes the wrong one.
const OTHER: &str = "tule";

async fn fence(plane: &Plane, name: &str, evidence: &str) -> Result<FenceNodeResponse, Status> {
    let request =
        FenceNodeRequest { name: name.to_owned(), evidence: evidence.to_owned(), ..FenceNodeRequest::default() };
    fence_as(plane, request).await
}

async fn fence_as(plane: &Plane, request: FenceNodeRequest) -> Result<FenceNodeResponse, Status> {
    let answer = SystemServiceClient::new(plane.channel()).fence_node(request).await;
    answer.map(tonic::Response::into_inner)
}

/// A machine falls silent, and long enough for everybody to have noticed.
async fn falls_silent(plane: &Plane, machine: Machine) {
    drop(machine);
    until("the machine has hung up", || async {
        match fence(plane, NODE, "a guess").await {
            Err(status) if status.message().contains("has been silent for") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    plane.clock().forward(SILENCE_MAX + Duration::from_secs(60));
}

/// Returns when a machine says this of its readiness.
async fn says(plane: &Plane, machine: &str, status: &str, reason: &str) -> Value {
    until(&format!("{machine} is {status}: {reason}"), || async {
        let node = plane.get("node", machine).await.ok_or("it is not there")?;
        let found = condition(&node, "Ready").map(|ready| (text(ready, "/status"), text(ready, "/reason")));
        if found == Some((status, reason)) { Ok(node) } else { Err(node["status"].to_string()) }
    })
    .await
}

/// Stops every pod, and the machines that answer; only the straw machines of these tests cannot be called.
async fn drains(plane: &Plane) {
    let drained = SystemServiceClient::new(plane.channel()).drain(DrainRequest {}).await;
    let mut drained = drained.unwrap().into_inner();
    let refused = loop {
        match drained.message().await {
            Ok(Some(_)) => {}
            Ok(None) => break String::new(),
            Err(status) => break status.message().to_owned(),
        }
    };
    assert!(refused.starts_with("machine \"tule\" cannot be reached"), "{refused}");
}

/// Returns when web-0 has no machine for a reason that contains these words.
async fn stays_unplaced(plane: &Plane, why: &str) {
    until(&format!("web-0 has no machine: {why}"), || async {
        let pod = plane.get("pod", "web-0").await.ok_or("it is not there")?;
        let words = condition(&pod, "PodScheduled").map(|scheduled| text(scheduled, "/message").to_owned());
        let words = words.unwrap_or_default();
        if words.contains(why) { Ok(()) } else { Err(words) }
    })
    .await;
}

/// Returns when the pod of a name is another one, with its machine and uid.
async fn moved(plane: &Plane, name: &str, old: &str) -> (String, String) {
    let uid = plane.successor(name, old).await;
    let pod = until(&format!("{name} has a machine"), || async {
        let pod = plane.get("pod", name).await.ok_or("it is not there")?;
        if text(&pod, "/spec/nodeName").is_empty() { Err(pod["status"].to_string()) } else { Ok(pod) }
    })
    .await;
    (text(&pod, "/spec/nodeName").to_owned(), uid)
}

#[tokio::test(flavor = "multi_thread")]
async fn s_158_b29_a_silent_machine_keeps_its_pods_until_it_is_fenced() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[service("web"), set("web", 2, json!({}))]).await;
    plane.complete("web", 2).await;
    let old = [plane.uid("pod", "web-0").await, plane.uid("pod", "web-1").await];
    falls_silent(&plane, machine).await;
    let other = Machine::named(&plane, OTHER, true).await;
    // Everybody is told; and nothing else happens, though there is a machine that could take them.
    plane.apply(&[json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "news" } })]).await;
    until("the set says that it does not know", || async {
        let web = plane.get("sts", "web").await.ok_or("it is not there")?;
        let words = condition(&web, "Available").map(|available| text(available, "/message").to_owned());
        let words = words.unwrap_or_default();
        let expected = "2 of 2 pods are available, as far as is known: machine straw has said nothing since";
        if words.starts_with(expected) { Ok(()) } else { Err(words) }
    })
    .await;
    plane.delete("pod", "web-1", "").await.unwrap();
    let node = says(&plane, NODE, "Unknown", "NodeStatusUnknown").await;
    assert!(text(condition(&node, "Ready").unwrap(), "/message").contains("setkeeper fence straw"), "{node}");
    plane.waits_for("web", "machine straw has said nothing since").await;
    let now = [plane.uid("pod", "web-0").await, plane.uid("pod", "web-1").await];
    assert_eq!((now, other.ran()), (old.clone(), Vec::<String>::new()));
    // Nobody knows whether it serves: it counts as if it did not.
    assert_eq!(reason(&evict(&plane, "pod", "web-0").await.unwrap_err()), "BUDGET_SPENT");
    // What is new goes where somebody answers.
    plane.apply(&[set("db", 1, with_claims())]).await;
    plane.complete("db", 1).await;
    assert_eq!(text(&plane.get("pod", "db-0").await.unwrap(), "/spec/nodeName"), OTHER);
    // Whoever knows says so.
    let fenced = fence(&plane, NODE, "powered off through its BMC").await.unwrap();
    assert_eq!(fenced.pods, 2);
    assert_eq!(moved(&plane, "web-0", &old[0]).await.0, OTHER);
    assert_eq!(moved(&plane, "web-1", &old[1]).await.0, OTHER);
    plane.complete("web", 2).await;
    // The way down passes by the machine that is no more.
    drains(&plane).await;
    let said = plane.list("events").await;
    let told = |event: &&Value| event["reason"] == "Fenced" && event["involvedObject"]["name"] == "web-0";
    let message = said.iter().find(told).map(|event| text(event, "/message").to_owned());
    assert_eq!(message.as_deref(), Some("machine straw is fenced, nothing runs there: powered off through its BMC"));
}

#[tokio::test(flavor = "multi_thread")]
async fn b29_a_machine_that_comes_back_does_not_get_its_released_pods_again() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, json!({})), lone_pod("alone")]).await;
    plane.complete("web", 1).await;
    machine.ready("alone").await;
    let old = [plane.uid("pod", "web-0").await, plane.uid("pod", "alone").await];
    falls_silent(&plane, machine).await;
    fence(&plane, NODE, "off").await.unwrap();
    until("the pod that belongs to no set has ended", || async {
        let pod = plane.get("pod", "alone").await.ok_or("it is not there")?;
        let status = [text(&pod, "/status/phase"), text(&pod, "/status/reason")];
        if status == ["Failed", "Fenced"] { Ok(()) } else { Err(pod["status"].to_string()) }
    })
    .await;
    // There is no other machine.
    let successor = plane.successor("web-0", &old[0]).await;
    stays_unplaced(&plane, "machine \"straw\" is fenced: off").await;
    let back = Machine::named(&plane, NODE, false).await;
    let node = says(&plane, NODE, "True", "NodeRegistered").await;
    assert_eq!((&node["spec"]["taints"], &node["spec"]["unschedulable"]), (&Value::Null, &Value::Null));
    back.runs("web-0", &successor).await;
    let told = back.told();
    assert!(!told.iter().any(|one| matches!(one, Told::Run(_, uid) if old.contains(uid))), "{told:?}");
    // What it has left of them it may report, and hears that they are gone.
    for (name, uid) in [("web-0", &old[0]), ("alone", &old[1])] {
        let refused = back.report_of(name, uid, NODE).await.unwrap_err();
        assert_eq!(reason(&refused), "POD_GONE", "{name}");
    }
    assert_eq!(plane.get("pod", "alone").await.unwrap()["status"]["phase"], "Failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn b29_a_volume_of_a_fenced_machine_stays_where_it_is() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, with_claims())]).await;
    plane.complete("web", 1).await;
    let (old, claim) = (plane.uid("pod", "web-0").await, plane.uid("pvc", "data-web-0").await);
    falls_silent(&plane, machine).await;
    let _other = Machine::named(&plane, OTHER, true).await;
    fence(&plane, NODE, "off").await.unwrap();
    plane.successor("web-0", &old).await;
    stays_unplaced(&plane, "cannot be reached from node").await;
    assert_eq!(plane.uid("pvc", "data-web-0").await, claim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_wants_evidence_and_a_machine_that_is_silent() {
    let plane = Plane::start().await;
    let machine = Machine::join(&plane).await;
    let refused = async |request: FenceNodeRequest| fence_as(&plane, request).await.unwrap_err();
    let request = |name: &str, evidence: &str| FenceNodeRequest {
        name: name.to_owned(),
        evidence: evidence.to_owned(),
        ..FenceNodeRequest::default()
    };
    let unknown = refused(request("nobody", "off")).await;
    assert_eq!((unknown.code(), unknown.message()), (tonic::Code::NotFound, "nodes \"nobody\" not found"));
    for evidence in ["", "  ", &"x".repeat(1001)] {
        assert_eq!(reason(&refused(request(NODE, evidence)).await), "INVALID_EVIDENCE", "{evidence}");
    }
    let alive = refused(request(NODE, "off")).await;
    assert_eq!(reason(&alive), "NODE_ANSWERS");
    assert!(alive.message().contains("answers: end its runtime first"), "{}", alive.message());
    falls_silent(&plane, machine).await;
    // It is back, and has not asked yet what it is to run.
    register(&service_kit::sized_client!(NodeServiceClient::new(plane.channel())), &plane, NODE).await;
    let back = refused(request(NODE, "off")).await;
    assert!(back.message().contains("has been silent for 0 s only"), "{}", back.message());
    plane.clock().forward(SILENCE_MAX);
    let other = FenceNodeRequest { uid: "another".to_owned(), ..request(NODE, "off") };
    assert_eq!(reason(&refused(other).await), "UID_MISMATCH");
    let uid = plane.uid("node", NODE).await;
    fence_as(&plane, FenceNodeRequest { uid, ..request(NODE, "off") }).await.unwrap();
    let watch = WatchAssignmentsRequest { node: NODE.to_owned() };
    let mut machine = service_kit::sized_client!(NodeServiceClient::new(plane.channel()));
    assert_eq!(reason(&machine.watch_assignments(watch).await.unwrap_err()), "NODE_FENCED");
    // The first word stays.
    let again = fence(&plane, NODE, "still off").await.unwrap();
    let node = api::object::from_struct(again.node.expect("the machine"));
    let words = text(condition(&node, "Ready").expect("it says how it is"), "/message");
    assert_eq!((words, again.pods), ("machine straw is fenced, nothing runs there: off", 0));
}
