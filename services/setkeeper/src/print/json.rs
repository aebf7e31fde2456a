//! Reading objects, and printing them whole.

use api::manifest::Kind;
pub(crate) use api::object::text;
pub(super) use api::object::{list, number};
use serde_json::{Value, json};

/// Name of an object.
#[must_use]
pub(crate) fn name_of(value: &Value) -> &str {
    text(value, "/metadata/name")
}

/// Whether the object belongs to what has this uid.
#[must_use]
pub(crate) fn is_owned(object: &Value, uid: &str) -> bool {
    list(object, "/metadata/ownerReferences").iter().any(|owner| text(owner, "/uid") == uid)
}

/// Ordinal at the end of a pod's name; what has none comes last.
#[must_use]
pub(crate) fn ordinal(name: &str) -> u64 {
    name.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok()).unwrap_or(u64::MAX)
}

/// Kind with its group, as kubectl names it: `statefulset.apps`, `pod`.
#[must_use]
pub(crate) fn resource_name(kind: Kind) -> String {
    let group = kind.api_version().split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("{}{group}", kind.name().to_lowercase())
}

/// `statefulset.apps/web`.
#[must_use]
pub(crate) fn qualified_name(kind: Kind, name: &str) -> String {
    format!("{}/{name}", resource_name(kind))
}

/// One object as it is, several as a List, as JSON.
#[must_use]
pub(crate) fn as_json(objects: &[Value], one: bool) -> String {
    let mut text = serde_json::to_string_pretty(&whole(objects, one)).expect("JSON is JSON");
    text.push('\n');
    text
}

/// One object as it is, several as a List, as YAML.
#[must_use]
pub(crate) fn as_yaml(objects: &[Value], one: bool) -> String {
    let whole = whole(objects, one);
    match serde_saphyr::to_string(&whole) {
        Ok(mut text) => {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text
        }
        // JSON is YAML.
        Err(_) => as_json(objects, one),
    }
}

fn whole(objects: &[Value], one: bool) -> Value {
    match objects {
        [object] if one => object.clone(),
        objects => {
            json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "" }, "items": objects })
        }
    }
}
