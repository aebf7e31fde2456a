//! Revisions and history.

use scenarios::{BOTH, KUBERNETES, SETKEEPER, run};

#[test]
fn s_111_limit() {
    let images = "image=B settled image=C settled image=D settled image=E settled image=F settled";
    run(BOTH, &format!("limit=2 settled {images}"), "-> none | F>F [D=4 E=5 F=6]");
}

#[test]
fn s_112_limit_0() {
    run(
        BOTH,
        "limit=0 replicas=1 settled",
        "
        image=B -> delete 0@A | A>B [A=1 B=2]
        gone(0) -> create 0@B
        ready(0) -> none | B>B [A=1 B=2]
        -> none | [B=2] (no write)
    ",
    );
}

#[test]
fn s_113_negative_limit() {
    let images = "image=B settled image=C settled image=D settled image=E settled image=F settled";
    run(BOTH, &format!("limit=-1 settled {images}"), "-> none | [A=1 B=2 C=3 D=4 E=5 F=6]");
}

#[test]
fn s_114_live_revisions_survive_limit_0() {
    run(
        BOTH,
        "limit=0 partition=2 settled image=B settled",
        "
        -> none | [A=1 B=2]
        image=C -> delete 2@B | [A=1 B=2 C=3]
        gone(2) -> create 2@C | [A=1 C=3]
    ",
    );
}

#[test]
fn s_115_rollback_uses_the_object_again() {
    run(
        BOTH,
        "settled image=B settled image=C settled",
        "
        -> none | C>C [A=1 B=2 C=3]
        image=A -> delete 2@C | 3/3/3/2/0 C>A [B=2 C=3 A=4]
        settled -> none | 3/3/3/3/3 A>A [B=2 C=3 A=4]
    ",
    );
}

#[test]
fn s_116_what_does_not_create_a_revision() {
    run(
        BOTH,
        "settled",
        "
        replicas=4 min=0 partition=1 mu=2 limit=7 settled -> none | 4/4/4/4/4 A>A [A=1]
        OnDelete start=1 settled -> none | [A=1]
    ",
    );
}

#[test]
fn s_117_current_revision_object_deleted_by_hand() {
    run(
        BOTH,
        "partition=2 settled image=B settled",
        "
        -> none | 3/3/3/2/1 A>B
        forget(A) gone(0) -> create 0@B | 2/2/2/1/1 B>B
        ready(0) -> none | 3/3/3/2/2 B>B
    ",
    );
}

#[test]
fn s_121_defaults_changed_by_an_upgrade() {
    run(
        BOTH,
        "settled",
        "
        defaulted -> none | 3/3/3/3/3 A>A [A=1]
        -> none | (no write)
    ",
    );
}

#[test]
fn s_123_set_created_again_around_running_pods() {
    run(
        BOTH,
        "settled recreated",
        "
        -> none | 3/3/3/3/3 A>A [A=1]
        -> none | (no write)
    ",
    );
}

#[test]
fn s_124_created_again_with_another_template() {
    run(
        KUBERNETES,
        "settled recreated image=B",
        "
        -> delete 2@A | (no write)
        gone(2) -> create 2@B | 2/2/2/0/0 B>B
        ready(2) -> delete 1@A | 3/3/3/0/1
        settled -> none | 3/3/3/3/3 B>B [A=1 B=2]
    ",
    );
    run(
        SETKEEPER,
        "settled recreated image=B",
        "
        -> delete 2@A | 3/3/3/2/0 A>B
        settled -> none | 3/3/3/3/3 B>B [A=1 B=2]
    ",
    );
}

#[test]
fn s_125_created_again_with_another_template_and_a_partition() {
    run(
        KUBERNETES,
        "partition=3 settled recreated image=B",
        "
        -> none | 3/3/3/0/0 B>B
        gone(0) -> create 0@B
    ",
    );
    run(
        SETKEEPER,
        "partition=3 settled recreated image=B",
        "
        -> none | 3/3/3/3/0 A>B
        gone(0) -> create 0@A
    ",
    );
}
