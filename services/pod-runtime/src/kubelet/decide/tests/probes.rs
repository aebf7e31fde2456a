use serde_json::{Value, json};

use super::*;
use crate::kubelet::probing::ProbeKind;

fn probed(probes: Value) -> Value {
    let mut container = probes;
    container["name"] = json!("c");
    json!({"terminationGracePeriodSeconds": 60, "containers": [container]})
}

fn life(probe: fn(ProbeKind, f64) -> Option<bool>) -> Life {
    Life { probe, ..Life::default() }
}

#[test]
fn p26_a_pass_from_the_start_is_ready_at_once() {
    let mut world = World::new(probed(json!({"readinessProbe": {"exec": {}}})));
    world.until(0.0);
    assert!(world.ready());
}

#[test]
fn p27_p28_readiness_falls_after_three_failures_and_restarts_nothing() {
    let spec = probed(json!({"readinessProbe": {"exec": {}}}));
    let mut world = World::new(spec.clone()).with("c", life(|_, t| Some(!(10.0..30.0).contains(&t))));
    for second in 0..60 {
        world.until(f64::from(second));
        assert!(world.ready(), "two failures, second {second}");
    }
    let mut world = World::new(spec).with("c", life(|_, t| Some(!(10.0..40.0).contains(&t))));
    world.until(29.0);
    assert!(world.ready());
    world.until(30.0);
    assert!(!world.ready());
    world.until(40.0);
    assert!(world.ready());
    assert_eq!((world.times("start c").len(), world.told("Unhealthy").len()), (1, 3));
}

#[test]
fn p29_p36_liveness_kills_with_its_own_grace() {
    let spec = json!({"livenessProbe": {"exec": {}, "terminationGracePeriodSeconds": 5},
        "lifecycle": {"preStop": {"exec": {}}}});
    let stubborn = Life { on_term: None, runs: vec![None], ..life(|_, t| Some(t < 5.0)) };
    let mut world = World::new(probed(spec)).with("c", stubborn);
    world.until(29.9);
    assert_eq!(world.times("preStop c"), Vec::<f64>::new());
    world.until(31.0);
    assert_eq!((world.times("preStop c"), world.ready()), (vec![30.0], false));
    world.until(36.0);
    assert_eq!((world.times("term c"), world.times("kill c")), (vec![30.0], vec![35.0]));
    assert_eq!(world.container("c")["restartCount"], 1);
    assert!(world.events.iter().any(|(_, event)| event.message.contains("failed liveness probe, will be restarted")));
}

#[test]
fn p30_p31_a_slow_start_has_its_time_and_no_more() {
    let spec = json!({"startupProbe": {"exec": {}, "periodSeconds": 5, "failureThreshold": 12},
        "livenessProbe": {"exec": {}}});
    let slow = |probe| Life { probe, ..Life::default() };
    let mut world = World::new(probed(spec.clone()));
    world = world.with("c", slow(|kind, t| Some(kind != ProbeKind::Startup || t >= 50.0)));
    world.until(49.0);
    assert!(world.times("Liveness c").is_empty());
    assert_eq!(world.container("c")["started"], false);
    world.until(51.0);
    assert_eq!((world.times("Liveness c"), world.ready()), (vec![50.0], true));

    let mut world = World::new(probed(spec));
    world = world.with("c", slow(|kind, t| Some(kind != ProbeKind::Startup || t >= 70.0)));
    world.until(70.0);
    assert_eq!(world.times("term c"), [60.0]);
}

#[test]
fn p34_p39_what_cannot_be_run_counts_as_nothing() {
    let spec = probed(json!({"livenessProbe": {"exec": {}}, "readinessProbe": {"exec": {}}}));
    let mut world = World::new(spec).with("c", life(|_, t| if t < 50.0 { None } else { Some(true) }));
    world.until(49.0);
    assert_eq!((world.ready(), world.times("term c").len()), (false, 0));
    world.until(50.0);
    assert!(world.ready());
}

#[test]
fn p38_while_a_pod_ends_only_readiness_is_asked() {
    let spec = probed(json!({"livenessProbe": {"exec": {}}, "readinessProbe": {"exec": {}}}));
    let mut world = World::new(spec).with("c", Life { on_term: Some((40.0, 0)), ..Life::default() });
    world.until(15.0);
    world.delete(60);
    world.until(50.0);
    assert_eq!(world.times("Liveness c"), [0.0, 10.0]);
    assert_eq!(world.times("Readiness c"), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
    assert!(world.ready(), "it drains");
    world.until(60.0);
    assert!(world.stopped);
}

#[test]
fn who_listens_a_moment_late_is_ready_a_moment_late_and_nobody_is_warned() {
    let spec = probed(json!({"readinessProbe": {"exec": {}}}));
    let mut world = World::new(spec).with("c", life(|_, t| Some(t >= 0.3)));
    world.until(0.3);
    assert!(!world.ready());
    world.until(0.36);
    assert_eq!((world.ready(), world.told("Unhealthy").len()), (true, 0));
    world.until(20.0);
    assert_eq!(world.times("Readiness c"), [0.0, 0.05, 0.15, 0.35, 10.0, 20.0]);
}

#[test]
fn initial_delays_count_from_the_containers_start() {
    let spec = probed(json!({"readinessProbe": {"exec": {}, "initialDelaySeconds": 7, "periodSeconds": 3}}));
    let mut world = World::new(spec);
    world.until(14.0);
    assert_eq!(world.times("Readiness c"), [7.0, 10.0, 13.0]);
}
