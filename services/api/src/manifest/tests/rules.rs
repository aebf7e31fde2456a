//! What a created object must be.

use super::*;

mod objects;
mod pods;

/// One edit of the standard set, and the start of each violation it gives, in order.
fn check(pointer: &str, to: Value, expected: &[&str]) {
    let mut object = standard();
    edit(&mut object, pointer, to.clone());
    compare(&format!("{pointer} = {to}"), object, expected);
}

/// One object, and the start of each violation.
fn check_object(object: Value, expected: &[&str]) {
    compare(&object.to_string(), object, expected);
}

fn compare(what: &str, object: Value, expected: &[&str]) {
    let found = refusals(object);
    let same =
        found.len() == expected.len() && found.iter().zip(expected).all(|(found, start)| found.starts_with(start));
    assert!(same, "{what}:\nexpected {expected:#?}\nfound {found:#?}");
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
     and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
     regex used for validation is '[0-9]+%')";

#[test]
fn owners_are_wholly_named_and_one_of_them_controls() {
    let owner = |version: &str, kind: &str, name: &str, uid: &str| json!({ "apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true });
    let owners = "/metadata/ownerReferences";
    check(
        owners,
        json!([owner("apps/v1", "StatefulSet", "db", "u"), owner("v1", "Pod", "x", "v")]),
        &["metadata.ownerReferences[1]: Invalid value: "],
    );
    check(owners, json!([owner("apps/v1", "StatefulSet", "db", "u")]), &[]);
    for version in ["", "apps/", "apps/v1/beta"] {
        let refused =
            format!("metadata.ownerReferences[0].apiVersion: Invalid value: {version:?}: version must not be empty");
        check(owners, json!([owner(version, "StatefulSet", "db", "u")]), &[&refused]);
    }
    let empty = |field: &str| format!("metadata.ownerReferences[0].{field}: Invalid value: \"\": must not be empty");
    check(owners, json!([owner("v1", "", "", "")]), &[&empty("kind"), &empty("name"), &empty("uid")]);
    let mut object = standard();
    edit(&mut object, owners, json!([owner("v1", "Event", "e", "u"), owner("v1", "Pod", "x", "v")]));
    let refused = refusals(object);
    assert!(refused[0].ends_with("/v1, Kind=Event is disallowed from being an owner"), "{refused:?}");
    assert!(refused[1].ends_with("in references for Event/e and Pod/x"), "{refused:?}");
}

#[test]
fn s_171_names_are_labels_that_leave_room() {
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
    // Kubernetes takes what it cannot run.
    let mut object = standard();
    edit(&mut object, name, json!("x".repeat(63)));
    let document = parse_values(vec![object]).expect("within bounds").remove(0);
    let (_, warnings) = admit_create(document, "default", Switches::KUBERNETES).expect("admitted");
    assert!(warnings[0].contains("-2, would have more than 63 characters: it cannot be created"), "{warnings:?}");
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
fn s_164_s_165_s_166_selectors_are_there_and_match() {
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
fn s_167_negative_numbers_are_refused_together() {
    let mut object = standard();
    edit(&mut object, "/spec/replicas", json!(-1));
    edit(&mut object, "/spec/minReadySeconds", json!(-1));
    edit(&mut object, "/spec/ordinals", json!({"start": -1}));
    edit(&mut object, "/spec/updateStrategy", json!({"rollingUpdate": {"partition": -1}}));
    let wrong = "Invalid value: -1: must be greater than or equal to 0";
    let fields = ["replicas", "minReadySeconds", "ordinals.start", "updateStrategy.rollingUpdate.partition"];
    assert_eq!(refusals(object), fields.map(|field| format!("spec.{field}: {wrong}")));
}

#[test]
fn s_168_numbers_are_whole_and_without_quotes() {
    check(
        "/spec/replicas",
        json!("3"),
        &["spec.replicas: must be an integer, not string \"3\"; write it without quotes"],
    );
    check("/spec/replicas", json!(1.5), &["spec.replicas: must be an integer, not floating point `1.5`"]);
}

#[test]
fn s_169_policies_and_strategies_are_known() {
    check(
        "/spec/podManagementPolicy",
        json!("Fast"),
        &["spec.podManagementPolicy: Invalid value: \"Fast\": must be 'OrderedReady' or 'Parallel'"],
    );
    check(
        "/spec/updateStrategy",
        json!({"type": "Recreate"}),
        &["spec.updateStrategy: Invalid value: {\"type\":\"Recreate\"}: must be 'RollingUpdate' or 'OnDelete'"],
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
fn s_170_max_unavailable_is_a_positive_number_or_share() {
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
fn s_172_service_names_are_labels_or_empty() {
    check("/spec/serviceName", json!("a.b"), &["spec.serviceName: Invalid value: \"a.b\": must not contain dots"]);
    check("/spec/serviceName", json!("Nginx"), &[&format!("spec.serviceName: Invalid value: \"Nginx\": {LABEL}")]);
    check("/spec/serviceName", json!(""), &[]);
    check("/spec/serviceName", json!("x".repeat(63)), &[]);
}

#[test]
fn s_173_templates_are_pods_that_restart_always() {
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
fn s_174_claim_templates_are_claims() {
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
fn s_182_suspicious_sets_are_admitted_with_warnings() {
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
