//! Which pods have had their time, and whether the update goes back because of them.
//!
//! Kubernetes has no such thing for sets (kubernetes/kubernetes 79606, 133592); the words are those of its Deployments,
//! the clock runs for each ordinal by itself.

use std::time::Duration;

use domain::{DeadlinePolicy, Pod, RevisionName, Snapshot, Stuck, Timestamp, UpdateRequest, UpdateStrategy};

use super::Revisions;

/// Stuck pods that one plan names. A person reads a few, and a set of thousands may be stuck as a whole.
const STUCK_MAX: usize = 100;

/// How the pods of a set get on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// Pods that have had their time, ascending, at most [`STUCK_MAX`].
    pub(super) stuck: Vec<Stuck>,
    /// Where the set goes back to.
    pub(super) revert: Option<RevisionName>,
    /// When the next pod will have had its time.
    pub(super) next_deadline: Option<Timestamp>,
}

/// Looks at every pod in range that is not ready.
pub(super) fn of(request: &UpdateRequest, revisions: &Revisions) -> Progress {
    let snapshot = &request.snapshot;
    let seconds = snapshot.spec.progress_deadline_seconds;
    if !snapshot.switches.watch_progress || seconds == 0 {
        return Progress::default();
    }
    let deadline = Duration::from_secs(seconds.into());
    let mut progress = Progress::default();
    let mut stuck_at_update = false;
    for (pod, since) in unready(snapshot).filter(|(pod, _)| !is_replaced(snapshot, revisions, pod)) {
        let due = since.plus(deadline);
        if due > snapshot.now {
            progress.next_deadline = Some(progress.next_deadline.map_or(due, |next| next.min(due)));
            continue;
        }
        stuck_at_update |= pod.at(&revisions.update);
        if progress.stuck.len() < STUCK_MAX {
            progress.stuck.push(Stuck { ordinal: pod.ordinal, since, cause: pod.cause });
        }
    }
    progress.revert = revert(request, revisions).filter(|_| stuck_at_update);
    progress
}

/// Pods in range that should run and are not ready, with the time since when. One that is ready and only has to stay so
/// for `minReadySeconds` makes progress; one that terminates or has ended is not the one that the set waits for.
fn unready(snapshot: &Snapshot) -> impl Iterator<Item = (&Pod, Timestamp)> {
    let running = snapshot.members().filter(|pod| !pod.terminating && !pod.phase.terminal());
    running.filter_map(|pod| Some((pod, snapshot.unready_since(pod)?)))
}

/// Whether the update replaces this pod although, or because, it is not ready: then its time is of no interest any more.
/// What was stuck is not stuck once somebody has mended the template.
fn is_replaced(snapshot: &Snapshot, revisions: &Revisions, pod: &Pod) -> bool {
    let rolls = matches!(snapshot.spec.strategy, UpdateStrategy::RollingUpdate(_)) && !snapshot.spec.paused;
    let updatable = snapshot.spec.index(pod.ordinal) >= snapshot.spec.partition();
    let target = if updatable { &revisions.update } else { &revisions.current };
    rolls && snapshot.switches.heal_broken_pods && !pod.at(target)
}

/// The revision that a stuck update goes back to, if its set wants that: the current one, where it is another and still
/// stored. A paused set stays as it is.
fn revert(request: &UpdateRequest, revisions: &Revisions) -> Option<RevisionName> {
    let spec = &request.snapshot.spec;
    let wanted = spec.progress_deadline_policy == DeadlinePolicy::Revert && !spec.paused;
    let elsewhere = revisions.current != revisions.update;
    let stored = request.revisions.iter().any(|revision| revision.name == revisions.current);
    (wanted && elsewhere && stored).then(|| revisions.current.clone())
}
