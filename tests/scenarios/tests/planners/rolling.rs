//! Rolling updates.

use scenarios::{BOTH, KUBERNETES, SETKEEPER, run};

#[test]
fn s_39_plain_rolling_update() {
    for policy in ["settled", "Parallel settled"] {
        run(
            BOTH,
            policy,
            "
            image=B -> delete 2@A | 3/3/3/2/0 A>B [A=1 B=2]
            gone(2) -> create 2@B | 2/2/2/2/0
            ready(2) -> delete 1@A | 3/3/3/1/1
            gone(1) -> create 1@B | 2/2/2/1/1
            ready(1) -> delete 0@A | 3/3/3/0/2
            gone(0) -> create 0@B | 2/2/2/0/2
            ready(0) -> none | 3/3/3/3/3 B>B
            -> none | (no write)
        ",
        );
    }
}

#[test]
fn s_40_lost_pod_during_a_rollout_returns_at_the_new_revision() {
    run(
        BOTH,
        "settled",
        "
        image=B -> delete 2@A
        gone(2) -> create 2@B
        gone(0) -> create 0@B | 2/1/1/1/1 A>B
        ready(0) -> none | 3/2/2/1/2
        ready(2) -> delete 1@A | 3/3/3/0/2
        gone(1) -> create 1@B | 2/2/2/0/2
        ready(1) -> none | 3/3/3/3/3 B>B
    ",
    );
}

#[test]
fn s_41_same_without_a_block() {
    run(
        KUBERNETES,
        "no-block settled",
        "
        image=B -> delete 2@A | 3/3/3/2/0
        gone(2) -> create 2@B | 2/2/2/2/0
        ready(2) gone(0) -> create 0@A | 2/2/2/1/1 A>B
        ready(0) -> delete 1@A | 3/3/3/1/1
        gone(1) -> create 1@B
        ready(1) -> delete 0@A | 3/3/3/0/2
        gone(0) -> create 0@B
        ready(0) -> none | 3/3/3/3/3 B>B
    ",
    );
    // With healing, a pod created at the old revision would be replaced before it has run.
    run(
        SETKEEPER,
        "no-block settled",
        "
        image=B -> delete 2@A | 3/3/3/2/0
        gone(2) -> create 2@B | 2/2/2/2/0
        ready(2) gone(0) -> create 0@B | 2/2/2/1/1 A>B
        ready(0) -> delete 1@A | 3/3/3/0/2
        gone(1) -> create 1@B
        ready(1) -> none | 3/3/3/3/3 B>B
    ",
    );
}

#[test]
fn s_52_broken_pod_elsewhere() {
    run(
        KUBERNETES,
        "settled broken(0)",
        "
        image=B -> none | 3/2/2/3/0 A>B
        -> none | (no write)
        ready(0) -> delete 2@A | 3/3/3/2/0
    ",
    );
    run(SETKEEPER, "settled broken(0)", "image=B -> delete 0@A | 3/2/2/2/0 A>B");
    run(BOTH, "Parallel settled broken(0)", "image=B -> delete 0@A | 3/2/2/2/0");
}

#[test]
fn s_53_update_and_scale_up_together() {
    for given in ["settled", "no-block settled"] {
        run(
            BOTH,
            given,
            "
            image=B replicas=5 -> create 3@B | 3/3/3/3/0 A>B
            ready(3) -> create 4@B | 4/4/4/3/1
            ready(4) -> delete 2@A | 5/5/5/2/2
            settled -> none | 5/5/5/5/5 B>B
        ",
        );
    }
    run(
        BOTH,
        "Parallel settled",
        "
        image=B replicas=5 -> create 3@B, create 4@B | 3/3/3/3/0
        ready(3) ready(4) -> delete 2@A | 5/5/5/2/2
    ",
    );
}

#[test]
fn s_54_update_and_scale_down_together() {
    run(
        BOTH,
        "replicas=5 settled",
        "
        image=B replicas=3 -> delete 4@A | 5/5/5/5/0
        gone(4) -> delete 3@A | 4/4/4/4/0
        gone(3) -> delete 2@A | 3/3/3/2/0
    ",
    );
    run(
        BOTH,
        "Parallel replicas=5 settled",
        "
        image=B replicas=3 -> delete 4@A, delete 3@A, delete 2@A | 5/5/5/4/0
    ",
    );
}

#[test]
fn s_55_second_change_in_mid_flight() {
    let rolled = "
        image=B -> delete 2@A
        gone(2) -> create 2@B
        ready(2) -> delete 1@A
        gone(1) -> create 1@B
    ";
    run(
        KUBERNETES,
        "settled",
        &format!(
            "{rolled}
        image=C -> none | 3/2/2/1/0 A>C
        ready(1) -> delete 2@B | 3/3/3/0/0
        gone(2) -> create 2@C | 2/2/2/1/0
        ready(2) -> delete 1@B | 3/3/3/0/1
        gone(1) -> create 1@C
        ready(1) -> delete 0@A
        gone(0) -> create 0@C
        ready(0) -> none | 3/3/3/3/3 C>C
    "
        ),
    );
    // A pod of an obsolete revision that has not started is not waited for.
    run(
        SETKEEPER,
        "settled",
        &format!(
            "{rolled}
        image=C -> delete 1@B | 3/2/2/1/0 A>C
        gone(1) -> create 1@C | 2/2/2/1/0
        ready(1) -> delete 2@B | 3/3/3/1/1
        settled -> none | 3/3/3/3/3 C>C
    "
        ),
    );
}

#[test]
fn s_56_revert_in_mid_flight_healthy() {
    for (profile, first, second) in [(KUBERNETES, "0/1", "1/2"), (SETKEEPER, "1/1", "2/2")] {
        run(
            profile,
            "settled",
            &format!(
                "
            image=B -> delete 2@A
            gone(2) -> create 2@B
            ready(2) -> delete 1@A
            gone(1) -> create 1@B
            ready(1) image=A -> delete 2@B | 3/3/3/{first} A>A [B=2 A=3]
            gone(2) -> create 2@A | 2/2/2/1/1
            ready(2) -> delete 1@B | 3/3/3/{second}
            gone(1) -> create 1@A | 2/2/2/2/2
            ready(1) -> none | 3/3/3/3/3
        "
            ),
        );
    }
}

#[test]
fn s_57_changed_and_changed_back_before_any_pass() {
    run(BOTH, "settled", "image=B image=A -> none | 3/3/3/3/3 A>A [A=1]");
}

#[test]
fn s_58_revert_of_a_canary() {
    for (profile, counts) in [(KUBERNETES, "1/2"), (SETKEEPER, "2/2")] {
        run(
            profile,
            "partition=2 settled image=B settled",
            &format!(
                "
            image=A -> delete 2@B | 3/3/3/{counts} A>A [B=2 A=3]
            gone(2) -> create 2@A | 2/2/2/2/2
            ready(2) -> none | 3/3/3/3/3 A>A
        "
            ),
        );
    }
}

#[test]
fn s_59_failed_pod_during_an_update() {
    run(
        BOTH,
        "settled",
        "
        image=B -> delete 2@A
        gone(2) -> create 2@B
        ready(2) failed(0) -> delete 0@A | 3/2/2/2/1
        -> create 0@B | 2/2/2/1/1
        ready(0) -> delete 1@A | 3/3/3/0/2
        settled -> none | 3/3/3/3/3 B>B
    ",
    );
}

#[test]
fn s_59_failed_outdated_pod_of_a_parallel_set_is_deleted_by_both_rules_only_in_kubernetes() {
    let script = |again: &str, current: u32| {
        format!(
            "
        failed(1) image=B -> delete 1@A{again} | 3/2/2/{current}/0
        -> create 1@B | 2/2/2/2/0
    "
        )
    };
    run(KUBERNETES, "Parallel settled", &script(", delete 1 again", 2));
    run(SETKEEPER, "Parallel settled", &script("", 3));
}

#[test]
fn s_60_update_at_zero_replicas() {
    run(
        BOTH,
        "replicas=0 settled",
        "
        image=B -> none | 0/0/0/0/0 B>B [A=1 B=2]
        replicas=1 -> create 0@B
    ",
    );
}

#[test]
fn s_197_crash_after_the_deletion_of_an_update() {
    run(
        BOTH,
        "settled image=B term(2)",
        "
        -> none | 3/3/3/2/0 A>B
        gone(2) -> create 2@B
    ",
    );
}
