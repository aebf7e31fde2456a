//! Revisions, replacement and status of one set.
//!
//! Pure: the same request gives the same plan. Steps 3, 4, F and G of the reconcile procedure (StatefulSet rules,
//! section 7), the healing of section 17, and the progress deadline.

mod history;
mod progress;
mod replacement;
mod revisions;
mod status;
mod targets;
#[cfg(test)]
mod tests;

use domain::{Intent, RevisionName, SetStatus, Snapshot, UpdatePlan, UpdateRequest};

use progress::Progress;
use replacement::Replacement;

/// The two revisions between which a set moves; the same one when it rests.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Revisions {
    /// Where the update comes from.
    current: RevisionName,
    /// Where it goes.
    update: RevisionName,
}

/// Moves the set one safe step towards its template.
///
/// A set that stops is not updated: its revisions and the generation it has observed stay, only its counts follow.
#[must_use]
pub fn plan(request: &UpdateRequest) -> UpdatePlan {
    let snapshot = &request.snapshot;
    match snapshot.intent {
        Intent::Keep => update(request),
        Intent::Delete if !snapshot.switches.freeze_revisions_of_deleted => deleted(request),
        Intent::Drain | Intent::Delete => UpdatePlan { status: status::of_stopping(snapshot), ..UpdatePlan::default() },
    }
}

fn update(request: &UpdateRequest) -> UpdatePlan {
    let snapshot: &Snapshot = &request.snapshot;
    let choice = revisions::choose(request);
    let targets = targets::of(snapshot, &choice.revisions);
    let replacement = replacement::plan(snapshot, &choice.revisions, &targets);
    let (status, status_refusal) = stored_or(snapshot, status::of(snapshot, &choice, &replacement));
    let pruned = history::prune(request, &choice.revisions);
    let Progress { stuck, outages, revert, next_deadline } = progress::of(request, &choice.revisions);
    let revisions = choice.change.into_iter().chain(pruned).collect();
    let Replacement { replace, recall, waits, look_again_at } = replacement;
    let moments = [look_again_at, next_deadline, snapshot.next_availability()];
    let look_again_at = moments.into_iter().flatten().min();
    UpdatePlan {
        revisions,
        targets,
        replace,
        recall,
        waits,
        status,
        status_refusal,
        stuck,
        outages,
        revert,
        look_again_at,
    }
}

/// Revisions and status of a set that Kubernetes deletes in the foreground: found as ever, and nothing else is done.
fn deleted(request: &UpdateRequest) -> UpdatePlan {
    let snapshot = &request.snapshot;
    let choice = revisions::choose(request);
    let (status, status_refusal) = stored_or(snapshot, status::of(snapshot, &choice, &Replacement::default()));
    let pruned = history::prune(request, &choice.revisions);
    let revisions = choice.change.into_iter().chain(pruned).collect();
    UpdatePlan { revisions, status, status_refusal, ..UpdatePlan::default() }
}

/// The computed status, or the stored one and why.
fn stored_or(snapshot: &Snapshot, computed: Result<SetStatus, String>) -> (SetStatus, Option<String>) {
    match computed {
        Ok(status) => (status, None),
        Err(refusal) => (snapshot.status.clone(), Some(refusal)),
    }
}
