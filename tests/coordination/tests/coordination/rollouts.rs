//! The verbs of a rollout, and what stays of it.

use std::time::Duration;

use api::proto::coordinator::v1::{
    HistoryStatefulSetRequest, PauseStatefulSetRequest, RestartStatefulSetRequest, ResumeStatefulSetRequest,
    RolloutStatusRequest, RolloutStatusResponse, SetRevision, UndoStatefulSetRequest, UndoStatefulSetResponse,
};
use serde_json::{Value, json};
use support::until;
use tonic::{Code, Status};

use crate::plane::text;
use crate::{Machine, Plane, reason, set};

/// A set of three whose container has this image.
fn web(image: &str, more: Value) -> Value {
    let mut web = set("web", 3, more);
    web["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    web
}

fn image(set: &Value) -> &str {
    text(set, "/spec/template/spec/containers/0/image")
}

async fn undo(plane: &Plane, to_revision: i64) -> Result<UndoStatefulSetResponse, Status> {
    let request = UndoStatefulSetRequest { name: "web".into(), to_revision, ..UndoStatefulSetRequest::default() };
    plane.sets().undo(request).await.map(tonic::Response::into_inner)
}

async fn history(plane: &Plane, revision: i64) -> Result<Vec<SetRevision>, Status> {
    let request = HistoryStatefulSetRequest { name: "web".into(), revision, ..HistoryStatefulSetRequest::default() };
    plane.sets().history(request).await.map(|answer| answer.into_inner().revisions)
}

/// Number and image of every revision.
async fn images(plane: &Plane) -> Vec<(i64, String)> {
    let image_of = |revision: SetRevision| {
        let template = revision.template.map(api::object::from_struct).unwrap_or_default();
        (revision.number, text(&template, "/spec/containers/0/image").to_owned())
    };
    history(plane, 0).await.expect("there is a set").into_iter().map(image_of).collect()
}

async fn restart(plane: &Plane) -> Result<Value, Status> {
    let request = RestartStatefulSetRequest { name: "web".into(), ..RestartStatefulSetRequest::default() };
    let answer = plane.sets().restart(request).await?.into_inner();
    Ok(answer.stateful_set.map(api::object::from_struct).unwrap_or_default())
}

async fn pause(plane: &Plane) -> (Value, bool) {
    let request = PauseStatefulSetRequest { name: "web".into(), ..PauseStatefulSetRequest::default() };
    let answer = plane.sets().pause(request).await.expect("it is there").into_inner();
    (answer.stateful_set.map(api::object::from_struct).unwrap_or_default(), answer.changed)
}

async fn resume(plane: &Plane) -> (Value, bool) {
    let request = ResumeStatefulSetRequest { name: "web".into(), ..ResumeStatefulSetRequest::default() };
    let answer = plane.sets().resume(request).await.expect("it is there").into_inner();
    (answer.stateful_set.map(api::object::from_struct).unwrap_or_default(), answer.changed)
}

#[tokio::test(flavor = "multi_thread")]
async fn s_189_s_190_undo_toggles_between_two_templates_and_renumbers_them() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[web("busybox:a", json!({}))]).await;
    plane.complete("web", 3).await;
    let alone = undo(&plane, 0).await.unwrap_err();
    assert_eq!((alone.code(), reason(&alone).as_str()), (Code::FailedPrecondition, "NO_EARLIER_REVISION"));
    assert_eq!(alone.message(), "no last revision to roll back to");
    plane.apply(&[web("busybox:b", json!({}))]).await;
    plane.complete("web", 3).await;
    let of = |numbered: &[(i64, &str)]| -> Vec<(i64, String)> {
        numbered.iter().map(|(number, image)| (*number, format!("busybox:{image}"))).collect()
    };
    assert_eq!(images(&plane).await, of(&[(1, "a"), (2, "b")]));
    for (taken, then) in [(1, [(2, "b"), (3, "a")]), (2, [(3, "a"), (4, "b")])] {
        let undone = undo(&plane, 0).await.unwrap();
        assert_eq!((undone.result.as_str(), undone.revision), ("rolled_back", taken));
        plane.complete("web", 3).await;
        assert_eq!(images(&plane).await, of(&then));
    }
    let generation = plane.get("sts", "web").await.unwrap()["metadata"]["generation"].clone();
    let same = undo(&plane, 4).await.unwrap();
    assert_eq!((same.result.as_str(), same.revision), ("skipped", 4));
    assert_eq!(plane.get("sts", "web").await.unwrap()["metadata"]["generation"], generation);
    for unknown in [9, -1] {
        let missing = undo(&plane, unknown).await.unwrap_err();
        assert_eq!((missing.code(), reason(&missing).as_str()), (Code::NotFound, "REVISION_NOT_FOUND"));
        assert_eq!(missing.message(), format!("unable to find specified revision {unknown} in history"));
    }
    let b = history(&plane, 4).await.unwrap();
    assert_eq!((b.len(), b[0].number), (1, 4));
    assert_eq!(history(&plane, 9).await.unwrap_err().message(), "unable to find the specified revision");
}

#[tokio::test(flavor = "multi_thread")]
async fn s_191_undo_restores_the_template_and_nothing_else() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[web("busybox:a", json!({}))]).await;
    plane.complete("web", 3).await;
    let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 1, "maxUnavailable": 1 } });
    let mut wider = web("busybox:b", json!({ "updateStrategy": strategy }));
    wider["spec"]["replicas"] = 4.into();
    plane.apply(&[wider]).await;
    until("the new template has a revision", || async {
        let count = history(&plane, 0).await.map_err(|status| status.to_string())?.len();
        if count == 2 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    let dry = UndoStatefulSetRequest { name: "web".into(), dry_run: true, ..UndoStatefulSetRequest::default() };
    let dry = plane.sets().undo(dry).await.unwrap().into_inner();
    assert_eq!(image(&dry.stateful_set.map(api::object::from_struct).unwrap()), "busybox:a");
    assert_eq!(image(&plane.get("sts", "web").await.unwrap()), "busybox:b", "only tried");
    undo(&plane, 0).await.unwrap();
    let set = plane.get("sts", "web").await.unwrap();
    assert_eq!(image(&set), "busybox:a");
    assert_eq!((&set["spec"]["replicas"], &set["spec"]["updateStrategy"]), (&json!(4), &strategy));
}

#[tokio::test(flavor = "multi_thread")]
async fn s_192_a_restart_is_a_new_revision_that_rolls_as_the_strategy_says() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[web("busybox:a", json!({}))]).await;
    plane.complete("web", 3).await;
    let set = restart(&plane).await.unwrap();
    let at = text(&set, "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt");
    assert!(at.ends_with('Z') && at.len() == "2026-01-01T00:00:00Z".len(), "{at}");
    plane.complete("web", 3).await;
    assert_eq!(machine.stopped(), ["web-2", "web-1", "web-0"]);
    assert_eq!(images(&plane).await.len(), 2);
    // An apply of the manifest, which knows nothing of the restart, is none.
    let uid = plane.uid("pod", "web-0").await;
    assert_eq!(plane.apply(&[web("busybox:a", json!({}))]).await.objects[0].result, "unchanged");
    assert_eq!(plane.uid("pod", "web-0").await, uid);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_192_a_restart_heeds_partitions_and_on_delete() {
    for (strategy, restarted) in [
        (json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 2 } }), &["web-2"][..]),
        (json!({ "type": "OnDelete" }), &[]),
    ] {
        let plane = Plane::start().await;
        let machine = Machine::eager(&plane).await;
        plane.apply(&[web("busybox:a", json!({ "updateStrategy": strategy }))]).await;
        plane.complete("web", 3).await;
        restart(&plane).await.unwrap();
        until("the restart is as far as it gets", || async {
            let set = plane.get("sts", "web").await.ok_or("it is not there")?;
            let status = &set["status"];
            let there = status["observedGeneration"] == set["metadata"]["generation"]
                && status["readyReplicas"] == 3
                && status["updatedReplicas"] == restarted.len();
            if there { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
        assert_eq!(machine.stopped(), restarted, "{strategy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_193_the_cause_of_a_change_stays_with_its_revision() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[web("busybox:a", json!({}))]).await;
    plane.complete("web", 3).await;
    let caused = |image: &str, cause: &str| {
        let mut web = web(image, json!({}));
        web["metadata"]["annotations"] = json!({ "kubernetes.io/change-cause": cause });
        web
    };
    plane.apply(&[caused("busybox:b", "v2")]).await;
    plane.complete("web", 3).await;
    plane.apply(&[caused("busybox:b", "another word")]).await;
    let causes: Vec<_> =
        history(&plane, 0).await.unwrap().into_iter().map(|one| (one.number, one.change_cause)).collect();
    assert_eq!(causes, [(1, String::new()), (2, "v2".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_set_of_either_group_keeps_its_pods_until_it_is_resumed() {
    for version in ["apps/v1", "setkeeper.dev/v1"] {
        let of_group = |image: &str| {
            let mut web = web(image, json!({}));
            web["apiVersion"] = version.into();
            web
        };
        let plane = Plane::start().await;
        let machine = Machine::eager(&plane).await;
        plane.apply(&[of_group("busybox:a")]).await;
        plane.complete("web", 3).await;
        let (set, changed) = pause(&plane).await;
        assert!(changed && !pause(&plane).await.1, "{version}");
        assert_eq!(set["spec"].get("paused").is_some(), version == "setkeeper.dev/v1");
        // The next apply does not let it go on.
        plane.apply(&[of_group("busybox:b")]).await;
        plane.waits_for("web", "updates are paused").await;
        assert!(machine.stopped().is_empty(), "{version}");
        let refused = restart(&plane).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SET_PAUSED"));
        assert!(resume(&plane).await.1 && !resume(&plane).await.1, "{version}");
        plane.complete("web", 3).await;
        assert_eq!(machine.stopped(), ["web-2", "web-1", "web-0"], "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_are_fenced_and_refuse_what_goes() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[web("busybox:a", json!({}))]).await;
    plane.complete("web", 3).await;
    let request = RestartStatefulSetRequest { name: "web".into(), resource_version: "1".into(), ..Default::default() };
    let stale = plane.sets().restart(request).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "STALE_RESOURCE_VERSION"));
    machine.eagerness(true, false);
    plane.delete("sts", "web", "").await.unwrap();
    assert_eq!(reason(&restart(&plane).await.unwrap_err()), "SET_DELETING");
    assert_eq!(reason(&undo(&plane, 1).await.unwrap_err()), "SET_DELETING");
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_ordinals_get_no_pod_until_the_set_is_plain_again() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let mut own = web("busybox:a", json!({ "reserveOrdinals": [1] }));
    own["apiVersion"] = "setkeeper.dev/v1".into();
    plane.apply(std::slice::from_ref(&own)).await;
    plane.complete("web", 3).await;
    plane.has_pods(&["web-0", "web-2", "web-3"]).await;
    let answer = plane.apply(&[web("busybox:a", json!({}))]).await;
    assert!(answer.warnings.iter().any(|warning| warning.contains("spec.reserveOrdinals: [1] goes")), "{answer:?}");
    plane.complete("web", 3).await;
    plane.has_pods(&["web-0", "web-1", "web-2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_in_use_no_longer_goes_with_the_end_of_the_update() {
    /// Well below the time after which everything is looked at anyway.
    const AT_ONCE: Duration = Duration::from_secs(20);
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[web("busybox:1", json!({ "revisionHistoryLimit": 0 }))]).await;
    plane.complete("web", 3).await;
    plane.apply(&[web("busybox:2", json!({ "revisionHistoryLimit": 0 }))]).await;
    plane.complete("web", 3).await;
    let pruned = until("one revision is left", || async {
        let left = plane.list("controllerrevisions").await.len();
        if left == 1 { Ok(()) } else { Err(format!("{left} revisions")) }
    });
    tokio::time::timeout(AT_ONCE, pruned).await.expect("nobody needs the other any more");
}

/// How far the rollout of `web` is, as it is told until that ends.
async fn follow(plane: &Plane, once: bool) -> Result<tonic::Streaming<RolloutStatusResponse>, Status> {
    let request = RolloutStatusRequest { name: "web".into(), once, ..RolloutStatusRequest::default() };
    plane.sets().rollout_status(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_followed_to_its_end() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let missing = follow(&plane, true).await.expect_err("there is no set yet");
    assert_eq!((missing.code(), reason(&missing).as_str()), (Code::NotFound, "OBJECT_NOT_FOUND"));
    plane.apply(&[web("busybox:a", json!({}))]).await;
    plane.complete("web", 3).await;

    // Not a step further: what is told is how far it is now.
    machine.eagerness(false, true);
    plane.apply(&[web("busybox:b", json!({}))]).await;
    plane.waits_for("web", "pod 2 to start its containers").await;
    let mut now = follow(&plane, true).await.unwrap();
    let status = now.message().await.unwrap().expect("one message");
    assert_eq!((status.state.as_str(), status.wanted), ("Waiting", 3), "{status:?}");
    assert!(status.message.starts_with("Waiting for 1 pods to be ready"), "{status:?}");
    assert!(status.why.contains("pod 2"), "{status:?}");
    assert_eq!(now.message().await.unwrap(), None, "once");

    let mut following = follow(&plane, false).await.unwrap();
    machine.eagerness(true, true);
    machine.ready("web-2").await;
    let mut told: Vec<RolloutStatusResponse> = Vec::new();
    while let Some(status) = following.message().await.unwrap() {
        told.push(status);
    }
    let last = told.pop().expect("the end is told");
    assert_eq!((last.state.as_str(), last.done), ("Done", 3), "{last:?}");
    assert!(
        last.message.contains("roll out complete: 3 new pods") || last.message.contains("update complete"),
        "{last:?}"
    );
    assert!(told.iter().all(|status| status.state == "Waiting"), "{told:?}");

    machine.eagerness(false, true);
    plane.apply(&[web("busybox:c", json!({}))]).await;
    let mut following = follow(&plane, false).await.unwrap();
    plane.delete("sts", "web", "background").await.unwrap();
    let gone = loop {
        match following.message().await {
            Ok(Some(status)) => assert_eq!(status.state, "Waiting"),
            Ok(None) => panic!("the set never came so far"),
            Err(status) => break status,
        }
    };
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::NotFound, "OBJECT_NOT_FOUND"));

    plane.apply(&[web("busybox:a", json!({ "updateStrategy": { "type": "OnDelete" } }))]).await;
    let mut following = follow(&plane, false).await.unwrap();
    let status = following.message().await.unwrap().expect("one message");
    assert_eq!(status.state, "Unavailable", "{status:?}");
    assert_eq!(following.message().await.unwrap(), None);
}
