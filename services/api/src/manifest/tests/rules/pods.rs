//! Pods and their containers.

use super::*;

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
}

/// A pod whose only container has `extra` members.
fn container(extra: Value) -> Value {
    let mut container = json!({"name": "a", "image": "i"});
    container.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    pod(json!({"containers": [container]}))
}

#[test]
fn containers_follow_the_pod_rules() {
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
            container(json!({"volumeMounts": [{"name": "v", "mountPath": "/x"}]})),
            &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
        ),
    ] {
        check_object(object, expected);
    }
}

#[test]
fn probes_follow_the_pod_rules() {
    let tcp = json!({"port": 80});
    for (object, expected) in [
        (
            container(json!({"readinessProbe": {}})),
            &["spec.containers[0].readinessProbe: Required value: must specify a handler type"][..],
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
    ] {
        check_object(object, expected);
    }
}

#[test]
fn pods_follow_the_pod_rules() {
    let tcp = json!({"port": 80});
    for (object, expected) in [
        (
            pod(
                json!({"containers": [{"name": "a", "image": "i"}], "initContainers": [{"name": "b", "image": "i", "livenessProbe": {"tcpSocket": tcp}}]}),
            ),
            &["spec.initContainers[0].livenessProbe: Forbidden"][..],
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
