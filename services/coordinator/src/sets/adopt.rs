//! Taking over pods and revisions that nobody controls, and letting go of pods that are no longer ours (StatefulSet rules, section 4).

use std::sync::Arc;

use domain::{DecisionRecord, Step, Timestamp, pod_ordinal};
use serde_json::Value;
use tracing::Instrument as _;

use super::deletion::without_owner;
use super::execute::COMPONENT;
use super::identity::{claims_unused, uses_its_claims};
use super::scene::Scene;
use super::{Sets, execute_span, trace_id};
use crate::driver::Outcome;
use crate::events::{self, Event};
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
        for pod in without_their_claims(scene) {
            let about = (&scene.set.key, &*scene.snapshot.set.uid.0);
            let event = Event::warning("ClaimsUnused", claims_unused(&pod.key.name));
            events::record(&mut transaction, &self.world, about, COMPONENT, &event, now);
        }
        let number = self.recorder.add(&mut transaction, &self.world, &scene.set, &record);
        let committed = self.commit(scene, transaction, None).instrument(execute_span()).await;
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
/// that a set that is being deleted, or another of the same name, takes nothing. One that adopts is written again as it is:
/// plans that know nothing of its new members do not hold any more (S4).
pub(super) fn plan(scene: &Scene) -> (Transaction, Vec<Step>) {
    let (mut transaction, mut steps) = (Transaction::default(), Vec::new());
    if !scene.orphans.is_empty() || !scene.orphan_revisions.is_empty() {
        transaction.update(&scene.set, scene.set.value.clone());
    }
    for orphan in scene.orphans.iter().chain(&scene.orphan_revisions).take(ADOPTED_AT_ONCE_MAX) {
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

/// Orphans that are taken over as they are, and do not use the claims of their ordinal. Kubernetes tries to change them
/// in every pass, and fails (switch `isolate_refusals`).
fn without_their_claims(scene: &Scene) -> impl Iterator<Item = &Arc<Object>> {
    let (set, told) = (&scene.set, scene.snapshot.switches.isolate_refusals);
    let uses = move |pod: &Object| {
        let ordinal = pod_ordinal(&set.key.name, &pod.key.name);
        ordinal.is_none_or(|ordinal| uses_its_claims(&set.value, ordinal, &pod.value))
    };
    scene.orphans.iter().take(ADOPTED_AT_ONCE_MAX).filter(move |pod| told && !uses(pod))
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
