//! Broken templates and rollback.

use scenarios::{BOTH, KUBERNETES, SETKEEPER, run};

/// Settled at A; web-2 at B has not started.
const STUCK: &str = "
    image=B -> delete 2@A | 3/3/3/2/0 A>B
    gone(2) -> create 2@B | 2/2/2/2/0
    -> none | 3/2/2/2/1 A>B
";

#[test]
fn s_66_forced_rollback() {
    run(
        KUBERNETES,
        "settled",
        &format!(
            "{STUCK}
        image=A -> none | 3/2/2/2/2 A>A [B=2 A=3]
        -> none | (no write)
        broken(2) -> none | (no write)
        term(2) -> none
        gone(2) -> create 2@A | 2/2/2/2/2
        ready(2) -> none | 3/3/3/3/3 A>A
    "
        ),
    );
    for trouble in ["", "broken(2)", "unknown(2)"] {
        run(
            SETKEEPER,
            "settled",
            &format!(
                "{STUCK}
            image=A {trouble} -> delete 2@B | 3/2/2/2/2 A>A [B=2 A=3]
            -> none | 3/2/2/2/2
            gone(2) -> create 2@A | 2/2/2/2/2
            ready(2) -> none | 3/3/3/3/3 A>A
        "
            ),
        );
    }
}

#[test]
fn s_67_fixing_forward() {
    run(
        KUBERNETES,
        "settled",
        &format!(
            "{STUCK}
        image=C -> none | 3/2/2/2/0 A>C [A=1 B=2 C=3]
        -> none | (no write)
        gone(2) -> create 2@C | 2/2/2/2/0
        ready(2) -> delete 1@A | 3/3/3/1/1
        settled -> none | 3/3/3/3/3 C>C
    "
        ),
    );
    run(
        SETKEEPER,
        "settled",
        &format!(
            "{STUCK}
        image=C -> delete 2@B | 3/2/2/2/0 A>C [A=1 B=2 C=3]
        gone(2) -> create 2@C | 2/2/2/2/0
        ready(2) -> delete 1@A | 3/3/3/1/1
    "
        ),
    );
}

#[test]
fn s_68_first_revision_broken_ordered() {
    let broken = "
        -> create 0@A
        -> none | 1/0/0/1/1 A>A
    ";
    let mended = "
        gone(0) -> create 0@B | 0/0/0/0/0
        ready(0) -> create 1@B | 1/1/1/0/1
        ready(1) -> create 2@B | 2/2/2/0/2
        ready(2) -> none | 3/3/3/3/3 B>B
    ";
    run(
        KUBERNETES,
        "",
        &format!(
            "{broken}
        image=B -> none | 1/0/0/1/0 A>B
        -> none | (no write)
        {mended}"
        ),
    );
    run(
        SETKEEPER,
        "",
        &format!(
            "{broken}
        image=B -> delete 0@A | 1/0/0/0/0 A>B
        {mended}"
        ),
    );
}

#[test]
fn s_69_broken_update_reverted_under_parallel() {
    for (profile, counts) in [(KUBERNETES, "1/2"), (SETKEEPER, "2/2")] {
        run(
            profile,
            "Parallel settled",
            &format!(
                "{STUCK}
            image=A -> delete 2@B | 3/2/2/{counts} A>A
            -> none | 3/2/2/2/2
            gone(2) -> create 2@A
            ready(2) -> none | 3/3/3/3/3
        "
            ),
        );
    }
    for (profile, counts) in [(KUBERNETES, "1/0"), (SETKEEPER, "2/0")] {
        run(
            profile,
            "Parallel settled",
            &format!(
                "{STUCK}
            image=C -> delete 2@B | 3/2/2/{counts} A>C
            gone(2) -> create 2@C
            ready(2) -> delete 1@A
            settled -> none | 3/3/3/3/3 C>C
        "
            ),
        );
    }
}

#[test]
fn s_70_first_revision_broken_under_parallel() {
    let broken = "settled broken(0) broken(1) broken(2)";
    run(
        BOTH,
        &format!("Parallel {broken}"),
        "
        image=B -> delete 2@A, delete 1@A, delete 0@A | 3/0/0/0/0 A>B
        gone(0) gone(1) gone(2) -> create 0@B, create 1@B, create 2@B | 0/0/0/0/0
        ready(0) ready(1) ready(2) -> none | 3/3/3/3/3 B>B
    ",
    );
    run(
        BOTH,
        &format!("Parallel partition=1 {broken}"),
        "
        image=B -> delete 2@A, delete 1@A | 3/0/0/1/0
        gone(1) gone(2) -> create 1@B, create 2@B
        ready(1) ready(2) -> none | 3/2/2/1/2
    ",
    );
}

#[test]
fn s_71_scaling_up_while_an_update_is_stuck() {
    run(
        BOTH,
        "settled",
        &format!(
            "{STUCK}
        replicas=5 -> none | 3/2/2/2/1
        -> none | (no write)
    "
        ),
    );
}

#[test]
fn s_72_scaling_down_past_the_broken_pod() {
    run(
        BOTH,
        "settled",
        &format!(
            "{STUCK}
        replicas=2 -> delete 2@B | 3/2/2/2/1
        gone(2) -> delete 1@A | 2/2/2/1/0 A>B
    "
        ),
    );
    run(
        BOTH,
        "settled",
        &format!(
            "{STUCK}
        image=A replicas=2 -> delete 2@B | 3/2/2/2/2 A>A
        gone(2) -> none | 2/2/2/2/2
        replicas=3 -> create 2@A | 2/2/2/2/2
        ready(2) -> none | 3/3/3/3/3
    "
        ),
    );
}

#[test]
fn s_73_scaling_to_zero_while_stuck() {
    run(
        BOTH,
        "settled",
        &format!(
            "{STUCK}
        replicas=0 -> delete 2@B | 3/2/2/2/1
        gone(2) -> delete 1@A | 2/2/2/2/0
        gone(1) -> delete 0@A | 1/1/1/1/0
        gone(0) -> none | 0/0/0/0/0 B>B
    "
        ),
    );
}

#[test]
fn s_74_broken_canary() {
    run(
        KUBERNETES,
        "partition=2 settled",
        &format!(
            "{STUCK}
        image=A -> none | 3/2/2/2/2 A>A
        -> none | (no write)
        gone(2) -> create 2@A
    "
        ),
    );
    run(
        SETKEEPER,
        "partition=2 settled",
        &format!(
            "{STUCK}
        image=A -> delete 2@B | 3/2/2/2/2 A>A
        gone(2) -> create 2@A
    "
        ),
    );
    for (profile, counts) in [(KUBERNETES, "1/2"), (SETKEEPER, "2/2")] {
        run(
            profile,
            "Parallel partition=2 settled",
            &format!(
                "{STUCK}
            image=A -> delete 2@B | 3/2/2/{counts}
            gone(2) -> create 2@A
        "
            ),
        );
    }
}

#[test]
fn s_75_partition_lowered_while_a_protected_pod_is_broken() {
    run(
        BOTH,
        "partition=3 settled image=B settled broken(0)",
        "
        partition=2 -> none | 3/2/2/3/0
        ready(0) -> delete 2@A | 3/3/3/2/0
    ",
    );
    run(
        BOTH,
        "Parallel partition=3 settled image=B settled broken(0)",
        "
        partition=2 -> none | 3/2/2/3/0
        ready(0) -> delete 2@A
    ",
    );
}

#[test]
fn s_76_stuck_with_a_larger_budget() {
    run(
        KUBERNETES,
        "replicas=5 mu=2 settled",
        "
        image=B -> delete 4@A, delete 3@A | 5/5/5/3/0
        gone(3) gone(4) -> create 3@B
        broken(3) -> none | 4/3/3/3/1 A>B
        image=A -> none | 4/3/3/3/3 A>A
        -> none | (no write)
    ",
    );
    run(
        SETKEEPER,
        "replicas=5 mu=2 settled",
        "
        image=B -> delete 4@A, delete 3@A | 5/5/5/3/0
        gone(3) gone(4) -> create 3@B, create 4@B
        broken(3) broken(4) -> none | 5/3/3/3/2 A>B
        image=A -> delete 3@B | 5/3/3/3/3 A>A
        gone(3) -> create 3@A
        ready(3) -> delete 4@B
        gone(4) -> create 4@A
        ready(4) -> none | 5/5/5/5/5 A>A
    ",
    );
}

#[test]
fn s_77_new_pod_slow_an_old_lower_pod_breaks() {
    run(
        BOTH,
        "Parallel settled",
        "
        image=B -> delete 2@A
        gone(2) -> create 2@B
        broken(2) broken(1) -> delete 1@A | 3/1/1/1/1
    ",
    );
}
