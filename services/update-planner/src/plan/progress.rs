//! Which ordinals have had their time, and whether the update goes back because of them.
//!
//! Kubernetes has no such thing for sets (kubernetes/kubernetes 79606, 133592); the words are those of its Deployments,
//! the clock runs for each ordinal by itself: from when it was available last, through every pod that it has had since, and
//! not before the set was resumed last. Most pods tell that time themselves; what they cannot tell is an [`Outage`], handed
//! from pass to pass.

use std::time::Duration;

use domain::{
    Cause, DeadlinePolicy, Ordinal, Outage, Pod, PodManagementPolicy, RevisionName, Snapshot, Stuck, Timestamp,
    UpdateRequest, UpdateStrategy,
};

use super::Revisions;

/// How long a set that nobody has looked after, as while the power was off, may take to recover before an update is blamed
/// for it; its deadline, if that is shorter.
const RECOVERY: Duration = Duration::from_secs(600);

/// Stuck ordinals that one plan names. A person reads a few, and a set of thousands may be stuck as a whole.
const STUCK_MAX: usize = 100;

/// How the ordinals of a set get on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// Ordinals that have had their time, ascending, at most [`STUCK_MAX`].
    pub(super) stuck: Vec<Stuck>,
    /// What the next pass must be told, ascending.
    pub(super) outages: Vec<Outage>,
    /// Where the set goes back to.
    pub(super) revert: Option<RevisionName>,
    /// When the next ordinal will have had its time.
    pub(super) next_deadline: Option<Timestamp>,
}

/// Looks at every ordinal in range that is not available, and at pods out of range that do not stop. While a set is
/// paused nobody waits for its progress.
pub(super) fn of(request: &UpdateRequest, revisions: &Revisions) -> Progress {
    let snapshot = &request.snapshot;
    let seconds = snapshot.spec.progress_deadline_seconds;
    if !snapshot.switches.watch_progress || seconds == 0 || snapshot.spec.paused {
        return Progress::default();
    }
    let deadline = Duration::from_secs(seconds.into());
    let mut progress = Progress::default();
    let mut stuck_at_update = false;
    for clock in Clocks::of(snapshot, revisions).all() {
        let Clock { ordinal, since, cause, kept, at_update } = clock;
        progress.outages.extend(kept.map(|since| Outage { ordinal, since }));
        let Some(since) = since else { continue };
        let due = snapshot.resumed_at.map_or(since, |resumed| since.max(resumed)).plus(deadline);
        if due > snapshot.now {
            progress.next_deadline = Some(progress.next_deadline.map_or(due, |next| next.min(due)));
            continue;
        }
        stuck_at_update |= at_update && cause != Some(Cause::Dns);
        progress.stuck.push(Stuck { ordinal, since, cause });
    }
    progress.outages.sort_by_key(|outage| outage.ordinal);
    progress.stuck.sort_by_key(|stuck| stuck.ordinal);
    progress.stuck.truncate(STUCK_MAX);
    let watched_for_it = snapshot.watched_since.map(|since| since.plus(deadline.min(RECOVERY)));
    let watched_for_it = watched_for_it.filter(|due| *due > snapshot.now);
    progress.revert = revert(request, revisions).filter(|_| stuck_at_update && watched_for_it.is_none());
    if stuck_at_update {
        progress.next_deadline = progress.next_deadline.into_iter().chain(watched_for_it).min();
    }
    progress
}

/// The time of one ordinal.
struct Clock {
    ordinal: Ordinal,
    /// Since when somebody waits for it; none where nobody does.
    since: Option<Timestamp>,
    /// What keeps it, as far as its pod tells.
    cause: Option<Cause>,
    /// What the next pass must be told, because its pod does not tell it.
    kept: Option<Timestamp>,
    /// Whether it is the update that does not get on.
    at_update: bool,
}

impl Clock {
    fn stopped(ordinal: Ordinal) -> Self {
        Self { ordinal, since: None, cause: None, kept: None, at_update: false }
    }
}

struct Clocks<'a> {
    snapshot: &'a Snapshot,
    revisions: &'a Revisions,
    /// What earlier pods of an ordinal cannot tell any more. Nothing where the update is a new one: what was stuck is not
    /// stuck once somebody has mended the template.
    outages: &'a [Outage],
    /// Under OrderedReady, the only ordinal whose pod may be created now; none where all members that are known may.
    turn: Option<Ordinal>,
}

impl<'a> Clocks<'a> {
    fn of(snapshot: &'a Snapshot, revisions: &'a Revisions) -> Self {
        let same_update = snapshot.status.update_revision == revisions.update;
        let outages = if same_update { snapshot.outages.as_slice() } else { &[] };
        let ordered = snapshot.spec.policy == PodManagementPolicy::OrderedReady && !snapshot.cold_start;
        let alone = snapshot.company_from().is_none_or(|from| from > snapshot.now);
        let turn = snapshot.first_unhealthy().map(|(lowest, _)| lowest).filter(|_| ordered && alone);
        Self { snapshot, revisions, outages, turn }
    }

    /// Of every ordinal that has a pod, then of those that have none and are known to be out.
    fn all(&self) -> impl Iterator<Item = Clock> {
        let wanted = |pod: &Pod| self.snapshot.spec.contains(pod.ordinal) && !self.is_replaced(pod);
        let pods = self.snapshot.pods.iter();
        let pods = pods.map(move |pod| if wanted(pod) { self.of_member(pod) } else { Self::of_unwanted(pod) });
        let missing = |ordinal| self.snapshot.spec.contains(ordinal) && !self.snapshot.has_pod(ordinal);
        let empty = self.outages.iter().filter(move |outage| missing(outage.ordinal) && self.has_turn(outage.ordinal));
        pods.chain(empty.map(|outage| self.of_missing(outage)))
    }

    fn of_member(&self, pod: &Pod) -> Clock {
        let ordinal = pod.ordinal;
        let known = self.known(ordinal);
        let unready = self.snapshot.unready_since(pod);
        let clock = Clock { cause: pod.cause, at_update: pod.at(&self.revisions.update), ..Clock::stopped(ordinal) };
        let earliest = [known, unready].into_iter().flatten().min();
        if pod.terminating {
            let since = earliest.into_iter().chain(pod.stops_by).min();
            return Clock { since, kept: earliest, cause: Some(Cause::Termination), at_update: false, ..clock };
        }
        if pod.phase.terminal() {
            // It is being replaced, or waits for that until its predecessors are healthy.
            let kept = earliest.filter(|_| self.has_turn(ordinal));
            return Clock { since: known.and(kept), kept, ..clock };
        }
        match unready {
            Some(unready) => Clock { since: earliest, kept: known.filter(|known| *known < unready), ..clock },
            None if self.snapshot.healthy(pod) => Clock::stopped(ordinal),
            // One that is ready and only has to stay so for `minReadySeconds` makes progress.
            None => Clock { kept: known, ..Clock::stopped(ordinal) },
        }
    }

    /// A pod that nobody wants, or not at its revision: once its grace period is over it should be gone.
    fn of_unwanted(pod: &Pod) -> Clock {
        let since = pod.stops_by.filter(|_| pod.terminating);
        Clock { since, cause: Some(Cause::Termination), ..Clock::stopped(pod.ordinal) }
    }

    /// An ordinal whose pod was held back, or replaced in this very moment. The update does not get on there if its pods
    /// end again and again.
    fn of_missing(&self, outage: &Outage) -> Clock {
        let Outage { ordinal, since } = *outage;
        let spec = &self.snapshot.spec;
        let ended = self.snapshot.failures.binary_search_by_key(&ordinal, |failures| failures.ordinal).is_ok();
        let at_update = ended && spec.index(ordinal) >= spec.partition();
        Clock { ordinal, since: Some(since), cause: None, kept: Some(since), at_update }
    }

    fn known(&self, ordinal: Ordinal) -> Option<Timestamp> {
        let place = self.outages.binary_search_by_key(&ordinal, |outage| outage.ordinal).ok()?;
        self.outages.get(place).map(|outage| outage.since)
    }

    /// Whether an ordinal without a pod is not merely waiting for its predecessors.
    fn has_turn(&self, ordinal: Ordinal) -> bool {
        let ordered = self.snapshot.spec.policy == PodManagementPolicy::OrderedReady;
        self.turn.map_or(!ordered || Some(ordinal) <= self.snapshot.formed, |turn| turn == ordinal)
    }

    /// Whether the update replaces this pod although, or because, it is not ready: then its time is of no interest any
    /// more.
    fn is_replaced(&self, pod: &Pod) -> bool {
        let spec = &self.snapshot.spec;
        let rolls = matches!(spec.strategy, UpdateStrategy::RollingUpdate(_));
        let updatable = spec.index(pod.ordinal) >= spec.partition();
        let target = if updatable { &self.revisions.update } else { &self.revisions.current };
        // One at the update revision stays, also where a partition was raised above it.
        let outdated = !pod.at(target) && !pod.at(&self.revisions.update);
        rolls && self.snapshot.switches.heal_broken_pods && outdated
    }
}

/// The revision that a stuck update goes back to, if its set wants that: the current one, where it is another and still
/// stored. Whether the update is to blame is asked before: it is not for a time in which nobody looked after the set, as
/// while the power was off, nor where its names cannot be served.
fn revert(request: &UpdateRequest, revisions: &Revisions) -> Option<RevisionName> {
    let wanted = request.snapshot.spec.progress_deadline_policy == DeadlinePolicy::Revert;
    let elsewhere = revisions.current != revisions.update;
    let stored = request.revisions.iter().any(|revision| revision.name == revisions.current);
    (wanted && elsewhere && stored).then(|| revisions.current.clone())
}
