//! maxUnavailable.

use scenarios::{BOTH, KUBERNETES, SETKEEPER, run};

#[test]
fn s_78_value_arithmetic() {
    for (budget, replicas, first_pass) in [
        ("mu=25%", 10, "delete 9@A, delete 8@A | 10/10/10/8/0"),
        ("mu=10%", 3, "delete 2@A | 3/3/3/2/0"),
        ("mu=100%", 3, "delete 2@A, delete 1@A, delete 0@A | 3/3/3/0/0"),
        ("mu=5", 3, "delete 2@A, delete 1@A, delete 0@A"),
        ("mu=34%", 3, "delete 2@A"),
        ("no-block", 3, "delete 2@A"),
    ] {
        run(BOTH, &format!("Parallel {budget} replicas={replicas} settled"), &format!("image=B -> {first_pass}"));
    }
}

/// The version of Kubernetes that ignores the field is reference only (StatefulSet rules, section 0). What it has stored, a
/// set without the field, is what people bring along.
#[test]
fn s_79_a_set_from_where_the_field_is_ignored_is_updated_one_pod_at_a_time() {
    for given in ["OrderedReady", "Parallel", "OrderedReady mu=none", "Parallel mu=none"] {
        run(
            BOTH,
            &format!("{given} replicas=5 settled"),
            "
            image=B -> delete 4@A | 5/5/5/4/0
            gone(4) -> create 4@B | 4/4/4/4/0
            ready(4) -> delete 3@A | 5/5/5/3/1
            gone(3) -> create 3@B | 4/4/4/3/1
            ready(3) -> delete 2@A | 5/5/5/2/2
            gone(2) -> create 2@B | 4/4/4/2/2
            ready(2) -> delete 1@A | 5/5/5/1/3
            gone(1) -> create 1@B | 4/4/4/1/3
            ready(1) -> delete 0@A | 5/5/5/0/4
            gone(0) -> create 0@B | 4/4/4/0/4
            ready(0) -> none | 5/5/5/5/5 B>B
        ",
        );
    }
}

#[test]
fn s_80_ordered_5_pods_budget_2() {
    run(
        KUBERNETES,
        "replicas=5 mu=2 settled",
        "
        image=B -> delete 4@A, delete 3@A | 5/5/5/3/0
        gone(3) gone(4) -> create 3@B | 3/3/3/3/0
        ready(3) -> create 4@B | 4/4/4/3/1
        ready(4) -> delete 2@A, delete 1@A | 5/5/5/1/2
        gone(1) gone(2) -> create 1@B | 3/3/3/1/2
        ready(1) -> create 2@B | 4/4/4/1/3
        ready(2) -> delete 0@A | 5/5/5/0/4
        gone(0) -> create 0@B | 4/4/4/0/4
        ready(0) -> none | 5/5/5/5/5 B>B
    ",
    );
}

#[test]
fn s_81_ordered_waits_at_the_lowest_terminating_pod() {
    run(
        KUBERNETES,
        "replicas=6 partition=3 mu=2 settled",
        "
        image=B -> delete 5@A, delete 4@A | 6/6/6/4/0
        gone(5) -> none | 5/5/5/4/0
        gone(4) -> create 4@B | 4/4/4/4/0
        ready(4) -> create 5@B | 5/5/5/4/1
        ready(5) -> delete 3@A | 6/6/6/3/2
        gone(3) -> create 3@B | 5/5/5/3/2
        ready(3) -> none | 6/6/6/3/3 A>B
    ",
    );
}

#[test]
fn s_82_ordered_one_of_two_is_slow() {
    run(
        KUBERNETES,
        "replicas=5 mu=2 settled",
        "
        image=B -> delete 4@A, delete 3@A
        gone(3) gone(4) -> create 3@B
        ready(3) -> create 4@B
        -> none | 5/4/4/3/2
        ready(4) -> delete 2@A, delete 1@A | 5/5/5/1/2
    ",
    );
}

/// What S-80 to S-82 are in our profile: a batch comes back together (section 18, kubernetes/kubernetes 124408).
#[test]
fn s_80_s_81_s_82_what_an_update_took_down_comes_back_together() {
    run(
        SETKEEPER,
        "replicas=5 mu=2 settled",
        "
        image=B -> delete 4@A, delete 3@A | 5/5/5/3/0
        gone(3) gone(4) -> create 3@B, create 4@B | 3/3/3/3/0
        ready(4) -> none | 5/4/4/3/2
        ready(3) -> delete 2@A, delete 1@A | 5/5/5/1/2
        gone(2) -> create 2@B | 4/4/4/1/2
        ready(2) gone(1) -> create 1@B | 4/4/4/1/3
        ready(1) -> delete 0@A | 5/5/5/0/4
        gone(0) -> create 0@B | 4/4/4/0/4
        ready(0) -> none | 5/5/5/5/5 B>B
    ",
    );
    run(
        SETKEEPER,
        "replicas=6 partition=3 mu=2 settled",
        "
        image=B -> delete 5@A, delete 4@A | 6/6/6/4/0
        gone(5) -> create 5@B | 5/5/5/4/0
        gone(4) -> create 4@B | 5/4/4/4/1
        ready(4) -> none | 6/5/5/4/2
        ready(5) -> delete 3@A | 6/6/6/3/2
    ",
    );
}

/// Order holds where nothing is updated, where more is down than the budget allows, below the partition, and where a
/// member is new. Who took a pod down nobody can tell once it is gone: at a partition that is parked, too, those above it
/// come back together.
#[test]
fn order_holds_for_all_but_what_an_update_may_take_down() {
    run(SETKEEPER, "replicas=5 partition=3 mu=2 settled image=B settled", "gone(3) gone(4) -> create 3@B, create 4@B");
    run(SETKEEPER, "replicas=5 mu=2 settled", "gone(3) gone(4) -> create 3@A");
    run(
        SETKEEPER,
        "replicas=5 mu=2 settled",
        "
        image=B -> delete 4@A, delete 3@A
        gone(3) gone(4) gone(0) -> create 0@B
        ready(0) -> create 3@B, create 4@B
    ",
    );
    run(
        SETKEEPER,
        "replicas=5 partition=3 mu=2 settled",
        "
        image=B -> delete 4@A, delete 3@A
        ready(3) gone(4) gone(2) -> create 2@A
    ",
    );
    run(
        SETKEEPER,
        "replicas=5 mu=2 settled",
        "
        image=B replicas=6 -> create 5@B
        ready(5) -> delete 4@A, delete 3@A
        gone(3) gone(4) -> create 3@B, create 4@B
    ",
    );
}

#[test]
fn s_83_parallel_5_pods_budget_2() {
    run(
        BOTH,
        "Parallel replicas=5 mu=2 settled",
        "
        image=B -> delete 4@A, delete 3@A | 5/5/5/3/0
        gone(3) gone(4) -> create 3@B, create 4@B | 3/3/3/3/0
        ready(3) ready(4) -> delete 2@A, delete 1@A | 5/5/5/1/2
        gone(1) gone(2) -> create 1@B, create 2@B | 3/3/3/1/2
        ready(1) ready(2) -> delete 0@A | 5/5/5/0/4
        settled -> none | 5/5/5/5/5 B>B
    ",
    );
}

#[test]
fn s_84_parallel_keeps_the_budget_full() {
    run(
        BOTH,
        "Parallel replicas=5 mu=2 settled",
        "
        image=B -> delete 4@A, delete 3@A
        gone(3) -> create 3@B | 4/4/4/3/0
        gone(4) -> create 4@B | 4/3/3/3/1
        ready(3) -> delete 2@A | 5/4/4/2/2
        ready(4) -> delete 1@A | 5/5/5/1/2
    ",
    );
}

#[test]
fn s_85_parallel_with_partition() {
    run(
        BOTH,
        "Parallel replicas=6 partition=3 mu=2 settled",
        "
        image=B -> delete 5@A, delete 4@A | 6/6/6/4/0
        gone(4) gone(5) -> create 4@B, create 5@B | 4/4/4/4/0
        ready(4) -> delete 3@A | 6/5/5/3/2
        gone(3) -> create 3@B | 5/4/4/3/2
        ready(3) ready(5) -> none | 6/6/6/3/3 A>B
    ",
    );
}

#[test]
fn s_86_partition_lowered_with_budget() {
    run(
        BOTH,
        "Parallel replicas=5 partition=2 mu=2 settled image=B settled",
        "
        -> none | 5/5/5/2/3 A>B
        partition=0 -> delete 1@A, delete 0@A | 5/5/5/0/3
        gone(0) gone(1) -> create 0@B, create 1@B | 3/3/3/0/3
        settled -> none | 5/5/5/5/5 B>B
    ",
    );
    for (profile, last) in [
        (KUBERNETES, "create 0@B | 3/3/3/0/3\n ready(0) -> create 1@B | 4/4/4/0/4"),
        (SETKEEPER, "create 0@B, create 1@B | 3/3/3/0/3"),
    ] {
        run(
            profile,
            "replicas=5 partition=2 mu=2 settled image=B settled",
            &format!(
                "
            partition=0 -> delete 1@A, delete 0@A | 5/5/5/0/3
            gone(0) gone(1) -> {last}
            settled -> none | 5/5/5/5/5 B>B
        "
            ),
        );
    }
}

#[test]
fn s_87_everything_at_once() {
    run(
        BOTH,
        "Parallel mu=100% settled",
        "
        image=B -> delete 2@A, delete 1@A, delete 0@A | 3/3/3/0/0
        gone(0) gone(1) gone(2) -> create 0@B, create 1@B, create 2@B | 0/0/0/0/0
    ",
    );
    run(
        SETKEEPER,
        "mu=100% settled",
        "
        image=B -> delete 2@A, delete 1@A, delete 0@A | 3/3/3/0/0
        gone(0) gone(1) gone(2) -> create 0@B, create 1@B, create 2@B | 0/0/0/0/0
        settled -> none | 3/3/3/3/3 B>B
    ",
    );
    run(
        KUBERNETES,
        "mu=100% settled",
        "
        image=B -> delete 2@A, delete 1@A, delete 0@A | 3/3/3/0/0
        gone(0) gone(1) gone(2) -> create 0@B | 0/0/0/0/0
        ready(0) -> create 1@B | 1/1/1/0/1
        ready(1) -> create 2@B | 2/2/2/0/2
        ready(2) -> none | 3/3/3/3/3 B>B
    ",
    );
}

#[test]
fn s_88_one_broken_old_pod_budget_1() {
    run(
        BOTH,
        "Parallel replicas=5 settled broken(0)",
        "
        image=B -> delete 0@A | 5/4/4/4/0
        -> none | 5/4/4/4/0
    ",
    );
    run(BOTH, "Parallel replicas=1 settled broken(0)", "image=B -> delete 0@A | 1/0/0/0/0");
}

#[test]
fn s_89_more_broken_old_pods_than_budget() {
    run(
        BOTH,
        "Parallel replicas=5 mu=2 settled broken(0) broken(1) broken(2)",
        "
        image=B -> delete 2@A, delete 1@A, delete 0@A | 5/2/2/2/0
    ",
    );
    run(
        BOTH,
        "Parallel replicas=4 mu=2 settled broken(0) broken(1)",
        "
        image=B -> delete 1@A, delete 0@A | 4/2/2/2/0
    ",
    );
}

#[test]
fn s_90_broken_old_pods_and_budget_left() {
    run(
        BOTH,
        "Parallel replicas=5 mu=3 settled broken(0) broken(1)",
        "
        image=B -> delete 1@A, delete 0@A, delete 4@A | 5/3/3/2/0
    ",
    );
}

#[test]
fn s_91_terminating_pod_counts() {
    run(
        BOTH,
        "Parallel replicas=5 mu=3 settled term(4) broken(3)",
        "
        image=B -> delete 3@A, delete 2@A | 5/4/4/2/0
    ",
    );
}

#[test]
fn s_92_broken_pod_below_the_partition() {
    run(
        BOTH,
        "Parallel replicas=5 partition=2 settled broken(1)",
        "
        image=B -> none | 5/4/4/5/0
        -> none | (no write)
    ",
    );
}

#[test]
fn s_93_new_pod_not_ready_budget_3() {
    run(
        BOTH,
        "Parallel replicas=5 mu=3 settled",
        "
        image=B -> delete 4@A, delete 3@A, delete 2@A
        gone(2) gone(3) gone(4) -> create 2@B, create 3@B, create 4@B
        ready(2) ready(3) -> delete 1@A, delete 0@A | 5/4/4/0/3
    ",
    );
}

#[test]
fn s_94_ordered_blocks_before_the_budget_is_looked_at() {
    run(
        KUBERNETES,
        "replicas=5 mu=2 settled broken(0)",
        "
        image=B -> none | 5/4/4/5/0
        -> none | (no write)
    ",
    );
    run(
        SETKEEPER,
        "replicas=5 mu=2 settled broken(0)",
        "
        image=B -> delete 0@A | 5/4/4/4/0
        -> none | 5/4/4/4/0
    ",
    );
}

#[test]
fn s_95_third_revision_everything_down() {
    let down = "
        image=B -> delete 2@A, delete 1@A, delete 0@A
        gone(0) gone(1) gone(2) -> create 0@B, create 1@B, create 2@B | 0/0/0/0/0
    ";
    run(
        KUBERNETES,
        "Parallel mu=3 settled",
        &format!(
            "{down}
        image=C -> delete 2@B, delete 1@B, delete 0@B | 0/0/0/0/0 A>B (no write)
        -> none | 3/0/0/0/0 A>C
    "
        ),
    );
    run(
        SETKEEPER,
        "Parallel mu=3 settled",
        &format!(
            "{down}
        image=C -> delete 2@B, delete 1@B, delete 0@B | 3/0/0/0/0 A>C
        -> none | (no write)
    "
        ),
    );
}

#[test]
fn s_96_missing_block_parallel_low_pod_lost() {
    // What is lost after web-2 was updated, and how that goes on.
    let lost = |profile, recreated: &str| {
        let script = format!(
            "
        image=B -> delete 2@A
        gone(2) -> create 2@B | 2/2/2/2/0
        {recreated}
        ready(0) -> delete 1@A | 3/3/3/0/2
        settled -> none | 3/3/3/3/3 B>B
    "
        );
        run(profile, "Parallel no-block settled", &script);
    };
    let detour = "ready(2) gone(0) -> create 0@A, delete 0@A | 2/2/2/0/1
        gone(0) -> create 0@B | 2/2/2/1/1";
    lost(KUBERNETES, detour);
    lost(SETKEEPER, "ready(2) gone(0) -> create 0@B | 2/2/2/1/1");
}
