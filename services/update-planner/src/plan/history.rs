//! Which revisions are no longer needed.

use std::collections::HashSet;

use domain::{RevisionChange, RevisionName, UpdateRequest};

use super::Revisions;
use super::revisions::ascending;

/// The oldest revisions beyond `revisionHistoryLimit`, oldest first. The current one of this pass, the update one and
/// every one that a pod carries are not counted and never pruned (StatefulSet rules, section 5.4).
pub(super) fn prune(request: &UpdateRequest, revisions: &Revisions) -> Vec<RevisionChange> {
    let Ok(limit) = usize::try_from(request.snapshot.spec.revision_history_limit) else {
        return Vec::new();
    };
    // Then it is no question which of them the pods use.
    if request.revisions.len() <= limit {
        return Vec::new();
    }
    let mut live: HashSet<&RevisionName> =
        request.snapshot.pods.iter().filter_map(|pod| pod.revision.as_ref()).collect();
    live.extend([&revisions.current, &revisions.update]);
    let old: Vec<_> = ascending(&request.revisions).into_iter().filter(|old| !live.contains(&old.name)).collect();
    let excess = old.len().saturating_sub(limit);
    old.into_iter().take(excess).map(|old| RevisionChange::Prune { name: old.name.clone() }).collect()
}
