//! The maps behind the world.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::manifest::Kind;

use super::bonds::Bonds;
use super::recent::Recent;
use super::{Change, Key, Object};
use crate::store::StoreRevision;

/// What a set takes over when nobody controls it.
const ADOPTED: [Kind; 2] = [Kind::Pod, Kind::ControllerRevision];

/// Objects, and who owns whom.
#[derive(Debug)]
pub(super) struct State {
    /// Of the last commit that was put here, or of the one that is.
    pub(super) revision: StoreRevision,
    objects: BTreeMap<Key, Arc<Object>>,
    by_owner: HashMap<String, Estate>,
    /// Objects that nobody controls, of the kinds that sets adopt.
    free: BTreeSet<Key>,
    /// Claims, whoever owns them.
    claims: Recent,
    bonds: Bonds,
}

/// What names one owner.
#[derive(Debug)]
struct Estate {
    objects: BTreeMap<Key, Owned>,
    pods: Recent,
}

/// An object among those that name one owner.
#[derive(Debug)]
struct Owned {
    object: Arc<Object>,
    /// Whether it is this owner that controls it.
    controlled: bool,
}

impl Estate {
    fn new(revision: StoreRevision) -> Self {
        Self { objects: BTreeMap::new(), pods: Recent::new(revision) }
    }

    fn note(&mut self, key: &Key, revision: StoreRevision) {
        if key.kind == Kind::Pod {
            self.pods.note(revision, key, self.objects.len());
        }
    }
}

impl State {
    /// Nothing yet of a store that is at `revision`.
    pub(super) fn at(revision: StoreRevision) -> Self {
        Self {
            revision,
            objects: BTreeMap::new(),
            by_owner: HashMap::new(),
            free: BTreeSet::new(),
            claims: Recent::new(revision),
            bonds: Bonds::default(),
        }
    }

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

    pub(super) fn free(&self, kind: Kind, namespace: &str, prefix: &str) -> Vec<Arc<Object>> {
        debug_assert!(ADOPTED.contains(&kind), "{kind:?} is not adopted");
        let start = Key { kind, namespace: namespace.to_owned(), name: prefix.to_owned() };
        let same = |key: &&Key| key.kind == kind && key.namespace == namespace && key.name.starts_with(prefix);
        self.free.range(start..).take_while(same).filter_map(|key| self.get(key)).collect()
    }

    pub(super) fn owned_by(&self, uid: &str) -> Vec<Arc<Object>> {
        let owned = self.by_owner.get(uid).into_iter().flat_map(|estate| estate.objects.values());
        owned.map(|owned| owned.object.clone()).collect()
    }

    pub(super) fn owned<'a>(&'a self, uid: &str, kind: Kind) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.estate(uid, kind).map(|owned| &owned.object)
    }

    pub(super) fn controlled_by(&self, uid: &str, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.estate(uid, kind).filter(|owned| owned.controlled).map(|owned| &owned.object)
    }

    fn estate<'a>(&'a self, uid: &str, kind: Kind) -> impl Iterator<Item = &'a Owned> + use<'a> {
        let start = Key { kind, namespace: String::new(), name: String::new() };
        let owned = self.by_owner.get(uid).into_iter().flat_map(move |estate| estate.objects.range(start.clone()..));
        owned.take_while(move |(key, _)| key.kind == kind).map(|(_, owned)| owned)
    }

    pub(super) fn pods_changed(&self, uid: &str, after: StoreRevision) -> Option<BTreeSet<&Key>> {
        self.by_owner.get(uid)?.pods.after(after)
    }

    pub(super) fn claims_changed(&self, after: StoreRevision) -> Option<BTreeSet<&Key>> {
        self.claims.after(after)
    }

    pub(super) fn loose(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.bonds.loose().filter_map(|key| self.objects.get(key))
    }

    pub(super) fn users(&self, claim: &Key) -> impl Iterator<Item = &Arc<Object>> {
        self.bonds.users(claim).filter_map(|pod| self.objects.get(pod))
    }

    /// Puts or removes one object and says what changed.
    pub(super) fn put(&mut self, key: Key, new: Option<Arc<Object>>) -> Change {
        let old = match &new {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(&key),
        };
        for uid in old.iter().flat_map(|object| object.owner_uids()) {
            if let Some(estate) = self.by_owner.get_mut(uid) {
                estate.objects.remove(&key);
                estate.note(&key, self.revision);
                if estate.objects.is_empty() {
                    self.by_owner.remove(uid);
                }
            }
        }
        if let Some(object) = &new {
            for uid in object.owner_uids() {
                let owned = Owned { object: object.clone(), controlled: object.controller_uid() == Some(uid) };
                let estate = self.by_owner.entry(uid.to_owned()).or_insert_with(|| Estate::new(self.revision));
                estate.objects.insert(key.clone(), owned);
                estate.note(&key, self.revision);
            }
        }
        self.bonds.note(&self.objects, &key, (old.as_deref(), new.as_deref()));
        if key.kind == Kind::PersistentVolumeClaim {
            self.claims.note(self.revision, &key, self.objects.len());
        }
        if ADOPTED.contains(&key.kind) {
            match &new {
                Some(object) if object.controller_uid().is_none() => _ = self.free.insert(key.clone()),
                _ => _ = self.free.remove(&key),
            }
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
