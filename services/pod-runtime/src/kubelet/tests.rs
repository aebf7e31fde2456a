//! The loop over real files and channels, with a machine and a coordinator that are scripts.

pub(crate) mod fake;
mod forward;
mod stopping;

use std::time::Duration;

use fake::{Coordinator, Machine, Runtime};
use serde_json::json;

fn web(uid: &str, command: &[&str]) -> serde_json::Value {
    json!({
        "metadata": {"name": "web-0", "namespace": "default", "uid": uid},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": [{"name": "c", "command": command}]},
    })
}

fn ready(status: &serde_json::Value) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[tokio::test(start_paused = true)]
async fn an_assigned_pod_runs_once_and_is_reported_at_news_and_by_the_minute() {
    let (machine, coordinator, state) = (Machine::new(), Coordinator::new("s"), tempfile::tempdir().unwrap());
    coordinator.assign(web("u1", &["run"]));
    let _runtime = Runtime::start(&machine, &coordinator, state.path());
    coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let news = coordinator.reports("u1");
    assert!(news <= 5, "a report that comes back is no news: {news}");
    tokio::time::sleep(Duration::from_secs(300)).await;
    let again = coordinator.reports("u1") - news;
    assert!((4..=6).contains(&again), "what is no news is said once a minute: {again}");
    assert_eq!(machine.starts("u1", "c"), 1);
}

#[tokio::test(start_paused = true)]
async fn p71_pods_outlive_the_runtime_and_the_coordinator() {
    let (machine, coordinator, state) = (Machine::new(), Coordinator::new("s"), tempfile::tempdir().unwrap());
    coordinator.assign(web("u1", &["run"]));
    let runtime = Runtime::start(&machine, &coordinator, state.path());
    coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
    let before = coordinator.status("u1").unwrap();
    runtime.stop().await;
    assert!(machine.runs("u1", "c"));

    coordinator.set_away(true);
    let runtime = Runtime::start(&machine, &coordinator, state.path());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(machine.starts("u1", "c"), 1);
    machine.end("u1", "c", 3);
    machine.until(|m| m.starts("u1", "c") == 2).await; // Restarts go on while the coordinator is away.
    coordinator.set_away(false);
    coordinator
        .until(|c| c.status("u1").is_some_and(|s: serde_json::Value| s["containerStatuses"][0]["restartCount"] == 1))
        .await;
    runtime.stop().await;

    coordinator.forget_reports();
    let _runtime = Runtime::start(&machine, &coordinator, state.path());
    coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
    assert_eq!(coordinator.reports("u1"), 1, "readiness does not flicker");
    assert_eq!(coordinator.status("u1").unwrap()["startTime"], before["startTime"]);
    assert_eq!(machine.starts("u1", "c"), 2);
}

#[tokio::test(start_paused = true)]
async fn b1_b29_after_a_start_of_the_machine_its_store_is_asked_before_anything_starts() {
    let (machine, coordinator, state) = (Machine::new(), Coordinator::new("s"), tempfile::tempdir().unwrap());
    let mut other = web("u2", &["run"]);
    other["metadata"]["name"] = "web-1".into();
    coordinator.assign(web("u1", &["run"]));
    coordinator.assign(other);
    let runtime = Runtime::start(&machine, &coordinator, state.path());
    coordinator.until(|c| ["u1", "u2"].iter().all(|uid| c.status(uid).is_some_and(|status| ready(&status)))).await;
    runtime.stop().await;
    machine.reboot();
    // Meanwhile the machine was fenced, and one of them released.
    coordinator.remove("u2");
    coordinator.set_away(true);
    let _runtime = Runtime::start(&machine, &coordinator, state.path());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!((machine.starts("u1", "c"), machine.exists("u1"), machine.exists("u2")), (1, false, false));
    coordinator.set_away(false);
    machine.until(|m| m.starts("u1", "c") == 2).await;
    let files = state.path().join("pods/u2");
    machine.until(|_| !files.exists()).await;
    assert_eq!(machine.starts("u2", "c"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_ends_is_reported_and_leaves_nothing() {
    let (machine, coordinator, state) = (Machine::new(), Coordinator::new("s"), tempfile::tempdir().unwrap());
    coordinator.assign(web("u1", &["run"]));
    let _runtime = Runtime::start(&machine, &coordinator, state.path());
    coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
    let mut pod = web("u1", &["run"]);
    pod["metadata"]["deletionTimestamp"] = json!(fake::in_seconds(5));
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(5);
    coordinator.assign(pod);
    coordinator.until(|c| !c.stores("u1")).await; // Removed on the word that everything is proven dead.
    assert!(!machine.exists("u1"));
    let files = state.path().join("pods/u1");
    machine.until(|_| !files.exists()).await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_pod_ends_only_on_the_word_of_its_store() {
    let (machine, coordinator, state) = (Machine::new(), Coordinator::new("mine"), tempfile::tempdir().unwrap());
    coordinator.assign(web("u1", &["run"]));
    let runtime = Runtime::start(&machine, &coordinator, state.path());
    coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
    runtime.stop().await;

    let stranger = Coordinator::new("other");
    let runtime = Runtime::start(&machine, &stranger, state.path());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(machine.runs("u1", "c"), "a stranger's silence ends nothing");
    runtime.stop().await;

    coordinator.remove("u1");
    let _runtime = Runtime::start(&machine, &coordinator, state.path());
    machine.until(|m| !m.exists("u1")).await;
}

#[tokio::test(start_paused = true)]
async fn a_restored_store_speaks_for_the_one_in_its_backup() {
    let (machine, coordinator, state) = (Machine::new(), Coordinator::new("before"), tempfile::tempdir().unwrap());
    coordinator.assign(web("u1", &["run"]));
    let runtime = Runtime::start(&machine, &coordinator, state.path());
    coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
    let mut later = web("u2", &["run"]);
    later["metadata"]["name"] = "web-1".into();
    coordinator.assign(later);
    coordinator.until(|c| c.status("u2").is_some_and(|status| ready(&status))).await;
    runtime.stop().await;

    // The backup was made before the second pod.
    let restored = Coordinator::restored("after", "before");
    restored.assign(web("u1", &["run"]));
    let _runtime = Runtime::start(&machine, &restored, state.path());
    machine.until(|m| !m.exists("u2")).await;
    restored.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
    assert!(machine.runs("u1", "c"), "a pod that it knows goes on");
    restored.remove("u1");
    machine.until(|m| !m.exists("u1")).await;
}

#[tokio::test(start_paused = true)]
async fn p45_a_successor_waits_for_its_predecessor_to_be_dead() {
    let (machine, coordinator, state) = (Machine::new(), Coordinator::new("s"), tempfile::tempdir().unwrap());
    coordinator.assign(web("u1", &["stubborn"]));
    let _runtime = Runtime::start(&machine, &coordinator, state.path());
    coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
    coordinator.remove("u1"); // Forced: the object vanishes at once.
    coordinator.assign(web("u2", &["run"]));
    let message = |s: &serde_json::Value| s["containerStatuses"][0]["state"]["waiting"]["message"].to_string();
    coordinator.until(|c| c.status("u2").is_some_and(|s| message(&s).contains("predecessor"))).await;
    coordinator.until(|c| c.status("u2").is_some_and(|status| ready(&status))).await;
    assert!(!machine.exists("u1"));
    assert_eq!(machine.overlaps(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_goes_down_brings_its_pods_back() {
    let (machine, coordinator, state) = (Machine::new(), Coordinator::new("s"), tempfile::tempdir().unwrap());
    coordinator.assign(web("u1", &["stubborn"]));
    let runtime = Runtime::start(&machine, &coordinator, state.path());
    coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
    assert_eq!(runtime.pods.stop_all().await, 1);
    assert!(!machine.exists("u1"));
    assert!(coordinator.stores("u1"));
    assert_eq!(runtime.pods.stop_all().await, 0, "again is fine");
    runtime.stop().await;
    let _runtime = Runtime::start(&machine, &coordinator, state.path());
    coordinator
        .until(|c| c.status("u1").is_some_and(|s: serde_json::Value| s["containerStatuses"][0]["restartCount"] == 1))
        .await;
    coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_told_and_comes_by_itself() {
    let (machine, coordinator, state) = (Machine::new(), Coordinator::new("s"), tempfile::tempdir().unwrap());
    let mut pod = web("u1", &["run"]);
    pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "cm"}}]);
    coordinator.assign(pod);
    let _runtime = Runtime::start(&machine, &coordinator, state.path());
    let reason = |s: &serde_json::Value| s["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    coordinator.until(|c| c.status("u1").is_some_and(|s| reason(&s) == "CreateContainerConfigError")).await;
    coordinator.config_map("cm", json!({"data": {"A": "1"}}));
    coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
    assert!(machine.env("u1", "c").contains(&("A".to_owned(), "1".to_owned())));
}
