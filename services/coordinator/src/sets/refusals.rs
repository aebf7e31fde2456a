//! Pods that the planners want and that cannot be created now, and what Kubernetes leaves undone after one of them
//! (StatefulSet rules, sections 7 and 15, switch `isolate_refusals`).

use api::manifest::Kind;
use domain::{
    DNS_LABEL_LENGTH_MAX, Ordinal, OrdinalPlan, PodCreation, PodManagementPolicy, SetSpec, Switches, UpdatePlan, Wait,
    WaitReason, pod_name,
};

use super::claims::ClaimPlan;
use super::scene::Scene;
use super::{Decision, PlannerError, Sets, identity};
use crate::events::Event;
use crate::world::{Key, World};

/// The most pods that Kubernetes creates at once.
const BATCH_MAX: u64 = 500;

/// Why a pod cannot be created, or not be put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Which.
    pub(super) ordinal: Ordinal,
    /// As a reason to wait.
    reason: WaitReason,
    /// As the API of Kubernetes says it.
    error: String,
    /// What people are told.
    pub(super) event: Option<Event>,
}

/// The end of a pass that comes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The last ordinal that it comes to.
    pub(super) last: Ordinal,
    /// What it fails with.
    pub(super) error: String,
}

impl Refusal {
    fn wait(&self) -> Wait {
        Wait { ordinal: Some(self.ordinal), reason: self.reason.clone() }
    }
}

impl Sets {
    /// Asks for the claims of a decision, and leaves out of it what cannot be done now.
    pub(super) async fn weigh(&self, scene: &Scene, decision: &mut Decision) -> Result<(), PlannerError> {
        decision.refusals = of(&self.world, scene, &decision.order);
        if self.switches.isolate_refusals {
            self.pass_over(scene, decision).await?;
        } else {
            self.end_at_failure(scene, decision).await?;
        }
        if self.switches.wait_for_claims {
            decision.claims.only_news(&self.recorder.waits(&self.world, &scene.set));
        }
        Ok(())
    }

    /// Goes on without the pods that cannot be created, and tells each of them once.
    async fn pass_over(&self, scene: &Scene, decision: &mut Decision) -> Result<(), PlannerError> {
        let Decision { refusals, order, claims, .. } = decision;
        leave_out(refusals, order);
        *claims = self.claims(scene, order, None).await?;
        if !refusals.is_empty() {
            let known = self.recorder.waits(&self.world, &scene.set);
            refusals.iter_mut().filter(|refusal| known.contains(&refusal.wait())).for_each(|old| old.event = None);
        }
        Ok(())
    }

    /// Makes claims also for pods that cannot be created, and ends the pass at the first of them.
    async fn end_at_failure(&self, scene: &Scene, decision: &mut Decision) -> Result<(), PlannerError> {
        let Decision { refusals, order, claims, update, .. } = decision;
        *claims = self.claims(scene, order, None).await?;
        let Some((ordinal, reason, error)) = failure(refusals, claims, self.switches) else {
            let error = |why| format!("StatefulSet.apps \"{}\" is invalid: {why}", scene.set.key.name);
            let refused = update.status_refusal.as_ref();
            decision.failure = refused.map(|why| Failure { last: Ordinal::MAX, error: error(why) });
            return Ok(());
        };
        let last = last_reached(&scene.snapshot.spec, ordinal);
        end_at(last, &scene.snapshot.spec, &reason, order, update);
        *claims = self.claims(scene, order, Some(last)).await?;
        let question = scene.update_question(&scene.encoded(&scene.told.clone().without_replacement()));
        let without = self.planners.update(question, scene).await?;
        (update.status, update.status_refusal) = (without.status, without.status_refusal);
        refusals.retain(|refusal| refusal.ordinal <= last);
        // References are set after a creation, unless the pod was there already (step R2).
        let there =
            |reason: &WaitReason| matches!(reason, WaitReason::NameTaken { .. } | WaitReason::Terminating { .. });
        let taken = refusals.iter().filter(|refusal| there(&refusal.reason));
        taken.for_each(|refusal| claims.disown(&scene.set.value, refusal.ordinal));
        leave_out(refusals, order);
        decision.failure = Some(Failure { last, error });
        Ok(())
    }
}

/// The refusals of a plan, ascending by ordinal within each kind.
fn of(world: &World, scene: &Scene, order: &OrdinalPlan) -> Vec<Refusal> {
    let creations = order.create.iter().filter_map(|creation| {
        let name = pod_name(&scene.set.key.name, creation.ordinal);
        invalid(scene, creation, &name).or_else(|| taken(world, scene, creation.ordinal, &name))
    });
    let walked = identity::without_their_claims(scene).map(|ordinal| immutable(scene, ordinal));
    creations.chain(walked).collect()
}

/// A name that another pod still has: one of an earlier set of this name that has not stopped yet, or one that somebody
/// applied.
fn taken(world: &World, scene: &Scene, ordinal: Ordinal, name: &str) -> Option<Refusal> {
    let pod = world.get(&Key::new(Kind::Pod, &scene.set.key.namespace, name))?;
    let error = format!("pods \"{name}\" already exists");
    if pod.deleting() {
        return Some(Refusal { ordinal, reason: WaitReason::Terminating { ordinal }, error, event: None });
    }
    // Kubernetes says nothing of a name that is taken (section 14).
    let told = scene.snapshot.switches.isolate_refusals;
    let event = told.then(|| failed("FailedCreate", "Create", scene, name, &error));
    Some(Refusal { ordinal, reason: WaitReason::NameTaken { pod: name.to_owned(), uid: pod.uid() }, error, event })
}

/// A pod whose labels and host name would be too long (section 3.5). A set of such a name is admitted only without the
/// switch `refuse_long_names`.
fn invalid(scene: &Scene, creation: &PodCreation, name: &str) -> Option<Refusal> {
    let texts = [("metadata.labels", name), ("metadata.labels", &*creation.revision.0), ("spec.hostname", name)];
    let long = texts.iter().filter(|(_, text)| text.len() > DNS_LABEL_LENGTH_MAX);
    let found = long.map(|(field, text)| {
        format!("{field}: Invalid value: \"{text}\": must be no more than {DNS_LABEL_LENGTH_MAX} characters")
    });
    let error = match &*found.collect::<Vec<_>>() {
        [] => return None,
        [one] => format!("Pod \"{name}\" is invalid: {one}"),
        several => format!("Pod \"{name}\" is invalid: [{}]", several.join(", ")),
    };
    let message = format!("{error}; make the set again under a name of at most 52 characters");
    let event = failed("FailedCreate", "Create", scene, name, &error);
    Some(Refusal { ordinal: creation.ordinal, reason: WaitReason::Other { message }, error, event: Some(event) })
}

/// A pod that was taken over and does not use the claims of its ordinal: volumes of a pod cannot be changed (section 3.4).
fn immutable(scene: &Scene, ordinal: Ordinal) -> Refusal {
    let name = pod_name(&scene.set.key.name, ordinal);
    let error = format!(
        "Pod \"{name}\" is invalid: spec: Forbidden: pod updates may not change fields other than \
         `spec.containers[*].image`, `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, \
         `spec.tolerations` (only additions to existing tolerations), `spec.terminationGracePeriodSeconds` (allow it to \
         be set to 1 if it was previously negative)"
    );
    let message = identity::claims_unused(&name);
    let event = failed("FailedUpdate", "Update", scene, &name, &error);
    Refusal { ordinal, reason: WaitReason::Other { message }, error, event: Some(event) }
}

fn failed(reason: &str, verb: &str, scene: &Scene, pod: &str, error: &str) -> Event {
    let set = &scene.set.key.name;
    Event::warning(reason, format!("{verb} Pod {pod} in StatefulSet {set} failed error: {error}"))
}

/// At which ordinal a pass of Kubernetes fails, and with what: the lowest one.
fn failure(refusals: &[Refusal], claims: &ClaimPlan, switches: Switches) -> Option<(Ordinal, WaitReason, String)> {
    let refused = refusals.iter().map(|one| (one.ordinal, one.reason.clone(), one.error.clone()));
    let of_claims = claims.failures().filter(|_| !switches.wait_for_claims);
    refused.chain(of_claims).min_by_key(|(ordinal, ..)| *ordinal)
}

/// The last ordinal that a pass comes to when it fails at this one. Under Parallel that is the end of its batch: batches
/// double from one pod on, and the one after a failing batch is not begun.
fn last_reached(spec: &SetSpec, failed: Ordinal) -> Ordinal {
    if spec.policy == PodManagementPolicy::OrderedReady {
        return failed;
    }
    let index = u64::from(spec.index(failed));
    let (mut end, mut size) = (1, 1);
    while index >= end {
        size = (size * 2).min(BATCH_MAX);
        end += size;
    }
    let last = u32::try_from(end - 1).unwrap_or(u32::MAX);
    u32::try_from(spec.ordinal_at(last)).map_or(Ordinal::MAX, |last| Ordinal(last.min(Ordinal::MAX.0)))
}

/// Takes the refused creations out of a plan; they wait.
fn leave_out(refusals: &[Refusal], order: &mut OrdinalPlan) {
    order.create.retain(|creation| refusals.iter().all(|refusal| refusal.ordinal != creation.ordinal));
    order.waits.extend(refusals.iter().map(Refusal::wait));
}

/// Leaves out of both plans what a pass that ends at `last` does not come to: later ordinals, condemned pods and the update.
/// All of that waits for `reason`.
fn end_at(last: Ordinal, spec: &SetSpec, reason: &WaitReason, order: &mut OrdinalPlan, update: &mut UpdatePlan) {
    let reached = |ordinal: Ordinal| ordinal <= last && spec.contains(ordinal);
    let created = order.create.iter().map(|creation| creation.ordinal);
    let deleted = order.delete.iter().map(|deletion| deletion.ordinal);
    let not_reached = created.chain(deleted).filter(|ordinal| !reached(*ordinal));
    let not_replaced = update.replace.iter().map(|deletion| deletion.ordinal);
    let waits = not_reached.chain(not_replaced).map(|ordinal| Wait { ordinal: Some(ordinal), reason: reason.clone() });
    let waits: Vec<Wait> = waits.collect();
    order.create.retain(|creation| reached(creation.ordinal));
    order.delete.retain(|deletion| reached(deletion.ordinal));
    order.waits.extend(waits);
    update.replace.clear();
    update.recall.clear();
}

#[cfg(test)]
mod tests {
    use domain::RevisionName;

    use super::*;

    #[test]
    fn s_13_a_failing_batch_is_finished_and_the_next_is_not_begun() {
        let last = |start, reserved: &[u32], failed| {
            let spec = SetSpec {
                start: Ordinal(start),
                replicas: 2_000,
                policy: PodManagementPolicy::Parallel,
                reserved: reserved.iter().copied().map(Ordinal).collect(),
                ..SetSpec::default()
            };
            last_reached(&spec, Ordinal(failed)).0
        };
        for (failed, expected) in
            [(0, 0), (1, 2), (2, 2), (3, 6), (6, 6), (7, 14), (254, 254), (255, 510), (511, 1_010), (1_011, 1_510)]
        {
            assert_eq!(last(0, &[], failed), expected, "{failed}");
        }
        assert_eq!((last(5, &[], 6), last(0, &[1], 2)), (7, 3), "batches count members");
        assert_eq!(last_reached(&SetSpec::default(), Ordinal(4)), Ordinal(4), "in order the pass ends at once");
    }

    #[test]
    fn what_a_pass_does_not_come_to_waits_for_what_it_failed_at() {
        let spec = SetSpec { replicas: 5, policy: PodManagementPolicy::Parallel, ..SetSpec::default() };
        let creation = |ordinal| PodCreation {
            ordinal: Ordinal(ordinal),
            revision: RevisionName("A".into()),
            guard: domain::Guard::Pod,
        };
        let deletion = |ordinal| domain::PodDeletion {
            ordinal: Ordinal(ordinal),
            uid: domain::Uid("u".into()),
            why: String::new(),
            guard: domain::Guard::Pod,
        };
        let mut plan = OrdinalPlan {
            create: [1, 2, 4].map(creation).into(),
            delete: [0, 3, 7].map(deletion).into(),
            ..OrdinalPlan::default()
        };
        let reason = WaitReason::Terminating { ordinal: Ordinal(1) };
        let mut update = UpdatePlan { replace: vec![deletion(2)], recall: vec![Ordinal(1)], ..UpdatePlan::default() };
        end_at(Ordinal(2), &spec, &reason, &mut plan, &mut update);
        assert_eq!(update, UpdatePlan::default());
        let created: Vec<u32> = plan.create.iter().map(|creation| creation.ordinal.0).collect();
        let deleted: Vec<u32> = plan.delete.iter().map(|deletion| deletion.ordinal.0).collect();
        let waiting: Vec<u32> = plan.waits.iter().filter_map(|wait| Some(wait.ordinal?.0)).collect();
        assert_eq!((created, deleted, waiting), (vec![1, 2], vec![0], vec![4, 3, 7, 2]));
        assert!(plan.waits.iter().all(|wait| wait.reason == reason));
    }
}
