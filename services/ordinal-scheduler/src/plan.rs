//! Which pods to create and delete now.
//!
//! Pure: the same request gives the same plan. Steps C and E of the reconcile procedure (StatefulSet rules, section 7);
//! what is deleted for an update, or healed, is the update planner's part.

mod cold_start;
mod failures;
mod ordered;
mod parallel;
mod stop;
#[cfg(test)]
mod tests;

use domain::{
    Guard, Intent, Ordinal, OrdinalPlan, OrdinalRequest, Pod, PodCreation, PodDeletion, PodManagementPolicy, SetSpec,
    Snapshot, WaitReason, Waits,
};

/// How many pods one plan creates; the next pass continues. Bounds the size of an answer, some hundred bytes per pod,
/// below the message limit of gRPC, and the memory that a mistyped `replicas: 2000000000` costs.
const CREATIONS_MAX: usize = 10_000;

/// Moves the set one safe step towards its spec, or towards nothing where it is to stop.
///
/// Every ordinal that is not as it should be is either acted on or has a wait.
#[must_use]
pub fn plan(request: &OrdinalRequest) -> OrdinalPlan {
    let snapshot = &request.snapshot;
    match (snapshot.intent, snapshot.spec.policy) {
        (Intent::Keep, _) => keep(request),
        (Intent::Drain | Intent::Delete, PodManagementPolicy::OrderedReady) => stop::one_by_one(snapshot),
        (Intent::Drain | Intent::Delete, PodManagementPolicy::Parallel) => stop::all_at_once(snapshot),
    }
}

fn keep(request: &OrdinalRequest) -> OrdinalPlan {
    let snapshot = &request.snapshot;
    let cold_start = cold_start::of(snapshot);
    let mut plan = match snapshot.spec.policy {
        PodManagementPolicy::OrderedReady if cold_start.together => cold_start::create_all(request),
        PodManagementPolicy::OrderedReady => ordered::plan(request),
        PodManagementPolicy::Parallel => parallel::plan(request),
    };
    plan.failures = failures::after(snapshot, &plan.delete);
    plan.cold_start = cold_start.is_on;
    let retries = failures::next_retry(snapshot);
    let abandoned = snapshot.abandoned_from().map(|(_, from)| from).filter(|from| *from > snapshot.now);
    let moments = [cold_start.begins_at, abandoned, retries, snapshot.next_availability()];
    plan.look_again_at = moments.into_iter().flatten().min();
    plan
}

/// The creation of an ordinal's pod; why not, where nobody has chosen its revision, or its pods have ended too often.
fn creation(request: &OrdinalRequest, ordinal: Ordinal, guard: Guard) -> Result<PodCreation, WaitReason> {
    if let Some(until) = failures::retry_at(&request.snapshot, ordinal) {
        return Err(WaitReason::BackOff { ordinal, until });
    }
    let revision = request.target(ordinal).cloned();
    let no_target = || WaitReason::Other { message: format!("no revision has been chosen for pod {ordinal}") };
    revision.map(|revision| PodCreation { ordinal, revision, guard }).ok_or_else(no_target)
}

/// Creates every pod from `from` on that is missing and whose ordinal was part of the set before; the other missing ones
/// wait for `reason`. A creation rests on every pod of the set.
fn create_members(
    request: &OrdinalRequest,
    from: Ordinal,
    reason: &WaitReason,
    plan: &mut OrdinalPlan,
    waits: &mut Waits,
) {
    let was_member = |ordinal| request.snapshot.formed.is_some_and(|formed| ordinal <= formed);
    for (first, last) in gaps(&request.snapshot, from) {
        let mut next = first;
        while next <= last && was_member(next) && plan.create.len() < CREATIONS_MAX {
            match creation(request, next, Guard::AllPods) {
                Ok(creation) => plan.create.push(creation),
                Err(reason) => waits.push(next, reason),
            }
            next = Ordinal(next.0 + 1);
        }
        waits.push_run(next, last, reason);
    }
}

/// The deletion of a pod that has ended (rule R1). It rests on nothing but that pod.
fn replacement_of_ended(pod: &Pod) -> PodDeletion {
    let why = format!("replacing it: it has ended in phase {:?}", pod.phase);
    PodDeletion { ordinal: pod.ordinal, uid: pod.uid.clone(), why, guard: Guard::Pod }
}

/// The deletion of a pod outside the range.
fn scale_down(spec: &SetSpec, pod: &Pod, guard: Guard) -> PodDeletion {
    let why = match (spec.ordinals().next(), spec.last()) {
        _ if spec.is_reserved(pod.ordinal) => format!("ordinal {} is reserved", pod.ordinal),
        (Some(first), Some(last)) if last == first => format!("scaling down: the set keeps only ordinal {last}"),
        (Some(first), Some(last)) => format!("scaling down: the set keeps ordinals {first} to {last}"),
        _ => "scaling down: the set keeps no pods".to_owned(),
    };
    PodDeletion { ordinal: pod.ordinal, uid: pod.uid.clone(), why, guard }
}

/// Whether rule R1 deletes this pod.
fn is_ended(pod: &Pod) -> bool {
    pod.phase.terminal() && !pod.terminating
}

/// The runs of ordinals in range from `from` on that have no pod, first and last included, ascending.
fn gaps(snapshot: &Snapshot, from: Ordinal) -> impl Iterator<Item = (Ordinal, Ordinal)> {
    let end = snapshot.spec.last().map_or(0, |last| u64::from(last.0) + 1);
    // What is no gap: from a first ordinal until another.
    let mut stops: Vec<(u64, u64)> = snapshot.members().map(|pods| span(pods.ordinal, pods.last())).collect();
    if !snapshot.spec.reserved.is_empty() {
        let reserved = snapshot.spec.reserved.iter().map(|reserved| span(*reserved, *reserved));
        stops.extend(reserved.filter(|(first, _)| *first < end));
        stops.sort_unstable();
    }
    let mut next = u64::from(from.0);
    let stops = stops.into_iter().filter(move |(_, until)| *until > u64::from(from.0));
    stops.chain([(end, end)]).filter_map(move |(stop, until)| {
        let first = std::mem::replace(&mut next, until);
        let ordinal = |number: u64| Ordinal(u32::try_from(number).expect("within the range"));
        (first < stop).then(|| (ordinal(first), ordinal(stop - 1)))
    })
}

fn span(first: Ordinal, last: Ordinal) -> (u64, u64) {
    (first.0.into(), u64::from(last.0) + 1)
}

/// Says of each pod in range that is not healthy what it lacks, save of the one that is acted on.
fn wait_for_members(snapshot: &Snapshot, acted_on: Option<Ordinal>, waits: &mut Waits) {
    for pod in snapshot.members().filter(|pod| Some(pod.ordinal) != acted_on) {
        if let Some(ailment) = snapshot.ailment(pod) {
            waits.push(pod.ordinal, ailment);
        }
    }
}

/// Says what the condemned pods wait for while pods in range are not healthy; the highest one goes if it is abandoned.
fn hold_condemned(snapshot: &Snapshot, reason: &WaitReason, plan: &mut OrdinalPlan, waits: &mut Waits) {
    let abandoned = snapshot.abandoned().and_then(|highest| snapshot.pod(highest));
    wait_for_condemned(snapshot, abandoned.as_ref().map(|pod| pod.ordinal), reason, waits);
    plan.delete.extend(abandoned.map(|pod| scale_down(&snapshot.spec, &pod, Guard::AllPods)));
}

/// Says of each condemned pod, save of the one that is acted on, that it waits for `reason`, or for its own end.
fn wait_for_condemned(snapshot: &Snapshot, acted_on: Option<Ordinal>, reason: &WaitReason, waits: &mut Waits) {
    for pods in snapshot.condemned().rev() {
        let ordinal = pods.ordinal;
        let terminating = pods.terminating.then_some(WaitReason::Terminating { ordinal });
        // One that is acted on is the highest.
        let end = if acted_on == Some(pods.last()) { pods.last().0 } else { pods.last().0 + 1 };
        waits.push_run_down(ordinal.0..end, terminating.as_ref().unwrap_or(reason));
    }
}
