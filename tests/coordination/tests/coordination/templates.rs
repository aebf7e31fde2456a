//! What is a change of the template, and what becomes of the revisions.

use domain::Profile;
use serde_json::{Value, json};

use crate::plane::text;
use crate::{Machine, Plane, set};

async fn generation(plane: &Plane) -> i64 {
    plane.get("sts", "web").await.unwrap()["metadata"]["generation"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn s_61_labels_of_the_template_roll_out_like_everything_else_of_it() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let mut web = set("web", 3, json!({}));
    plane.apply(std::slice::from_ref(&web)).await;
    plane.complete("web", 3).await;
    let labels = |pod: &Value| {
        let labels = &pod["metadata"]["labels"];
        (labels["tier"].as_str().map(str::to_owned), text(labels, "/controller-revision-hash").to_owned())
    };
    let old = labels(&plane.get("pod", "web-0").await.unwrap());
    machine.eagerness(true, false);
    web["spec"]["template"]["metadata"]["labels"]["tier"] = "db".into();
    plane.apply(&[web]).await;
    let mut new = None;
    for name in ["web-2", "web-1", "web-0"] {
        machine.must_stop(name).await;
        let pod = plane.get("pod", name).await.unwrap();
        assert_eq!(labels(&pod), old, "an old pod keeps its labels until it is replaced");
        assert_eq!(machine.stopped().last().unwrap(), name);
        machine.stop(name).await;
        plane.successor(name, text(&pod, "/metadata/uid")).await;
        let found = labels(&plane.get("pod", name).await.unwrap());
        assert_eq!(found.0.as_deref(), Some("db"));
        assert_ne!(found.1, old.1);
        assert_eq!(*new.get_or_insert(found.clone()), found);
    }
    plane.complete("web", 3).await;
    assert_eq!(plane.list("controllerrevisions").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_120_a_revision_that_was_left_behind_is_adopted_and_used() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let web = set("web", 2, json!({}));
    plane.apply(std::slice::from_ref(&web)).await;
    plane.complete("web", 2).await;
    let before = plane.list("controllerrevisions").await.remove(0);
    plane.leave_behind("web").await;
    for name in ["web-0", "web-1"] {
        plane.delete("pod", name, "").await.unwrap();
        plane.lacks("pod", name).await;
    }
    let left = plane.list("controllerrevisions").await.remove(0);
    assert_eq!(left.pointer("/metadata/ownerReferences"), None);
    plane.apply(&[web]).await;
    plane.complete("web", 2).await;
    let revisions = plane.list("controllerrevisions").await;
    assert_eq!(revisions.len(), 1, "no new object");
    let after = &revisions[0];
    let same = ["/metadata/uid", "/metadata/name"].map(|field| text(&before, field) == text(after, field));
    assert_eq!((same, &before["revision"], &before["data"]), ([true; 2], &after["revision"], &after["data"]));
    let set = plane.uid("sts", "web").await;
    assert_eq!(text(after, "/metadata/ownerReferences/0/uid"), set);
    let pod = plane.get("pod", "web-0").await.unwrap();
    assert_eq!(text(&pod, "/metadata/labels/controller-revision-hash"), text(after, "/metadata/name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s_120_in_kubernetes_a_set_adopts_what_it_selects_whatever_its_name() {
    for (profile, adopted) in [(Profile::Kubernetes, true), (Profile::Setkeeper, false)] {
        let plane = Plane::start_as(profile).await;
        let _machine = Machine::eager(&plane).await;
        plane.apply(&[set("old", 1, json!({}))]).await;
        plane.complete("old", 1).await;
        plane.leave_behind("old").await;
        let left = plane.list("controllerrevisions").await.remove(0);
        let mut web = set("web", 1, json!({}));
        web["spec"]["selector"] = json!({ "matchLabels": { "app": "old" } });
        web["spec"]["template"]["metadata"] = json!({ "labels": { "app": "old" } });
        plane.apply(&[web]).await;
        plane.complete("web", 1).await;
        let used =
            text(&plane.get("sts", "web").await.unwrap(), "/status/updateRevision") == text(&left, "/metadata/name");
        assert_eq!(used, adopted, "{profile}");
        // S-119: the name of its revision may be another set's by now, and the data is the same.
        plane.apply(&[set("old", 1, json!({}))]).await;
        plane.complete("old", 1).await;
        let old = plane.get("sts", "old").await.unwrap();
        let status = &old["status"];
        assert_eq!((&status["updateRevision"], &status["collisionCount"]), (&left["metadata"]["name"], &json!(0)));
        let pods = plane.list("pods").await;
        let marks: Vec<&Value> =
            pods.iter().map(|pod| &pod["metadata"]["labels"]["controller-revision-hash"]).collect();
        assert_eq!(marks[0], &left["metadata"]["name"], "{profile}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_122_the_same_quantity_in_other_words_is_no_change_and_another_order_is_one() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let web = |cpu: Value, names: [&str; 2]| {
        let mut web = set("web", 1, json!({}));
        let container = &mut web["spec"]["template"]["spec"]["containers"][0];
        container["resources"] = json!({ "requests": { "cpu": cpu } });
        container["env"] = names.map(|name| json!({ "name": name, "value": "1" })).into_iter().collect();
        web
    };
    plane.apply(&[web(json!("1"), ["A", "B"])]).await;
    plane.complete("web", 1).await;
    let before = generation(&plane).await;
    for same in [json!("1000m"), json!(1), json!("1")] {
        let answer = plane.apply(&[web(same.clone(), ["A", "B"])]).await;
        assert_eq!((generation(&plane).await, answer.objects[0].result.as_str()), (before, "unchanged"), "{same}");
    }
    assert_eq!((plane.list("controllerrevisions").await.len(), machine.stopped().len()), (1, 0));
    plane.apply(&[web(json!("1000m"), ["B", "A"])]).await;
    assert_eq!(generation(&plane).await, before + 1);
    plane.complete("web", 1).await;
    assert_eq!((plane.list("controllerrevisions").await.len(), machine.stopped()), (2, vec!["web-0".to_owned()]));
}
