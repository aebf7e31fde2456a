//! Creation and repair.

use scenarios::{BOTH, KUBERNETES, SETKEEPER, run};

#[test]
fn s_01_ordered_creation() {
    run(
        BOTH,
        "",
        "
        -> create 0@A | 0/0/0/0/0 A>A [A=1]
        ready(0) -> create 1@A | 1/1/1/1/1 A>A
        ready(1) -> create 2@A | 2/2/2/2/2 A>A
        ready(2) -> none | 3/3/3/3/3 A>A
        -> none | (no write)
    ",
    );
}

#[test]
fn s_02_pending_does_not_advance() {
    run(
        BOTH,
        "",
        "
        -> create 0@A
        -> none | 1/0/0/1/1 A>A
        -> none | (no write)
    ",
    );
}

#[test]
fn s_03_parallel_creation() {
    run(
        BOTH,
        "Parallel",
        "
        -> create 0@A, create 1@A, create 2@A | 0/0/0/0/0 A>A
        ready(1) -> none | 3/1/1/3/3
        ready(0) ready(2) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_04_predecessor_breaks_before_the_last_pod_exists() {
    run(
        BOTH,
        "",
        "
        -> create 0@A
        ready(0) -> create 1@A
        ready(1) broken(0) -> none | 2/1/1/2/2
        -> none | (no write)
        ready(0) -> create 2@A | 2/2/2/2/2
    ",
    );
}

#[test]
fn s_05_several_holes_ordered() {
    run(
        BOTH,
        "replicas=5 settled",
        "
        gone(0) gone(2) gone(4) -> create 0@A | 2/2/2/2/2
        ready(0) -> create 2@A | 3/3/3/3/3
        ready(2) -> create 4@A | 4/4/4/4/4
        ready(4) -> none | 5/5/5/5/5
    ",
    );
}

#[test]
fn s_06_several_holes_parallel() {
    run(
        BOTH,
        "Parallel replicas=5 settled",
        "
        gone(0) gone(2) gone(4) -> create 0@A, create 2@A, create 4@A | 2/2/2/2/2
        ready(0) ready(2) ready(4) -> none | 5/5/5/5/5
    ",
    );
}

#[test]
fn s_07_one_pod_deleted_by_a_user() {
    run(
        BOTH,
        "settled",
        "
        term(1) -> none | 3/3/3/2/2
        gone(1) -> create 1@A | 2/2/2/2/2
        ready(1) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_08_terminating_pod_blocks_a_higher_hole() {
    run(
        BOTH,
        "settled",
        "
        term(1) gone(2) -> none | 2/2/2/1/1
        gone(1) -> create 1@A | 1/1/1/1/1
        ready(1) -> create 2@A | 2/2/2/2/2
        ready(2) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_09_lower_pod_lost_while_the_higher_is_broken() {
    run(
        BOTH,
        "replicas=2",
        "
        -> create 0@A
        ready(0) -> create 1@A
        broken(1) -> none | 2/1/1/2/2
        term(0) -> none | 2/1/1/1/1
        gone(0) -> create 0@A | 1/0/0/1/1
        ready(0) -> none | 2/1/1/2/2
        ready(1) -> none | 2/2/2/2/2
    ",
    );
}

#[test]
fn s_11_zero_replicas() {
    run(
        BOTH,
        "replicas=0",
        "
        -> none | 0/0/0/0/0 A>A [A=1]
        -> none | (no write)
    ",
    );
}

#[test]
fn s_14_failed_pod() {
    run(
        BOTH,
        "settled",
        "
        failed(1) -> delete 1@A | 3/2/2/3/3
        -> create 1@A | 2/2/2/2/2
        ready(1) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_15_failed_and_succeeded_parallel() {
    run(
        BOTH,
        "Parallel settled",
        "
        failed(1) succeeded(2) -> delete 1@A, delete 2@A | 3/1/1/3/3
        -> create 1@A, create 2@A | 1/1/1/1/1
        ready(1) ready(2) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_16_failed_while_already_terminating() {
    run(
        BOTH,
        "settled",
        "
        failed(1) term(1) -> none | 3/2/2/2/2
        gone(1) -> create 1@A | 2/2/2/2/2
    ",
    );
}

#[test]
fn s_17_phase_unknown() {
    run(
        BOTH,
        "settled",
        "
        unknown(1) -> none | 3/2/2/3/3
        +3600s -> none | (no write)
    ",
    );
}

#[test]
fn s_18_orphan_out_of_range_is_removed() {
    run(
        BOTH,
        "settled adopt(7)",
        "
        -> delete 7@X | 4/4/4/3/3
        gone(7) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_19_pod_without_revision_label() {
    run(
        KUBERNETES,
        "settled unlabel(1)",
        "
        -> delete 1@ | 3/3/3/1/2
        gone(1) -> create 1@A | 2/2/2/2/2
        ready(1) -> none | 3/3/3/3/3
    ",
    );
    run(
        SETKEEPER,
        "settled unlabel(1)",
        "
        -> delete 1@ | 3/3/3/2/2
        gone(1) -> create 1@A | 2/2/2/2/2
        ready(1) -> none | 3/3/3/3/3
    ",
    );
    run(
        BOTH,
        "OnDelete settled unlabel(1)",
        "
        -> none | 3/3/3/2/2
        -> none | (no write)
    ",
    );
}

#[test]
fn s_158_unreachable_node() {
    run(
        BOTH,
        "settled",
        "
        term(1) -> none | 3/3/3/2/2
        unknown(1) -> none | 3/2/2/2/2
        +86400s -> none | (no write)
        gone(1) -> create 1@A | 2/2/2/2/2
    ",
    );
}

#[test]
fn s_201_idle() {
    let idle = "-> none | (no write)\n".repeat(100);
    run(BOTH, "settled", &idle);
}
