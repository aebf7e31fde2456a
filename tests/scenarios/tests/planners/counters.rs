//! Counters that are observed, where Kubernetes counts back from what it did.

use scenarios::{SETKEEPER, World, play, run};

/// Plays passes, one after each step, and compares `currentReplicas` with the pods there are: those of the current
/// revision that the pass saw and left alone.
fn observe(given: &str, steps: &[&str]) {
    for switches in SETKEEPER {
        let mut world = World::new(*switches);
        play(&mut world, given);
        for step in steps {
            play(&mut world, step);
            let before = world.pods.clone();
            let pass = world.pass();
            let seen = |uid| before.values().any(|pod| pod.uid == uid);
            let current = world
                .pods
                .values()
                .filter(|pod| seen(pod.uid.clone()) && !pod.terminating && pod.at(&world.status.current_revision));
            let counted = u32::try_from(current.count()).unwrap();
            assert_eq!(world.status.current_replicas, counted, "after `{step}` of {given:?}: {:#?}", world.status);
            // Counts out of range would be refused; the invariants of every pass look at them.
            assert_eq!(
                world.status.current_replicas, pass.update.status.current_replicas,
                "what is computed is stored"
            );
        }
    }
}

#[test]
fn s_211_a_third_revision_during_a_partitioned_update() {
    let steps = ["image=C", "", "gone(2)", "ready(2)", "gone(1)", "ready(1)", ""];
    observe("partition=1 settled image=B settled", &steps);
}

#[test]
fn s_211_no_counter_falls_below_zero() {
    let rolled = ["image=B", "gone(2)", "ready(2)", "gone(1)", "ready(1)", "gone(0)"];
    let steps: Vec<_> =
        rolled.into_iter().chain(["image=C", "", "gone(0)", "ready(0)", "gone(2)", "ready(2)"]).collect();
    observe("Parallel settled", &steps);
}

#[test]
fn s_211_a_third_revision_with_everything_down() {
    let gone = "gone(0) gone(1) gone(2)";
    observe("Parallel mu=3 settled", &["image=B", gone, "image=C", "", gone, "ready(0) ready(1) ready(2)", ""]);
}

#[test]
fn s_211_a_set_that_is_created_again_with_another_template() {
    let steps = ["", "gone(2)", "ready(2)", "gone(1)", "ready(1)", "gone(0)", "ready(0)", ""];
    observe("settled recreated image=B", &steps);
}

#[test]
fn s_212_scaling_to_zero_keeps_the_current_revision() {
    for policy in ["OrderedReady", "Parallel"] {
        let given = format!("{policy} replicas=4 partition=2 settled image=B settled replicas=0 settled");
        run(SETKEEPER, &given, "-> none | 0/0/0/0/0 A>B");
        run(
            SETKEEPER,
            &format!("{given} replicas=2 settled"),
            "
            -> none | 2/2/2/2/0 A>B
            term(0) -> none
            gone(0) -> create 0@A
            ready(0) replicas=4 settled -> none | 4/4/4/2/2 A>B
        ",
        );
    }
}
