//! Names come before readiness and go before the stop.

use serde_json::{Value, json};
use support::until;

use crate::dns::addresses;
use crate::plane::{condition, service, text};
use crate::{Machine, Plane, reason, set};

fn ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition["status"] == "True")
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_not_readable_before_the_name_is_served() {
    let mut plane = Plane::start().await;
    let machine = Machine::join(&plane).await;
    plane.apply(&[service("web"), set("web", 1, json!({}))]).await;
    machine.has("web-0").await;
    plane.stop("identity-dns").await;
    let refused = machine.report("web-0", "Running", true).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (tonic::Code::Unavailable, "RETRY"), "{refused}");
    let pod = plane.get("pod", "web-0").await.unwrap();
    let why = condition(&pod, "Ready").unwrap();
    assert_eq!((&why["status"], &why["reason"]), (&json!("False"), &json!("NamesNotServed")), "{pod}");
    assert!(why["message"].to_string().contains("identity-dns"), "{why}");
    assert_eq!(pod["status"]["phase"], "Running", "all else of the report is stored");
    // The same again says nothing new and writes nothing.
    machine.report("web-0", "Running", true).await.unwrap_err();
    assert_eq!(plane.get("pod", "web-0").await.unwrap(), pod);
    plane.begin("identity-dns").await;
    machine.ready("web-0").await;
    assert!(ready(&plane.get("pod", "web-0").await.unwrap()));
    assert_eq!(addresses(&plane, "web-0.web").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_announced_and_never_became_true_is_not_served() {
    let mut plane = Plane::start().await;
    let machine = Machine::join(&plane).await;
    plane.apply(&[service("web"), set("web", 1, json!({}))]).await;
    machine.has("web-0").await;
    plane.stop("identity-dns").await;
    machine.report("web-0", "Running", true).await.unwrap_err();
    machine.report("web-0", "Running", false).await.unwrap();
    plane.begin("identity-dns").await;
    // A name that is published later shows that everything up to it has been.
    plane.apply(&[service("other"), set("other", 1, json!({}))]).await;
    machine.ready("other-0").await;
    assert_eq!(addresses(&plane, "other-0.other").await, 1);
    assert_eq!(addresses(&plane, "web-0.web").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_told_to_stop_only_after_its_name_is_withdrawn() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    machine.eagerness(true, false);
    plane.apply(&[service("web"), set("web", 2, json!({}))]).await;
    plane.complete("web", 2).await;
    assert_eq!(addresses(&plane, "web-1.web").await, 1);
    plane.scale("web", 1).await;
    machine.must_stop("web-1").await;
    assert_eq!(addresses(&plane, "web-1.web").await, 0);
    assert_eq!(addresses(&plane, "web").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_dns_pods_stop_all_the_same_and_nobody_else_waits_for_them() {
    let mut plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    machine.eagerness(true, false);
    let parallel = json!({ "podManagementPolicy": "Parallel" });
    plane.apply(&[service("web"), set("web", 8, parallel)]).await;
    plane.complete("web", 8).await;
    plane.stop("identity-dns").await;
    plane.scale("web", 0).await;
    for ordinal in 0..8 {
        machine.must_stop(&format!("web-{ordinal}")).await;
    }
    until("events say so", || async {
        let events = plane.list("events").await;
        let said = events.iter().filter(|event| event["reason"] == "NamesNotWithdrawn").count();
        if said == 8 { Ok(()) } else { Err(format!("{said} of 8")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_restarted_dns_are_complete_again() {
    let mut plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[service("web"), set("web", 2, json!({}))]).await;
    plane.complete("web", 2).await;
    plane.stop("identity-dns").await;
    plane.begin("identity-dns").await;
    until("both names answer", || async {
        let found = addresses(&plane, "web").await;
        if found == 2 { Ok(()) } else { Err(format!("{found}")) }
    })
    .await;
    assert!(text(&plane.get("pod", "web-1").await.unwrap(), "/status/podIP").starts_with("10.77."));
    drop(machine);
}
