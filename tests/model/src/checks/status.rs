//! S20, S21: revisions and status.

use super::{View, Violation, hold};

/// The counters and revisions of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Pods.
    pub replicas: u32,
    /// Ready ones.
    pub ready: u32,
    /// Available ones.
    pub available: u32,
    /// Those at the current revision.
    pub current_replicas: u32,
    /// Those at the update revision.
    pub updated: u32,
    /// The current revision.
    pub current: u8,
    /// The update revision.
    pub update: u8,
}

/// S20: a revision that is current, wanted or carried by a pod is not pruned.
pub fn s20_live_revisions_stay(view: &View, pruned: u8) -> Result<(), Violation> {
    let carried = view.pods.iter().flatten().any(|pod| pod.revision == pruned);
    hold("S20", !carried, || "a revision that a pod carries is pruned".to_owned())?;
    hold("S20", pruned != view.current && pruned != view.update, || "a revision in use is pruned".to_owned())
}

/// S21: every counter is at most the number of pods, and available ones are ready.
pub fn s21_counts_fit(status: &Counted) -> Result<(), Violation> {
    let largest = [status.ready, status.current_replicas, status.updated].into_iter().max().unwrap_or(0);
    let fits = largest <= status.replicas && status.available <= status.ready;
    hold("S21", fits, || format!("the counts contradict each other: {status:?}"))
}

/// S21: pods and ready pods are those that there are. Kubernetes computes counts that its API refuses, and keeps the
/// old.
pub fn s21_counts_are_observed(view: &View, status: &Counted) -> Result<(), Violation> {
    let pods = view.pods.iter().flatten();
    let (all, ready) = (pods.clone().count() as u32, pods.filter(|pod| pod.ready).count() as u32);
    let right = (status.replicas, status.ready) == (all, ready) || !view.switches.count_observed_pods;
    hold("S21", right, || format!("there are {all} pods, {ready} ready, and the status says {status:?}"))
}

/// S21: the current revision changes only to the update revision, when every pod is at it and available; and not while
/// a partition holds pods back that are only gone because the set was scaled to nothing.
pub fn s21_promotion_is_earned(view: &View, status: &Counted, before: &Counted) -> Result<(), Violation> {
    // `view.current` is the revision that the stored status names, if there is such a one.
    if status.current == view.current || before.current == status.current {
        return Ok(());
    }
    hold("S21", status.current == view.update, || "the current revision becomes one that nobody wants".to_owned())?;
    // Kubernetes only counts: ready will do, and a pod out of range may stand in for one that is missing.
    let updated = |ordinal: &usize| view.pods[*ordinal].is_some_and(|pod| pod.revision == view.update);
    let missing = view.range().find(|ordinal| !(updated(ordinal) && view.healthy(*ordinal)));
    let missing = missing.filter(|_| view.switches.promote_when_available);
    hold("S21", missing.is_none(), || format!("the update is declared complete without pod {missing:?}"))?;
    let emptied = view.range().next().is_none() && view.partition > 0 && view.switches.keep_current_at_zero;
    hold("S21", !emptied, || "scaled to nothing, a set forgets what its partition keeps".to_owned())
}
