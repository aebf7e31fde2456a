//! What is as it should be is left alone.

use crate::plane::{service, text};
use crate::{Machine, Plane, set, with_claims};

#[tokio::test(flavor = "multi_thread")]
async fn a_system_at_rest_writes_nothing_whatever_wakes_it() {
    let mut plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[service("web"), set("web", 3, with_claims())]).await;
    plane.complete("web", 3).await;
    goes_quiet(&mut plane, "web", "3/3/3/3/3").await;
    assert!(machine.stopped().is_empty());
}

/// Returns when nothing is written although everything is looked at again and again. An end waits for the passes under way,
/// and a start looks at every key of every controller.
pub(crate) async fn goes_quiet(plane: &mut Plane, set: &str, counts: &str) {
    restart(plane).await;
    plane.has_counts(set, counts).await;
    let (sets, revision) = (plane.list("sts").await, plane.revision().await);
    for round in 1..=4 {
        restart(plane).await;
        plane.has_counts(set, counts).await;
        // The count of starts, which is no object, and nothing else.
        assert_eq!(plane.revision().await, revision + round);
    }
    assert_eq!(plane.list("sts").await, sets);
}

async fn restart(plane: &mut Plane) {
    plane.stop("coordinator").await;
    plane.begin("coordinator").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_twice_is_unchanged_and_writes_nothing() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let objects = [service("web"), set("web", 1, with_claims())];
    plane.apply(&objects).await;
    plane.complete("web", 1).await;
    let sets = plane.list("sts").await;
    let answer = plane.apply(&objects).await;
    assert!(answer.objects.iter().all(|one| one.result == "unchanged"), "{answer:?}");
    assert_eq!(plane.list("sts").await, sets);
    assert_eq!(
        text(&sets[0], "/metadata/resourceVersion"),
        text(&plane.list("sts").await[0], "/metadata/resourceVersion")
    );
}
