//! What is filled in.

use super::*;

#[test]
fn s_160_a_bare_set_gets_every_default() {
    let bare = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web", "uid": "u", "generation": 7},
        "spec": {
            "replicas": null,
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "nginx"}]}},
            "volumeClaimTemplates": [{
                "metadata": {"name": "www"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
            }],
        },
        "status": {"replicas": 9},
    });
    let expected = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {
            "name": "web", "namespace": "default", "annotations": {"setkeeper.dev/replicas-unset": "true"},
        },
        "spec": {
            "replicas": 1,
            "podManagementPolicy": "OrderedReady",
            "revisionHistoryLimit": 10,
            "serviceName": "",
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}},
            "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {
                    "containers": [{
                        "name": "a", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    }],
                    "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                    "securityContext": {}, "terminationGracePeriodSeconds": 30,
                },
            },
            "volumeClaimTemplates": [{
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "www"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                    "volumeMode": "Filesystem",
                },
                "status": {"phase": "Pending"},
            }],
        },
        "status": {"replicas": 0, "availableReplicas": 0},
    });
    let (manifest, _) = admit(bare).expect("admitted");
    assert_eq!(manifest.value, expected);
    assert!(manifest.unset_replicas);
    assert_eq!(manifest.uid.as_deref(), Some("u"));
    assert_eq!(admitted(expected.clone()), expected);
}

#[test]
fn s_161_s_162_s_163_a_written_type_brings_no_block_and_halves_are_filled() {
    for (written, stored) in [
        (json!({"type": "RollingUpdate"}), json!({"type": "RollingUpdate"})),
        (json!({}), json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}})),
        (
            json!({"rollingUpdate": {"partition": 2}}),
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2, "maxUnavailable": 1}}),
        ),
        (
            json!({"type": "RollingUpdate", "rollingUpdate": {}}),
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}}),
        ),
        (json!({"type": "OnDelete"}), json!({"type": "OnDelete"})),
    ] {
        let mut object = standard();
        edit(&mut object, "/spec/updateStrategy", written.clone());
        assert_eq!(admitted(object)["spec"]["updateStrategy"], stored, "{written}");
    }
    let mut object = standard();
    edit(&mut object, "/spec/persistentVolumeClaimRetentionPolicy", json!({"whenScaled": "Delete"}));
    let policy = &admitted(object)["spec"]["persistentVolumeClaimRetentionPolicy"];
    assert_eq!(*policy, json!({"whenDeleted": "Retain", "whenScaled": "Delete"}));
}

#[test]
fn probes_variables_and_volumes_get_their_numbers() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "containers": [{
            "name": "a", "image": "i:1", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1"}},
            "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0},
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        }],
        "volumes": [{"name": "a"}, {"name": "b", "configMap": {"name": "c"}}, {"name": "h", "hostPath": {"path": "/x"}}],
    }});
    let spec = &admitted(pod)["spec"];
    let container = &spec["containers"][0];
    let probe = json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3});
    assert_eq!(container["readinessProbe"], probe);
    assert_eq!(container["ports"][0]["protocol"], "TCP");
    assert_eq!(container["resources"]["requests"], json!({"cpu": "1"}));
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(spec["enableServiceLinks"], true);
    let volumes = json!([{"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "c", "defaultMode": 420}}, {"name": "h", "hostPath": {"path": "/x", "type": ""}}]);
    assert_eq!(spec["volumes"], volumes);
}

#[test]
fn services_volumes_and_secrets_get_their_defaults() {
    let object = |kind: &str, api: &str, rest: Value| {
        let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}});
        object.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        admitted(object)
    };
    let service = object("Service", "v1", json!({"spec": {"clusterIP": "None", "ports": [{"port": 80, "name": "a"}]}}));
    let expected = json!({
        "type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ports": [{"name": "a", "port": 80, "protocol": "TCP", "targetPort": 80}],
    });
    assert_eq!(service["spec"], expected);
    let volume = object(
        "PersistentVolume",
        "v1",
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "", "hostPath": {"path": "/x"}}}),
    );
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(volume["spec"]["volumeMode"], "Filesystem");
    assert_eq!(volume["spec"].get("storageClassName"), None);
    assert_eq!(volume["status"]["phase"], "Pending");
    assert_eq!(volume["metadata"].get("namespace"), None);
    let claim = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}});
    let claim = object("PersistentVolumeClaim", "v1", json!({"spec": claim}));
    assert_eq!(claim["spec"]["storageClassName"], "", "the empty class is not the absent one");
    assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
    let class = object("StorageClass", "storage.k8s.io/v1", json!({"provisioner": "a/b"}));
    assert_eq!((&class["reclaimPolicy"], &class["volumeBindingMode"]), (&json!("Delete"), &json!("Immediate")));
    let secret = object("Secret", "v1", json!({"stringData": {"a": "foo"}, "data": {"a": "eA==", "b": "eA=="}}));
    assert_eq!((&secret["data"], &secret["type"]), (&json!({"a": "Zm9v", "b": "eA=="}), &json!("Opaque")));
    assert_eq!(secret.get("stringData"), None);
}
