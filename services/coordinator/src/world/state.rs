//! The maps behind the world.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::manifest::Kind;

use super::{Change, Key, Object};
use crate::store::StoreRevision;

/// Objects, and who owns whom.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) revision: StoreRevision,
    objects: BTreeMap<Key, Arc<Object>>,
    by_owner: HashMap<String, BTreeSet<Key>>,
}

impl State {
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn list(&self, kind: Kind, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let start = Key { kind, namespace: namespace.unwrap_or_default().to_owned(), name: String::new() };
        let same = |key: &Key| key.kind == kind && namespace.is_none_or(|namespace| key.namespace == namespace);
        self.objects.range(start..).take_while(|(key, _)| same(key)).map(|(_, object)| object.clone()).collect()
    }

    pub(super) fn named(&self, kind: Kind, namespace: &str, prefix: &str) -> Vec<Arc<Object>> {
        let start = Key { kind, namespace: namespace.to_owned(), name: prefix.to_owned() };
        let same = |key: &Key| key.kind == kind && key.namespace == namespace && key.name.starts_with(prefix);
        self.objects.range(start..).take_while(|(key, _)| same(key)).map(|(_, object)| object.clone()).collect()
    }

    pub(super) fn owned_by(&self, uid: &str) -> Vec<Arc<Object>> {
        let keys = self.by_owner.get(uid).into_iter().flatten();
        keys.filter_map(|key| self.get(key)).collect()
    }

    /// Puts or removes one object and says what changed.
    pub(super) fn put(&mut self, key: Key, new: Option<Arc<Object>>) -> Change {
        let old = match &new {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(&key),
        };
        for uid in old.iter().flat_map(|object| object.owner_uids()) {
            if let Some(owned) = self.by_owner.get_mut(uid) {
                owned.remove(&key);
                if owned.is_empty() {
                    self.by_owner.remove(uid);
                }
            }
        }
        for uid in new.iter().flat_map(|object| object.owner_uids()) {
            self.by_owner.entry(uid.to_owned()).or_default().insert(key.clone());
        }
        Change { key, old, new }
    }

    /// Becomes `fresh` and says what changed.
    pub(super) fn replace(&mut self, fresh: Self) -> Vec<Change> {
        let old = std::mem::replace(self, fresh);
        let gone = old.objects.iter().filter(|(key, _)| !self.objects.contains_key(key));
        let gone = gone.map(|(key, object)| Change { key: key.clone(), old: Some(object.clone()), new: None });
        let changed = self.objects.iter().filter_map(|(key, object)| {
            let before = old.objects.get(key);
            let same = before.is_some_and(|before| before.version == object.version);
            (!same).then(|| Change { key: key.clone(), old: before.cloned(), new: Some(object.clone()) })
        });
        gone.chain(changed).collect()
    }
}
