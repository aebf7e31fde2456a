//! minReadySeconds.

use scenarios::{BOTH, KUBERNETES, SETKEEPER, run};

#[test]
fn s_97_creation_and_update_wait() {
    let shared = "
        -> create 0@A
        ready(0) -> none | 1/1/0/1/1
        +29s -> none | (no write)
        +1s -> create 1@A | 1/1/1/1/1
        ready(1) -> none | 2/2/1/2/2
        +30s -> none | 2/2/2/2/2
        image=B -> delete 1@A | 2/2/2/1/0
        gone(1) -> create 1@B | 1/1/1/1/0
        ready(1) -> none | 2/2/1/1/1
        +30s -> delete 0@A | 2/2/2/0/1
        gone(0) -> create 0@B | 1/1/1/0/1
    ";
    let promoted_early = "
        ready(0) -> none | 2/2/1/2/2 B>B
        +30s -> none | 2/2/2/2/2 B>B
    ";
    let promoted_in_time = "
        ready(0) -> none | 2/2/1/0/2 A>B
        +30s -> none | 2/2/2/2/2 B>B
    ";
    run(KUBERNETES, "min=30 replicas=2", &format!("{shared}{promoted_early}"));
    run(SETKEEPER, "min=30 replicas=2", &format!("{shared}{promoted_in_time}"));
}

#[test]
fn s_98_flapping_restarts_the_clock() {
    run(
        BOTH,
        "min=10 replicas=2",
        "
        -> create 0@A
        ready(0) -> none | 1/1/0/1/1
        +5s broken(0) -> none | 1/0/0/1/1
        +5s ready(0) -> none | 1/1/0/1/1
        +9s -> none
        +1s -> create 1@A
    ",
    );
}

#[test]
fn s_99_raising_it_blocks_scaling() {
    run(
        BOTH,
        "settled",
        "
        min=3600 -> none | 3/3/0/3/3
        replicas=2 -> none | 3/3/0/3/3
        min=0 -> delete 2@A | 3/3/3/3/3 A>A [A=1]
    ",
    );
}

#[test]
fn s_100_lowering_it_releases_at_once() {
    run(
        BOTH,
        "min=30 settled",
        "
        image=B -> delete 2@A
        gone(2) -> create 2@B
        ready(2) -> none
        +20s -> none | 3/3/2/2/1
        min=10 -> delete 1@A | 3/3/3/1/1
    ",
    );
}

#[test]
fn s_101_parallel() {
    run(
        BOTH,
        "Parallel min=10",
        "
        -> create 0@A, create 1@A, create 2@A
        ready(0) ready(1) ready(2) -> none | 3/3/0/3/3
        +10s -> none | 3/3/3/3/3
        image=B -> delete 2@A | 3/3/3/2/0
        gone(2) -> create 2@B
        ready(2) -> none | 3/3/2/2/1
        +10s -> delete 1@A | 3/3/3/1/1
    ",
    );
}

#[test]
fn s_102_parallel_with_budget() {
    run(
        BOTH,
        "Parallel replicas=4 mu=2 min=10 settled",
        "
        image=B -> delete 3@A, delete 2@A | 4/4/4/2/0
        gone(2) gone(3) -> create 2@B, create 3@B | 2/2/2/2/0
        ready(2) ready(3) -> none | 4/4/2/2/2
        +9s -> none | (no write)
        +1s -> delete 1@A, delete 0@A | 4/4/4/0/2
    ",
    );
}
