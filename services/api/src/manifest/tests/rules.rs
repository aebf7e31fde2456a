//! What a created object must be.

use super::*;

/// One edit of the standard set, and the start of each violation it gives, in order.
fn check(pointer: &str, to: Value, expected: &[&str]) {
    let mut object = standard();
    edit(&mut object, pointer, to.clone());
    let found = refusals(object);
    let same =
        found.len() == expected.len() && found.iter().zip(expected).all(|(found, start)| found.starts_with(start));
    assert!(same, "{pointer} = {to}:\nexpected {expected:#?}\nfound {found:#?}");
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
     and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
     regex used for validation is '[0-9]+%')";

#[test]
fn names_are_labels_that_leave_room() {
    let name = "/metadata/name";
    check(name, Value::Null, &["metadata.name: Required value: name or generateName is required"]);
    check(name, json!(""), &["metadata.name: Required value: name or generateName is required"]);
    check(name, json!("Web"), &[&format!("metadata.name: Invalid value: \"Web\": {LABEL}")]);
    check(name, json!("-web"), &[&format!("metadata.name: Invalid value: \"-web\": {LABEL}")]);
    check(name, json!("web.a"), &["metadata.name: Invalid value: \"web.a\": must not contain dots"]);
    let long = "x".repeat(64);
    check(
        name,
        json!(long),
        &[&format!("metadata.name: Invalid value: \"{long}\": must be no more than 63 characters")],
    );
    check(name, json!("1web"), &[]);
    check(name, json!("x".repeat(61)), &[]);
    let last = "x".repeat(62);
    let why =
        format!("the name of its last pod, {last}-2, would have more than 63 characters; use a name of at most 52");
    check(name, json!(last), &[&format!("metadata.name: Invalid value: \"{last}\": {why}")]);
    let mut object = standard();
    edit(&mut object, name, json!("x".repeat(61)));
    edit(&mut object, "/spec/replicas", json!(11));
    assert!(
        refusals(object)[0].contains("-10, would have more than 63 characters; use a name of at most 52 characters")
    );
}

#[test]
fn selectors_are_there_and_match() {
    let mismatch = "spec.template.metadata.labels: Invalid value: {\"app\":\"nginx\"}: `selector` does not match template `labels`";
    check("/spec/selector", Value::Null, &["spec.selector: Required value", mismatch]);
    check(
        "/spec/selector",
        json!({}),
        &["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"],
    );
    check(
        "/spec/template/metadata/labels",
        json!({"app": "x"}),
        &["spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`"],
    );
    check(
        "/spec/template/metadata/labels",
        Value::Null,
        &["spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`"],
    );
    let expression = |operator: &str, values: &[&str]| json!({"matchLabels": {"app": "nginx"}, "matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
    let place = "spec.selector.matchExpressions[0]";
    check(
        "/spec/selector",
        expression("Foo", &[]),
        &[
            &format!("{place}.operator: Invalid value: \"Foo\": not a valid selector operator"),
            "spec.selector: Invalid value: {",
        ],
    );
    check(
        "/spec/selector",
        expression("In", &[]),
        &[&format!("{place}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'")],
    );
    check(
        "/spec/selector",
        expression("Exists", &["a"]),
        &[&format!("{place}.values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'")],
    );
    check("/spec/selector", expression("In", &["nginx"]), &[]);
    check("/spec/selector", expression("NotIn", &["nginx"]), &[mismatch]);
}

#[test]
fn numbers_are_not_negative() {
    for (pointer, field) in [
        ("/spec/replicas", "spec.replicas"),
        ("/spec/minReadySeconds", "spec.minReadySeconds"),
        ("/spec/ordinals", "spec.ordinals.start"),
        ("/spec/updateStrategy", "spec.updateStrategy.rollingUpdate.partition"),
    ] {
        let to = match pointer {
            "/spec/ordinals" => json!({"start": -1}),
            "/spec/updateStrategy" => json!({"rollingUpdate": {"partition": -1}}),
            _ => json!(-1),
        };
        check(pointer, to, &[&format!("{field}: Invalid value: -1: must be greater than or equal to 0")]);
    }
    check(
        "/spec/ordinals",
        json!({"start": 2_147_483_646}),
        &["spec.ordinals.start: Invalid value: 2147483646: must be less than or equal to 2147483645 for 3 replicas"],
    );
    check("/spec/ordinals", json!({"start": 2_147_483_645}), &[]);
    check("/spec/replicas", json!(10_000), &[]);
    check(
        "/spec/replicas",
        json!(10_001),
        &["spec.replicas: Invalid value: 10001: must be less than or equal to 10000"],
    );
}

#[test]
fn policies_and_strategies_are_known() {
    check(
        "/spec/podManagementPolicy",
        json!("Fast"),
        &["spec.podManagementPolicy: Invalid value: \"Fast\": must be 'OrderedReady' or 'Parallel'"],
    );
    check(
        "/spec/updateStrategy",
        json!({"type": "Now"}),
        &["spec.updateStrategy: Invalid value: {\"type\":\"Now\"}: must be 'RollingUpdate' or 'OnDelete'"],
    );
    check(
        "/spec/updateStrategy",
        json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}}),
        &[
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
        ],
    );
    check(
        "/spec/persistentVolumeClaimRetentionPolicy",
        json!({"whenDeleted": "Keep"}),
        &[
            "spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: \"Keep\": supported values: \"Retain\", \"Delete\"",
        ],
    );
    check(
        "/spec/persistentVolumeClaimRetentionPolicy",
        json!({"whenScaled": "Keep"}),
        &[
            "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": supported values: \"Retain\", \"Delete\"",
        ],
    );
}

#[test]
fn max_unavailable_is_a_positive_number_or_share() {
    let field = "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value:";
    let check = |value: Value, expected: &[String]| {
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        super::rules::check("/spec/updateStrategy", json!({"rollingUpdate": {"maxUnavailable": value}}), &expected);
    };
    check(json!(0), &[format!("{field} 0: cannot be 0")]);
    check(json!("0%"), &[format!("{field} \"0%\": cannot be 0")]);
    check(json!("101%"), &[format!("{field} \"101%\": must not be greater than 100%")]);
    check(json!(-1), &[format!("{field} -1: must be greater than or equal to 0")]);
    for text in ["abc", "2", "1.5%", "-5%", "%"] {
        check(json!(text), &[format!("{field} \"{text}\": {PERCENT}"), format!("{field} \"{text}\": cannot be 0")]);
    }
    for good in [json!(1), json!(7), json!("1%"), json!("100%")] {
        check(good, &[]);
    }
}

#[test]
fn service_names_are_labels_or_empty() {
    check("/spec/serviceName", json!("a.b"), &["spec.serviceName: Invalid value: \"a.b\": must not contain dots"]);
    check("/spec/serviceName", json!("Nginx"), &[&format!("spec.serviceName: Invalid value: \"Nginx\": {LABEL}")]);
    check("/spec/serviceName", json!(""), &[]);
    check("/spec/serviceName", json!("x".repeat(63)), &[]);
}

#[test]
fn templates_are_pods_that_restart_always() {
    let pod = "/spec/template/spec";
    let with = |name: &str| format!("{pod}/{name}");
    check(
        &with("restartPolicy"),
        json!("Never"),
        &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
    );
    check(
        &with("activeDeadlineSeconds"),
        json!(5),
        &["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported"],
    );
    check(
        &with("ephemeralContainers"),
        json!([{"name": "x", "image": "i"}]),
        &["spec.template.spec.ephemeralContainers: Forbidden"],
    );
    check(&with("containers"), json!([]), &["spec.template.spec.containers: Required value"]);
    check(
        &with("containers"),
        json!([{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]),
        &["spec.template.spec.containers[1].name: Duplicate value: \"a\""],
    );
    check(&with("containers"), json!([{"name": "a"}]), &["spec.template.spec.containers[0].image: Required value"]);
    check(&with("containers"), json!([{"image": "i"}]), &["spec.template.spec.containers[0].name: Required value"]);
    check(
        &with("containers/0/volumeMounts/0/name"),
        json!("zzz"),
        &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"zzz\""],
    );
    check(&with("terminationGracePeriodSeconds"), json!(0), &[]);
    check(
        "/spec/template/metadata/labels/tier",
        json!("a b"),
        &[
            "spec.template.labels: Invalid value: \"a b\": a valid label must be an empty string or consist of alphanumeric \
         characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
         'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ],
    );
}

#[test]
fn claim_templates_are_claims() {
    let spec = "/spec/volumeClaimTemplates/0/spec";
    let field = "spec.volumeClaimTemplates[0].spec";
    let supported = "\"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"";
    let modes = format!("{spec}/accessModes");
    check(&modes, json!([]), &[&format!("{field}.accessModes: Required value: at least 1 access mode is required")]);
    check(
        &modes,
        json!(["RWO"]),
        &[&format!("{field}.accessModes: Unsupported value: \"RWO\": supported values: {supported}")],
    );
    check(
        &modes,
        json!(["ReadWriteOncePod", "ReadWriteOnce"]),
        &[&format!("{field}.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes")],
    );
    check(
        &format!("{spec}/resources"),
        Value::Null,
        &[&format!("{field}.resources[storage]: Required value; {field}.resources.requests.storage is missing")],
    );
    let size = format!("{spec}/resources/requests/storage");
    check(
        &size,
        json!("0"),
        &[&format!("{field}.resources[storage]: Invalid value: \"0\": must be greater than zero")],
    );
    check(
        &size,
        json!("1GB"),
        &[&format!("{field}.resources.requests.storage: \"1GB\" is not a quantity; did you mean 1Gi or 1G?")],
    );
    check(
        &size,
        json!("-1Gi"),
        &[&format!("{field}.resources.requests.storage: Invalid value: \"-1Gi\": must be greater than or equal to 0")],
    );
    check(
        "/spec/volumeClaimTemplates/0/metadata",
        Value::Null,
        &[
            "spec.volumeClaimTemplates[0].metadata.name: Required value",
            "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"www\"",
        ],
    );
}

#[test]
fn suspicious_sets_are_admitted_with_warnings() {
    let warned = |pointer: &str, to: Value, part: &str| {
        let mut object = standard();
        edit(&mut object, pointer, to);
        let (_, warnings) = admit(object).unwrap_or_else(|violations| panic!("{pointer}: {:?}", lines(&violations)));
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{pointer}: {part:?} is not in {warnings:?}");
    };
    assert_eq!(admit(standard()).expect("admitted").1, [""; 0]);
    let claim = standard()["spec"]["volumeClaimTemplates"][0].clone();
    let mut other = claim.clone();
    edit(&mut other, "/metadata/name", json!("other"));
    warned("/spec/volumeClaimTemplates/-", other, "no container mounts \"other\"");
    warned("/spec/volumeClaimTemplates/-", claim, "\"www\" is there twice");
    warned("/spec/template/spec/volumes", json!([{"name": "www", "emptyDir": {}}]), "takes the place of a volume");
    warned("/spec/template/spec/hostname", json!("x"), "is overwritten in every pod");
    warned("/spec/template/spec/subdomain", json!("x"), "is overwritten in every pod");
    warned("/spec/template/spec/terminationGracePeriodSeconds", json!(0), "two of one name may write at a time");
    warned("/metadata/name", json!("x".repeat(53)), "metadata.name: has more than 52 characters");
    warned(
        "/spec/updateStrategy",
        json!({"rollingUpdate": {"partition": 4}}),
        "is greater than replicas: no pod is updated",
    );
    warned("/spec/updateStrategy", json!({"rollingUpdate": {"maxUnavailable": 4}}), "all pods may be down at once");
    warned(
        "/spec/revisionHistoryLimit",
        json!(-1),
        "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended",
    );
    warned("/spec/serviceName", json!(""), "the pods get no stable DNS names");
    warned(
        "/spec/volumeClaimTemplates/0/spec/resources/requests/storage",
        json!("1.5"),
        "1500m is rounded up to 2 bytes",
    );
    let mut bare = standard();
    edit(&mut bare, "/spec/volumeClaimTemplates", Value::Null);
    edit(&mut bare, "/spec/template/spec/containers/0/volumeMounts", Value::Null);
    assert!(admit(bare).expect("admitted").1[0].contains("what the pods write is lost with them"));
}

/// One object, and the start of each violation.
fn check_object(object: Value, expected: &[&str]) {
    let found = refusals(object.clone());
    let same =
        found.len() == expected.len() && found.iter().zip(expected).all(|(found, start)| found.starts_with(start));
    assert!(same, "{object}:\nexpected {expected:#?}\nfound {found:#?}");
}

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

#[test]
fn pods_follow_the_pod_rules() {
    let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
    let container = |extra: Value| {
        let mut container = json!({"name": "a", "image": "i"});
        container.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        pod(json!({"containers": [container]}))
    };
    let tcp = json!({"port": 80});
    for (object, expected) in [
        (
            container(json!({"ports": [{"containerPort": 0}]})),
            &["spec.containers[0].ports[0].containerPort: Required value"][..],
        ),
        (
            container(json!({"ports": [{"containerPort": 70_000}]})),
            &[
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        (container(json!({"ports": [{"containerPort": 1, "name": "a-name-of-16-ch"}]})), &[]),
        (
            container(json!({"ports": [{"containerPort": 1, "name": "a-name-of-16-chs"}]})),
            &["spec.containers[0].ports[0].name: Invalid value"],
        ),
        (container(json!({"env": [{"name": "A=B"}]})), &["spec.containers[0].env[0].name: Invalid value"]),
        (
            container(
                json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            ),
            &[
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ],
        ),
        (
            container(
                json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}}]}),
            ),
            &[],
        ),
        (
            container(json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.hostname"}}}]})),
            &["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value"],
        ),
        (
            container(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}})),
            &[
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1500m",
            ],
        ),
        (
            container(json!({"readinessProbe": {}})),
            &["spec.containers[0].readinessProbe: Required value: must specify a handler type"],
        ),
        (
            container(json!({"livenessProbe": {"tcpSocket": tcp, "successThreshold": 2}})),
            &["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            container(json!({"readinessProbe": {"tcpSocket": tcp, "terminationGracePeriodSeconds": 2}})),
            &[
                "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 2: must not be set for readinessProbes",
            ],
        ),
        (
            container(json!({"livenessProbe": {"tcpSocket": tcp, "httpGet": {"port": 1}}})),
            &["spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            container(json!({"livenessProbe": {"tcpSocket": tcp, "periodSeconds": -1}})),
            &["spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            pod(
                json!({"containers": [{"name": "a", "image": "i"}], "initContainers": [{"name": "b", "image": "i", "livenessProbe": {"tcpSocket": tcp}}]}),
            ),
            &["spec.initContainers[0].livenessProbe: Forbidden"],
        ),
        (
            pod(json!({"containers": [{"name": "a", "image": "i"}], "initContainers": [{"name": "a", "image": "i"}]})),
            &["spec.containers[0].name: Duplicate value: \"a\""],
        ),
        (
            pod(
                json!({"containers": [{"name": "a", "image": "i"}], "volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]}),
            ),
            &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            pod(
                json!({"containers": [{"name": "a", "image": "i"}], "volumes": [{"name": "v", "persistentVolumeClaim": {}}]}),
            ),
            &["spec.volumes[0].persistentVolumeClaim.claimName: Required value"],
        ),
        (
            container(json!({"volumeMounts": [{"name": "v", "mountPath": "/x"}]})),
            &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
        ),
        (
            pod(
                json!({"containers": [{"name": "a", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "../y"}, {"name": "v", "mountPath": "/x"}]}], "volumes": [{"name": "v"}]}),
            ),
            &[
                "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"../y\": must not contain '..'",
                "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/x\": must be unique",
            ],
        ),
        (
            pod(json!({"containers": [{"name": "a", "image": "i"}], "hostname": "A"})),
            &["spec.hostname: Invalid value: \"A\": a lowercase"],
        ),
        (
            pod(json!({"containers": [{"name": "a", "image": "i"}], "dnsPolicy": "None"})),
            &["spec.dnsConfig.nameservers: Required value"],
        ),
    ] {
        check_object(object, expected);
    }
}

#[test]
fn what_an_object_is_must_be_known() {
    let mut own = standard();
    edit(&mut own, "/apiVersion", json!("setkeeper.dev/v1"));
    assert_eq!(admitted(own)["apiVersion"], "setkeeper.dev/v1");
    check(
        "/apiVersion",
        json!("apps/v1beta1"),
        &[
            "apiVersion: Unsupported value: \"apps/v1beta1\": supported values: \"apps/v1\", \"setkeeper.dev/v1\"; write apiVersion: apps/v1",
        ],
    );
    check("/apiVersion", Value::Null, &["apiVersion: Required value"]);
    check("/kind", Value::Null, &["kind: Required value"]);
    check("/kind", json!(3), &["kind: must be a string, not 3"]);
    check("/kind", json!("statefulset"), &["kind: Unsupported value: \"statefulset\""]);
    check("/kind", json!("Node"), &["kind: Unsupported value: \"Node\""]);
    check_object(json!([1]), &[": must be an object with apiVersion, kind and metadata"]);
}
