//! Taking over pods and revisions that nobody controls, and letting go of pods that are no longer ours (StatefulSet rules, section 4).

use domain::{DecisionRecord, Step, Timestamp};
use serde_json::Value;
use tracing::Instrument as _;

use super::deletion::without_owner;
use super::scene::Scene;
use super::{Sets, execute_span, trace_id};
use crate::driver::Outcome;
use crate::objects::object_mut;
use crate::world::{Object, Transaction, controller_reference};

/// Adoptions in one commit; the rest follow in the next pass, at once.
const ADOPTED_AT_ONCE_MAX: usize = 512;

impl Sets {
    /// Takes over what nobody controls, and lets go of what is no longer ours; none where there is nothing of either
    /// kind. What it did is recorded with the reasons to wait of the pass before: this one looks no further.
    pub(super) async fn adopt(&self, scene: &Scene, now: Timestamp) -> Result<Option<Outcome>, String> {
        let (mut transaction, steps) = plan(scene);
        if steps.is_empty() {
            return Ok(None);
        }
        let record = DecisionRecord {
            set: scene.snapshot.set.clone(),
            generation: scene.snapshot.generation,
            at: now,
            trace_id: trace_id(),
            steps,
            waits: self.recorder.waits(&self.world, &scene.set),
        };
        let number = self.recorder.add(&mut transaction, &self.world, &scene.set, &record);
        let committed = self.world.commit(transaction).instrument(execute_span()).await;
        if let Some(outcome) = self.committed(committed)? {
            return Ok(Some(outcome));
        }
        if let Some(number) = number {
            self.recorder.committed(&scene.set, number, record.waits);
        }
        Ok(Some(Outcome::Stale))
    }
}

/// Adopts the orphans of the scene and releases its strays; with the steps in words. Rests on the set being unchanged, so
/// that a set that is being deleted, or another of the same name, takes nothing.
pub(super) fn plan(scene: &Scene) -> (Transaction, Vec<Step>) {
    let (mut transaction, mut steps) = (Transaction::default(), Vec::new());
    for orphan in scene.orphans.iter().chain(&scene.orphan_revisions).take(ADOPTED_AT_ONCE_MAX) {
        transaction.unchanged(&scene.set);
        transaction.update(orphan, adopted(&scene.set, orphan));
        steps.push(step("adopt", orphan, "nobody controls it, and its labels and name are of this set"));
    }
    // A set that goes releases nothing: its pods go with it.
    if !scene.set.deleting() {
        let room = ADOPTED_AT_ONCE_MAX.saturating_sub(transaction.len());
        for stray in scene.strays.iter().take(room) {
            transaction.unchanged(&scene.set);
            transaction.update(stray, without_owner(stray, &scene.set.uid().0));
            steps.push(step("release", stray, "the selector does not select it, or its name is not of this set"));
        }
    }
    (transaction, steps)
}

fn step(verb: &str, object: &Object, why: &str) -> Step {
    let action = format!("{verb} {}", object.kind().name());
    Step { action, object: object.key.name.clone(), why: why.to_owned() }
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
