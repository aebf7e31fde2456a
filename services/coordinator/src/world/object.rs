//! A stored object, and what every kind has in common.

use api::manifest::Kind;
use domain::Uid;
use serde_json::{Map, Value, json};

use super::Key;
use crate::store::StoreRevision;

/// One version of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Where it is.
    pub key: Key,
    /// Its JSON, with `metadata.resourceVersion`.
    pub value: Value,
    /// Store revision that wrote this version.
    pub version: StoreRevision,
}

impl Object {
    /// A version as read from the store; fills in `metadata.resourceVersion`, which is not stored.
    #[must_use]
    pub fn new(key: Key, mut value: Value, version: StoreRevision) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), Value::String(version.to_string()));
        }
        Self { key, value, version }
    }

    /// Kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.key.kind
    }

    /// Text at a JSON pointer; empty where there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// `metadata.uid`.
    #[must_use]
    pub fn uid(&self) -> Uid {
        Uid(self.text("/metadata/uid").to_owned())
    }

    /// Whether deletion has been requested.
    #[must_use]
    pub fn deleting(&self) -> bool {
        !self.text("/metadata/deletionTimestamp").is_empty()
    }

    /// `metadata.labels`.
    #[must_use]
    pub fn labels(&self) -> Option<&Map<String, Value>> {
        self.value.pointer("/metadata/labels").and_then(Value::as_object)
    }

    /// One label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels()?.get(name)?.as_str()
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.value
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// Uids of all owners.
    pub fn owner_uids(&self) -> impl Iterator<Item = &str> {
        owners(&self.value).filter_map(|owner| owner.get("uid")?.as_str())
    }

    /// Uid of the owner that controls this object.
    #[must_use]
    pub fn controller_uid(&self) -> Option<&str> {
        let controller = owners(&self.value).find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
        controller?.get("uid")?.as_str()
    }
}

fn owners(value: &Value) -> impl Iterator<Item = &Value> {
    value.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten()
}

/// An owner reference with `controller` and `blockOwnerDeletion` set.
#[must_use]
pub(crate) fn controller_reference(owner: &Object) -> Value {
    json!({
        "apiVersion": owner.text("/apiVersion"),
        "kind": owner.kind().name(),
        "name": owner.key.name,
        "uid": owner.uid().0,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
