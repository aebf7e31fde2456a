//! Rules as tables: one edit of a good object per line, and what is said about it.

use serde_json::{Value, json};

use super::*;

mod bounds;
mod defaulting;
mod files;
mod own;
mod rules;
mod update;

/// The set of the rules' examples: three replicas, one claim template.
fn standard() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "serviceName": "nginx",
            "selector": {"matchLabels": {"app": "nginx"}},
            "template": {
                "metadata": {"labels": {"app": "nginx"}},
                "spec": {"containers": [
                    {"name": "a", "image": "img:1", "volumeMounts": [{"name": "www", "mountPath": "/data"}]},
                ]},
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "www"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }],
        },
    })
}

/// Sets what is at `pointer`, or removes it if `to` is null.
fn edit(object: &mut Value, pointer: &str, to: Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    let name = name.replace("~1", "/");
    match object.pointer_mut(parent).unwrap_or_else(|| panic!("{parent} is there")) {
        Value::Object(members) if to.is_null() => drop(members.remove(&name)),
        Value::Object(members) => drop(members.insert(name, to)),
        Value::Array(items) if name == "-" => items.push(to),
        Value::Array(items) => items[name.parse::<usize>().expect("an index")] = to,
        other => panic!("{parent} holds {other}"),
    }
}

fn admit(object: Value) -> Result<(Manifest, Vec<String>), Vec<Violation>> {
    let document = parse_values(vec![object]).expect("within bounds").remove(0);
    admit_create(document, "default", Switches::SETKEEPER)
}

fn admitted(object: Value) -> Value {
    match admit(object) {
        Ok((manifest, _)) => manifest.value,
        Err(violations) => panic!("refused: {}", lines(&violations).join("; ")),
    }
}

/// Each violation as `field: message; hint`.
fn lines(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description())).collect()
}

fn refusals(object: Value) -> Vec<String> {
    admit(object).map_or_else(|violations| lines(&violations), |_| Vec::new())
}

/// Checks a text and returns every violation as one line.
fn complaints(text: &str) -> Vec<String> {
    let result = parse(text).and_then(|documents| admit_all(documents, "default", Switches::SETKEEPER));
    result.map_or_else(|violations| violations.iter().map(ToString::to_string).collect(), |_| Vec::new())
}
