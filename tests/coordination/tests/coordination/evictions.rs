//! Deletions of pods that stay within the budget of their set.

use api::proto::coordinator::v1::DeleteRequest;
use serde_json::json;
use tonic::Status;

use crate::plane::lone_pod;
use crate::{Machine, Plane, reason, set};

/// Deletes an object within the budget of its set.
pub(crate) async fn evict(plane: &Plane, kind: &str, name: &str) -> Result<(), Status> {
    let request =
        DeleteRequest { kind: kind.to_owned(), name: name.to_owned(), within_budget: true, ..DeleteRequest::default() };
    plane.objects().delete(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn s_159_a_pod_goes_within_budget_only_while_its_set_can_spare_it() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 3, json!({})), lone_pod("alone")]).await;
    plane.complete("web", 3).await;
    machine.eagerness(false, true);
    let old = plane.uid("pod", "web-1").await;
    evict(&plane, "pod", "web-1").await.unwrap();
    let refused = evict(&plane, "pod", "web-2").await.unwrap_err();
    assert_eq!(reason(&refused), "BUDGET_SPENT");
    let words = "pod \"web-2\" is not deleted: of set \"web\" 1 unavailable, at most 1 may be; wait until";
    assert!(refused.message().starts_with(words), "{}", refused.message());
    // The one that is not available costs nothing, nor does one without a set.
    let next = plane.successor("web-1", &old).await;
    evict(&plane, "pod", "web-1").await.unwrap();
    let next = plane.successor("web-1", &next).await;
    machine.runs("web-1", &next).await;
    evict(&plane, "pod", "alone").await.unwrap();
    // Somebody who does not ask for it is not held up.
    assert_eq!(reason(&evict(&plane, "pod", "web-0").await.unwrap_err()), "BUDGET_SPENT");
    let old = plane.uid("pod", "web-0").await;
    plane.delete("pod", "web-0", "").await.unwrap();
    let next = plane.successor("web-0", &old).await;
    machine.runs("web-0", &next).await;
    machine.ready("web-0").await;
    machine.ready("web-1").await;
    plane.complete("web", 3).await;
    evict(&plane, "pod", "web-2").await.unwrap();
    let refused = evict(&plane, "sts", "web").await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_DELETION");
}
