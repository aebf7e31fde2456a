//! Which claims and volumes are not at rest, and which pods use a claim, so that what is to be done about them is found
//! without a look at all the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::manifest::Kind;
use domain::volume::at_rest;

use super::{Key, Object};

/// An index of a state, in step with it.
#[derive(Debug, Default)]
pub(super) struct Bonds {
    /// Claims, and volumes, that are not bound to each other with nothing to be done.
    loose: BTreeSet<Key>,
    /// Pods by the claims that they use, whether those exist or not.
    users: HashMap<Key, BTreeSet<Key>>,
}

impl Bonds {
    pub(super) fn loose(&self) -> impl Iterator<Item = &Key> {
        self.loose.iter()
    }

    pub(super) fn users(&self, claim: &Key) -> impl Iterator<Item = &Key> {
        self.users.get(claim).into_iter().flatten()
    }

    /// An object has become another, in `objects` already.
    pub(super) fn note(
        &mut self,
        objects: &BTreeMap<Key, Arc<Object>>,
        key: &Key,
        (old, new): (Option<&Object>, Option<&Object>),
    ) {
        match key.kind {
            Kind::Pod => self.note_pod(key, old, new),
            Kind::PersistentVolumeClaim | Kind::PersistentVolume => {
                // A bond rests on both its sides: whoever named this one, or does now, may rest no longer, or only now.
                let others = old.into_iter().chain(new).filter_map(Object::bound_to);
                for concerned in others.chain([key.clone()]) {
                    if objects.get(&concerned).is_some_and(|object| !rests(objects, object)) {
                        self.loose.insert(concerned);
                    } else {
                        self.loose.remove(&concerned);
                    }
                }
            }
            _ => {}
        }
    }

    fn note_pod(&mut self, key: &Key, old: Option<&Object>, new: Option<&Object>) {
        for claim in old.into_iter().flat_map(Object::claims_used) {
            if let Some(users) = self.users.get_mut(&claim) {
                users.remove(key);
                if users.is_empty() {
                    self.users.remove(&claim);
                }
            }
        }
        for claim in new.into_iter().flat_map(Object::claims_used) {
            self.users.entry(claim).or_default().insert(key.clone());
        }
    }
}

/// Whether a claim or a volume, and what it is bound to, are at rest.
fn rests(objects: &BTreeMap<Key, Arc<Object>>, object: &Object) -> bool {
    let Some(other) = object.bound_to().and_then(|other| objects.get(&other)) else { return false };
    match object.kind() {
        Kind::PersistentVolume => at_rest(other.claim(), object.volume()),
        _ => at_rest(object.claim(), other.volume()),
    }
}
