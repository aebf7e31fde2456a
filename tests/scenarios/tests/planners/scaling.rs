//! Scaling, and stopping a whole set.

use scenarios::{BOTH, KUBERNETES, SETKEEPER, run};

#[test]
fn s_21_scale_up_blocked_by_a_broken_pod() {
    run(
        BOTH,
        "replicas=1 settled broken(0)",
        "
        replicas=3 -> none | 1/0/0/1/1
        ready(0) -> create 1@A | 1/1/1/1/1
        ready(1) -> create 2@A | 2/2/2/2/2
        ready(2) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_22_parallel_scale_up_ignores_health() {
    run(
        BOTH,
        "Parallel replicas=1 settled broken(0)",
        "
        replicas=3 -> create 1@A, create 2@A | 1/0/0/1/1
        -> none | 3/0/0/3/3
    ",
    );
}

#[test]
fn s_23_scale_down_in_order() {
    run(
        BOTH,
        "settled",
        "
        replicas=1 -> delete 2@A | 3/3/3/3/3
        -> none | 3/3/3/2/2
        gone(2) -> delete 1@A | 2/2/2/2/2
        gone(1) -> none | 1/1/1/1/1
    ",
    );
}

#[test]
fn s_24_lower_pod_breaks_between_two_removals() {
    run(
        BOTH,
        "settled",
        "
        replicas=1 -> delete 2@A
        gone(2) broken(0) -> none | 2/1/1/2/2
        -> none | (no write)
        ready(0) -> delete 1@A | 2/2/2/2/2
        gone(1) -> none | 1/1/1/1/1
    ",
    );
}

#[test]
fn s_25_scale_down_while_a_pod_in_range_is_broken() {
    run(
        BOTH,
        "settled broken(0)",
        "
        replicas=2 -> none | 3/2/2/3/3
        -> none | (no write)
        ready(0) -> delete 2@A | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_26_everything_condemned_and_unready() {
    run(
        KUBERNETES,
        "settled broken(0) broken(1) broken(2)",
        "
        replicas=0 -> none | 3/0/0/3/3
        ready(0) -> none | 3/1/1/3/3
        ready(1) -> delete 2@A | 3/2/2/3/3
        gone(2) -> delete 1@A | 2/2/2/2/2
    ",
    );
    run(
        SETKEEPER,
        "settled broken(0) broken(1) broken(2)",
        "
        replicas=0 -> delete 2@A | 3/0/0/3/3
        -> none | 3/0/0/2/2
        gone(2) -> delete 1@A | 2/0/0/2/2
        gone(1) -> delete 0@A | 1/0/0/1/1
        gone(0) -> none | 0/0/0/0/0
    ",
    );
}

#[test]
fn s_27_only_the_highest_is_unready() {
    run(
        BOTH,
        "settled broken(2)",
        "
        replicas=0 -> delete 2@A | 3/2/2/3/3
        gone(2) -> delete 1@A | 2/2/2/2/2
        gone(1) -> delete 0@A | 1/1/1/1/1
        gone(0) -> none | 0/0/0/0/0
    ",
    );
}

#[test]
fn s_28_only_the_middle_one_is_unready() {
    run(
        BOTH,
        "settled broken(1)",
        "
        replicas=0 -> delete 2@A | 3/2/2/3/3
        gone(2) -> delete 1@A | 2/1/1/2/2
        gone(1) -> delete 0@A | 1/1/1/1/1
        gone(0) -> none | 0/0/0/0/0
    ",
    );
}

#[test]
fn s_29_lowest_and_highest_unready() {
    run(
        KUBERNETES,
        "settled broken(0) broken(2)",
        "
        replicas=0 -> none | 3/1/1/3/3
        -> none | (no write)
    ",
    );
    run(
        SETKEEPER,
        "settled broken(0) broken(2)",
        "
        replicas=0 -> delete 2@A | 3/1/1/3/3
        gone(2) -> delete 1@A | 2/1/1/2/2
        gone(1) -> delete 0@A | 1/0/0/1/1
    ",
    );
}

#[test]
fn s_30_single_unready_pod_to_zero() {
    run(
        BOTH,
        "replicas=1 settled broken(0)",
        "
        replicas=0 -> delete 0@A | 1/0/0/1/1
        gone(0) -> none | 0/0/0/0/0
    ",
    );
}

#[test]
fn s_31_manual_deletions_resolve_it_down_to_one() {
    run(
        KUBERNETES,
        "settled broken(0) broken(1) broken(2)",
        "
        replicas=0 -> none
        term(1) -> none | 3/0/0/2/2
        gone(1) -> none | 2/0/0/2/2
        gone(0) -> delete 2@A | 1/0/0/1/1
    ",
    );
}

#[test]
fn s_32_parallel_scale_down_ignores_health() {
    run(
        BOTH,
        "Parallel settled broken(0) broken(1) broken(2)",
        "
        replicas=0 -> delete 2@A, delete 1@A, delete 0@A | 3/0/0/3/3
        gone(0) gone(1) gone(2) -> none | 0/0/0/0/0
    ",
    );
    run(
        BOTH,
        "Parallel settled",
        "
        replicas=1 -> delete 2@A, delete 1@A | 3/3/3/3/3
        -> none | 3/3/3/1/1
        gone(1) gone(2) -> none | 1/1/1/1/1
    ",
    );
}

#[test]
fn s_33_change_of_mind_while_terminating() {
    for policy in ["settled", "Parallel settled"] {
        run(
            BOTH,
            policy,
            "
            replicas=2 -> delete 2@A | 3/3/3/3/3
            replicas=3 -> none | 3/3/3/2/2
            -> none | (no write)
            gone(2) -> create 2@A | 2/2/2/2/2
            ready(2) -> none | 3/3/3/3/3
        ",
        );
    }
}

#[test]
fn s_34_two_condemned_pods_terminating_at_once() {
    run(
        BOTH,
        "replicas=5 settled",
        "
        replicas=3 -> delete 4@A | 5/5/5/5/5
        term(3) -> none | 5/5/5/3/3
        gone(4) -> none | 4/4/4/3/3
        gone(3) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_35_condemned_pod_failed() {
    run(
        BOTH,
        "settled failed(2)",
        "
        replicas=2 -> delete 2@A | 3/2/2/3/3
        -> none | 2/2/2/2/2
    ",
    );
}

#[test]
fn two_condemned_pods_that_have_ended_need_a_hand_in_kubernetes() {
    run(
        SETKEEPER,
        "settled failed(1) failed(2)",
        "
        replicas=1 -> delete 2@A | 3/1/1/3/3
        -> delete 1@A | 2/1/1/2/2
        -> none | 1/1/1/1/1
    ",
    );
    run(
        KUBERNETES,
        "settled failed(1) failed(2)",
        "
        replicas=1 -> none | 3/1/1/3/3
        -> none | (no write)
        gone(1) -> delete 2@A | 2/1/1/2/2
        -> none | 1/1/1/1/1
    ",
    );
}

#[test]
fn s_36_hole_below_plus_scale_down() {
    run(
        BOTH,
        "settled gone(0)",
        "
        replicas=2 -> create 0@A | 2/2/2/2/2
        ready(0) -> delete 2@A | 3/3/3/3/3
        gone(2) -> none | 2/2/2/2/2
    ",
    );
    run(BOTH, "Parallel settled gone(0)", "replicas=2 -> create 0@A, delete 2@A | 2/2/2/2/2");
}

#[test]
fn s_37_break_in_the_middle_of_a_longer_scale_down() {
    run(
        BOTH,
        "replicas=5 settled",
        "
        replicas=2 -> delete 4@A | 5/5/5/5/5
        gone(4) broken(1) -> none | 4/3/3/4/4
        ready(1) -> delete 3@A | 4/4/4/4/4
    ",
    );
}

#[test]
fn s_38_user_deletes_a_condemned_pod_during_a_block() {
    run(
        BOTH,
        "settled broken(0)",
        "
        replicas=1 -> none | 3/2/2/3/3
        term(2) -> none | 3/2/2/2/2
        gone(2) -> none | 2/1/1/2/2
        -> none | (no write)
        ready(0) -> delete 1@A | 2/2/2/2/2
    ",
    );
}

#[test]
fn s_150_lost_pods_of_a_set_that_is_deleted_are_not_replaced() {
    let lost = "
        deleted term(0) term(1) term(2) -> none | 3/3/3/0/0
        gone(1) -> none | 2/2/2/0/0";
    // Kubernetes still says that it has seen the change, and what it would update to.
    run(SETKEEPER, "Parallel settled", &format!("{lost}\n replicas=5 -> none | (no write)"));
    run(KUBERNETES, "Parallel settled", &format!("{lost}\n image=B -> none | 2/2/2/0/0 A>B [A=1 B=2]"));
}

#[test]
fn s_215_ordered_deletion() {
    run(
        BOTH,
        "settled",
        "
        deleted -> delete 2@A
        -> none
        gone(2) -> delete 1@A
        gone(1) -> delete 0@A
        gone(0) -> none | 0/0/0/0/0
    ",
    );
}

#[test]
fn drained_sets_stop_from_the_top_whatever_their_health() {
    run(
        BOTH,
        "settled broken(0) broken(2) image=B",
        "
        drained -> delete 2@A | 3/1/1/3/3 A>A [A=1]
        gone(2) -> delete 1@A
        gone(1) failed(0) -> delete 0@A
        -> none | 0/0/0/0/0 A>A
        -> none | (no write)
    ",
    );
    run(BOTH, "Parallel settled broken(0)", "drained -> delete 2@A, delete 1@A, delete 0@A");
}
