//! Services, volumes, claims, classes, and what holds configuration.

use super::*;

#[test]
fn services_follow_the_dns_rules() {
    let service =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "1a"}, "spec": spec});
    for (spec, expected) in [
        (json!({"clusterIP": "None"}), &[][..]),
        (json!({}), &["spec.ports: Required value"]),
        (json!({"ports": [{"port": 80}]}), &[]),
        (json!({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}), &["spec.ports[0].name: Required value"]),
        (
            json!({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}),
            &["spec.ports[1].name: Duplicate value: \"a\""],
        ),
        (
            json!({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}),
            &["spec.ports[1]: Duplicate value: {"],
        ),
        (json!({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b", "protocol": "UDP"}]}), &[]),
        (
            json!({"ports": [{"port": 0}]}),
            &["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (json!({"ports": [{"port": 80, "protocol": "tcp"}]}), &["spec.ports[0].protocol: Unsupported value: \"tcp\""]),
        (json!({"ports": [{"port": 80, "targetPort": "a_b"}]}), &["spec.ports[0].targetPort: Invalid value"]),
        (
            json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80}]}),
            &["spec.clusterIP: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (json!({"clusterIPs": ["None", "10.0.0.1"]}), &["spec.clusterIPs: Invalid value"]),
        (json!({"type": "ExternalName"}), &["spec.externalName: Required value"]),
        (json!({"type": "ExternalName", "externalName": "db.example.com."}), &[]),
        (
            json!({"type": "ExternalName", "externalName": "10.0.0.1"}),
            &[
                "spec.externalName: Invalid value: \"10.0.0.1\": is an address, and a name of digits answers nobody; use a headless Service",
            ],
        ),
        (
            json!({"clusterIP": "None", "selector": {"app": "a b"}}),
            &["spec.selector: Invalid value: \"a b\": a valid label"],
        ),
    ] {
        check_object(service(spec), expected);
    }
}

#[test]
fn volumes_claims_and_classes_follow_the_volume_rules() {
    let object = |kind: &str, name: &str, value: Value| {
        let kind = Kind::from_text(kind).expect("a kind");
        let mut object = json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": "x"}});
        if name.is_empty() {
            object.as_object_mut().expect("an object").extend(value.as_object().expect("an object").clone());
        } else {
            object[name] = value;
        }
        object
    };
    let volume = |edits: Value| {
        let mut spec =
            json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}});
        for (name, value) in edits.as_object().expect("an object") {
            edit(&mut spec, &format!("/{name}"), value.clone());
        }
        object("pv", "spec", spec)
    };
    check_object(volume(json!({})), &[]);
    check_object(volume(json!({"capacity": null})), &["spec.capacity: Required value"]);
    check_object(
        volume(json!({"capacity": {"storage": "1", "cpu": "1"}})),
        &["spec.capacity: Unsupported value: \"cpu\""],
    );
    check_object(volume(json!({"accessModes": []})), &["spec.accessModes: Required value"]);
    check_object(volume(json!({"hostPath": null})), &["spec: Required value: must specify a volume type"]);
    check_object(
        volume(json!({"hostPath": {"path": "/a/../b"}})),
        &["spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
    );
    check_object(
        volume(json!({"nfs": {"server": "s", "path": "/"}})),
        &["spec.nfs: Forbidden: may not specify more than 1 volume type"],
    );
    check_object(volume(json!({"hostPath": null, "local": {"path": "/x"}})), &["spec.nodeAffinity: Required value"]);
    check_object(
        volume(json!({"persistentVolumeReclaimPolicy": "Keep"})),
        &["spec.persistentVolumeReclaimPolicy: Unsupported value"],
    );
    check_object(
        volume(json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"})),
        &["spec.persistentVolumeReclaimPolicy: Forbidden"],
    );
    check_object(volume(json!({"hostPath": null, "csi": {"driver": "d"}})), &["spec.csi.volumeHandle: Required value"]);
    check_object(volume(json!({"claimRef": {"name": "c"}})), &["spec.claimRef.namespace: Required value"]);
    let class = |value: Value| object("sc", "", value);
    check_object(class(json!({"provisioner": "rancher.io/local-path"})), &[]);
    check_object(class(json!({})), &["provisioner: Required value"]);
    check_object(
        class(json!({"provisioner": "a/b", "reclaimPolicy": "Recycle"})),
        &["reclaimPolicy: Unsupported value"],
    );
    check_object(
        class(json!({"provisioner": "a/b", "volumeBindingMode": "Late"})),
        &["volumeBindingMode: Unsupported value"],
    );
    check_object(object("cm", "data", json!({"a/b": "x"})), &["data[a/b]: Invalid value: \"a/b\": a valid config key"]);
    check_object(object("secret", "data", json!({"a": "not base64!"})), &["data.a: "]);
}
