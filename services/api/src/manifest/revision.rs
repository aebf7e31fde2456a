//! The bytes that a template's revision is made of (StatefulSet rules, section 5.1).

use serde_json::{Map, Value, json};

use super::defaults::default_template;
use super::normalize::normalize;
use super::violation::Report;

/// The canonical bytes of `{"spec":{"template":T}}`, T being the template and `"$patch":"replace"`.
///
/// Keys are sorted bytewise; there are no spaces; `<`, `>`, `&` and the two line separators of Unicode are escaped.
/// Equal bytes mean that no pod has to be replaced.
#[must_use]
pub fn template_revision_data(template: &Value) -> String {
    let mut template = template.as_object().cloned().unwrap_or_default();
    template.insert("$patch".to_owned(), json!("replace"));
    let mut data = String::new();
    write(&json!({"spec": {"template": template}}), &mut data);
    data
}

/// The template that a revision holds. None if `data` is no revision of a template.
#[must_use]
pub fn template_from_revision(data: &str) -> Option<Value> {
    let mut data: Value = serde_json::from_str(data).ok()?;
    let mut template: Map<String, Value> = match data.pointer_mut("/spec/template")?.take() {
        Value::Object(template) => template,
        _ => return None,
    };
    template.remove("$patch");
    Some(Value::Object(template))
}

/// The template as it would be stored today. A revision that was stored before a default was added gives the same
/// bytes as the present template after this, and is no reason to replace pods (StatefulSet rules, section 5.2).
#[must_use]
pub fn redefault_template(mut template: Value) -> Value {
    normalize(&mut template, "", &mut Report::default());
    default_template(&mut template);
    template
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| key.as_bytes());
            out.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::String(text) => write_text(text, out),
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{0}'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use domain::revision_name;

    use super::*;

    /// The published vector: the template of the nginx example, as bytes and as names.
    const NGINX: &str = r#"{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"nginx"}},"spec":{"containers":[{"image":"registry.k8s.io/nginx-slim:0.24","imagePullPolicy":"IfNotPresent","name":"nginx","ports":[{"containerPort":80,"name":"web","protocol":"TCP"}],"resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","volumeMounts":[{"mountPath":"/usr/share/nginx/html","name":"www"}]}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":10}}}}"#;

    fn nginx() -> Value {
        redefault_template(json!({
            "metadata": {"labels": {"app": "nginx"}},
            "spec": {
                "terminationGracePeriodSeconds": 10,
                "containers": [{
                    "name": "nginx",
                    "image": "registry.k8s.io/nginx-slim:0.24",
                    "ports": [{"containerPort": 80, "name": "web"}],
                    "volumeMounts": [{"name": "www", "mountPath": "/usr/share/nginx/html"}],
                }],
            },
        }))
    }

    #[test]
    fn the_published_vector_comes_out() {
        let data = template_revision_data(&nginx());
        assert_eq!(data, NGINX);
        for (collisions, name) in [(0, "web-6cdc958bf"), (1, "web-6cdc958bd"), (2, "web-6cdc958c5")] {
            assert_eq!(revision_name("web", &data, collisions).to_string(), name);
        }
        assert_eq!(template_from_revision(&data), Some(nginx()));
        assert_eq!(template_revision_data(&json!({})), r#"{"spec":{"template":{"$patch":"replace"}}}"#);
    }

    #[test]
    fn spelling_does_not_change_the_bytes_and_meaning_does() {
        let bytes = |edit: fn(&mut Value)| {
            let mut template = nginx();
            edit(&mut template);
            template_revision_data(&redefault_template(template))
        };
        let same: [fn(&mut Value); 5] = [
            |t| t["spec"]["hostNetwork"] = json!(false),
            |t| t["spec"]["restartPolicy"] = json!("Always"),
            |t| t["spec"]["containers"][0]["command"] = json!([]),
            |t| t["metadata"]["creationTimestamp"] = Value::Null,
            |t| t["spec"]["securityContext"] = Value::Null,
        ];
        for edit in same {
            assert_eq!(bytes(edit), NGINX);
        }
        let cpu = |text: &'static str| {
            let mut template = nginx();
            template["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": text}});
            template_revision_data(&redefault_template(template))
        };
        assert_eq!(cpu("1000m"), cpu("1"));
        assert_eq!(cpu("0.5"), cpu("500m"));
        assert_ne!(cpu("1"), cpu("2"));
        assert_ne!(bytes(|t| t["metadata"]["annotations"] = json!({"a": "b"})), NGINX);
    }

    #[test]
    fn text_is_escaped_as_go_escapes_it() {
        let data = template_revision_data(&json!({"a": "<&>\u{2028}\n\u{1}\u{7f}é\"\\"}));
        assert!(data.contains(r#""a":"\u003c\u0026\u003e\u2028\n\u0001"#), "{data}");
        assert!(data.ends_with("\u{7f}é\\\"\\\\\"}}}"), "{data}");
        assert_eq!(template_from_revision(&data).unwrap()["a"], "<&>\u{2028}\n\u{1}\u{7f}é\"\\");
        for bad in ["", "{}", "[]", r#"{"spec":{"template":3}}"#] {
            assert_eq!(template_from_revision(bad), None);
        }
    }
}
