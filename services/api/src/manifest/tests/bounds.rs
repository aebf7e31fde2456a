//! Input from anybody: refused in bounded time and memory, and never a panic.

use proptest::prelude::*;

use super::*;

#[test]
fn bombs_are_refused() {
    let deep_flow = "[".repeat(100_000);
    let deep_json = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let deep_block: String = (0..3_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        laughs.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(", ")));
    }
    let documents = "---\na: 1\n".repeat(DOCUMENTS_MAX + 1);
    let nodes = "- a\n".repeat(600_000);
    let bytes = " ".repeat(MANIFEST_BYTES_MAX + 1);
    for (what, text) in [
        ("deep flow", deep_flow),
        ("deep JSON", deep_json),
        ("deep block", deep_block),
        ("aliases", laughs),
        ("documents", documents),
        ("nodes", nodes),
        ("bytes", bytes),
    ] {
        let violations = parse(&text).err().unwrap_or_else(|| panic!("{what} were read"));
        assert_eq!(violations[0].kind, ViolationKind::Syntax, "{what}");
        assert!(violations[0].message.len() < 1_000, "{what}: {}", violations[0].message);
    }
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    assert!(parse_values(vec![deep]).is_err());
}

#[test]
fn two_thousand_documents_are_read() {
    let one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cNUMBER}\ndata: {a: b}\n---\n";
    let text: String = (0..DOCUMENTS_MAX).map(|number| one.replace("NUMBER", &number.to_string())).collect();
    let parsed =
        parse(&text).and_then(|documents| admit_all(documents, "default", Switches::SETKEEPER)).expect("admitted");
    assert_eq!(parsed.objects.len(), DOCUMENTS_MAX);
    // Lines are looked up once for all of them.
    let found = complaints(&text.replace("\ndata:", "\ndota:"));
    assert_eq!(found.len(), DOCUMENTS_MAX);
    assert!(found[1_999].starts_with("line 9999: "), "{}", found[1_999]);
}

#[test]
fn numbers_of_any_size_are_refused_at_their_field() {
    for (replicas, part) in [
        (json!(1_000_000_000), "spec.replicas: Invalid value: 1000000000: must be less than or equal to 10000"),
        (json!(-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (json!(4_294_967_296_u64), "spec.replicas: must be an integer, not integer `4294967296`"),
        (json!(1e300), "spec.replicas: must be an integer"),
        (json!(1.5), "spec.replicas: must be an integer"),
        (json!("3"), "spec.replicas: must be an integer, not string \"3\"; write it without quotes"),
    ] {
        let mut object = standard();
        edit(&mut object, "/spec/replicas", replicas);
        let found = refusals(object);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(part), "{part}: {found:?}");
    }
}

#[test]
fn masses_of_labels_and_fields_give_a_short_answer() {
    let mut object = standard();
    let labels: serde_json::Map<_, _> = (0..50_000).map(|number| (format!("l{number}"), json!(""))).collect();
    edit(&mut object, "/metadata/labels", Value::Object(labels));
    assert_eq!(refusals(object), ["metadata.labels: Invalid value: null: must have at most 1000 items"]);
    let mut object = standard();
    edit(&mut object, "/metadata/labels", json!({"a": "x".repeat(OBJECT_BYTES_MAX)}));
    assert!(refusals(object)[0].contains("Too long: the object has about"));
    let mut object = standard();
    let unknown: serde_json::Map<_, _> = (0..50_000).map(|number| (format!("f{number}"), json!(""))).collect();
    edit(&mut object, "/spec/template/spec/containers/0", Value::Object(unknown));
    assert!(refusals(object).len() <= 100);
}

/// JSON of any form, with the field names of sets among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9%.Gi-]{0,6}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        "[a-z]{1,4}",
        prop::sample::select(vec![
            "metadata",
            "spec",
            "name",
            "labels",
            "replicas",
            "selector",
            "matchLabels",
            "template",
            "containers",
            "image",
            "ports",
            "volumes",
            "resources",
            "requests",
            "storage",
            "updateStrategy",
            "rollingUpdate",
            "partition",
            "status",
            "volumeClaimTemplates",
            "env",
            "valueFrom",
            "type",
            "data",
            "stringData",
            "clusterIP",
            "hostPath",
            "ordinals",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        if let Ok(documents) = parse(&text) {
            let _ = admit_all(documents, "default", Switches::SETKEEPER);
        }
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "[-a-z:{}\\[\\]&*|>#'\" \t\n]{0,120}") {
        if let Ok(documents) = parse(&text) {
            let _ = admit_all(documents, "default", Switches::SETKEEPER);
        }
    }

    #[test]
    fn any_object_is_admitted_or_refused(
        object in any_json(),
        kind in prop::sample::select(vec!["StatefulSet", "Service", "Pod", "PersistentVolume", "PersistentVolumeClaim", "StorageClass", "ConfigMap", "Secret", "Namespace"]),
    ) {
        let mut object = object;
        if let Value::Object(members) = &mut object {
            let kind = Kind::from_text(kind).expect("a kind");
            members.insert("kind".to_owned(), json!(kind.name()));
            members.insert("apiVersion".to_owned(), json!(kind.api_version()));
        }
        if let Ok((manifest, _)) = admit(object) {
            prop_assert_eq!(&admitted(manifest.value.clone()), &manifest.value, "reading again changes nothing");
            let update = admit_update(&manifest.value.clone(), manifest).expect("no change is allowed");
            prop_assert!(!update.changed && !update.spec_changed);
        }
    }

    #[test]
    fn any_part_of_a_set_may_be_anything(part in any_json(), place in prop::sample::select(vec![
        "/metadata", "/metadata/labels", "/spec", "/spec/selector", "/spec/template", "/spec/template/metadata",
        "/spec/template/spec", "/spec/template/spec/containers", "/spec/template/spec/containers/0",
        "/spec/updateStrategy", "/spec/ordinals", "/spec/volumeClaimTemplates", "/spec/volumeClaimTemplates/0/spec",
    ])) {
        let mut object = standard();
        edit(&mut object, place, part);
        let _ = admit(object);
    }
}
