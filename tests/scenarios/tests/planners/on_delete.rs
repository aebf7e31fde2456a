//! OnDelete, and the way to and from it.

use scenarios::{BOTH, run};

#[test]
fn s_63_on_delete() {
    run(
        BOTH,
        "OnDelete settled",
        "
        image=B -> none | 3/3/3/3/0 A>B
        gone(1) -> create 1@B | 2/2/2/2/0
        ready(1) -> none | 3/3/3/2/1
        replicas=4 -> create 3@B | 3/3/3/2/1
        ready(3) -> none | 4/4/4/2/2
        gone(0) gone(2) -> create 0@B | 2/2/2/0/2
        ready(0) -> create 2@B | 3/3/3/0/3
        ready(2) -> none | 4/4/4/4/4 B>B
    ",
    );
}

#[test]
fn s_64_on_delete_to_rolling_update() {
    run(
        BOTH,
        "OnDelete settled image=B",
        "
        gone(0) -> create 0@B
        ready(0) -> none | 3/3/3/2/1 A>B
        RollingUpdate -> delete 2@A | 3/3/3/1/1 A>B [A=1 B=2]
        gone(2) -> create 2@B
        ready(2) -> delete 1@A | 3/3/3/0/2
        settled -> none | 3/3/3/3/3 B>B
    ",
    );
}

#[test]
fn s_65_rolling_update_to_on_delete_in_mid_flight() {
    run(
        BOTH,
        "settled",
        "
        image=B -> delete 2@A
        gone(2) -> create 2@B
        ready(2) OnDelete -> none | 3/3/3/2/1 A>B
        -> none | (no write)
        gone(0) -> create 0@B | 2/2/2/1/1
        ready(0) -> none | 3/3/3/1/2
    ",
    );
}
