//! Which pods to delete now so that they come back at another revision (StatefulSet rules, sections 8 and 17).

use std::collections::BTreeSet;

use domain::{
    Guard, Ordinal, PATIENCE, Pod, PodDeletion, PodManagementPolicy, PodRun, SLOW_START, Snapshot, Switches,
    TargetRange, Timestamp, UpdateStrategy, Wait, WaitReason, Waits,
};

use super::Revisions;

/// How many pods are recalled in one plan: as many as the ordinal scheduler creates in one.
const RECALLS_MAX: usize = 10_000;

/// Where an ordered walk stops.
#[derive(Debug, Clone, Copy)]
struct Stop {
    lowest: Ordinal,
    /// Since when the pod there lives and makes no headway.
    stalled: Option<Timestamp>,
    /// Whether a healthy pod has the current revision.
    current_works: bool,
}

/// What the update does now, and why it does no more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Replacement {
    /// Pods to delete, in this order.
    pub(super) replace: Vec<PodDeletion>,
    /// Ordinals whose pod is created in this pass and deleted again in it.
    pub(super) recall: Vec<Ordinal>,
    /// Why other outdated pods stay.
    pub(super) waits: Vec<Wait>,
    /// When a pod that is broken will have had its time.
    pub(super) look_again_at: Option<Timestamp>,
}

/// The update phase. `targets` say at which revision a missing pod is created.
pub(super) fn plan(snapshot: &Snapshot, revisions: &Revisions, targets: &[TargetRange]) -> Replacement {
    let update = Update { snapshot, revisions };
    if snapshot.spec.paused {
        return update.explained(Vec::new(), WaitReason::Paused);
    }
    match (&snapshot.spec.strategy, snapshot.spec.policy) {
        (UpdateStrategy::OnDelete, _) => update.explained(Vec::new(), WaitReason::OnDelete),
        (UpdateStrategy::RollingUpdate(_), PodManagementPolicy::OrderedReady) => update.ordered(),
        (UpdateStrategy::RollingUpdate(_), PodManagementPolicy::Parallel) => {
            Replacement { recall: update.recall(targets), ..update.parallel() }
        }
    }
}

struct Update<'a> {
    snapshot: &'a Snapshot,
    revisions: &'a Revisions,
}

impl Update<'_> {
    /// Begins only when every pod in range is healthy and none is left outside; until then at most heals.
    fn ordered(&self) -> Replacement {
        if let Some((lowest, ailment)) = self.snapshot.first_unhealthy() {
            let (deletion, look_again_at) = self.heal(lowest);
            return Replacement { look_again_at, ..self.explained(deletion.into_iter().collect(), ailment) };
        }
        if let Some(condemned) = self.snapshot.condemned().next_back() {
            return self.explained(Vec::new(), WaitReason::ScalingDown { ordinal: condemned.last() });
        }
        let max_unavailable = self.snapshot.spec.max_unavailable();
        let replace = self.take_down(max_unavailable);
        let unavailable = number(replace.len());
        self.explained(replace, WaitReason::BudgetSpent { unavailable, max_unavailable })
    }

    /// Broken pods first, all of them: nobody misses them. Then available ones as far as the budget goes.
    fn parallel(&self) -> Replacement {
        let max_unavailable = self.snapshot.spec.max_unavailable();
        let unavailable = self.snapshot.unavailable_members();
        let mut replace = self.broken();
        let available = self.take_down(max_unavailable.saturating_sub(unavailable));
        let unavailable = unavailable.saturating_add(number(available.len()));
        replace.extend(available);
        self.explained(replace, WaitReason::BudgetSpent { unavailable, max_unavailable })
    }

    /// Outdated available pods that the partition lets go, highest first, at most `budget`.
    fn take_down(&self, budget: u32) -> Vec<PodDeletion> {
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        let available = self.candidates().filter(|pods| self.updatable(pods) && !self.snapshot.unavailable(pods));
        let highest_first = available.flat_map(|pods| pods.pods().rev());
        highest_first.take(budget).map(|pod| self.deletion(&pod, Guard::AllPods)).collect()
    }

    /// Outdated pods that are not available, highest first. Each deletion rests on that pod alone. Those that have ended are
    /// deleted by the ordinal scheduler, and by this one too where Kubernetes does it (switch `delete_once`). One that is ready
    /// and has yet to stay so serves somebody: in Kubernetes it counts as broken, else it waits its turn.
    fn broken(&self) -> Vec<PodDeletion> {
        let Switches { heal_broken_pods, delete_once, .. } = self.snapshot.switches;
        let unavailable = self.present().filter(|pod| self.snapshot.unavailable(pod));
        let ended = |pod: &Pod| !delete_once && self.updatable(pod);
        let alive = |pod: &Pod| if heal_broken_pods { self.heals(pod) } else { self.updatable(pod) };
        let broken = unavailable.filter(|pod| if pod.phase.terminal() { ended(pod) } else { alive(pod) });
        broken.map(|pod| self.deletion(pod, Guard::Pod)).collect()
    }

    /// Missing pods that are created outdated although the partition lets them go, highest first: they count as broken as
    /// soon as they are there (section 8.4, switch `recreate_at_last_revision`). With a `rollingUpdate` block there are
    /// none, and without one no more than pods are counted as current.
    fn recall(&self, targets: &[TargetRange]) -> Vec<Ordinal> {
        let Self { snapshot: Snapshot { spec, .. }, revisions } = self;
        let outdated = targets.iter().filter(|range| range.revision != revisions.update);
        let ordinals = outdated.flat_map(|range| (range.first.0..=range.last.0).rev().map(Ordinal));
        let lost = |ordinal: &Ordinal| !spec.is_reserved(*ordinal) && !self.snapshot.has_pod(*ordinal);
        let recalled = ordinals.filter(|ordinal| spec.index(*ordinal) >= spec.partition() && lost(ordinal));
        recalled.take(RECALLS_MAX).collect()
    }

    /// The deletion that mends an ordered set, of the lowest pod that may be healed now; without it a broken template could
    /// never be rolled back. And when the next one may be.
    fn heal(&self, lowest: Ordinal) -> (Option<PodDeletion>, Option<Timestamp>) {
        let stop = Stop { lowest, stalled: self.snapshot.stalled_since(lowest), current_works: self.current_works() };
        let broken = self.candidates().filter(|pod| self.heals(pod));
        let times = broken.filter_map(|pod| Some((pod, self.heals_from(pod, &stop)?)));
        let (now, later): (Vec<_>, Vec<_>) = times.partition(|(_, from)| *from <= self.snapshot.now);
        // They come highest first.
        let deletion = now.last().map(|(pod, _)| self.deletion(pod, Guard::AllPods));
        (deletion, later.into_iter().map(|(_, from)| from).min())
    }

    /// From when on an ordered set heals a broken pod, if ever: the one at which its walk stops, at once. One above that comes
    /// back only when the lower one is healthy, or makes no headway, so it is left its chance to recover; but where pods need
    /// each other, the lower one never is before the broken one is replaced. Then a pod goes that the set has left behind, at
    /// neither of its revisions, unless the lower one is not there at all; and any, while all are started together after a total
    /// outage, or where the lower one has had as much time and no healthy pod shows that the current revision works.
    fn heals_from(&self, pod: &Pod, stop: &Stop) -> Option<Timestamp> {
        if pod.ordinal == stop.lowest {
            // Whatever the clock of its machine says.
            return Some(self.snapshot.now);
        }
        let unready = self.snapshot.stalled_since(pod.ordinal)?;
        let left_behind = !pod.at(&self.revisions.current);
        let together = self.snapshot.cold_start && self.snapshot.is_down();
        match stop.stalled {
            Some(_) if left_behind => Some(unready.plus(PATIENCE)),
            _ if together => Some(unready.plus(SLOW_START)),
            Some(stalled) if !stop.current_works => Some(unready.max(stalled).plus(SLOW_START)),
            _ => None,
        }
    }

    /// Whether a healthy pod has the current revision: what is broken at it may be so for another reason.
    fn current_works(&self) -> bool {
        let mut members = self.snapshot.members();
        members.any(|pod| pod.at(&self.revisions.current) && self.snapshot.healthy(pod))
    }

    /// Whether healing may delete this outdated pod: it will not become available by the mere passing of time, and it
    /// would come back at another revision than it has.
    fn heals(&self, pod: &Pod) -> bool {
        let comes_back_changed = self.updatable(pod) || !pod.at(&self.revisions.current);
        self.snapshot.switches.heal_broken_pods && comes_back_changed && stuck(self.snapshot, pod)
    }

    /// Outdated pods in range that are neither terminating nor ended, highest first. Those that have ended are
    /// replaced under every strategy.
    fn candidates(&self) -> impl Iterator<Item = &PodRun> {
        self.present().filter(|pod| !pod.phase.terminal())
    }

    /// Outdated pods in range that are not terminating, highest first.
    fn present(&self) -> impl Iterator<Item = &PodRun> {
        self.snapshot.members().rev().filter(|pod| !pod.terminating && self.outdated(pod))
    }

    fn outdated(&self, pod: &Pod) -> bool {
        !pod.at(&self.revisions.update)
    }

    fn updatable(&self, pod: &Pod) -> bool {
        self.snapshot.spec.index(pod.ordinal) >= self.snapshot.spec.partition()
    }

    fn deletion(&self, pod: &Pod, guard: Guard) -> PodDeletion {
        let Revisions { current, update } = self.revisions;
        let target = if self.updatable(pod) { update } else { current };
        let broken = if self.snapshot.unavailable(pod) { "healing: it is not available, " } else { "" };
        let why = format!("{broken}updating to {target}");
        PodDeletion { ordinal: pod.ordinal, uid: pod.uid.clone(), why, guard }
    }

    /// Adds why each outdated pod stays that is not replaced: the partition, or else `reason`.
    fn explained(&self, replace: Vec<PodDeletion>, reason: WaitReason) -> Replacement {
        let replaced: BTreeSet<Ordinal> = replace.iter().map(|deletion| deletion.ordinal).collect();
        let partition = self.snapshot.spec.partition();
        let mut waits = Waits::default();
        for pods in self.candidates() {
            let held = WaitReason::Partition { partition };
            let reason = if self.updatable(pods) { &reason } else { &held };
            let mut end = pods.last().0 + 1;
            for replaced in replaced.range(pods.ordinal..=pods.last()).rev() {
                waits.push_run_down(replaced.0 + 1..end, reason);
                end = replaced.0;
            }
            waits.push_run_down(pods.ordinal.0..end, reason);
        }
        Replacement { replace, waits: waits.finish(), ..Replacement::default() }
    }
}

/// Whether waiting does not help: the pod is not ready, or nobody knows since when it is.
fn stuck(snapshot: &Snapshot, pod: &Pod) -> bool {
    let becomes_available = pod.is_ready() && pod.available_at(snapshot.spec.min_ready_seconds).is_some();
    snapshot.unavailable(pod) && !becomes_available
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
