//! The public API: all or nothing, fences, no lost writes, pages.

use api::proto::coordinator::v1::{
    DeleteRequest, ListRequest, ScaleStatefulSetRequest, UpdateStatefulSetStatusRequest,
};
use domain::Profile;
use serde_json::{Value, json};

use crate::plane::{condition, text};
use crate::{Plane, reason, set};

fn config_map(name: &str, data: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "text": data } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_document_keeps_the_good_one_out() {
    let plane = Plane::start().await;
    let revision = plane.revision().await;
    let mut bad = set("web", 1, json!({}));
    bad["spec"]["replicsa"] = 3.into();
    let refused = plane.try_apply(&[config_map("good", "a"), bad]).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("replicsa"), "{refused}");
    // A change that is forbidden, beside one that is not.
    plane.apply(&[set("web", 0, json!({}))]).await;
    let mut forbidden = set("web", 0, json!({}));
    forbidden["spec"]["serviceName"] = "other".into();
    let refused = plane.try_apply(&[config_map("good", "a"), forbidden]).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (tonic::Code::FailedPrecondition, "FORBIDDEN_CHANGE"));
    assert_eq!(plane.get("configmap", "good").await, None);
    assert!(plane.revision().await > revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_179_a_status_that_is_applied_is_ignored() {
    let plane = Plane::start().await;
    let mut web = set("web", 0, json!({}));
    web["status"] = json!({ "replicas": 7, "readyReplicas": 9, "collisionCount": 3 });
    plane.apply(&[web.clone()]).await;
    plane.complete("web", 0).await;
    let stored = plane.get("sts", "web").await.unwrap();
    assert_eq!((&stored["status"]["collisionCount"], &stored["metadata"]["generation"]), (&json!(0), &json!(1)));
    web["status"] = json!({ "collisionCount": 5 });
    assert_eq!(plane.apply(&[web]).await.objects[0].result, "unchanged");
}

#[tokio::test(flavor = "multi_thread")]
async fn s_179_a_status_write_changes_only_the_status_and_what_does_not_fit_is_refused() {
    for profile in [Profile::Kubernetes, Profile::Setkeeper] {
        let plane = Plane::start_as(profile).await;
        plane.apply(&[set("web", 0, json!({}))]).await;
        plane.complete("web", 0).await;
        let write = |status: Value| UpdateStatefulSetStatusRequest {
            name: "web".into(),
            status: Some(api::object::to_struct(&status)),
            ..UpdateStatefulSetStatusRequest::default()
        };
        for wrong in [
            json!({ "readyReplicas": 1 }),
            json!({ "replicas": 2, "readyReplicas": 1, "availableReplicas": 2 }),
            json!({ "collisionCount": -1 }),
            json!({ "rollout": {} }),
        ] {
            let refused = plane.sets().update_status(write(wrong)).await.unwrap_err();
            assert_eq!((refused.code(), reason(&refused).as_str()), (tonic::Code::InvalidArgument, "INVALID_OBJECT"));
        }
        let old = plane.get("sts", "web").await.unwrap();
        let mine = json!({ "collisionCount": 2, "conditions": [{ "type": "mine", "status": "True" }] });
        let written = plane.sets().update_status(write(mine.clone())).await.unwrap().into_inner();
        assert!(written.changed);
        let stored = api::object::from_struct(written.stateful_set.unwrap());
        assert_eq!(stored["spec"], old["spec"]);
        assert_eq!((&stored["metadata"]["generation"], &stored["status"]["collisionCount"]), (&json!(1), &json!(2)));
        let stale = UpdateStatefulSetStatusRequest { resource_version: "1".into(), ..write(mine.clone()) };
        assert_eq!(plane.sets().update_status(stale).await.unwrap_err().code(), tonic::Code::Aborted);
        let other = UpdateStatefulSetStatusRequest { uid: "0-0".into(), ..write(mine) };
        assert_eq!(reason(&plane.sets().update_status(other).await.unwrap_err()), "UID_MISMATCH");
        // The next pass keeps the condition of another, where Kubernetes wipes it.
        plane.edit("sts", "web", |web| web["spec"]["template"]["metadata"]["labels"]["more"] = "x".into()).await;
        plane.complete("web", 0).await;
        let kept = condition(&plane.get("sts", "web").await.unwrap(), "mine").is_some();
        assert_eq!(kept, profile == Profile::Setkeeper);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_181_scaling_changes_the_replicas_and_an_apply_without_them_leaves_them() {
    let plane = Plane::start().await;
    let scale = |replicas, current_replicas, resource_version: &str| ScaleStatefulSetRequest {
        name: "web".into(),
        replicas,
        current_replicas,
        resource_version: resource_version.into(),
        ..ScaleStatefulSetRequest::default()
    };
    let replicas = || async { plane.get("sts", "web").await.unwrap()["spec"]["replicas"].clone() };
    plane.apply(&[set("web", 3, json!({}))]).await;
    plane.sets().scale(scale(5, None, "")).await.unwrap();
    assert_eq!(plane.get("sts", "web").await.unwrap()["metadata"]["generation"], 2);
    let negative = plane.sets().scale(scale(-1, None, "")).await.unwrap_err();
    assert_eq!((negative.code(), reason(&negative).as_str()), (tonic::Code::InvalidArgument, "INVALID_OBJECT"));
    assert!(negative.message().contains("must be greater than or equal to 0"), "{negative}");
    let other = plane.sets().scale(scale(4, Some(3), "")).await.unwrap_err();
    assert_eq!((other.code(), other.message()), (tonic::Code::FailedPrecondition, "expected replicas to be 3, was 5"));
    assert_eq!(plane.sets().scale(scale(4, None, "1")).await.unwrap_err().code(), tonic::Code::Aborted);
    let another = ScaleStatefulSetRequest { uid: "0-0".into(), ..scale(4, None, "") };
    assert_eq!(reason(&plane.sets().scale(another).await.unwrap_err()), "UID_MISMATCH");
    assert_eq!(replicas().await, 5);
    let same = ScaleStatefulSetRequest { uid: plane.uid("sts", "web").await, ..scale(5, Some(5), "") };
    plane.sets().scale(same).await.unwrap();
    plane.apply(&[set("web", 3, json!({}))]).await;
    assert_eq!(replicas().await, 3, "the manifest has the last word");
    let without = |name: &str| {
        let mut web = set(name, 0, json!({}));
        web["spec"].as_object_mut().unwrap().remove("replicas");
        web
    };
    plane.apply(&[without("other")]).await;
    plane.scale("other", 5).await;
    plane.apply(&[without("other")]).await;
    assert_eq!(plane.get("sts", "other").await.unwrap()["spec"]["replicas"], 5, "it never had them");
    plane.apply(&[without("web")]).await;
    assert_eq!(replicas().await, 1, "it had them, and has them no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_without_its_service_is_taken_with_a_warning() {
    let plane = Plane::start().await;
    let missing = "StatefulSet \"web\": spec.serviceName: there is no Service \"web\"";
    let warned = |answer: api::proto::coordinator::v1::ApplyResponse| {
        answer.warnings.iter().any(|warning| warning.starts_with(missing))
    };
    assert!(warned(plane.apply(&[set("web", 0, json!({}))]).await));
    let together = [set("web", 0, json!({})), crate::plane::service("web")];
    assert!(!warned(plane.apply(&together).await), "in the same manifest");
    assert!(!warned(plane.apply(&[set("web", 0, json!({}))]).await), "stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn s_171_a_name_without_room_is_refused_unless_kubernetes_is_wanted() {
    let long = "x".repeat(63);
    let plane = Plane::start().await;
    let refused = plane.try_apply(&[set(&long, 0, json!({ "serviceName": "" }))]).await.unwrap_err();
    assert!(refused.message().contains("use a name of at most 52 characters"), "{refused}");
    let plane = Plane::start_as(domain::Profile::Kubernetes).await;
    let answer = plane.apply(&[set(&long, 0, json!({ "serviceName": "" }))]).await;
    assert!(answer.warnings.iter().any(|warning| warning.contains("it cannot be created")), "{answer:?}");
    plane.scale(&long, 1).await;
    plane.has_said(&long, &format!("FailedCreate: Create Pod {long}-0 in StatefulSet {long} failed error: ")).await;
    plane.has_counts(&long, "0/0/0/0/0").await;
    assert!(plane.pods().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn s_180_stale_versions_and_other_incarnations_are_refused() {
    let plane = Plane::start().await;
    plane.apply(&[config_map("one", "a")]).await;
    let old = plane.get("configmap", "one").await.unwrap();
    plane.apply(&[config_map("one", "b")]).await;
    let mut again = old.clone();
    again["data"]["text"] = "c".into();
    let stale = plane.try_apply(&[again]).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (tonic::Code::Aborted, "STALE_RESOURCE_VERSION"));
    let mut other = config_map("one", "c");
    other["metadata"]["uid"] = "0-0".into();
    assert_eq!(reason(&plane.try_apply(&[other]).await.unwrap_err()), "UID_MISMATCH");
    let delete = |uid: &str, version: &str| DeleteRequest {
        kind: "configmap".into(),
        name: "one".into(),
        uid: uid.into(),
        resource_version: version.into(),
        ..DeleteRequest::default()
    };
    let refused = plane.objects().delete(delete("0-0", "")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (tonic::Code::FailedPrecondition, "UID_MISMATCH"));
    let version = text(&old, "/metadata/resourceVersion");
    let refused = plane.objects().delete(delete("", version)).await.unwrap_err();
    assert_eq!(reason(&refused), "STALE_RESOURCE_VERSION");
    assert_eq!(plane.get("configmap", "one").await.unwrap()["data"]["text"], "b");
    plane.objects().delete(delete(text(&old, "/metadata/uid"), "")).await.unwrap();
    assert_eq!(plane.get("configmap", "one").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_the_same_time_lose_nothing() {
    let plane = Plane::start().await;
    plane.apply(&[set("web", 0, json!({}))]).await;
    // Each adds one if nobody else did meanwhile, until it has done so.
    let add = || async {
        loop {
            let set = plane.get("sts", "web").await.unwrap();
            let before = i32::try_from(set["spec"]["replicas"].as_i64().unwrap()).unwrap();
            let request = ScaleStatefulSetRequest {
                name: "web".into(),
                replicas: before + 1,
                current_replicas: Some(before),
                ..ScaleStatefulSetRequest::default()
            };
            match plane.sets().scale(request).await {
                Ok(_) => return,
                Err(status) => assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}"),
            }
        }
    };
    let annotate = |who: usize| {
        let plane = &plane;
        async move {
            let mut set = set("web", 0, json!({}));
            set["metadata"]["annotations"] = json!({ format!("writer-{who}"): "was here" });
            set["spec"].as_object_mut().unwrap().remove("replicas");
            plane.try_apply(&[set]).await.map(drop)
        }
    };
    let (_, _, _, _, first, second) = tokio::join!(add(), add(), add(), add(), annotate(1), annotate(2));
    first.unwrap();
    second.unwrap();
    let set = plane.get("sts", "web").await.unwrap();
    assert!(set["metadata"]["annotations"].is_object(), "{set}");
    assert!(set["metadata"]["generation"].as_i64().unwrap() >= 5, "{set}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_neither_repeat_nor_skip_and_name_the_first_revision() {
    let plane = Plane::start().await;
    let maps: Vec<_> = (0..25).map(|number| config_map(&format!("map-{number:02}"), "x")).collect();
    plane.apply(&maps).await;
    let mut request = ListRequest { kind: "cm".into(), page_size: 10, ..ListRequest::default() };
    let mut names = Vec::new();
    let mut revisions = Vec::new();
    loop {
        let page = plane.objects().list(request.clone()).await.unwrap().into_inner();
        revisions.push(page.revision);
        let objects = page.objects.into_iter().map(api::object::from_struct);
        names.extend(objects.map(|object| text(&object, "/metadata/name").to_owned()));
        // One that was told already goes, one comes before the place, one behind it.
        plane.delete("cm", "map-00", "").await.ok();
        plane.apply(&[config_map("aaa", "new"), config_map("zzz", "new")]).await;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let mut expected: Vec<_> = (0..25).map(|number| format!("map-{number:02}")).collect();
    expected.push("zzz".into());
    assert_eq!(names, expected);
    assert!(revisions.windows(2).all(|pair| pair[0] == pair[1]), "{revisions:?}");
    request.page_token = "nonsense".into();
    assert_eq!(reason(&plane.objects().list(request).await.unwrap_err()), "INVALID_PAGE_TOKEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_the_store_is_said_to_be() {
    let plane = Plane::start().await;
    let maps: Vec<_> = (0..9).map(|number| config_map(&format!("map-{number}"), &"x".repeat(1_000_000))).collect();
    let refused = plane.try_apply(&maps).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (tonic::Code::ResourceExhausted, "TOO_LARGE"), "{refused}");
    assert_eq!(plane.list("cm").await, Vec::<Value>::new());
}
