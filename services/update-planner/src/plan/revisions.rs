//! Which revision is the present template's, and which one the set comes from.

use std::collections::HashMap;

use domain::{Revision, RevisionChange, RevisionName, UpdateRequest, revision_name};

use super::Revisions;

/// How often a name may be taken by other data before the last one is used anyway. Two templates share one name by
/// chance once in four thousand million; more than a few times means that somebody makes revisions by hand.
const COLLISIONS_MAX: u32 = 1_000;

/// The revisions of this pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// Current and update.
    pub(super) revisions: Revisions,
    /// What must be stored so that the update revision exists and is the newest.
    pub(super) change: Option<RevisionChange>,
    /// How often two templates have met in one name.
    pub(super) collision_count: u32,
}

/// Finds or proposes the update revision, then the current one (StatefulSet rules, sections 5.2 and 5.3).
pub(super) fn choose(request: &UpdateRequest) -> Choice {
    let stored = ascending(&request.revisions);
    let known = request.snapshot.status.collision_count;
    let (update, change, collision_count) = if let Some(newest) = unchanged(request, &stored) {
        (newest.name.clone(), None, known)
    } else if let Some(older) = stored.iter().rev().find(|revision| revision.data == request.template) {
        let change = RevisionChange::Renumber { name: older.name.clone(), number: next_number(&stored) };
        (older.name.clone(), Some(change), known)
    } else {
        propose(request, &stored)
    };
    let current = current(request, &update);
    Choice { revisions: Revisions { current, update }, change, collision_count }
}

/// Revisions by number, then by time, then by name: the last is the newest.
pub(super) fn ascending(revisions: &[Revision]) -> Vec<&Revision> {
    let mut sorted: Vec<&Revision> = revisions.iter().collect();
    sorted.sort_by_key(|revision| (revision.number, revision.created_at, &revision.name));
    sorted
}

/// The newest revision if it is the present template, by its bytes or once it is defaulted anew.
fn unchanged<'a>(request: &UpdateRequest, stored: &[&'a Revision]) -> Option<&'a Revision> {
    let newest = *stored.last()?;
    let by_bytes = newest.data == request.template;
    let older_by_bytes = || stored.iter().any(|revision| revision.data == request.template);
    let by_meaning = || request.equal_after_defaulting.as_ref() == Some(&newest.name) && !older_by_bytes();
    (by_bytes || by_meaning()).then_some(newest)
}

fn next_number(stored: &[&Revision]) -> i64 {
    stored.last().map_or(1, |newest| newest.number.saturating_add(1))
}

/// A new record under the first name that no other data has; or the one that somebody else has there with the same data.
/// With its name, what must be stored, and the collisions so far.
fn propose(request: &UpdateRequest, stored: &[&Revision]) -> (RevisionName, Option<RevisionChange>, u32) {
    let (snapshot, data) = (&request.snapshot, &request.template);
    let named = |count| revision_name(&snapshot.set.name, data, count);
    let all = || stored.iter().copied().chain(&request.foreign);
    let under = |name: &RevisionName| all().find(|revision| revision.name == *name);
    let first = snapshot.status.collision_count;
    let last = first.saturating_add(COLLISIONS_MAX);
    let fits = |count: &u32| under(&named(*count)).is_none_or(|revision| revision.data == *data);
    let count = (first..last).find(fits).unwrap_or(last);
    let name = named(count);
    if under(&name).is_some_and(|revision| revision.data == *data) {
        return (name, None, count);
    }
    let (number, data, created_at) = (next_number(stored), data.clone(), snapshot.now);
    let revision = Revision { name: name.clone(), number, data, created_at };
    (name, Some(RevisionChange::Create(revision)), count)
}

/// The revision that the status names, if it is stored. Otherwise the update revision, or with the switch
/// `current_from_pods` what most pods are at.
fn current(request: &UpdateRequest, update: &RevisionName) -> RevisionName {
    let named = &request.snapshot.status.current_revision;
    if request.revisions.iter().any(|revision| revision.name == *named) {
        return named.clone();
    }
    let by_pods = request.snapshot.switches.current_from_pods.then(|| most_used(request, update));
    by_pods.flatten().unwrap_or(update).clone()
}

/// The stored revision other than `update` that most pods are at; of equals the newest.
fn most_used<'a>(request: &'a UpdateRequest, update: &RevisionName) -> Option<&'a RevisionName> {
    let mut counts: HashMap<&RevisionName, u32> = HashMap::new();
    for pods in &request.snapshot.pods {
        pods.revision.iter().for_each(|revision| *counts.entry(revision).or_default() += pods.count());
    }
    let used = ascending(&request.revisions).into_iter().filter(|revision| revision.name != *update);
    let counted = used.filter_map(|revision| Some((*counts.get(&revision.name)?, &revision.name)));
    counted.max_by_key(|(count, _)| *count).map(|(_, name)| name)
}
