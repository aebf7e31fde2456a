use serde_json::{Value, json};

use super::*;

fn one(pre_stop: bool) -> Value {
    let lifecycle = if pre_stop { json!({"preStop": {"exec": {}}}) } else { json!({}) };
    json!({"containers": [{"name": "c", "lifecycle": lifecycle}]})
}

/// Deletes a pod at second 10; the seconds after that of preStop, SIGTERM, SIGKILL and the end.
fn check(pre_stop: Option<f64>, on_term: Option<f64>, grace: u32) -> (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>) {
    let life = Life { on_term: on_term.map(|t| (t, 0)), hook: (pre_stop.unwrap_or(0.0), false), ..Life::default() };
    let mut world = World::new(one(pre_stop.is_some())).with("c", life);
    world.until(10.0);
    world.delete(grace);
    world.until(200.0);
    assert!(world.stopped);
    let killed = !world.times("kill c").is_empty();
    assert_eq!(world.phase(), if killed { "Failed" } else { "Succeeded" }, "P-53");
    let after = |what: &str| world.times(what).iter().map(|second| second - 10.0).collect();
    (after("preStop c"), after("term c"), after("kill c"), after("remove"))
}

#[test]
fn p41_to_p45_how_a_container_ends() {
    let none = Vec::new;
    assert_eq!(check(None, Some(3.0), 30), (none(), vec![0.0], none(), vec![3.0]), "P-41");
    assert_eq!(check(None, None, 5), (none(), vec![0.0], vec![5.0], vec![5.0]), "P-42");
    assert_eq!(check(Some(4.0), None, 10), (vec![0.0], vec![4.0], vec![10.0], vec![10.0]), "P-43");
    assert_eq!(check(Some(60.0), None, 10), (vec![0.0], vec![10.0], vec![12.0], vec![12.0]), "P-44");
    assert_eq!(check(Some(1.0), None, 0), (none(), vec![0.0], vec![2.0], vec![2.0]), "P-45");
}

#[test]
fn p46_a_second_delete_can_only_shorten() {
    let mut world = World::new(one(false)).with("c", Life { on_term: None, ..Life::default() });
    world.until(10.0);
    world.delete(60);
    world.until(20.0);
    world.delete(10);
    world.until(25.0);
    world.delete(100);
    world.until(40.0);
    assert_eq!(world.times("kill c"), [30.0]);
    assert!(world.stopped);
}

#[test]
fn p48_a_resting_container_ends_at_once() {
    let mut world = World::new(one(true)).with("c", Life::ends(0.0, 1));
    world.until(100.0);
    let starts = world.times("start c").len();
    world.delete(30);
    world.until(400.0);
    assert_eq!((world.times("remove"), world.times("start c").len()), (vec![100.0], starts));
    assert!(world.times("preStop c").is_empty(), "P-51");
    assert_eq!(world.phase(), "Failed");
}

#[test]
fn p22_regular_containers_end_before_sidecars() {
    let spec = json!({
        "initContainers": [{"name": "s1", "restartPolicy": "Always"}, {"name": "s2", "restartPolicy": "Always"}],
        "containers": [{"name": "c"}],
    });
    let life = || Life { on_term: Some((2.0, 0)), ..Life::default() };
    let mut world = World::new(spec).with("c", life()).with("s1", life()).with("s2", life());
    world.until(10.0);
    world.delete(30);
    world.until(30.0);
    assert_eq!(
        (world.times("term c"), world.times("term s2"), world.times("term s1")),
        (vec![10.0], vec![12.0], vec![14.0])
    );
    assert_eq!(world.times("remove"), [16.0]);
}

#[test]
fn p22_the_grace_is_one_for_all() {
    let spec = json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "c"}]});
    let stubborn = || Life { on_term: None, ..Life::default() };
    let mut world = World::new(spec).with("c", stubborn()).with("s", stubborn());
    world.until(10.0);
    world.delete(5);
    world.until(30.0);
    assert_eq!(
        (world.times("kill c"), world.times("term s"), world.times("kill s")),
        (vec![15.0], vec![15.0], vec![17.0])
    );
}

#[test]
fn a_deleted_pod_starts_nothing_and_init_gets_its_signal() {
    let spec = json!({"initContainers": [{"name": "a"}], "containers": [{"name": "c"}]});
    let mut world = World::new(spec).with("a", Life { on_term: Some((1.0, 143)), ..Life::default() });
    world.until(10.0);
    world.delete(30);
    world.until(20.0);
    assert_eq!((world.times("term a"), world.times("remove")), (vec![10.0], vec![11.0]));
    assert!(world.times("start c").is_empty());
    assert_eq!(world.phase(), "Failed", "it never ran");
}

#[test]
fn p42_a_hard_end_is_told_with_a_hint() {
    let mut world = World::new(one(false)).with("c", Life { on_term: None, ..Life::default() });
    world.until(1.0);
    world.delete(3);
    world.until(10.0);
    assert!(world.events.iter().any(|(_, event)| event.warning && event.message.contains("did not stop within grace")));
    assert_eq!(world.container("c")["state"]["terminated"]["exitCode"], 137);
}

#[test]
fn f19_a_runtime_that_restarts_while_a_pod_ends_does_not_prolong_it() {
    let mut world = World::new(one(false)).with("c", Life { on_term: None, ..Life::default() });
    world.until(10.0);
    world.delete(20);
    for second in [12.0, 15.0, 20.0, 25.0] {
        world.until(second);
        world.restart_runtime();
    }
    world.until(60.0);
    assert_eq!(world.times("kill c"), [30.0]);
}
