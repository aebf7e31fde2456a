//! Taking over pods and revisions that nobody controls, and letting go of pods that are no longer ours (StatefulSet rules, section 4).

use serde_json::Value;

use super::deletion::without_owner;
use super::scene::Scene;
use crate::objects::object_mut;
use crate::world::{Object, Transaction, controller_reference};

/// Adoptions in one commit; the rest follow in the next pass, at once.
const ADOPTED_AT_ONCE_MAX: usize = 512;

/// Adopts the orphans of the scene. Rests on the set being unchanged, so that a set that is being deleted, or another
/// of the same name, takes nothing.
pub(super) fn plan(scene: &Scene) -> Transaction {
    let mut transaction = Transaction::default();
    for orphan in scene.orphans.iter().chain(&scene.orphan_revisions).take(ADOPTED_AT_ONCE_MAX) {
        transaction.unchanged(&scene.set);
        transaction.update(orphan, adopted(&scene.set, orphan));
    }
    // A set that goes releases nothing: its pods go with it.
    if !scene.set.deleting() {
        let room = ADOPTED_AT_ONCE_MAX.saturating_sub(transaction.len());
        for stray in scene.strays.iter().take(room) {
            transaction.unchanged(&scene.set);
            transaction.update(stray, without_owner(stray, &scene.set.uid().0));
        }
    }
    transaction
}

fn adopted(set: &Object, orphan: &Object) -> Value {
    let mut value = orphan.value.clone();
    let owners =
        object_mut(&mut value, "metadata").entry("ownerReferences").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(owners) = owners.as_array_mut() {
        owners.push(controller_reference(set));
    }
    value
}
