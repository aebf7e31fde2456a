//! Start ordinal.

use scenarios::{BOTH, run};

#[test]
fn s_103_set_starting_at_3() {
    run(
        BOTH,
        "start=3",
        "
        -> create 3@A
        ready(3) -> create 4@A
        ready(4) -> create 5@A
        ready(5) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_104_raising_start_ordered() {
    run(
        BOTH,
        "settled",
        "
        start=2 -> create 3@A | 3/3/3/3/3
        ready(3) -> create 4@A | 4/4/4/4/4
        ready(4) -> delete 1@A | 5/5/5/5/5
        gone(1) -> delete 0@A | 4/4/4/4/4
        gone(0) -> none | 3/3/3/3/3 A>A [A=1]
    ",
    );
}

#[test]
fn s_105_raising_start_parallel() {
    run(
        BOTH,
        "Parallel settled",
        "
        start=2 -> create 3@A, create 4@A, delete 1@A, delete 0@A | 3/3/3/3/3
        gone(0) gone(1) ready(3) ready(4) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_106_disjoint_ranges() {
    run(
        BOTH,
        "start=2 replicas=2 settled",
        "
        start=4 -> create 4@A | 2/2/2/2/2
        ready(4) -> create 5@A | 3/3/3/3/3
        ready(5) -> delete 3@A | 4/4/4/4/4
        gone(3) -> delete 2@A | 3/3/3/3/3
        gone(2) -> none | 2/2/2/2/2
    ",
    );
}

#[test]
fn s_107_lowering_and_removing_start() {
    run(
        BOTH,
        "start=3 replicas=2 settled",
        "
        start=2 -> create 2@A | 2/2/2/2/2
        ready(2) -> delete 4@A | 3/3/3/3/3
        gone(4) -> none | 2/2/2/2/2
    ",
    );
    run(
        BOTH,
        "start=3 replicas=2 settled",
        "
        start=0 -> create 0@A
        ready(0) -> create 1@A
        ready(1) -> delete 4@A
        gone(4) -> delete 3@A
        gone(3) -> none | 2/2/2/2/2
    ",
    );
}

#[test]
fn s_108_dropping_the_lowest_pod_only() {
    run(
        BOTH,
        "settled",
        "
        start=1 replicas=2 -> delete 0@A | 3/3/3/3/3
        gone(0) -> none | 2/2/2/2/2
    ",
    );
}

#[test]
fn s_109_raised_and_lowered_again() {
    run(
        BOTH,
        "settled",
        "
        start=1 -> create 3@A
        start=0 -> delete 3@A | 4/3/3/4/4
        gone(3) -> none | 3/3/3/3/3
    ",
    );
}

#[test]
fn s_110_partition_is_an_offset() {
    run(
        BOTH,
        "start=3 partition=1 settled image=B settled",
        "
        -> none | 3/3/3/1/2 A>B
        gone(3) -> create 3@A
    ",
    );
    run(
        BOTH,
        "start=2 replicas=9 partition=5 settled image=B settled",
        "
        -> none | 9/9/9/5/4 A>B
        gone(6) gone(7) -> create 6@A
        ready(6) -> create 7@B
    ",
    );
}
