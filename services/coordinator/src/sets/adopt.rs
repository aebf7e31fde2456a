//! Taking over pods and revisions that nobody controls (StatefulSet rules, section 4).

use serde_json::Value;

use super::scene::Scene;
use crate::objects::object_mut;
use crate::world::{Object, Transaction, controller_reference};

/// Adopts every orphan of the scene. Rests on the set being unchanged, so that a set that is being deleted, or another
/// of the same name, takes nothing.
pub(super) fn plan(scene: &Scene) -> Transaction {
    let mut transaction = Transaction::default();
    for orphan in scene.orphans.iter().chain(&scene.orphan_revisions) {
        transaction.unchanged(&scene.set);
        transaction.update(orphan, adopted(&scene.set, orphan));
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
