//! Ordinals whose claims are as they should be: of a large set nearly all. Volume-claim is asked about the others.
//!
//! What it says of an ordinal follows from the pod and the claims of that ordinal and from the set, and from nothing else: it
//! plans one ordinal after the other. So one of which it had nothing to say is not asked about again before its pod, one of
//! its claims or the set has changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::volume::SetClaimsRequest;
use domain::{Ordinal, SetSpec, Uid};

use super::scene::Scene;
use super::templates::claim_ordinal;
use crate::store::StoreRevision;
use crate::world::View;

/// Sets that are remembered. To forget all of them has each asked once about every ordinal.
const SETS_MAX: usize = 16_384;

/// Whether pods out of range go, and which goes before.
pub(super) type Condemned = (bool, Option<Ordinal>);

/// An ordinal and the version of its pod.
pub(super) type PodAt = (Ordinal, u64);

/// The settled ordinals of all sets.
#[derive(Debug, Default)]
pub(super) struct Settled {
    sets: Mutex<HashMap<Uid, Known>>,
}

#[derive(Debug)]
struct Known {
    /// Where the claims were looked at.
    at: StoreRevision,
    about: About,
    condemned: Condemned,
    /// Ascending.
    ordinals: Vec<PodAt>,
}

/// What is the same for every ordinal of a set: what volume-claim is told of the set itself, and the range.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct About {
    request: SetClaimsRequest,
    start: Ordinal,
    replicas: u32,
    reserved: Vec<Ordinal>,
}

impl About {
    /// Of a question that names no ordinal and no claim yet.
    pub(super) fn new(request: &SetClaimsRequest, spec: &SetSpec) -> Self {
        // These concern only ordinals out of range, and change with every pod that is not ready.
        let request = SetClaimsRequest { scaling_down: false, abandoned: None, ..request.clone() };
        Self { request, start: spec.start, replicas: spec.replicas, reserved: spec.reserved.clone() }
    }
}

impl Settled {
    /// The ordinals that are settled still, unless their pod has another version; ascending. They are forgotten until they are
    /// [noted](Self::note) again.
    pub(super) fn take(&self, view: &View<'_>, scene: &Scene, about: &About, condemned: Condemned) -> Vec<PodAt> {
        let known = self.all().remove(&scene.snapshot.set.uid).filter(|known| known.about == *about);
        let Some(known) = known else { return Vec::new() };
        let Some(changed) = view.claims_changed(known.at) else { return Vec::new() };
        let of_set = changed.into_iter().filter(|key| key.namespace == scene.set.key.namespace);
        let touched: BTreeSet<Ordinal> = of_set.filter_map(|key| claim_ordinal(&scene.set.value, &key.name)).collect();
        let mut ordinals = known.ordinals;
        if !touched.is_empty() {
            ordinals.retain(|(ordinal, _)| !touched.contains(ordinal));
        }
        if known.condemned != condemned {
            ordinals.retain(|(ordinal, _)| scene.snapshot.spec.contains(*ordinal));
        }
        ordinals
    }

    /// Volume-claim had nothing to say of these, given the claims at a revision.
    pub(super) fn note(&self, set: &Uid, at: StoreRevision, about: About, condemned: Condemned, ordinals: Vec<PodAt>) {
        let mut all = self.all();
        if all.len() >= SETS_MAX {
            all.clear();
        }
        all.insert(set.clone(), Known { at, about, condemned, ordinals });
    }

    /// The set is gone.
    pub(super) fn forget(&self, set: &Uid) {
        self.all().remove(set);
    }

    /// Everything is to be asked anew.
    pub(super) fn forget_all(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Uid, Known>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
