use serde_json::json;

use super::*;
use crate::kubelet::decide::{Intent, StartFailure};

fn one() -> serde_json::Value {
    json!({"containers": [{"name": "c"}]})
}

#[test]
fn p01_a_missing_volume_waits_and_comes_by_itself() {
    let mut world = World::new(one());
    let missing = StartFailure::Refused { reason: String::new(), message: "configmap \"x\" not found".to_owned() };
    world.refusals.insert("volumes".to_owned(), missing);
    world.until(30.0);
    let waiting = &world.container("c")["state"]["waiting"];
    assert_eq!((world.phase(), waiting["reason"].as_str()), ("Pending", Some("ContainerCreating")));
    assert_eq!(waiting["message"], "configmap \"x\" not found");
    assert!(!world.told("FailedMount").is_empty());
    world.refusals.clear();
    world.changed();
    world.until(30.0);
    assert!(world.ready());
}

#[test]
fn p02_p03_a_crash_loop_is_running_and_rests_longer_each_time() {
    let mut world = World::new(one()).with("c", Life::ends(0.0, 1));
    world.until(5.0);
    let status = world.container("c");
    assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!((world.phase(), world.ready(), status["restartCount"].as_u64()), ("Running", false, Some(1)));
    world.until(1300.0);
    let starts = world.times("start c");
    let delays: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(delays, [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]);
    assert_eq!(world.told("BackOff").len(), 9, "once for each rest");
}

#[test]
fn p04_p05_only_a_long_life_starts_at_once() {
    for (lives, delay) in [(660.0, 0.0), (300.0, 300.0)] {
        let mut runs = vec![Some((0.0, 1)); 8];
        runs.extend([Some((lives, 1)), None]);
        let mut world = World::new(one()).with("c", Life { runs, ..Life::default() });
        world.until(3000.0);
        let starts = world.times("start c");
        assert_eq!(starts[9] - starts[8], lives + delay);
    }
}

#[test]
fn p06_an_end_without_error_is_restarted_too() {
    let mut world = World::new(one()).with("c", Life::ends(1.0, 0));
    world.until(5.0);
    assert_eq!(world.times("start c"), [0.0, 1.0]);
    assert_eq!(world.container("c")["lastState"]["terminated"]["reason"], "Completed");
}

#[test]
fn p07_p08_pods_that_end() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]});
    let mut world = World::new(spec("OnFailure")).with("a", Life::ends(1.0, 0)).with("b", Life::ends(2.0, 0));
    world.until(5.0);
    assert_eq!((world.phase(), world.condition("Ready")["reason"].as_str()), ("Succeeded", Some("PodCompleted")));
    let mut world = World::new(spec("Never")).with("a", Life::ends(1.0, 0)).with("b", Life::ends(2.0, 3));
    world.until(5.0);
    assert_eq!(world.phase(), "Failed");
    assert_eq!(world.container("b")["state"]["terminated"]["exitCode"], 3);
    assert_eq!(world.times("remove"), [2.0]);
}

#[test]
fn p09_a_kill_from_outside_restarts_in_place() {
    let mut world = World::new(one());
    world.until(5.0);
    let ip = world.status["podIP"].clone();
    world.end("c", 0, 137, Some(9));
    world.until(6.0);
    let status = world.container("c");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 137);
    assert_eq!((status["restartCount"].as_u64(), world.times("sandbox").len()), (Some(1), 1));
    assert_eq!(world.status["podIP"], ip);
}

#[test]
fn p11_only_a_change_of_status_moves_the_time() {
    let mut world = World::new(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    world.refusals.insert("a".to_owned(), StartFailure::Refused { reason: "X".into(), message: "x".into() });
    world.refusals.insert("b".to_owned(), StartFailure::Refused { reason: "X".into(), message: "x".into() });
    world.until(5.0);
    let before = world.condition("Ready").clone();
    world.refusals.remove("a");
    world.until(20.0);
    let after = world.condition("Ready");
    assert_ne!(before["message"], after["message"]);
    assert_eq!(before["lastTransitionTime"], after["lastTransitionTime"]);
}

#[test]
fn p13_gates_hold_readiness_back() {
    let mut world = World::new(json!({"containers": [{"name": "c"}], "readinessGates": [{"conditionType": "x"}]}));
    world.until(1.0);
    assert_eq!(world.condition("ContainersReady")["status"], "True");
    assert_eq!(world.condition("Ready")["reason"], "ReadinessGatesNotReady");
    world.pod.status.conditions.push(crate::spec::KnownCondition { r#type: "x".into(), status: "True".into() });
    world.changed();
    world.until(2.0);
    assert!(world.ready());
}

fn with_init() -> serde_json::Value {
    json!({"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}]})
}

#[test]
fn p16_init_containers_run_one_after_the_other() {
    let mut world = World::new(with_init()).with("a", Life::ends(2.0, 0)).with("b", Life::ends(3.0, 0));
    world.until(4.0);
    assert_eq!((world.phase(), world.condition("Initialized")["status"].as_str()), ("Pending", Some("False")));
    assert_eq!(world.container("c")["state"]["waiting"]["reason"], "PodInitializing");
    world.until(10.0);
    assert_eq!((world.times("start b"), world.times("start c")), (vec![2.0], vec![5.0]));
    assert!(world.ready());
}

#[test]
fn p17_p18_a_failed_init_container() {
    let runs = vec![Some((0.0, 1)), Some((0.0, 1)), Some((0.0, 0))];
    let mut world = World::new(with_init()).with("b", Life::ends(0.0, 0)).with("a", Life { runs, ..Life::default() });
    world.until(20.0);
    assert_eq!(world.times("start a"), [0.0, 0.0, 10.0]);
    assert!(world.ready());

    let mut spec = with_init();
    spec["restartPolicy"] = json!("Never");
    let mut world = World::new(spec).with("a", Life::ends(1.0, 1));
    world.until(20.0);
    assert_eq!(world.phase(), "Failed");
    assert!(world.times("start c").is_empty());
}

fn with_sidecar(sidecar: serde_json::Value) -> serde_json::Value {
    let mut sidecar = sidecar;
    sidecar["name"] = json!("s");
    sidecar["restartPolicy"] = json!("Always");
    json!({"initContainers": [sidecar, {"name": "b"}], "containers": [{"name": "c"}]})
}

#[test]
fn p19_a_sidecar_holds_back_until_it_is_started() {
    let spec = with_sidecar(json!({"startupProbe": {"exec": {}, "periodSeconds": 2, "failureThreshold": 30}}));
    let life = Life { probe: |_, since| Some(since >= 7.0), ..Life::default() };
    let mut world = World::new(spec).with("s", life).with("b", Life::ends(1.0, 0));
    world.until(20.0);
    assert_eq!((world.times("start b"), world.times("start c")), (vec![8.0], vec![9.0]));
}

#[test]
fn p20_a_sidecar_counts_for_readiness() {
    let spec = with_sidecar(json!({"readinessProbe": {"exec": {}}}));
    let life = Life { probe: |_, _| Some(false), ..Life::default() };
    let mut world = World::new(spec).with("s", life).with("b", Life::ends(0.0, 0));
    world.until(30.0);
    assert_eq!((world.phase(), world.ready()), ("Running", false));
}

#[test]
fn p21_a_sidecar_restarts_whatever_the_pod_says() {
    let mut spec = with_sidecar(json!({}));
    spec["restartPolicy"] = json!("Never");
    let mut world =
        World::new(spec).with("s", Life::ends(5.0, 0)).with("b", Life::ends(0.0, 0)).with("c", Life::ends(8.0, 0));
    world.until(30.0);
    assert_eq!(world.times("start s"), [0.0, 5.0]);
    assert_eq!(world.phase(), "Succeeded");
}

#[test]
fn p23_a_lost_sandbox_begins_with_init_again() {
    let mut world = World::new(with_init()).with("a", Life::ends(0.0, 0)).with("b", Life::ends(0.0, 0));
    world.until(5.0);
    assert!(world.ready());
    world.sandbox = None;
    world.until(6.0);
    assert_eq!((world.times("start a").len(), world.times("start b").len(), world.times("start c").len()), (2, 2, 2));
    assert_eq!(world.container("c")["lastState"]["terminated"]["reason"], "ContainerStatusUnknown");
    assert_eq!(world.container("c")["restartCount"], 1);
    assert!(world.ready());
}

#[test]
fn p24_a_hook_holds_the_next_container_back() {
    let hook = json!({"postStart": {"exec": {"command": ["x"]}}});
    let spec = json!({"containers": [{"name": "c1", "lifecycle": hook}, {"name": "c2"}]});
    let mut world = World::new(spec).with("c1", Life { hook: (20.0, false), ..Life::default() });
    world.until(10.0);
    assert!(world.container("c1")["state"]["waiting"].is_object());
    world.until(30.0);
    assert_eq!(world.times("start c2"), [20.0]);
    assert!(world.ready());
}

#[test]
fn p25_a_failed_post_start_restarts_the_container() {
    let spec = json!({"containers": [{"name": "c", "lifecycle": {"postStart": {"exec": {}}}}]});
    let life = Life { hook: (1.0, true), on_term: Some((1.0, 143)), ..Life::default() };
    let mut world = World::new(spec).with("c", life);
    world.until(1.5);
    assert_eq!(world.container("c")["state"]["waiting"]["reason"], "PostStartHookError");
    world.until(5.0);
    assert_eq!(world.container("c")["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!((world.told("FailedPostStartHook").len(), world.times("start c")), (2, vec![0.0, 2.0]));
}

#[test]
fn p56_a_refused_start_is_tried_again_and_costs_no_restart() {
    let mut world = World::new(one());
    let refusal = StartFailure::Refused { reason: "CreateContainerConfigError".into(), message: "no key".into() };
    world.refusals.insert("c".to_owned(), refusal);
    world.until(60.0);
    assert_eq!(world.container("c")["state"]["waiting"]["reason"], "CreateContainerConfigError");
    assert_eq!((world.phase(), world.told("Failed").len()), ("Pending", 1));
    world.refusals.clear();
    world.changed();
    world.until(60.0);
    assert!(world.ready());
    assert_eq!(world.container("c")["restartCount"], 0);
}

#[test]
fn a_program_that_cannot_begin_counts_as_ended() {
    let mut world = World::new(one());
    world.refusals.insert("c".to_owned(), StartFailure::Spent { message: "exec format error".into() });
    world.until(5.0);
    let status = world.container("c");
    assert_eq!(status["lastState"]["terminated"]["reason"], "StartError");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 128);
    assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
}

#[test]
fn p71_a_restarted_runtime_tells_the_same_story() {
    let spec = json!({"containers": [{"name": "c", "readinessProbe": {"exec": {}}}, {"name": "d"}]});
    let mut world = World::new(spec).with("d", Life { runs: vec![Some((3.0, 1)), None], ..Life::default() });
    world.until(50.0);
    assert!(world.ready());
    let (before, starts) = (world.status.clone(), world.times("start c").len() + world.times("start d").len());
    for second in 51..90 {
        world.restart_runtime();
        world.until(f64::from(second));
        assert_eq!(world.status, before, "second {second}");
    }
    assert_eq!(world.times("start c").len() + world.times("start d").len(), starts);
}

#[test]
fn a_restarted_runtime_keeps_the_rest_of_a_crash_loop() {
    let mut world = World::new(one()).with("c", Life::ends(0.0, 1));
    world.until(100.0);
    let starts = world.times("start c");
    world.restart_runtime();
    world.until(149.0);
    assert_eq!(world.times("start c"), starts);
    world.until(150.0);
    assert_eq!(world.times("start c").len(), starts.len() + 1);
}

#[test]
fn a_pod_of_a_machine_that_went_down_comes_back() {
    let mut world = World::new(with_init()).with("a", Life::ends(0.0, 0)).with("b", Life::ends(0.0, 0));
    world.until(5.0);
    world.delete(30);
    let Intent::Stop { grace_end, hooks, .. } = world.intent else { unreachable!() };
    world.intent = Intent::Stop { grace_end, hooks, keep: true };
    world.until(6.0);
    assert!(world.stopped);
    assert_eq!((world.phase(), world.ready()), ("Running", false));
    world.intent = Intent::Run;
    world.restart_runtime();
    world.until(7.0);
    assert!(world.ready());
    assert_eq!((world.container("c")["restartCount"].as_u64(), world.times("start a").len()), (Some(1), 2));
}

#[test]
fn an_active_deadline_fails_the_pod() {
    let mut world = World::new(json!({"activeDeadlineSeconds": 10, "containers": [{"name": "c"}]}));
    world.until(11.0);
    assert_eq!((world.phase(), world.status["reason"].as_str()), ("Failed", Some("DeadlineExceeded")));
}

#[test]
fn what_was_seen_of_a_start_that_failed_never_ran() {
    let mut world = World::new(one());
    world.until(1.0);
    assert!(world.ready());
    world.restart_runtime();
    world.sandbox.as_mut().expect("there is one").containers.clear();
    world.until(2.0);
    assert_eq!((world.times("start c").len(), world.ready()), (2, true));
    assert_eq!(world.container("c")["restartCount"], 0, "it is the same run");
}

#[test]
fn b1_b29_what_does_not_live_waits_until_its_store_has_assigned_it() {
    let mut world = World::new(one());
    world.until(5.0);
    // The machine was started anew.
    (world.sandbox, world.memory, world.confirmed) = (None, Default::default(), false);
    world.until(600.0);
    assert_eq!((world.times("start c").len(), world.ready()), (1, false));
    world.confirmed = true;
    world.changed();
    world.until(605.0);
    assert_eq!((world.times("start c").len(), world.ready()), (2, true));
}
