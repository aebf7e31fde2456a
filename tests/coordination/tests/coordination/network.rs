//! Names of pods over the life of a set, asked of the real DNS.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use support::until;

use crate::dns::{Answer, ask};
use crate::plane::{service, text};
use crate::{Machine, Plane, set};

/// The address of a pod, as stored.
async fn address(plane: &Plane, pod: &str) -> Ipv4Addr {
    let pod = plane.get("pod", pod).await.unwrap();
    text(&pod, "/status/podIP").parse().unwrap_or_else(|_| panic!("it has an address: {pod}"))
}

async fn only(plane: &Plane, pod: &str) -> Answer {
    Answer::Addresses(vec![address(plane, pod).await])
}

/// Returns when DNS says this.
async fn until_says(plane: &Plane, name: &str, expected: &Answer) {
    until(&format!("{name} is {expected:?}"), || async {
        let answer = ask(plane, name).await;
        if answer == *expected { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_10_a_service_may_come_later() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    assert_eq!(machine.ran(), ["web-0", "web-1", "web-2"]);
    let pods = plane.list("pods").await;
    assert!(pods.iter().all(|pod| text(pod, "/spec/subdomain") == "web"), "{pods:?}");
    assert_eq!(ask(&plane, "web-0.web").await, Answer::NameError);
    plane.apply(&[service("web")]).await;
    until_says(&plane, "web-0.web", &only(&plane, "web-0").await).await;
    assert_eq!(plane.list("pods").await, pods);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_205_a_replaced_pod_has_no_name_until_it_is_ready() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[service("web"), set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    machine.eagerness(false, false);
    let others = [only(&plane, "web-0").await, only(&plane, "web-2").await];
    let (old, pod) = (address(&plane, "web-1").await, plane.uid("pod", "web-1").await);
    let others_stay = || async {
        assert_eq!([ask(&plane, "web-0.web").await, ask(&plane, "web-2.web").await], others);
    };
    plane.delete("pod", "web-1", "").await.unwrap();
    machine.must_stop("web-1").await;
    assert_eq!(ask(&plane, "web-1.web").await, Answer::NameError);
    others_stay().await;
    machine.stop("web-1").await;
    let new = plane.successor("web-1", &pod).await;
    assert_eq!(ask(&plane, "web-1.web").await, Answer::NameError);
    machine.runs("web-1", &new).await;
    machine.report("web-1", "Running", false).await.unwrap();
    assert_eq!(ask(&plane, "web-1.web").await, Answer::NameError);
    others_stay().await;
    machine.ready("web-1").await;
    assert_eq!(ask(&plane, "web-1.web").await, only(&plane, "web-1").await);
    assert_ne!(address(&plane, "web-1").await, old);
    others_stay().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_206_names_follow_the_range_of_a_set() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[service("web"), set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    machine.eagerness(true, false);
    plane.scale("web", 2).await;
    machine.must_stop("web-2").await;
    // It runs still, and nobody finds it any more.
    assert_eq!(ask(&plane, "web-2.web").await, Answer::NameError);
    let mut both = vec![address(&plane, "web-0").await, address(&plane, "web-1").await];
    both.sort();
    assert_eq!(ask(&plane, "web").await, Answer::Addresses(both));
    machine.stop("web-2").await;
    plane.complete("web", 2).await;
    machine.eagerness(true, true);
    plane.apply(&[set("web", 3, json!({ "ordinals": { "start": 2 } }))]).await;
    plane.has_pods(&["web-2", "web-3", "web-4"]).await;
    plane.complete("web", 3).await;
    for gone in ["web-0", "web-1"] {
        assert_eq!(ask(&plane, &format!("{gone}.web")).await, Answer::NameError);
    }
    let mut all = Vec::new();
    for name in ["web-2", "web-3", "web-4"] {
        assert_eq!(ask(&plane, &format!("{name}.web")).await, only(&plane, name).await);
        all.push(address(&plane, name).await);
    }
    all.sort();
    assert_eq!(ask(&plane, "web").await, Answer::Addresses(all));
}

#[tokio::test(flavor = "multi_thread")]
async fn s_207_peers_are_found_before_they_are_ready_where_the_service_says_so() {
    for early in [true, false] {
        let plane = Plane::start().await;
        let machine = Machine::join(&plane).await;
        let mut headless = service("web");
        headless["spec"]["publishNotReadyAddresses"] = early.into();
        plane.apply(&[headless, set("web", 2, json!({}))]).await;
        machine.has("web-0").await;
        machine.report("web-0", "Running", false).await.unwrap();
        if early {
            until_says(&plane, "web-0.web", &only(&plane, "web-0").await).await;
        } else {
            plane.waits_for("web", "pod 0 to become ready").await;
            assert_eq!(ask(&plane, "web-0.web").await, Answer::NameError);
        }
        // Creation waits for readiness in both cases.
        plane.waits_for("web", "pod 0 to become ready").await;
        assert_eq!(plane.pods().await, ["web-0"]);
        machine.ready("web-0").await;
        assert_eq!(ask(&plane, "web-0.web").await, only(&plane, "web-0").await);
        machine.has("web-1").await;
        machine.ready("web-1").await;
        plane.complete("web", 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_208_a_service_may_select_one_pod() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let selecting = |name: &str, selector: Value| {
        let mut one = service(name);
        one["spec"]["selector"] = selector;
        one
    };
    let by_name = selecting("by-name", json!({ "statefulset.kubernetes.io/pod-name": "web-1" }));
    let by_index = selecting("by-index", json!({ "apps.kubernetes.io/pod-index": "1", "app": "web" }));
    plane.apply(&[service("web"), by_name, by_index, set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    for round in 0..3 {
        if round > 0 {
            let old = plane.uid("pod", "web-1").await;
            plane.delete("pod", "web-1", "").await.unwrap();
            plane.successor("web-1", &old).await;
            plane.complete("web", 3).await;
        }
        for name in ["by-name", "by-index"] {
            until_says(&plane, name, &only(&plane, "web-1").await).await;
        }
    }
    assert_eq!(machine.stopped(), ["web-1"]);
}
