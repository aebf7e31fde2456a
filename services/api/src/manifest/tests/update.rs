//! What may change.

use super::*;

/// A stored object: as admitted, with what the system writes.
fn stored(object: Value) -> Value {
    let mut object = admitted(object);
    for (name, value) in [
        ("uid", json!("u")),
        ("generation", json!(4)),
        ("creationTimestamp", json!("2026-01-01T00:00:00Z")),
        ("resourceVersion", json!("12")),
    ] {
        object["metadata"][name] = value;
    }
    object
}

fn apply(old: &Value, new: Value) -> Result<Update, Vec<String>> {
    let (manifest, _) = admit(new).unwrap_or_else(|violations| panic!("{:?}", lines(&violations)));
    admit_update(old, manifest).map_err(|violations| lines(&violations))
}

fn edited(pointer: &str, to: Value) -> Value {
    let mut object = standard();
    edit(&mut object, pointer, to);
    object
}

#[test]
fn s_178_writing_the_same_in_other_words_changes_nothing() {
    let old = stored(standard());
    for same in [
        standard(),
        old.clone(),
        edited("/spec/podManagementPolicy", json!("OrderedReady")),
        edited("/spec/volumeClaimTemplates/0/spec/resources/requests/storage", json!("1024Mi")),
        edited("/spec/template/spec/hostNetwork", json!(false)),
        edited("/status", json!({"replicas": 7})),
    ] {
        let update = apply(&old, same.clone()).expect("allowed");
        assert!(!update.changed && !update.spec_changed, "{same}");
        assert_eq!(update.value, old);
    }
    let update = apply(&old, edited("/metadata/labels", json!({"a": "b"}))).expect("allowed");
    assert!(update.changed && !update.spec_changed, "labels raise no generation");
    assert_eq!(update.value["metadata"]["uid"], "u");
}

#[test]
fn s_181_replicas_stay_where_the_manifest_never_had_them() {
    let with = |replicas: Value| edited("/spec/replicas", replicas);
    let scaled = |mut object: Value| {
        object["spec"]["replicas"] = json!(5);
        object
    };
    let replicas = |update: &Update| update.value["spec"]["replicas"].clone();
    let never = scaled(stored(with(Value::Null)));
    let same = apply(&never, with(Value::Null)).expect("allowed");
    assert!(!same.changed && same.warnings.is_empty());
    let written = apply(&never, with(json!(3))).expect("allowed");
    assert_eq!(replicas(&written), 3);
    // From now on the number is the manifest's: who takes it out gets the default.
    let removed = apply(&scaled(written.value), with(Value::Null)).expect("allowed");
    assert_eq!(replicas(&removed), 1);
    assert!(removed.warnings[0].contains("1, the default, takes the place of 5"), "{:?}", removed.warnings);
    let left_alone = apply(&scaled(removed.value), with(Value::Null)).expect("allowed");
    assert_eq!(replicas(&left_alone), 5);
}

#[test]
fn s_176_s_177_only_some_fields_of_a_set_may_change() {
    let old = stored(standard());
    for (pointer, to) in [
        ("/spec/replicas", json!(5)),
        ("/spec/ordinals", json!({"start": 2})),
        ("/spec/template/spec/containers/0/image", json!("img:2")),
        ("/spec/updateStrategy", json!({"type": "OnDelete"})),
        ("/spec/revisionHistoryLimit", json!(3)),
        ("/spec/persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Delete"})),
        ("/spec/minReadySeconds", json!(3)),
    ] {
        let update = apply(&old, edited(pointer, to)).expect(pointer);
        assert!(update.spec_changed, "{pointer}");
    }
    let forbidden = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
         'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    for (pointer, to, name) in [
        ("/spec/serviceName", json!("other"), "serviceName"),
        ("/spec/podManagementPolicy", json!("Parallel"), "podManagementPolicy"),
        ("/spec/volumeClaimTemplates/0/spec/resources/requests/storage", json!("2Gi"), "volumeClaimTemplates"),
        (
            "/spec/selector",
            json!({"matchLabels": {"app": "nginx"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]}),
            "selector",
        ),
    ] {
        let found = apply(&old, edited(pointer, to)).expect_err(pointer);
        assert_eq!(found.len(), 1, "one error for all of them");
        assert!(found[0].starts_with(forbidden) && found[0].contains(&format!("changes {name}:")), "{found:?}");
    }
}

#[test]
fn what_the_system_and_its_commands_wrote_stays() {
    let mut old = stored(standard());
    old["spec"]["replicas"] = json!(5);
    old["metadata"]["annotations"] = json!({"setkeeper.dev/paused": "true", "mine": "x"});
    old["metadata"]["finalizers"] = json!(["a/b"]);
    old["spec"]["template"]["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "t"});
    old["status"] = json!({"replicas": 5, "availableReplicas": 5});
    let update = apply(&old, edited("/spec/replicas", json!(5))).expect("allowed");
    assert_eq!(update.value["metadata"]["annotations"], json!({"setkeeper.dev/paused": "true"}));
    assert_eq!(update.value["metadata"]["finalizers"], json!(["a/b"]));
    assert_eq!(update.value["status"], old["status"]);
    assert!(!update.spec_changed, "a restart is not undone by applying the manifest again");
    assert_eq!(apply(&old, standard()).expect("allowed").value["spec"]["replicas"], 3, "written again");
}

#[test]
fn claims_grow_and_nothing_else() {
    let claim = |size: &str, extra: Value| {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}});
        spec.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": spec})
    };
    let mut old = stored(claim("2Gi", json!({"storageClassName": "standard", "volumeName": "pv1"})));
    assert!(
        apply(&old, claim("3Gi", json!({}))).expect_err("pending")[0].contains("only bound claims can be expanded")
    );
    old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    let grown = apply(&old, claim("3Gi", json!({}))).expect("allowed");
    assert_eq!(grown.value["spec"]["storageClassName"], "standard");
    assert_eq!(grown.value["spec"]["volumeName"], "pv1");
    assert!(apply(&old, claim("1536Mi", json!({}))).is_ok(), "takes back a growth that has not happened");
    assert!(
        apply(&old, claim("1Gi", json!({}))).expect_err("shrinks")[0].contains("can not be less than status.capacity")
    );
    for extra in [
        json!({"storageClassName": "other"}),
        json!({"accessModes": ["ReadWriteMany"]}),
        json!({"volumeName": "pv2"}),
        json!({"volumeMode": "Block"}),
    ] {
        let found = apply(&old, claim("2Gi", extra)).expect_err("immutable");
        assert!(found[0].starts_with("spec: Forbidden: spec is immutable after creation"), "{found:?}");
    }
    let late = stored(claim("1Gi", json!({})));
    assert!(apply(&late, claim("1Gi", json!({"storageClassName": "standard", "volumeName": "v"}))).is_ok());
}

#[test]
fn volumes_classes_services_pods_and_settings_keep_what_they_are() {
    let refused = |old: &Value, pointer: &str, to: Value, part: &str| {
        let mut new = old.clone();
        edit(&mut new, pointer, to);
        let found = apply(old, new).expect_err(pointer);
        assert!(found[0].contains(part), "{pointer}: {found:?}");
    };
    let allowed = |old: &Value, pointer: &str, to: Value| {
        let mut new = old.clone();
        edit(&mut new, pointer, to);
        assert!(apply(old, new).expect(pointer).spec_changed, "{pointer}");
    };
    let volume = stored(
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}}),
    );
    refused(&volume, "/spec/hostPath/path", json!("/y"), "spec.persistentvolumesource is immutable after creation");
    refused(
        &volume,
        "/spec/volumeMode",
        json!("Block"),
        "spec.volumeMode: Invalid value: \"Block\": field is immutable",
    );
    allowed(&volume, "/spec/capacity/storage", json!("2Gi"));
    allowed(&volume, "/spec/persistentVolumeReclaimPolicy", json!("Delete"));
    allowed(&volume, "/spec/claimRef", json!({"name": "c", "namespace": "default"}));
    let class = stored(
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "s"}, "provisioner": "a/b"}),
    );
    for (pointer, to) in [
        ("/provisioner", json!("c/d")),
        ("/parameters", json!({"a": "b"})),
        ("/reclaimPolicy", json!("Retain")),
        ("/volumeBindingMode", json!("WaitForFirstConsumer")),
    ] {
        refused(&class, pointer, to, "field is immutable");
    }
    allowed(&class, "/allowVolumeExpansion", json!(true));
    let service = stored(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}),
    );
    let mut address = service.clone();
    edit(&mut address, "/spec/clusterIPs", json!(["10.0.0.1"]));
    refused(&address, "/spec/clusterIP", json!("10.0.0.1"), "field is immutable");
    allowed(&service, "/spec/ports/0/port", json!(81));
    let pod = stored(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "i:1"}]}}),
    );
    allowed(&pod, "/spec/containers/0/image", json!("i:2"));
    refused(&pod, "/spec/containers/0/command", json!(["x"]), "pod updates may not change fields other than");
    let mut again = standard();
    again = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": again["spec"]["template"]["spec"].take()});
    edit(&mut again, "/spec/containers", json!([{"name": "a", "image": "i:1"}]));
    assert_eq!(apply(&pod, again).expect("allowed").value["spec"]["nodeName"], "n");
    let fixed = stored(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "immutable": true, "data": {"a": "1"}}),
    );
    refused(&fixed, "/data/a", json!("2"), "data: Invalid value");
}
