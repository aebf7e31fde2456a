//! The pods of a set as a whole. Those that are as they should be, which of a large set are nearly all, are a few runs: what
//! a planner is told, and what it reckons, does not grow with them.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Arc;

use crate::{Ordinal, Phase, Pod, PodDeletion, RevisionName, SetSpec, Snapshot, Timestamp};

/// The pods of a set, as runs of one or more. Cheap to clone: whoever changes them gets a copy of their own where somebody
/// else has them too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pods(Arc<Vec<PodRun>>);

impl Pods {
    /// Pods that are known one by one, and those that are told in runs; both ascending, and no ordinal twice. Runs are parted
    /// as the spec treats their ordinals ([`PodRun`]), so it must be the one that they are looked at with.
    #[must_use]
    pub fn of(alone: Vec<Pod>, steady: &[SteadyPods], spec: &SetSpec) -> Self {
        let alone = alone.into_iter().map(PodRun::from);
        let mut runs: Vec<PodRun> = alone.chain(steady.iter().flat_map(|run| run.parts(spec))).collect();
        runs.sort_by_key(|run| run.ordinal);
        Self(Arc::new(runs))
    }

    /// How many pods they are. `len` is the number of runs.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.iter().map(PodRun::count).fold(0, u32::saturating_add)
    }
}

impl Deref for Pods {
    type Target = Vec<PodRun>;

    fn deref(&self) -> &Vec<PodRun> {
        &self.0
    }
}

impl DerefMut for Pods {
    fn deref_mut(&mut self) -> &mut Vec<PodRun> {
        Arc::make_mut(&mut self.0)
    }
}

impl<'a> IntoIterator for &'a Pods {
    type Item = &'a PodRun;
    type IntoIter = slice::Iter<'a, PodRun>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl From<Vec<Pod>> for Pods {
    fn from(pods: Vec<Pod>) -> Self {
        pods.into_iter().collect()
    }
}

impl FromIterator<Pod> for Pods {
    fn from_iter<I: IntoIterator<Item = Pod>>(pods: I) -> Self {
        Self(Arc::new(pods.into_iter().map(PodRun::from).collect()))
    }
}

/// Pods of consecutive ordinals that are alike to every rule; mostly one. It is its lowest pod with others behind it, and
/// what is true of that one is true of each: all are in range or none is, and the partition holds all or none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodRun {
    lowest: Pod,
    /// How many others there are.
    others: u32,
}

impl PodRun {
    /// How many pods it is, at least 1.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.others + 1
    }

    /// Ordinal of the highest.
    #[must_use]
    pub fn last(&self) -> Ordinal {
        Ordinal(self.lowest.ordinal.0 + self.others)
    }

    /// The highest.
    #[must_use]
    pub fn highest(&self) -> Pod {
        self.at_ordinal(self.last())
    }

    /// Each of them, ascending.
    pub fn pods(&self) -> impl DoubleEndedIterator<Item = Pod> + '_ {
        (self.ordinal.0..=self.last().0).map(|ordinal| self.at_ordinal(Ordinal(ordinal)))
    }

    /// The one at `ordinal`, if it is one of them.
    pub(crate) fn pod(&self, ordinal: Ordinal) -> Option<Cow<'_, Pod>> {
        if ordinal == self.ordinal {
            return Some(Cow::Borrowed(&self.lowest));
        }
        (self.ordinal < ordinal && ordinal <= self.last()).then(|| Cow::Owned(self.at_ordinal(ordinal)))
    }

    fn at_ordinal(&self, ordinal: Ordinal) -> Pod {
        Pod { ordinal, ..self.lowest.clone() }
    }
}

impl From<Pod> for PodRun {
    fn from(lowest: Pod) -> Self {
        Self { lowest, others: 0 }
    }
}

impl Deref for PodRun {
    type Target = Pod;

    fn deref(&self) -> &Pod {
        &self.lowest
    }
}

impl DerefMut for PodRun {
    fn deref_mut(&mut self) -> &mut Pod {
        &mut self.lowest
    }
}

/// Pods of consecutive ordinals that are steady, at one revision, as a planner is told of them: it decides the same whether it
/// is told of each or of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SteadyPods {
    /// The first.
    pub first: Ordinal,
    /// The last, included.
    pub last: Ordinal,
    /// The revision of them all.
    pub revision: RevisionName,
    /// When the last of them became ready, where that is known.
    pub ready_since: Option<Timestamp>,
}

impl SteadyPods {
    /// The lowest. What tells one from another is not known: they have no uid and no version, and were made long ago.
    #[must_use]
    pub fn lowest(&self) -> Pod {
        Pod {
            ordinal: self.first,
            phase: Phase::Running,
            ready: true,
            ready_since: self.ready_since,
            revision: Some(self.revision.clone()),
            ..Pod::default()
        }
    }

    /// As many pods, in runs that end where a spec treats the next ordinal otherwise.
    fn parts(&self, spec: &SetSpec) -> impl Iterator<Item = PodRun> + use<> {
        let (lowest, last) = (self.lowest(), u64::from(self.last.0));
        let mut bounds = spec.bounds_within(self.first, self.last);
        bounds.push(last + 1);
        let mut first = u64::from(self.first.0);
        bounds.into_iter().map(move |bound| {
            let (from, until) = (std::mem::replace(&mut first, bound), bound);
            let number = |number: u64| u32::try_from(number).expect("within the run");
            PodRun {
                lowest: Pod { ordinal: Ordinal(number(from)), ..lowest.clone() },
                others: number(until - from - 1),
            }
        })
    }

    /// Takes the pods into the run, if that is where they belong.
    fn take(&mut self, pods: &PodRun) -> bool {
        let next = self.last.0 + 1 == pods.ordinal.0 && pods.at(&self.revision);
        if next {
            self.last = pods.last();
            self.ready_since = self.ready_since.max(pods.ready_since);
        }
        next
    }
}

impl Snapshot {
    /// Whether the pod is as it should be, at whatever revision: healthy, and nothing keeps it.
    #[must_use]
    pub fn is_steady(&self, pod: &Pod) -> bool {
        let known = pod.revision.as_ref().is_some_and(|revision| !revision.0.is_empty());
        self.healthy(pod) && pod.cause.is_none() && pod.stops_by.is_none() && known
    }

    /// The same with its steady pods in runs, as a planner is told of them. To every rule it says the same.
    #[must_use]
    pub fn in_runs(&self) -> Self {
        let alone = self.pods.iter().filter(|pods| !self.is_steady(pods)).flat_map(PodRun::pods).collect();
        Self { pods: Pods::of(alone, &self.steady_pods(), &self.spec), ..self.clone() }
    }

    /// Every steady pod, as the fewest runs, ascending.
    #[must_use]
    pub fn steady_pods(&self) -> Vec<SteadyPods> {
        let mut runs: Vec<SteadyPods> = Vec::new();
        for pods in self.pods.iter().filter(|pods| self.is_steady(pods)) {
            if runs.last_mut().is_some_and(|run| run.take(pods)) {
                continue;
            }
            let (first, last, ready_since) = (pods.ordinal, pods.last(), pods.ready_since);
            runs.extend(pods.revision.clone().map(|revision| SteadyPods { first, last, revision, ready_since }));
        }
        runs
    }

    /// Gives each deletion of a steady pod the uid that the pod has here: who was told of a run cannot know it. Every other
    /// one keeps what it says, and where that is nothing it names no pod.
    pub fn identify(&self, deletions: &mut [PodDeletion]) {
        for deletion in deletions.iter_mut().filter(|deletion| deletion.uid.0.is_empty()) {
            let pod = self.pod(deletion.ordinal).filter(|pod| self.is_steady(pod));
            deletion.uid = pod.map(|pod| pod.uid.clone()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, Guard, RollingUpdate, Uid, UpdateStrategy};

    fn pod(ordinal: u32, revision: &str) -> Pod {
        let revision = Some(RevisionName(revision.into()));
        let uid = Uid(format!("uid-{ordinal}"));
        let ready_since = Some(Timestamp(i64::from(ordinal)));
        Pod {
            ordinal: Ordinal(ordinal),
            uid,
            phase: Phase::Running,
            ready: true,
            ready_since,
            revision,
            ..Pod::default()
        }
    }

    fn run(first: u32, last: u32, revision: &str) -> SteadyPods {
        let (first, ready_since) = (Ordinal(first), Some(Timestamp(i64::from(last))));
        SteadyPods { first, last: Ordinal(last), revision: RevisionName(revision.into()), ready_since }
    }

    #[test]
    fn a_run_ends_where_an_ordinal_or_a_pod_is_missing_or_another_revision_begins() {
        let pods = [(0, "a"), (1, "a"), (2, "a"), (4, "a"), (5, "a"), (6, "b"), (7, "b")];
        let mut snapshot = Snapshot { now: Timestamp(100), ..Snapshot::default() };
        snapshot.pods = pods.map(|(ordinal, revision)| pod(ordinal, revision)).into_iter().collect();
        assert_eq!(snapshot.steady_pods(), [run(0, 2, "a"), run(4, 5, "a"), run(6, 7, "b")]);
        snapshot.pods[1].ready = false;
        assert_eq!(snapshot.steady_pods(), [run(0, 0, "a"), run(2, 2, "a"), run(4, 5, "a"), run(6, 7, "b")]);
    }

    #[test]
    fn a_pod_that_anything_keeps_is_in_no_run() {
        let changes: [fn(&mut Pod); 8] = [
            |pod| pod.ready = false,
            |pod| pod.phase = Phase::Unknown,
            |pod| pod.terminating = true,
            |pod| pod.cause = Some(Cause::CrashLoop),
            |pod| pod.stops_by = Some(Timestamp(0)),
            |pod| pod.revision = None,
            |pod| pod.revision = Some(RevisionName::default()),
            |pod| pod.ready_since = Some(Timestamp(91_000)),
        ];
        for change in changes {
            let spec = SetSpec { min_ready_seconds: 10, ..SetSpec::default() };
            let mut snapshot = Snapshot { spec, now: Timestamp(100_000), ..Snapshot::default() };
            snapshot.pods = vec![pod(0, "a")].into();
            assert_eq!(snapshot.steady_pods(), [run(0, 0, "a")]);
            change(&mut snapshot.pods[0]);
            assert_eq!(snapshot.steady_pods(), []);
        }
    }

    #[test]
    fn a_deletion_without_a_uid_means_the_steady_pod_of_its_ordinal() {
        let mut snapshot = Snapshot { now: Timestamp(100), ..Snapshot::default() };
        snapshot.pods = vec![pod(0, "a"), pod(1, "a")].into();
        snapshot.pods[1].ready = false;
        let deletion = |ordinal, uid: &str| PodDeletion {
            ordinal: Ordinal(ordinal),
            uid: Uid(uid.into()),
            why: String::new(),
            guard: Guard::Pod,
        };
        let mut deletions = [deletion(0, ""), deletion(0, "another"), deletion(1, ""), deletion(2, "")];
        snapshot.identify(&mut deletions);
        let uids = deletions.map(|deletion| deletion.uid.0);
        assert_eq!(uids, ["uid-0", "another", "", ""]);
    }

    #[test]
    fn as_many_pods_come_of_a_run_and_they_make_the_same_run() {
        let spec = SetSpec { min_ready_seconds: 10, ..SetSpec::default() };
        let mut snapshot = Snapshot { spec, now: Timestamp(100_000), ..Snapshot::default() };
        let runs = [run(2, 5, "a"), run(7, 7, "b")];
        snapshot.pods = Pods::of(Vec::new(), &runs, &snapshot.spec);
        let pods = snapshot.pods.iter().flat_map(PodRun::pods);
        assert_eq!(pods.map(|pod| pod.ordinal.0).collect::<Vec<_>>(), [2, 3, 4, 5, 7]);
        assert_eq!((snapshot.pods.count(), snapshot.steady_pods()), (5, runs.to_vec()));
        let found: Vec<u32> = (0..9).filter_map(|ordinal| Some(snapshot.pod(Ordinal(ordinal))?.ordinal.0)).collect();
        assert_eq!(found, [2, 3, 4, 5, 7]);
    }

    /// For every choice of left-out ordinals among the first eight.
    #[test]
    fn what_holds_of_the_lowest_of_a_run_holds_of_each() {
        for (left_out, start) in (0..256_u32).flat_map(|left_out| [0, 1, 3].map(|start| (left_out, start))) {
            let reserved = (0..8).filter(|ordinal| left_out & (1 << ordinal) != 0).map(Ordinal).collect();
            let strategy = UpdateStrategy::RollingUpdate(Some(RollingUpdate { partition: 2, max_unavailable: None }));
            let spec = SetSpec { replicas: 4, start: Ordinal(start), reserved, strategy, ..SetSpec::default() };
            let alone = vec![pod(6, "a")];
            let pods = Pods::of(alone, &[run(0, 5, "a"), run(7, 12, "a")], &spec);
            let each: Vec<u32> = pods.iter().flat_map(PodRun::pods).map(|pod| pod.ordinal.0).collect();
            assert_eq!(each, Vec::from_iter(0..=12), "each once, ascending");
            let treated = |pod: &Pod| (spec.contains(pod.ordinal), spec.index(pod.ordinal) >= spec.partition());
            for run in &pods {
                assert!(run.pods().all(|pod| treated(&pod) == treated(run)), "{run:?} of {spec:?}");
            }
            assert!(pods.len() <= 3 + 3 + 2 * spec.reserved.len(), "no more than there are reasons for");
        }
    }
}
