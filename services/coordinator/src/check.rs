//! Whether a state store is sound, without a coordinator: its file, and whether its objects make sense together.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use api::manifest::Kind;
use serde_json::Value;

use crate::store::offline::{Examined, examine};
use crate::store::{Entry, FORMAT, StoreError, StoreRevision};
use crate::world::{Key, Object, PREFIX};

/// Findings of one kind that are kept. More would not be read; they are counted.
pub const FINDINGS_MAX: usize = 100;

/// What was found in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Identity of the store.
    pub store_id: String,
    /// Version of its format on disk.
    pub format: u32,
    /// Its revision.
    pub revision: StoreRevision,
    /// Keys and values, in bytes.
    pub bytes: usize,
    /// Whether it was not closed, by a kill or a power cut. That is put right when it is next opened.
    pub unclean: bool,
    /// How many objects of each kind, by the plural of the kind.
    pub objects: BTreeMap<String, usize>,
    /// What a coordinator cannot work with.
    pub damage: Findings,
    /// What is unusual, and what a running coordinator puts right by itself.
    pub notes: Findings,
}

/// Findings, up to a bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The first of them, at most [`FINDINGS_MAX`].
    pub first: Vec<String>,
    /// How many there are.
    pub count: usize,
}

impl Findings {
    fn add(&mut self, finding: String) {
        self.count += 1;
        if self.first.len() < FINDINGS_MAX {
            self.first.push(finding);
        }
    }
}

/// Looks through the store in a directory. Nothing is changed; the store must not be in use.
///
/// # Errors
/// There is no store, it is in use, of another format, or so damaged that its objects cannot be read.
pub fn check(store_directory: &Path) -> Result<Report, StoreError> {
    let Examined { store_id, revision, entries, unclean } = examine(&store_directory.join(crate::start::STORE_FILE))?;
    let bytes = entries.values().map(|entry| entry.key.len() + entry.value.len()).sum();
    let mut report = Report {
        store_id,
        format: FORMAT,
        revision,
        bytes,
        unclean,
        objects: BTreeMap::new(),
        damage: Findings::default(),
        notes: Findings::default(),
    };
    let objects: Vec<Object> = entries.values().filter_map(|entry| read(entry, &mut report)).collect();
    identities(&objects, &mut report);
    references(&objects, &mut report);
    Ok(report)
}

/// Reads an object. Other keys are the system's own.
fn read(entry: &Entry, report: &mut Report) -> Option<Object> {
    if !entry.key.starts_with(PREFIX) {
        return None;
    }
    let Some(key) = Key::from_store(&entry.key) else {
        report.notes.add(format!("{} is of a kind that this version does not know; it is kept", entry.key));
        return None;
    };
    *report.objects.entry(key.kind.plural().to_owned()).or_default() += 1;
    let value: Value = match serde_json::from_slice(&entry.value) {
        Ok(value) => value,
        Err(error) => {
            report.damage.add(format!("{key} cannot be decoded: {error}"));
            return None;
        }
    };
    let object = Object::new(key, value, entry.modified);
    for (pointer, expected) in [
        ("/kind", object.key.kind.name()),
        ("/metadata/name", object.key.name.as_str()),
        ("/metadata/namespace", object.key.namespace.as_str()),
    ] {
        let found = object.text(pointer);
        if found != expected {
            report.damage.add(format!("{}: {} is {found:?}, not {expected:?}", object.key, field(pointer)));
        }
    }
    Some(object)
}

/// Every object has a uid, and no two have the same.
fn identities(objects: &[Object], report: &mut Report) {
    let mut seen: HashMap<String, &Key> = HashMap::new();
    for object in objects {
        let uid = object.uid().0;
        if uid.is_empty() {
            report.damage.add(format!("{} has no metadata.uid", object.key));
        } else if let Some(other) = seen.insert(uid.clone(), &object.key) {
            report.damage.add(format!("{other} and {} have the same uid {uid}", object.key));
        }
    }
}

/// What objects say of others. What does not exist is no damage: it may have been deleted, and controllers see to it.
fn references(objects: &[Object], report: &mut Report) {
    let uids: HashMap<String, &Key> = objects.iter().map(|object| (object.uid().0, &object.key)).collect();
    let keys: std::collections::HashSet<&Key> = objects.iter().map(|object| &object.key).collect();
    for object in objects {
        for owner in object.owner_uids().filter(|owner| !uids.contains_key(*owner)) {
            report.notes.add(format!("{} is owned by uid {owner}, which does not exist", object.key));
        }
        let namespace = Key::new(Kind::Namespace, "", &object.key.namespace);
        if object.key.kind.namespaced() && !keys.contains(&namespace) {
            report.notes.add(format!("{} is in a namespace that does not exist", object.key));
        }
        let named = match object.kind() {
            Kind::Pod => Some((Kind::Node, "/spec/nodeName")),
            Kind::PersistentVolumeClaim => Some((Kind::PersistentVolume, "/spec/volumeName")),
            _ => None,
        };
        if let Some((kind, pointer)) = named
            && let name = object.text(pointer)
            && !name.is_empty()
            && !keys.contains(&Key::new(kind, "", name))
        {
            report.notes.add(format!("{}: {} is {name:?}, which does not exist", object.key, field(pointer)));
        }
    }
}

/// A JSON pointer as people write it.
fn field(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::{Batch, EmbeddedStore, StateStore, Write};

    fn checked(objects: &[(&str, Vec<u8>)]) -> Report {
        let directory = tempfile::tempdir().expect("a directory");
        let store = EmbeddedStore::open(&directory.path().join(crate::start::STORE_FILE)).expect("the store opens");
        let writes = objects.iter().map(|(key, value)| Write::Put { key: (*key).into(), value: value.clone().into() });
        let batch = Batch { preconditions: Vec::new(), writes: writes.collect() };
        futures::executor::block_on(store.commit(batch)).expect("it commits");
        drop(store);
        check(directory.path()).expect("the store itself is sound")
    }

    fn pod(name: &str, uid: &str) -> Value {
        json!({ "kind": "Pod", "metadata": { "name": name, "namespace": "default", "uid": uid } })
    }

    fn bytes(value: &Value) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    #[test]
    fn what_is_sound_is_counted() {
        let namespace = json!({ "kind": "Namespace", "metadata": { "name": "default", "uid": "n" } });
        let report = checked(&[
            ("/objects/namespaces/-/default", bytes(&namespace)),
            ("/objects/pods/default/web-0", bytes(&pod("web-0", "a"))),
            ("/objects/pods/default/web-1", bytes(&pod("web-1", "b"))),
            ("/setkeeper/epoch", b"7".to_vec()),
        ]);
        assert_eq!((report.damage.count, report.notes.count), (0, 0), "{report:?}");
        assert_eq!((report.objects["pods"], report.objects["namespaces"]), (2, 1));
        assert!(!report.unclean && report.revision == StoreRevision(1));
    }

    #[test]
    fn objects_that_no_coordinator_can_work_with_are_damage() {
        for (objects, part) in [
            (vec![("/objects/pods/default/web-0", b"{".to_vec())], "cannot be decoded"),
            (vec![("/objects/pods/default/web-0", bytes(&pod("web-1", "a")))], "metadata.name is \"web-1\""),
            (vec![("/objects/pods/default/web-0", bytes(&pod("web-0", "")))], "no metadata.uid"),
            (
                vec![
                    ("/objects/pods/default/web-0", bytes(&pod("web-0", "a"))),
                    ("/objects/pods/default/web-1", bytes(&pod("web-1", "a"))),
                ],
                "the same uid a",
            ),
        ] {
            let report = checked(&objects);
            assert_eq!(report.damage.count, 1, "{report:?}");
            assert!(report.damage.first[0].contains(part), "{report:?}");
        }
    }

    #[test]
    fn what_does_not_exist_is_noted() {
        let mut lonely = pod("web-0", "a");
        lonely["metadata"]["ownerReferences"] = json!([{ "uid": "gone" }]);
        lonely["spec"]["nodeName"] = "elsewhere".into();
        let report = checked(&[
            ("/objects/pods/default/web-0", bytes(&lonely)),
            ("/objects/unheardof/default/x", b"kept".to_vec()),
        ]);
        assert_eq!(report.damage.count, 0, "{report:?}");
        let notes = report.notes.first.join("\n");
        for part in ["uid gone", "namespace that does not exist", "spec.nodeName is \"elsewhere\"", "a kind that this"]
        {
            assert!(notes.contains(part), "{notes}");
        }
    }
}
