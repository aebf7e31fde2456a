//! Manifests as people write them, and the mistakes that they make.

use std::path::{Path, PathBuf};

use super::*;

fn folder(path: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("a text"))).collect()
}

#[test]
fn every_example_is_admitted_and_stays_the_same_when_read_again() {
    let files = folder("../../deploy/examples");
    assert!(files.len() >= 10, "the examples are where they are expected");
    for (path, text) in files {
        let parsed = match parse(&text).and_then(|documents| admit_all(documents, "default", Switches::SETKEEPER)) {
            Ok(parsed) => parsed,
            Err(violations) => panic!("{}: {}", path.display(), lines(&violations).join("\n")),
        };
        for manifest in parsed.objects {
            let again = admitted(manifest.value.clone());
            assert_eq!(again, manifest.value, "{}", path.display());
        }
    }
}

#[test]
fn s_175_every_bad_example_is_refused_with_what_is_wrong() {
    let expected = [
        (
            "misplaced-resources.yaml",
            &[
                "line 8",
                "unknown top-level field resources",
                "spec.resources.requests.storage is missing",
                "indent it under spec",
            ][..],
        ),
        (
            "second-document-invalid.yaml",
            &[
                "line 18",
                "StatefulSet \"half\"",
                "spec.volumeClaimTemplates[0].spec.resources.requests.storage",
                "did you mean 1Gi or 1G?",
            ],
        ),
        (
            "selector-mismatch.yaml",
            &[
                "spec.template.metadata.labels",
                "{\"app\":\"other\"}",
                "`selector` does not match template `labels`",
                "{\"matchLabels\":{\"app\":\"nginx\"}}",
            ],
        ),
        ("tab.yaml", &["line 9", "YAML forbids tabs"]),
        ("unknown-field.yaml", &["line 7", "spec.replica", "did you mean spec.replicas?"]),
    ];
    let files = folder("tests/bad");
    assert_eq!(files.len(), expected.len());
    for (path, text) in files {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let (_, parts) = expected.iter().find(|(file, _)| *file == name).expect("every file is expected");
        let complaints = complaints(&text);
        for part in *parts {
            assert!(complaints[0].contains(part), "{name}: {part:?} is not in {complaints:?}");
        }
    }
}

#[test]
fn s_175_misplaced_fields_are_told_where_they_belong() {
    let template = |claim: &str| {
        format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: web}}\nspec:\n  serviceName: nginx\n  selector: \
             {{matchLabels: {{app: a}}}}\n  template:\n    metadata: {{labels: {{app: a}}}}\n    spec: {{containers: \
             [{{name: a, image: i}}]}}\n  volumeClaimTemplates:\n{claim}"
        )
    };
    let spec = "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}";
    for (text, line, part) in [
        (
            template(&format!("  - metadata:\n    name: www\n    {spec}\n")),
            12,
            "did you mean to indent it under spec.volumeClaimTemplates[0].metadata?",
        ),
        (
            template(&format!("  - metadata: {{name: www}}\n  {spec}\n")),
            12,
            "did you mean to indent it under spec.volumeClaimTemplates[0]?",
        ),
        (
            template(&format!("  - metadata: {{name: www}}\n    {spec}\n  replics: 3\n")),
            13,
            "did you mean spec.replicas?",
        ),
    ] {
        let complaints = complaints(&text);
        let found = complaints
            .iter()
            .any(|complaint| complaint.contains(part) && complaint.starts_with(&format!("line {line}:")));
        assert!(found, "{part:?} in line {line} is not in {complaints:#?}");
    }
    let mut object = standard();
    edit(&mut object, "/spec/template/spec/minReadySeconds", json!(3));
    assert_eq!(
        refusals(object),
        [
            "spec.template.spec.minReadySeconds: unknown field \"spec.template.spec.minReadySeconds\"; did you mean spec.minReadySeconds?"
        ]
    );
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"volumeClaimTemplates": []}});
    assert!(refusals(deployment)[0].contains("only StatefulSets have claim templates"));
}

#[test]
fn all_mistakes_of_all_documents_are_reported_with_their_lines() {
    let text = "\
apiVersion: v1
kind: Service
metadata: {name: A}
spec: {clusterIP: None}
---
# nothing here
---
apiVersion: v1
kind: Pod
metadata:
  name: p
spec:
  containers:
  - name: a
    image: 7
    ports:
    - containerPort: '80'
    imagee: x
  restartPolicy: Sometimes
";
    let found = complaints(text);
    for (line, part) in [
        (3, "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 label"),
        (15, "spec.containers[0].image: must be a string, not integer `7`; write it in quotes"),
        (
            17,
            "spec.containers[0].ports[0].containerPort: must be an integer, not string \"80\"; write it without quotes",
        ),
        (
            18,
            "spec.containers[0].imagee: unknown field \"spec.containers[0].imagee\"; did you mean spec.containers[0].image?",
        ),
        (19, "spec.restartPolicy: Unsupported value: \"Sometimes\""),
    ] {
        let expected =
            |complaint: &&String| complaint.contains(part) && complaint.starts_with(&format!("line {line}:"));
        assert!(found.iter().any(|complaint| expected(&complaint)), "line {line}: {part:?} is not in {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn yaml_is_read_as_kubectl_reads_it() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: \"0644\"\n  <<: &x {b: t}\n";
    let parsed = parse(text).and_then(|documents| admit_all(documents, "ns", Switches::SETKEEPER)).expect("admitted");
    assert_eq!(parsed.objects[0].value["data"], json!({"a": "0644", "b": "t"}));
    assert_eq!(parsed.objects[0].namespace(), "ns");
    let mode = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: i}], volumes: [{name: v, secret: {secretName: s, defaultMode: 0644}}]}\n";
    let parsed = parse(mode).and_then(|documents| admit_all(documents, "ns", Switches::SETKEEPER)).expect("admitted");
    assert_eq!(parsed.objects[0].value["spec"]["volumes"][0]["secret"]["defaultMode"], 420);
    assert!(
        complaints("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: yes}\n")[0]
            .contains("data.a: must be a string")
    );
    assert!(complaints("kind: A\nkind: B\n")[0].starts_with("line 2: cannot be read as YAML: duplicate"));
    assert!(complaints("{\"kind\": \"A\", \"kind\": \"B\"}")[0].contains("duplicate field \"kind\""));
}

#[test]
fn json_and_lists_are_read_as_well() {
    let items = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "B"}},
    ]});
    let text = serde_json::to_string_pretty(&items).expect("JSON");
    let found = complaints(&text.replace("  ", "\t"));
    assert_eq!(found.len(), 1);
    assert!(complaints(&text)[0].starts_with("line 15: Namespace \"B\": metadata.name"), "{:?}", complaints(&text));
    let two = format!("{text}\n{text}").replace("\"B\"", "\"b\"");
    let parsed =
        parse(&two).and_then(|documents| admit_all(documents, "default", Switches::SETKEEPER)).expect("admitted");
    assert_eq!(parsed.objects.len(), 2, "the same twice is the same once");
    assert_eq!(parsed.objects[0].value["metadata"]["labels"]["kubernetes.io/metadata.name"], "a");
}

#[test]
fn one_name_for_two_different_objects_is_refused() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '2'}\n";
    assert_eq!(
        complaints(text),
        [
            "line 6: ConfigMap \"c\": metadata.name: Duplicate value: \"c\"; the object in line 1 has this name and differs"
        ]
    );
}

#[test]
fn tabs_that_yaml_allows_are_allowed() {
    for text in [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  script: |\n    if true; then\n    \techo a: b\n    fi\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\t{name: c}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: \"x\n\n    \ty: z\"\n",
    ] {
        assert_eq!(complaints(text), [""; 0], "{text}");
    }
    for text in ["kind: A\nmetadata:\n\tname: x\n", "spec:\n  a: 1\n\t- b\n"] {
        assert!(complaints(text)[0].contains("YAML forbids tabs: line"), "{:?}", complaints(text));
    }
}
