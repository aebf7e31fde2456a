//! The revision of a template is pinned: its name and its bytes.
//!
//! A set whose template gives other bytes than before gets a new revision, and all its pods are replaced. So the same
//! template must give the same bytes however it is written, and in every later build. `tests/revisions/` holds, for
//! each example, the name and the bytes of each of its sets.

use std::path::{Path, PathBuf};

use api::manifest::{Kind, admit_all, parse, redefault_template, template_from_revision, template_revision_data};
use serde_json::Value;

/// One set of a manifest.
#[derive(Debug, PartialEq, Eq)]
struct Pinned {
    name: String,
    data: String,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The examples, by file name.
fn examples() -> Vec<(String, String)> {
    let files = std::fs::read_dir(folder("../../deploy/examples")).expect("the examples are there");
    let paths = files.map(|file| file.expect("readable").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    paths.sort();
    let named = paths.into_iter().map(|path| {
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (stem, std::fs::read_to_string(&path).expect("readable"))
    });
    named.collect()
}

/// The sets of a manifest as they would be stored.
fn sets(text: &str) -> Vec<Value> {
    let documents = parse(text).expect("it can be read");
    let objects = admit_all(documents, "default", domain::Switches::SETKEEPER).expect("it is valid").objects;
    objects.into_iter().filter(|object| object.kind == Kind::StatefulSet).map(|object| object.value).collect()
}

fn pinned(set: &Value) -> Pinned {
    let data = template_revision_data(&set["spec"]["template"]);
    let name = set["metadata"]["name"].as_str().expect("a name");
    Pinned { name: domain::revision_name(name, &data, 0).to_string(), data }
}

fn all(text: &str) -> Vec<Pinned> {
    sets(text).iter().map(pinned).collect()
}

#[test]
fn revisions_are_those_of_every_earlier_build() {
    let (mut pinned_sets, mut changed) = (0, Vec::new());
    for (example, text) in examples() {
        let found = all(&text);
        if found.is_empty() {
            continue;
        }
        pinned_sets += found.len();
        let now: String = found.iter().map(|Pinned { name, data }| format!("{name}\n{data}\n")).collect();
        let golden = folder("tests/revisions").join(&example).with_extension("txt");
        let before = std::fs::read_to_string(&golden).unwrap_or_default();
        if before != now {
            let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&example).with_extension("txt");
            std::fs::write(&fresh, &now).expect("the build has a folder for temporary files");
            let (golden, fresh) = (golden.display(), fresh.display());
            changed.push(format!("{example}: cp {fresh} {golden}\nbefore:\n{before}\nnow:\n{now}"));
        }
    }
    assert!(
        changed.is_empty(),
        "The revisions of examples are not those of the files in tests/revisions. Where an example was changed, copy \
         the file as said below. Where it was not, this build would replace every pod of every set: find what changed \
         the bytes (a default, the order of keys, the form of a number), and change it back.\n{}",
        changed.join("\n")
    );
    assert!(pinned_sets >= 10, "only {pinned_sets} sets are pinned");
}

/// As JSON, with the members of each object in the opposite order.
fn backwards(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| b.cmp(a));
            out.push('{');
            for (place, (key, member)) in members.into_iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                out.push_str(&format!("{}: ", Value::from(key.as_str())));
                backwards(member, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                out.push_str(if place > 0 { ", " } else { "" });
                backwards(item, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[test]
fn writing_a_template_otherwise_changes_nothing() {
    for (example, text) in examples() {
        for set in sets(&text) {
            let expected = pinned(&set);
            // As it is stored, every default written out, as JSON: in one order of keys and in the other.
            let mut turned = String::new();
            backwards(&set, &mut turned);
            for other in [set.to_string(), turned] {
                assert_eq!(all(&other), [pinned(&set)], "{example}: read again, it gives another revision");
            }
            // As it comes back from a stored revision.
            let template = template_from_revision(&expected.data).expect("a template");
            assert_eq!(template_revision_data(&template), expected.data, "{example}: a stored revision changes");
            let redefaulted = template_revision_data(&redefault_template(template));
            assert_eq!(redefaulted, expected.data, "{example}: defaulting a stored revision anew changes it");
        }
    }
}

/// A set of one container; `container` and `pod` are members of those, in YAML's flow form.
fn written(container: &str, pod: &str) -> Vec<Pinned> {
    let template = format!(
        "{{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: a, image: 'a:1'{container}}}]{pod}}}}}"
    );
    all(&format!(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: web}}\n\
         spec: {{selector: {{matchLabels: {{app: web}}}}, template: {template}}}\n"
    ))
}

#[test]
fn spellings_of_the_same_are_one_revision() {
    let requests =
        |cpu: &str, memory: &str| written(&format!(", resources: {{requests: {{cpu: {cpu}, memory: {memory}}}}}"), "");
    let canonical = requests("\"1\"", "\"1Gi\"");
    for (cpu, memory) in [("1", "1Gi"), ("1000m", "1024Mi"), ("1.0", "1048576Ki"), ("\"1.000\"", "1Gi")] {
        assert_eq!(requests(cpu, memory), canonical, "cpu {cpu}, memory {memory}");
    }
    assert_eq!(requests("0.5", "1Gi"), requests("500m", "1Gi"));
    assert_ne!(requests("500m", "1Gi"), canonical);

    let defaults = ", imagePullPolicy: IfNotPresent, terminationMessagePath: /dev/termination-log, \
                    terminationMessagePolicy: File, resources: {}";
    let of_pod = ", restartPolicy: Always, dnsPolicy: ClusterFirst, schedulerName: default-scheduler, \
                  securityContext: {}, terminationGracePeriodSeconds: 30";
    let short = written("", "");
    assert_eq!(written(defaults, of_pod), short, "defaults that are written out");
    assert_ne!(written("", ", terminationGracePeriodSeconds: 31"), short);
    assert_ne!(written(", imagePullPolicy: Always", ""), short);
}
