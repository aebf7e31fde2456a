//! What must hold after every pass (StatefulSet rules, section 19; the numbers are its).

use std::collections::BTreeSet;

use domain::{Intent, Ordinal, PATIENCE, RevisionChange, RevisionName, Snapshot, UpdateStrategy};

use crate::world::{Pass, World};

/// Checks one pass between two states of the world. Invariant 1 is checked where the world is changed; 8 holds because
/// it has no other way to change a revision; 9 and 10 are about claims.
pub(crate) fn check(before: &World, pass: &Pass, after: &World) {
    let snapshot = before.request().snapshot;
    if before.intent == Intent::Keep {
        if before.ordered() {
            ordered_creation(&snapshot, pass);
            one_step_per_pass(&snapshot, pass);
        }
        condemned_in_order(&snapshot, pass);
        update_in_order(&snapshot, pass);
        update_within_budget(&snapshot, pass);
    } else {
        nothing_starts(before, pass);
    }
    same_input_same_plan(before, pass);
    status_is_valid(before, after);
    revisions_rise(before, after);
    live_revisions_stay(before, pass, after);
    replay_is_idle(before, pass, after);
    everyone_waits_for_something(before, pass);
}

/// 2: nothing is created while a lower ordinal in range is not healthy, but where a set is started as a whole, or its lowest
/// makes no headway, or what an update took down comes back.
fn ordered_creation(snapshot: &Snapshot, pass: &Pass) {
    let in_order = !pass.ordinals.cold_start && !again_after_an_update(snapshot);
    let company = |ordinal| is_stalled(snapshot) && Some(ordinal) <= snapshot.formed;
    for creation in pass.ordinals.create.iter().filter(|creation| in_order && !company(creation.ordinal)) {
        let lowest = snapshot.first_unhealthy().expect("something is missing");
        assert_eq!(lowest.0, creation.ordinal, "created before {lowest:?} was healthy");
    }
}

/// Whether the lowest that is not healthy has lived long enough without becoming ready.
fn is_stalled(snapshot: &Snapshot) -> bool {
    let since = snapshot.first_unhealthy().and_then(|(lowest, _)| snapshot.stalled_since(lowest));
    snapshot.switches.break_cold_start && since.is_some_and(|since| since.plus(PATIENCE) <= snapshot.now)
}

/// Whether no more of a complete set is down than an update may take down.
fn again_after_an_update(snapshot: &Snapshot) -> bool {
    let budget = snapshot.spec.max_unavailable();
    let healthy = snapshot.members().filter(|pod| snapshot.healthy(pod)).count();
    let down = snapshot.spec.size() as usize - healthy;
    let was_complete = snapshot.formed.is_some() && snapshot.formed >= snapshot.spec.last();
    let updatable = |ordinal| snapshot.spec.index(ordinal) >= snapshot.spec.partition();
    let of_the_update = snapshot.first_unhealthy().is_some_and(|(lowest, _)| updatable(lowest));
    let updating = snapshot.is_updating() && of_the_update;
    snapshot.switches.recreate_together && was_complete && updating && budget > 1 && down <= budget as usize
}

/// 3 and 4: one creation or one condemned deletion at a time; none of the latter while a pod in range is not healthy.
fn one_step_per_pass(snapshot: &Snapshot, pass: &Pass) {
    let condemned: Vec<_> =
        pass.ordinals.delete.iter().filter(|deletion| !snapshot.spec.contains(deletion.ordinal)).collect();
    let steps = pass.ordinals.create.len() + condemned.len();
    let together = pass.ordinals.cold_start || is_stalled(snapshot) || again_after_an_update(snapshot);
    assert!(steps <= 1 || together, "more than one step: {pass:?}");
    if let Some(deletion) = condemned.first() {
        let hopeless = snapshot.pod(deletion.ordinal).is_some_and(|pod| !pod.is_ready());
        let in_order = snapshot.first_unhealthy().is_none() || (is_stalled(snapshot) && hopeless);
        assert!(in_order, "scaled down while a pod is not healthy");
        let highest = snapshot.condemned().next_back().expect("something is condemned");
        assert_eq!(highest.ordinal, deletion.ordinal, "not the highest");
    }
    if !pass.update.replace.is_empty() {
        let healing = snapshot.first_unhealthy().is_some();
        let limit = if healing { 1 } else { snapshot.spec.max_unavailable() as usize };
        assert!(pass.update.replace.len() <= limit, "more than {limit} updated at once");
        assert!(healing || snapshot.condemned().next().is_none(), "updated before scaling down");
    }
}

/// 5: condemned pods go from the highest down.
fn condemned_in_order(snapshot: &Snapshot, pass: &Pass) {
    let condemned = pass.ordinals.delete.iter().map(|deletion| deletion.ordinal);
    let condemned: Vec<Ordinal> = condemned.filter(|ordinal| !snapshot.spec.contains(*ordinal)).collect();
    assert!(condemned.is_sorted_by(|a, b| a > b), "not descending: {condemned:?}");
}

/// 6: broken pods from the highest down, then available ones from the highest down; none that the partition holds,
/// except one that is healed back to the current revision; none at the update revision; none under OnDelete.
fn update_in_order(snapshot: &Snapshot, pass: &Pass) {
    let pod = |ordinal| snapshot.pod(ordinal).expect("deletes an existing pod");
    let (broken, available): (Vec<_>, Vec<_>) =
        pass.update.replace.iter().map(|deletion| pod(deletion.ordinal)).partition(|pod| snapshot.unavailable(pod));
    let expected: Vec<Ordinal> = broken.iter().chain(&available).map(|pod| pod.ordinal).collect();
    let actual: Vec<Ordinal> = pass.update.replace.iter().map(|deletion| deletion.ordinal).collect();
    assert_eq!(actual, expected, "broken ones come first");
    assert!(broken.is_sorted_by(|a, b| a.ordinal > b.ordinal) && available.is_sorted_by(|a, b| a.ordinal > b.ordinal));
    for pod in broken.iter().chain(&available) {
        assert!(matches!(snapshot.spec.strategy, UpdateStrategy::RollingUpdate(_)), "updated under OnDelete");
        assert!(snapshot.spec.contains(pod.ordinal), "updated out of range");
        let target = pass.update.target(pod.ordinal).expect("in range");
        let held = snapshot.spec.index(pod.ordinal) < snapshot.spec.partition();
        let heals = held && snapshot.switches.heal_broken_pods && snapshot.unavailable(pod) && !pod.at(target);
        assert!(!held || heals, "updated below the partition: {pod:?}");
    }
}

/// 7: available pods taken down fit into what is left of the budget.
fn update_within_budget(snapshot: &Snapshot, pass: &Pass) {
    let healthy = snapshot.members().filter(|pod| !snapshot.unavailable(pod)).count();
    let unavailable = snapshot.spec.ordinals().count() - healthy;
    let taken = pass.update.replace.iter().filter_map(|deletion| snapshot.pod(deletion.ordinal));
    let taken = taken.filter(|pod| !snapshot.unavailable(pod)).count();
    let budget = (snapshot.spec.max_unavailable() as usize).saturating_sub(unavailable);
    assert!(taken <= budget, "{taken} available pods taken down, the budget has {budget}");
}

/// 11: a set that stops starts and updates nothing. Of one that is being deleted Kubernetes still finds the revision.
fn nothing_starts(before: &World, pass: &Pass) {
    assert!(pass.ordinals.create.is_empty() && pass.update.replace.is_empty());
    let frozen = before.intent == Intent::Drain || before.switches.freeze_revisions_of_deleted;
    assert!(!frozen || pass.update.revisions.is_empty());
}

/// The plans depend on nothing but the request.
fn same_input_same_plan(before: &World, pass: &Pass) {
    let request = before.request();
    assert_eq!(update_planner::plan::plan(&request), pass.update);
    let question = domain::OrdinalRequest { snapshot: request.snapshot, targets: pass.update.targets.clone() };
    assert_eq!(ordinal_scheduler::plan::plan(&question), pass.ordinals);
}

/// 13 and 14: the generation never falls, and the counts fit together.
fn status_is_valid(before: &World, after: &World) {
    let status = &after.status;
    assert!(status.observed_generation >= before.status.observed_generation);
    assert!(status.observed_generation <= after.generation);
    for count in [status.ready_replicas, status.current_replicas, status.updated_replicas] {
        assert!(count <= status.replicas, "{status:?}");
    }
    assert!(status.available_replicas <= status.ready_replicas, "{status:?}");
    assert!(status.collision_count >= before.status.collision_count);
}

/// 15: a new or renewed revision has a higher number than every revision before.
fn revisions_rise(before: &World, after: &World) {
    let highest = before.revisions.iter().map(|revision| revision.number).max().unwrap_or(0);
    for revision in after.revisions.iter().filter(|revision| !before.revisions.contains(revision)) {
        assert!(revision.number > highest, "{revision:?} is not above {highest}");
    }
}

/// 16: what is current, wanted or carried by a pod is not pruned.
fn live_revisions_stay(before: &World, pass: &Pass, after: &World) {
    let carried = before.pods.values().chain(after.pods.values()).filter_map(|pod| pod.revision.clone());
    let status = [pass.update.status.current_revision.clone(), pass.update.status.update_revision.clone()];
    let live: BTreeSet<RevisionName> = carried.chain(status).collect();
    for change in &pass.update.revisions {
        if let RevisionChange::Prune { name } = change {
            assert!(!live.contains(name), "pruned {name}, which is needed");
        }
    }
}

/// 12: a pass that did nothing does nothing again, unless it found that the set must be started as a whole.
fn replay_is_idle(before: &World, pass: &Pass, after: &World) {
    let found = before.cold_start != after.cold_start;
    if pass.actions == "none" && !pass.wrote && pass.update.revisions.is_empty() && !found {
        let again = update_planner::plan::plan(&after.request());
        assert_eq!(again, pass.update, "the same world, another plan");
    }
}

/// Every ordinal that is not as it should be is acted on or waits for something.
fn everyone_waits_for_something(before: &World, pass: &Pass) {
    let snapshot = before.request().snapshot;
    let created = pass.ordinals.create.iter().map(|creation| creation.ordinal);
    let deletions = pass.ordinals.delete.iter().chain(&pass.update.replace).map(|deletion| deletion.ordinal);
    let acted_on: BTreeSet<Ordinal> = created.chain(deletions).collect();
    let waits = pass.ordinals.waits.iter().chain(&pass.update.waits);
    let waiting: BTreeSet<Ordinal> = waits.filter_map(|wait| wait.ordinal).collect();
    let range = snapshot.spec.ordinals().filter(|_| before.intent == Intent::Keep);
    let missing = range.filter(|ordinal| snapshot.pod(*ordinal).is_none());
    let wrong = snapshot.pods.iter().filter(|pod| match before.intent {
        Intent::Keep => snapshot.ailment(pod).is_some() || !snapshot.spec.contains(pod.ordinal),
        Intent::Drain | Intent::Delete => true,
    });
    for ordinal in missing.chain(wrong.map(|pod| pod.ordinal)) {
        assert!(acted_on.contains(&ordinal) || waiting.contains(&ordinal), "nobody says why {ordinal} waits: {pass:?}");
    }
}
