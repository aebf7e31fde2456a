//! The public API: all or nothing, fences, no lost writes, pages.

use api::proto::coordinator::v1::{DeleteRequest, ListRequest, ScaleStatefulSetRequest};
use serde_json::{Value, json};

use crate::plane::text;
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
async fn stale_versions_and_other_incarnations_are_refused() {
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
