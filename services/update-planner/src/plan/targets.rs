//! Which revision a pod gets that is created now (StatefulSet rules, section 9).

use domain::{Ordinal, Snapshot, TargetRange, UpdateStrategy};

use super::Revisions;

/// The lowest indices come back at the current revision, all others at the update revision.
pub(super) fn of(snapshot: &Snapshot, revisions: &Revisions) -> Vec<TargetRange> {
    let Some(last) = snapshot.spec.last() else { return Vec::new() };
    let first = snapshot.spec.start;
    // The first ordinal at the update revision; may lie beyond the range.
    let split = snapshot.spec.ordinal_at(protected(snapshot, revisions));
    let split = u32::try_from(split.min(u64::from(last.0) + 1)).expect("at most 2^31");
    let mut ranges = Vec::new();
    if split > first.0 {
        ranges.push(TargetRange { first, last: Ordinal(split - 1), revision: revisions.current.clone() });
    }
    if split <= last.0 {
        ranges.push(TargetRange { first: Ordinal(split), last, revision: revisions.update.clone() });
    }
    ranges
}

/// How many of the lowest indices are created at the current revision.
fn protected(snapshot: &Snapshot, revisions: &Revisions) -> u32 {
    match &snapshot.spec.strategy {
        _ if snapshot.spec.paused => not_updated(snapshot, revisions),
        UpdateStrategy::OnDelete => 0,
        UpdateStrategy::RollingUpdate(Some(block)) => block.partition,
        UpdateStrategy::RollingUpdate(None) if snapshot.switches.recreate_at_last_revision => 0,
        UpdateStrategy::RollingUpdate(None) => snapshot.status.current_replicas,
    }
}

/// While updates stand still, a lost pod does not carry them on: it comes back at the update revision only from the index
/// on above which every pod is updated, and at the current one below. Under OnDelete, which follows no order, always at
/// the current one.
fn not_updated(snapshot: &Snapshot, revisions: &Revisions) -> u32 {
    let rolling = matches!(snapshot.spec.strategy, UpdateStrategy::RollingUpdate(_));
    let updated = snapshot.members().rev().take_while(|pod| rolling && pod.at(&revisions.update));
    updated.last().map_or(u32::MAX, |lowest| snapshot.spec.index(lowest.ordinal))
}
