//! Where Setkeeper does better than Kubernetes, beyond the scenarios that already show both.

use scenarios::{SETKEEPER, run};

#[test]
fn s_209_healing_is_one_at_a_time_from_below() {
    run(
        SETKEEPER,
        "replicas=4 settled broken(1) broken(3)",
        "
        image=B -> delete 1@A | 4/2/2/3/0
        -> none | 4/2/2/3/0
        gone(1) -> create 1@B
        -> none
        ready(1) -> delete 3@A | 4/3/3/2/1
        gone(3) -> create 3@B
        ready(3) -> delete 2@A
    ",
    );
}

#[test]
fn s_209_an_undo_reaches_a_broken_pod_above_one_that_needs_it() {
    // The members need each other: with one of two broken, the other is not ready.
    run(
        SETKEEPER,
        "replicas=2 settled",
        "
        image=B -> delete 1@A
        gone(1) -> create 1@B
        broken(1) broken(0) image=A -> none | A>A
        +30s -> delete 1@B
        gone(1) -> create 1@A
        broken(1) ready(0) ready(1) -> none | 2/2/2/2/2 A>A
    ",
    );
    // One of three needs the third.
    run(
        SETKEEPER,
        "settled image=B settled",
        "
        image=C -> delete 2@B
        gone(2) -> create 2@C
        broken(2) image=B broken(1) -> none | 3/1/1/2/2 B>B
        +30s -> delete 2@C
        gone(2) ready(1) -> create 2@B
        ready(2) -> none | 3/3/3/3/3 B>B
    ",
    );
}

#[test]
fn s_209_a_template_that_mends_them_all_reaches_every_pod_of_an_outage() {
    // Whatever they need has changed: none is ready any more, and a member at the new template needs the others.
    run(
        SETKEEPER,
        "settled",
        "
        broken(0) broken(1) broken(2) -> none
        +600s image=B -> delete 0@A
        gone(0) -> create 0@B, delete 1@A
        gone(1) -> create 1@B, delete 2@A
        gone(2) -> create 2@B
        ready(0) ready(1) ready(2) -> none | 3/3/3/3/3 B>B
    ",
    );
    // One that starts slowly is given its time.
    run(
        SETKEEPER,
        "settled",
        "
        image=B broken(0) broken(1) broken(2) -> delete 0@A
        gone(0) -> create 0@B
        broken(0) +30s -> none
        +30s -> none
        ready(1) ready(2) -> none
        ready(0) -> delete 2@A
    ",
    );
}

#[test]
fn s_209_a_pod_at_the_update_revision_is_never_healed() {
    run(
        SETKEEPER,
        "settled broken(0)",
        "
        -> none | 3/2/2/3/3
        +86400s -> none | (no write)
    ",
    );
    run(
        SETKEEPER,
        "settled",
        "
        image=B -> delete 2@A
        gone(2) -> create 2@B
        broken(2) +86400s -> none
        -> none | (no write)
    ",
    );
}

#[test]
fn s_209_a_protected_pod_at_its_current_revision_is_never_healed() {
    run(
        SETKEEPER,
        "partition=2 settled image=B settled broken(0)",
        "
        -> none | 3/2/2/2/1 A>B
        -> none | (no write)
    ",
    );
}

#[test]
fn s_209_a_protected_pod_at_a_third_revision_returns_to_the_current_one() {
    for policy in ["", "Parallel"] {
        let given = format!("{policy} partition=1 settled image=B settled partition=2 image=C broken(1)");
        run(
            SETKEEPER,
            &given,
            "
            -> delete 1@B | 3/2/2/1/0 A>C
            gone(1) -> create 1@A
            ready(1) -> delete 2@B
            settled -> none | 3/3/3/2/1 A>C
        ",
        );
    }
}

#[test]
fn a_pod_that_soaks_is_not_healed() {
    run(
        SETKEEPER,
        "min=30 settled",
        "
        broken(0) -> none
        ready(0) image=B -> none | 3/3/2/3/0 A>B
        +30s -> delete 2@A
    ",
    );
}

#[test]
fn healing_does_not_disturb_on_delete() {
    run(
        SETKEEPER,
        "OnDelete settled broken(1)",
        "
        image=B -> none | 3/2/2/3/0 A>B
        -> none | (no write)
    ",
    );
}

#[test]
fn healing_waits_for_pods_below_that_end_or_stop() {
    run(
        SETKEEPER,
        "settled broken(2)",
        "
        image=B term(0) -> none | 3/2/2/2/0 A>B
        gone(0) -> create 0@B
        failed(0) -> delete 0@B
        -> create 0@B
        ready(0) -> delete 2@A
    ",
    );
}

#[test]
fn s_210_promotion_waits_for_availability_when_a_partition_opens() {
    run(
        SETKEEPER,
        "Parallel min=10 settled",
        "
        image=B mu=3 -> delete 2@A, delete 1@A, delete 0@A
        gone(0) gone(1) gone(2) -> create 0@B, create 1@B, create 2@B
        ready(0) ready(1) ready(2) -> none | 3/3/0/0/3 A>B
        +10s -> none | 3/3/3/3/3 B>B
    ",
    );
}
