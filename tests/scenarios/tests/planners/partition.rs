//! Updates held back by a partition.

use scenarios::{BOTH, KUBERNETES, SETKEEPER, run};

#[test]
fn s_42_partition_equal_to_replicas_holds_everything() {
    run(
        BOTH,
        "partition=3 settled",
        "
        image=B -> none | 3/3/3/3/0 A>B
        -> none | (no write)
    ",
    );
}

#[test]
fn s_43_canary_and_phased_roll_out() {
    run(
        BOTH,
        "partition=3 settled image=B settled",
        "
        partition=2 -> delete 2@A | 3/3/3/2/0
        gone(2) -> create 2@B | 2/2/2/2/0
        ready(2) -> none | 3/3/3/2/1 A>B
        gone(0) gone(2) -> create 0@A | 1/1/1/1/0
        ready(0) -> create 2@B | 2/2/2/2/0
        ready(2) -> none | 3/3/3/2/1
        partition=1 -> delete 1@A | 3/3/3/1/1
        gone(1) -> create 1@B | 2/2/2/1/1
        ready(1) -> none | 3/3/3/1/2 A>B
        partition=0 -> delete 0@A | 3/3/3/0/2
        gone(0) -> create 0@B | 2/2/2/0/2
        ready(0) -> none | 3/3/3/3/3 B>B
    ",
    );
}

#[test]
fn s_44_partition_raised_again() {
    run(
        BOTH,
        "partition=2 settled image=B settled",
        "
        partition=3 -> none | 3/3/3/2/1 A>B
        gone(2) -> create 2@A | 2/2/2/2/0
        ready(2) -> none | 3/3/3/3/0 A>B
        -> none | (no write)
    ",
    );
}

#[test]
fn s_45_pods_fail_on_both_sides_of_a_partition() {
    run(
        BOTH,
        "partition=1 settled image=B settled",
        "
        failed(0) -> delete 0@A | 3/2/2/1/2
        -> create 0@A | 2/2/2/0/2
        ready(0) -> none | 3/3/3/1/2
        failed(1) -> delete 1@B
        -> create 1@B | 2/2/2/1/1
        ready(1) -> none | 3/3/3/1/2
    ",
    );
}

#[test]
fn s_46_scale_up_with_a_partition() {
    run(
        BOTH,
        "partition=1 settled image=B settled",
        "
        replicas=5 -> create 3@B | 3/3/3/1/2
        ready(3) -> create 4@B | 4/4/4/1/3
        ready(4) -> none | 5/5/5/1/4 A>B
    ",
    );
}

#[test]
fn s_47_partition_above_the_old_size_decides_for_new_ordinals() {
    run(
        BOTH,
        "partition=5 settled",
        "
        image=B -> none | 3/3/3/3/0
        replicas=6 -> create 3@A
        ready(3) -> create 4@A
        ready(4) -> create 5@B
        ready(5) -> none | 6/6/6/5/1 A>B
    ",
    );
}

#[test]
fn s_48_scaling_to_zero_ends_a_partitioned_update() {
    let to_zero = "
        -> none | 4/4/4/2/2 A>B
        replicas=0 -> delete 3@B
        gone(3) -> delete 2@B
        gone(2) -> delete 1@A
        gone(1) -> delete 0@A
    ";
    run(
        KUBERNETES,
        "replicas=4 partition=2 settled image=B settled",
        &format!(
            "{to_zero}
        gone(0) -> none | 0/0/0/0/0 B>B
        replicas=2 -> create 0@B
        ready(0) -> create 1@B
        ready(1) -> none | 2/2/2/2/2 B>B
    "
        ),
    );
    // S-212.
    run(
        SETKEEPER,
        "replicas=4 partition=2 settled image=B settled",
        &format!(
            "{to_zero}
        gone(0) -> none | 0/0/0/0/0 A>B
        replicas=2 -> create 0@A
        ready(0) -> create 1@A
        ready(1) -> none | 2/2/2/2/0 A>B
    "
        ),
    );
}

#[test]
fn s_49_scaling_down_below_the_partition_keeps_it() {
    run(
        BOTH,
        "replicas=5 partition=3 settled image=B settled",
        "
        replicas=2 -> delete 4@B | 5/5/5/3/2
        gone(4) -> delete 3@B | 4/4/4/3/1
        gone(3) -> delete 2@A | 3/3/3/3/0
        gone(2) -> none | 2/2/2/2/0 A>B
        replicas=5 -> create 2@A
        ready(2) -> create 3@B
        ready(3) -> create 4@B
        ready(4) -> none | 5/5/5/3/2 A>B
    ",
    );
}

#[test]
fn s_50_third_revision_during_a_partitioned_update() {
    let rest = "
        -> none | 3/3/3/1/0
        gone(2) -> create 2@C | 2/2/2/1/0
        ready(2) -> delete 1@B | 3/3/3/COUNT/1
        gone(1) -> create 1@C | 2/2/2/1/1
        ready(1) -> none | 3/3/3/1/2 A>C
    ";
    for (profile, count) in [(KUBERNETES, "0"), (SETKEEPER, "1")] {
        let script = format!("image=C -> delete 2@B | 3/3/3/COUNT/0 A>C\n{rest}").replace("COUNT", count);
        run(profile, "partition=1 settled image=B settled", &script);
    }
}

#[test]
fn s_51_negative_counter_refused() {
    let rolled = "
        image=B -> delete 2@A
        gone(2) -> create 2@B
        ready(2) -> delete 1@A
        gone(1) -> create 1@B
        ready(1) -> delete 0@A
        gone(0) -> create 0@B | 2/2/2/0/2 A>B
    ";
    run(
        KUBERNETES,
        "Parallel settled",
        &format!(
            "{rolled}
        image=C -> delete 0@B | 2/2/2/0/2 A>B (no write)
        -> none | 3/2/2/0/0 A>C
    "
        ),
    );
    run(
        SETKEEPER,
        "Parallel settled",
        &format!(
            "{rolled}
        image=C -> delete 0@B | 3/2/2/0/0 A>C
        -> none | (no write)
    "
        ),
    );
}

#[test]
fn s_62_parallel_partition_two_pods_lost() {
    run(
        BOTH,
        "Parallel partition=1 settled",
        "
        image=B -> delete 2@A
        gone(0) gone(2) -> create 0@A, create 2@B | 1/1/1/1/0
        ready(0) ready(2) -> delete 1@A | 3/3/3/1/1
        settled -> none | 3/3/3/1/2 A>B
    ",
    );
}
