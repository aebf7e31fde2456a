//! What only Setkeeper has: pauses, reserved ordinals, a policy that may change, cold starts, back-off.

use scenarios::{BOTH, KUBERNETES, SETKEEPER, run};

#[test]
fn a_paused_set_repairs_and_scales_and_updates_nobody() {
    run(
        BOTH,
        "settled",
        "
        image=B -> delete 2@A
        gone(2) -> create 2@B
        ready(2) paused -> none | 3/3/3/2/1 A>B
        -> none | (no write)
        gone(0) -> create 0@A
        ready(0) gone(2) -> create 2@A
        ready(2) replicas=4 -> create 3@A
        ready(3) replicas=3 -> delete 3@A
        gone(3) resumed -> delete 2@A
        settled -> none | 3/3/3/3/3 B>B
    ",
    );
}

#[test]
fn a_paused_set_with_a_broken_update_is_not_healed() {
    run(
        SETKEEPER,
        "settled",
        "
        image=B -> delete 2@A
        gone(2) -> create 2@B
        broken(2) paused image=A -> none | 3/2/2/2/2
        resumed -> delete 2@B
        gone(2) -> create 2@A
        ready(2) -> none | 3/3/3/3/3 A>A
    ",
    );
}

#[test]
fn a_reserved_ordinal_leaves_and_nobody_else_moves() {
    run(
        BOTH,
        "settled",
        "
        reserve=1 -> create 3@A | 3/3/3/3/3
        ready(3) -> delete 1@A | 4/4/4/4/4
        gone(1) -> none | 3/3/3/3/3
        replicas=2 -> delete 3@A
        gone(3) -> none | 2/2/2/2/2
        reserve=7 -> create 1@A
        ready(1) -> delete 2@A
        gone(2) -> none | 2/2/2/2/2
    ",
    );
}

#[test]
fn partitions_count_pods_and_not_reserved_ordinals() {
    run(
        BOTH,
        "reserve=0,2 partition=1 settled",
        "
        image=B -> delete 4@A
        gone(4) -> create 4@B
        ready(4) -> delete 3@A
        gone(3) -> create 3@B
        ready(3) -> none | 3/3/3/1/2 A>B
        gone(1) -> create 1@A
    ",
    );
}

#[test]
fn the_policy_of_a_living_set_may_change() {
    run(
        BOTH,
        "replicas=4",
        "
        -> create 0@A
        Parallel -> create 1@A, create 2@A, create 3@A
        ready(0) OrderedReady -> none
        ready(1) ready(2) ready(3) -> none | 4/4/4/4/4
        Parallel replicas=2 -> delete 3@A, delete 2@A
        OrderedReady replicas=4 -> none
        gone(3) -> none
        gone(2) -> create 2@A
    ",
    );
}

#[test]
fn a_set_that_was_complete_starts_together_after_a_total_outage() {
    // All pods were lost; web-0 waits for the others.
    run(
        SETKEEPER,
        "settled gone(0) gone(1) gone(2)",
        "
        -> create 0@A
        broken(0) +29s -> none
        +1s -> create 1@A, create 2@A
        ready(0) ready(1) -> none | 3/2/2/3/3
        ready(2) -> none | 3/3/3/3/3
    ",
    );
    run(
        KUBERNETES,
        "settled gone(0) gone(1) gone(2)",
        "
        -> create 0@A
        broken(0) +86400s -> none
        -> none | (no write)
    ",
    );
}

#[test]
fn order_protects_members_that_are_new() {
    run(
        SETKEEPER,
        "replicas=2 settled replicas=4 gone(0) gone(1)",
        "
        -> create 0@A
        broken(0) +30s -> create 1@A
        ready(0) ready(1) -> create 2@A
        ready(2) -> create 3@A
    ",
    );
    run(SETKEEPER, "replicas=3", "-> create 0@A\n broken(0) +86400s -> none");
    // Scaled to nothing, a set has no members that know each other.
    run(
        SETKEEPER,
        "settled",
        "
        replicas=0 -> delete 2@A
        settled replicas=3 -> create 0@A
        broken(0) +86400s -> none
    ",
    );
}

#[test]
fn pods_that_end_again_and_again_are_given_time() {
    run(
        SETKEEPER,
        "settled",
        "
        failed(1) -> delete 1@A
        -> create 1@A
        failed(1) -> delete 1@A
        -> none
        +9s -> none
        +1s -> create 1@A
        failed(1) -> delete 1@A
        +19s -> none
        +1s -> create 1@A
        ready(1) +600s -> none | 3/3/3/3/3
        failed(1) -> delete 1@A
        -> create 1@A
    ",
    );
    run(KUBERNETES, "settled", "failed(1) -> delete 1@A\n -> create 1@A\n failed(1) -> delete 1@A\n -> create 1@A");
}
