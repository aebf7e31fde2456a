//! S20 of pods: each is made of one template, whole, and stays what it was made of.

use domain::{claim_name, pod_ordinal};
use serde_json::{Value, json};

use crate::objects::{Commit, all, controller, kind_and_name, text, uid};
use crate::order::{REVISION_LABEL, created};
use crate::{Violation, hold, holds};

/// S20: a pod of a set is made of exactly the template of the revision that its label names, with what the set adds: its
/// names, its machine and the volumes of its claims.
///
/// # Errors
/// Where one is made of anything else.
pub fn s20_pods_are_of_one_template(commit: &Commit<'_>) -> Result<(), Violation> {
    for (change, pod) in created(commit) {
        let owner = controller(pod);
        let set = all(commit.before, "statefulsets").find(|(_, set)| Some(uid(set)) == owner);
        let Some(((_, set), (_, namespace, name))) = set.zip(kind_and_name(&change.key)) else { continue };
        let revision = text(pod, REVISION_LABEL);
        let stored = commit.after(&format!("/objects/controllerrevisions/{namespace}/{revision}"));
        let template = stored.and_then(|stored| stored.pointer("/data/spec/template"));
        let template = template.ok_or_else(|| Violation {
            rule: "S20",
            how: format!("pod {name} is of revision {revision:?}, which is not there"),
        })?;
        let (expected, found) = (spec_of(template, set, pod), &pod["spec"]);
        hold("S20", expected == *found, || {
            format!("pod {name} is not made of {revision}, whose {}", first_difference(&expected, found))
        })?;
        for field in ["labels", "annotations"] {
            let (asked, found) = (&template["metadata"][field], &pod["metadata"][field]);
            hold("S20", holds(asked, found), || {
                format!("pod {name} is not made of {revision}, whose {field} are {asked}, not {found}")
            })?;
        }
    }
    Ok(())
}

/// S20: the revision of a pod never changes in place, nor does its spec, once its machine is named: only another pod is of
/// another revision (StatefulSet rules, invariant 8).
///
/// # Errors
/// Where one is edited.
pub fn s20_pods_stay_what_they_are(commit: &Commit<'_>) -> Result<(), Violation> {
    for change in commit.of("pods") {
        let (Some(old), Some(new)) = (&change.old, &change.new) else { continue };
        let (old, new) = (&*old.value, &*new.value);
        if uid(old) != uid(new) {
            continue;
        }
        let (before, after) = (text(old, REVISION_LABEL), text(new, REVISION_LABEL));
        hold("S20", before == after, || format!("{} becomes of revision {after} in place, was {before}", change.key))?;
        let mut expected = old["spec"].clone();
        if text(old, NODE).is_empty() {
            carry(&new["spec"], "nodeName", &mut expected);
        }
        hold("S20", expected == new["spec"], || {
            format!("{} is edited in place: its {}", change.key, first_difference(&expected, &new["spec"]))
        })?;
    }
    Ok(())
}

/// Where a pod says which machine it is on.
const NODE: &str = "/spec/nodeName";

/// The spec of a pod of a set, made of a template.
fn spec_of(template: &Value, set: &Value, pod: &Value) -> Value {
    let mut spec = template["spec"].clone();
    spec["hostname"] = text(pod, "/metadata/name").into();
    match text(set, "/spec/serviceName") {
        "" => _ = spec.as_object_mut().map(|spec| spec.remove("subdomain")),
        service => spec["subdomain"] = service.into(),
    }
    carry(&pod["spec"], "nodeName", &mut spec);
    let volumes = volumes_of(&spec, set, text(pod, "/metadata/name"));
    if !volumes.is_empty() {
        spec["volumes"] = volumes.into();
    }
    let mut expected = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": spec });
    api::manifest::default_pod(&mut expected);
    expected["spec"].take()
}

/// The volumes of the claims, then those of the template that have another name.
fn volumes_of(spec: &Value, set: &Value, pod: &str) -> Vec<Value> {
    let set_name = text(set, "/metadata/name");
    let templates = set.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).into_iter().flatten();
    let of_claims = templates.zip(std::iter::repeat(pod_ordinal(set_name, pod))).filter_map(|(template, ordinal)| {
        let name = text(template, "/metadata/name");
        Some(json!({ "name": name, "persistentVolumeClaim": { "claimName": claim_name(name, set_name, ordinal?) } }))
    });
    let mut volumes: Vec<Value> = of_claims.collect();
    let claims = volumes.len();
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        if volumes[..claims].iter().all(|claim| claim["name"] != volume["name"]) {
            volumes.push(volume.clone());
        }
    }
    volumes
}

fn carry(from: &Value, field: &str, to: &mut Value) {
    if let Some(value) = from.get(field) {
        to[field] = value.clone();
    }
}

fn first_difference(expected: &Value, found: &Value) -> String {
    let names = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let names = [names(expected), names(found)].concat();
    let different = names.into_iter().find(|name| expected.get(name) != found.get(name)).unwrap_or_default();
    format!("{different} would be {}, and is {}", expected[&different], found[&different])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Change, State, Stored};

    fn stored(value: Value) -> Stored {
        Stored { bytes: value.to_string().into_bytes(), value: Arc::new(value), revision: 1 }
    }

    fn template(image: &str) -> Value {
        let volume = json!({ "name": format!("scratch-{image}"), "emptyDir": {} });
        let spec = json!({ "containers": [{ "name": "main", "image": image }], "volumes": [volume] });
        json!({ "metadata": { "labels": { "app": "web" } }, "spec": spec })
    }

    fn world() -> State {
        let owner = json!([{ "uid": "u", "controller": true }]);
        let claims = json!([{ "metadata": { "name": "data" } }]);
        let set = json!({
            "metadata": { "name": "web", "uid": "u" },
            "spec": { "serviceName": "web", "volumeClaimTemplates": claims },
        });
        let revision = |image: &str| json!({ "metadata": { "ownerReferences": owner }, "data": { "spec": { "template": template(image) } } });
        State::from([
            ("/objects/statefulsets/default/web".to_owned(), stored(set)),
            ("/objects/controllerrevisions/default/web-v1".to_owned(), stored(revision("v1"))),
            ("/objects/controllerrevisions/default/web-v2".to_owned(), stored(revision("v2"))),
        ])
    }

    fn pod(revision: &str, change: impl FnOnce(&mut Value)) -> Value {
        let world = world();
        let mut pod = json!({ "metadata": {
            "name": "web-0",
            "uid": "p",
            "labels": { "app": "web", "controller-revision-hash": format!("web-{revision}") },
            "ownerReferences": [{ "uid": "u", "controller": true }],
        }});
        pod["spec"]["nodeName"] = "node".into();
        pod["spec"] = spec_of(&template(revision), &world["/objects/statefulsets/default/web"].value, &pod);
        change(&mut pod);
        pod
    }

    fn judged(old: Option<Value>, new: Value) -> Result<(), Violation> {
        let key = "/objects/pods/default/web-0".to_owned();
        let changes = [Change { key, old: old.map(stored), new: Some(stored(new)) }];
        let commit = Commit { revision: 2, changes: &changes, before: &world(), now_ms: 0 };
        s20_pods_are_of_one_template(&commit)?;
        s20_pods_stay_what_they_are(&commit)
    }

    #[test]
    fn a_pod_of_two_templates_is_found() {
        assert_eq!(judged(None, pod("v1", |_| ())), Ok(()));
        let volumes = pod("v1", |_| ())["spec"]["volumes"].clone();
        assert_eq!((&volumes[0]["name"], &volumes[1]["name"]), (&"data".into(), &"scratch-v1".into()));
        let other = |change: fn(&mut Value)| judged(None, pod("v1", change)).expect_err("it is mixed").how;
        assert!(other(|pod| pod["spec"]["volumes"][1]["name"] = "scratch-v2".into()).contains("whose volumes"));
        assert!(other(|pod| pod["spec"]["containers"][0]["image"] = "v2".into()).contains("whose containers"));
        assert!(other(|pod| pod["spec"]["priority"] = 7.into()).contains("whose priority"));
        assert!(other(|pod| pod["metadata"]["labels"]["app"] = "other".into()).contains("whose labels"));
        let missing = |pod: &mut Value| pod["metadata"]["labels"]["controller-revision-hash"] = "web-v3".into();
        assert!(other(missing).contains("which is not there"));
    }

    #[test]
    fn a_pod_that_is_edited_in_place_is_found() {
        let unplaced = pod("v1", |pod| _ = pod["spec"].as_object_mut().map(|spec| spec.remove("nodeName")));
        assert_eq!(judged(Some(unplaced.clone()), pod("v1", |_| ())), Ok(()));
        let moved = pod("v1", |pod| pod["spec"]["nodeName"] = "other".into());
        for edited in [pod("v2", |_| ()), moved, unplaced] {
            assert!(judged(Some(pod("v1", |_| ())), edited).is_err());
        }
    }
}
