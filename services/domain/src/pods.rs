//! The pods of a set as a whole: all of them, and those that are as they should be as a few runs.

use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Arc;

use crate::{Ordinal, Phase, Pod, PodDeletion, RevisionName, Snapshot, Timestamp};

/// The pods of a set. Cheap to clone: whoever changes them gets a copy of their own where somebody else has them too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pods(Arc<Vec<Pod>>);

impl Deref for Pods {
    type Target = Vec<Pod>;

    fn deref(&self) -> &Vec<Pod> {
        &self.0
    }
}

impl DerefMut for Pods {
    fn deref_mut(&mut self) -> &mut Vec<Pod> {
        Arc::make_mut(&mut self.0)
    }
}

impl<'a> IntoIterator for &'a Pods {
    type Item = &'a Pod;
    type IntoIter = slice::Iter<'a, Pod>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl From<Vec<Pod>> for Pods {
    fn from(pods: Vec<Pod>) -> Self {
        Self(Arc::new(pods))
    }
}

impl FromIterator<Pod> for Pods {
    fn from_iter<I: IntoIterator<Item = Pod>>(pods: I) -> Self {
        pods.into_iter().collect::<Vec<_>>().into()
    }
}

/// Pods of consecutive ordinals that are steady, at one revision. In a large set that is almost every pod, and a planner
/// decides the same whether it is told of each or of the run.
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
    /// As many pods. What tells one from another is not known: they have no uid and no version, and were made long ago.
    pub fn pods(&self) -> impl Iterator<Item = Pod> + '_ {
        (self.first.0..=self.last.0).map(|ordinal| Pod {
            ordinal: Ordinal(ordinal),
            phase: Phase::Running,
            ready: true,
            ready_since: self.ready_since,
            revision: Some(self.revision.clone()),
            ..Pod::default()
        })
    }

    /// Takes the pod into the run, if that is where it belongs.
    fn take(&mut self, pod: &Pod) -> bool {
        let next = self.last.0 + 1 == pod.ordinal.0 && pod.at(&self.revision);
        if next {
            self.last = pod.ordinal;
            self.ready_since = self.ready_since.max(pod.ready_since);
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

    /// Every steady pod, as the fewest runs, ascending.
    #[must_use]
    pub fn steady_pods(&self) -> Vec<SteadyPods> {
        let mut runs: Vec<SteadyPods> = Vec::new();
        for pod in self.pods.iter().filter(|pod| self.is_steady(pod)) {
            if runs.last_mut().is_some_and(|run| run.take(pod)) {
                continue;
            }
            let (first, last, ready_since) = (pod.ordinal, pod.ordinal, pod.ready_since);
            runs.extend(pod.revision.clone().map(|revision| SteadyPods { first, last, revision, ready_since }));
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
    use crate::{Cause, Guard, SetSpec, Uid};

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
        snapshot.pods = runs.iter().flat_map(SteadyPods::pods).collect();
        assert_eq!(snapshot.pods.iter().map(|pod| pod.ordinal.0).collect::<Vec<_>>(), [2, 3, 4, 5, 7]);
        assert_eq!(snapshot.steady_pods(), runs);
    }
}
