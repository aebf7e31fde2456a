//! Services and machines that come and go.

use serde_json::json;
use support::until;

use crate::machine::{NODE, Told};
use crate::plane::text;
use crate::{Machine, Plane, reason, set, with_claims};

#[tokio::test(flavor = "multi_thread")]
async fn a_report_about_another_incarnation_or_from_another_machine_changes_nothing() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, json!({}))]).await;
    plane.complete("web", 1).await;
    let (revision, uid) = (plane.revision().await, plane.uid("pod", "web-0").await);
    let gone = machine.report_of("web-0", "00000000-dead", NODE).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (tonic::Code::NotFound, "POD_GONE"));
    let other = machine.report_of("web-0", &uid, "elsewhere").await.unwrap_err();
    assert_eq!(reason(&other), "OTHER_MACHINE", "{other}");
    assert_eq!(plane.revision().await, revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_comes_back_is_told_everything_then_that_this_is_all() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    machine.eagerness(true, false);
    plane.apply(&[set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    plane.scale("web", 2).await;
    machine.must_stop("web-2").await;
    drop(machine);
    let again = Machine::join(&plane).await;
    let uids = [plane.uid("pod", "web-0").await, plane.uid("pod", "web-1").await, plane.uid("pod", "web-2").await];
    let [first, second, third] = uids;
    let expected = [
        Told::Run("web-0".into(), first),
        Told::Run("web-1".into(), second),
        Told::Stop("web-2".into(), third),
        Told::Synced,
    ];
    assert_eq!(again.told(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_coordinator_recreates_nothing_and_goes_on() {
    let mut plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 2, with_claims())]).await;
    plane.complete("web", 2).await;
    let (epoch, store) = {
        let system = plane.system().await;
        (system.epoch, system.store_id)
    };
    let pods = [plane.uid("pod", "web-0").await, plane.uid("pod", "web-1").await];
    machine.eagerness(false, false);
    plane.scale("web", 4).await;
    machine.has("web-2").await;
    plane.stop("coordinator").await;
    plane.begin("coordinator").await;
    let system = plane.system().await;
    assert_eq!((system.epoch, system.store_id), (epoch + 1, store));
    machine.eagerness(true, true);
    machine.ready("web-2").await;
    plane.complete("web", 4).await;
    assert_eq!([plane.uid("pod", "web-0").await, plane.uid("pod", "web-1").await], pods);
    assert_eq!(machine.ran(), ["web-0", "web-1", "web-2", "web-3"]);
    assert!(machine.stopped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_that_is_down_stops_changes_and_nothing_else() {
    for planner in ["ordinal-scheduler", "update-planner", "volume-claim"] {
        let mut plane = Plane::start().await;
        let machine = Machine::eager(&plane).await;
        plane.apply(&[set("web", 1, with_claims())]).await;
        plane.complete("web", 1).await;
        let pod = plane.uid("pod", "web-0").await;
        plane.stop(planner).await;
        plane.scale("web", 2).await;
        plane.waits_for("web", planner).await;
        until("the decision says so", || async {
            let decisions = plane.list("decisions").await;
            let said = decisions.iter().any(|one| one["waits"].to_string().contains(planner));
            if said { Ok(()) } else { Err(format!("{decisions:?}")) }
        })
        .await;
        assert_eq!((plane.pods().await, plane.uid("pod", "web-0").await), (vec!["web-0".to_owned()], pod.clone()));
        plane.begin(planner).await;
        plane.complete("web", 2).await;
        assert_eq!(plane.uid("pod", "web-0").await, pod);
        assert!(machine.stopped().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_was_complete_when_its_planner_went_away_says_so_once_it_is_not() {
    let mut plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, json!({}))]).await;
    plane.complete("web", 1).await;
    plane.stop("update-planner").await;
    // Something happens to the set that leaves it complete: the reason is noted, and nothing waits for it.
    let mut labelled = set("web", 1, json!({}));
    labelled["metadata"]["labels"] = json!({ "seen": "yes" });
    plane.apply(&[labelled]).await;
    until("the reason is noted", || async {
        let decisions = plane.list("decisions").await;
        let said = decisions.iter().any(|one| one["waits"].to_string().contains("update-planner"));
        if said { Ok(()) } else { Err(format!("{decisions:?}")) }
    })
    .await;
    plane.scale("web", 2).await;
    plane.waits_for("web", "update-planner").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_template_is_not_complete_while_nobody_has_planned_it() {
    let mut plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let mut web = set("web", 1, json!({}));
    plane.apply(std::slice::from_ref(&web)).await;
    plane.complete("web", 1).await;
    plane.stop("update-planner").await;
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2".into();
    plane.apply(&[web]).await;
    plane.waits_for("web", "update-planner").await;
    let set = plane.get("sts", "web").await.unwrap();
    assert!(set["status"]["observedGeneration"].as_i64() < set["metadata"]["generation"].as_i64());
    assert_eq!(text(&set, "/metadata/name"), "web");
}
