//! Pods that are announced: served as more than the store says of them yet.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use api::manifest::Kind;
use domain::zone::{ObjectName, PodFacts};

use super::{facts, name_of};
use crate::world::{Key, Object, World};

/// What is announced.
#[derive(Debug, Default)]
pub(super) struct Announced(Mutex<BTreeMap<ObjectName, PodFacts>>);

impl Announced {
    /// Announces a pod, where the store still has it and says less.
    pub(super) fn put(&self, world: &World, pod: &PodFacts) {
        let mut announced = self.lock();
        // Read under the lock: a commit that comes later is forgotten about later.
        if is_ahead(world, pod) {
            announced.insert(pod.name.clone(), pod.clone());
        }
    }

    /// Takes an announcement back. Says whether there was one.
    pub(super) fn withdraw(&self, name: &ObjectName) -> bool {
        self.lock().remove(name).is_some()
    }

    /// Forgets what the store has caught up with, or what is no longer true, of pods that changed.
    pub(super) fn forget_changed<'a>(&self, world: &World, changed: impl Iterator<Item = &'a Key>) {
        let mut announced = self.lock();
        for name in changed.filter(|key| key.kind == Kind::Pod).map(name_of) {
            if announced.get(&name).is_some_and(|pod| !is_ahead(world, pod)) {
                announced.remove(&name);
            }
        }
    }

    /// The same of all pods.
    pub(super) fn forget(&self, world: &World) {
        self.lock().retain(|_, pod| is_ahead(world, pod));
    }

    /// What is served of a pod: what is stored, unless it is announced as more. None while no name can lead to it, so that
    /// a pod which has no address yet costs no publication.
    pub(super) fn of(&self, stored: Option<&Object>) -> Option<PodFacts> {
        let stored = stored.and_then(facts::pod)?;
        let announced = self.lock().get(&stored.name).filter(|announced| ahead(announced, stored)).cloned();
        Some(announced.unwrap_or_else(|| stored.clone())).filter(|pod| !pod.ips.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectName, PodFacts>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

fn is_ahead(world: &World, announced: &PodFacts) -> bool {
    let stored = world.get(&Key::new(Kind::Pod, &announced.name.namespace, &announced.name.name));
    stored.as_deref().and_then(facts::pod).is_some_and(|stored| ahead(announced, stored))
}

/// Whether an announcement says of the same living incarnation what the store does not say yet.
fn ahead(announced: &PodFacts, stored: &PodFacts) -> bool {
    announced.uid == stored.uid
        && !stored.terminating
        && announced != stored
        && (!stored.ready || stored.ips.is_empty())
}
