//! What a set says of its progress, and how it starts again after a total outage.

use std::time::Duration;

use domain::Profile;
use serde_json::{Value, json};
use support::until;

use crate::dns::addresses;
use crate::plane::{condition, service, text};
use crate::quiet::goes_quiet;
use crate::{Machine, Plane, set};

/// A set of our own group.
pub(crate) fn own(replicas: u32, more: Value) -> Value {
    let mut set = set("web", replicas, more);
    set["apiVersion"] = "setkeeper.dev/v1".into();
    set
}

/// Returns the set once a condition has this status and reason.
pub(crate) async fn has_condition(plane: &Plane, kind: &str, status: &str, reason: &str) -> Value {
    until(&format!("{kind} is {status} for {reason}"), || async {
        let set = plane.get("sts", "web").await.ok_or("it is not there")?;
        let found = condition(&set, kind).is_some_and(|it| it["status"] == status && text(it, "/reason") == reason);
        if found { Ok(set) } else { Err(set["status"].to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_total_outage_members_find_each_other_before_they_are_ready() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 2, json!({})), service("web")]).await;
    plane.complete("web", 2).await;
    machine.eagerness(false, false);
    for name in ["web-0", "web-1"] {
        machine.report(name, "Running", false).await.unwrap();
    }
    plane.waits_for("web", "pod 0 to become ready").await;
    until("no name leads to them", || async {
        let found = addresses(&plane, "web-1.web").await;
        if found == 0 { Ok(()) } else { Err(format!("{found} addresses")) }
    })
    .await;
    // Both live and wait for each other: neither would ever become ready.
    plane.clock().forward(Duration::from_secs(31));
    machine.report("web-0", "Unknown", false).await.unwrap();
    let set = has_condition(&plane, "ColdStart", "True", "TotalOutage").await;
    assert_eq!(set["status"]["readyReplicas"], 0);
    until("their names are served", || async {
        let found = addresses(&plane, "web-1.web").await;
        if found == 1 { Ok(()) } else { Err(format!("{found} addresses")) }
    })
    .await;
    machine.ready("web-1").await;
    machine.ready("web-0").await;
    plane.complete("web", 2).await;
    has_condition(&plane, "ColdStart", "False", "").await;
    let pods = plane.list("pods").await;
    assert!(pods.iter().all(|pod| pod.pointer("/metadata/annotations").is_none()), "nothing is left of it: {pods:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_template_reaches_every_pod_of_an_outage_though_they_need_each_other() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let mut web = set("web", 3, json!({}));
    plane.apply(&[web.clone()]).await;
    plane.complete("web", 3).await;
    let names = ["web-0", "web-1", "web-2"];
    let mut before = Vec::new();
    for name in names {
        before.push(plane.uid("pod", name).await);
    }
    machine.eagerness(false, true);
    for name in names {
        machine.report(name, "Running", false).await.unwrap();
    }
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2".into();
    plane.apply(&[web]).await;
    let replaced = async |ordinal: usize| {
        let name = names[ordinal];
        let uid = until(&format!("{name} is another"), || async {
            let pod = plane.get("pod", name).await.ok_or("it is not there")?;
            let uid = text(&pod, "/metadata/uid").to_owned();
            if uid == before[ordinal] { Err("it is the same".to_owned()) } else { Ok(uid) }
        })
        .await;
        machine.runs(name, &uid).await;
    };
    replaced(0).await;
    machine.report("web-0", "Running", false).await.unwrap();
    plane.waits_for("web", "pod 0 to become ready").await;
    plane.clock().forward(Duration::from_secs(31));
    machine.report("web-0", "Unknown", false).await.unwrap();
    has_condition(&plane, "ColdStart", "True", "TotalOutage").await;
    plane.clock().forward(Duration::from_secs(120));
    machine.report("web-0", "Running", false).await.unwrap();
    replaced(1).await;
    replaced(2).await;
    for name in names {
        machine.ready(name).await;
    }
    plane.complete("web", 3).await;
    has_condition(&plane, "ColdStart", "False", "").await;
    has_condition(&plane, "Healing", "False", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_25_a_pod_out_of_range_stands_in_for_none_that_is_missing() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    machine.eagerness(false, false);
    machine.report("web-0", "Running", false).await.unwrap();
    plane.scale("web", 2).await;
    let set = until("the scale-down waits", || async {
        let set = plane.get("sts", "web").await.ok_or("it is not there")?;
        let seen = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        if seen { Ok(set) } else { Err(set["status"].to_string()) }
    })
    .await;
    assert_eq!((&set["status"]["replicas"], &set["status"]["availableReplicas"]), (&json!(3), &json!(2)));
    let available = condition(&set, "Available").expect("it says so");
    assert_eq!((&available["status"], &available["message"]), (&json!("False"), &json!("1 of 2 pods are available")));
    machine.ready("web-0").await;
    machine.eagerness(false, true);
    has_condition(&plane, "Available", "True", "AllPodsAvailable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rare_conditions_appear_when_they_are_first_true() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, json!({}))]).await;
    plane.complete("web", 1).await;
    let set = plane.get("sts", "web").await.unwrap();
    let kinds: Vec<&str> = set["status"]["conditions"].as_array().unwrap().iter().map(|c| text(c, "/type")).collect();
    assert_eq!(kinds, ["Available", "Progressing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_can_be_applied_again() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let split = json!({ "ordinals": { "start": 5 }, "updateStrategy": { "rollingUpdate": { "partition": 1 } } });
    plane.apply(&[own(2, split), service("web")]).await;
    plane.complete("web", 2).await;
    let read = plane.get("sts", "web").await.unwrap();
    assert_eq!(read["status"]["partitionOrdinal"], 6);
    let again = plane.apply(std::slice::from_ref(&read)).await;
    assert_eq!(again.objects[0].result, "unchanged");
    assert_eq!(plane.get("sts", "web").await.unwrap()["status"], read["status"]);
}

/// What was said of the set's waiting.
async fn waiting(plane: &Plane) -> Vec<String> {
    let said = plane.said_of("web").await;
    said.into_iter().filter(|one| one.contains(" Waiting: ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_set_waits_for_is_told_once_it_has_for_a_while() {
    for profile in [Profile::Setkeeper, Profile::Kubernetes] {
        let mut plane = Plane::start_as(profile).await;
        let machine = Machine::join(&plane).await;
        plane.apply(&[set("web", 3, json!({}))]).await;
        machine.report("web-0", "Running", false).await.unwrap();
        plane.has_counts("web", "1/0/0/1/1").await;
        assert!(waiting(&plane).await.is_empty(), "{profile}: it has just begun");
        plane.clock().forward(Duration::from_secs(11));
        machine.report("web-0", "Unknown", false).await.unwrap();
        if profile == Profile::Kubernetes {
            goes_quiet(&mut plane, "web", "1/0/0/1/1").await;
            assert!(waiting(&plane).await.is_empty());
            continue;
        }
        let words = "StatefulSet web waits: pods 0 to 2 wait: waiting for pod 0 to become ready";
        assert_eq!(plane.has_said("web", words).await, 1);
        // Whoever looks again has nothing new to say, a coordinator that has just started neither.
        goes_quiet(&mut plane, "web", "1/0/0/1/1").await;
        assert_eq!(waiting(&plane).await, [format!("1 Waiting: {words}")]);
        // Nobody waits for long any more.
        for name in ["web-0", "web-1", "web-2"] {
            machine.ready(name).await;
        }
        plane.complete("web", 3).await;
        assert_eq!(waiting(&plane).await.len(), 1);
    }
}
