//! Back-off for ordinals whose pods end again and again (switch `back_off_failed_pods`).

use domain::{Failures, Ordinal, PodDeletion, Snapshot, Timestamp};

/// Ordinals that are remembered, in the status of the set. Where more fail at once it is no matter of single pods, and
/// the others come back without a delay.
const FAILURES_MAX: usize = 1_000;

/// When the next pod of `ordinal` may be created; none if it may be now.
pub(super) fn retry_at(snapshot: &Snapshot, ordinal: Ordinal) -> Option<Timestamp> {
    let place = snapshot.failures.binary_search_by_key(&ordinal, |failures| failures.ordinal).ok()?;
    let failures = snapshot.failures.get(place).filter(|failures| counts(snapshot, failures))?;
    Some(failures.retry_at()).filter(|retry_at| *retry_at > snapshot.now)
}

/// The next moment at which an ordinal may be tried again.
pub(super) fn next_retry(snapshot: &Snapshot) -> Option<Timestamp> {
    let moments = remembered(snapshot).filter(|failures| !snapshot.has_pod(failures.ordinal));
    moments.map(|failures| failures.retry_at()).filter(|retry_at| *retry_at > snapshot.now).min()
}

/// What is to be remembered after a plan that deletes these pods: those that have ended in range count once more.
pub(super) fn after(snapshot: &Snapshot, deleted: &[PodDeletion]) -> Vec<Failures> {
    if !snapshot.switches.back_off_failed_pods {
        return Vec::new();
    }
    let mut failures: Vec<Failures> = remembered(snapshot).collect();
    for deletion in deleted {
        let ended = snapshot.pod(deletion.ordinal).is_some_and(|pod| pod.phase.terminal());
        if !ended || !snapshot.spec.contains(deletion.ordinal) {
            continue;
        }
        match failures.binary_search_by_key(&deletion.ordinal, |failures| failures.ordinal) {
            Ok(place) => {
                let known = &mut failures[place];
                (known.count, known.last_at) = (known.count.saturating_add(1), snapshot.now);
            }
            Err(place) if failures.len() < FAILURES_MAX => {
                let first = Failures { ordinal: deletion.ordinal, count: 1, last_at: snapshot.now };
                failures.insert(place, first);
            }
            Err(_) => {}
        }
    }
    failures
}

/// Those of the snapshot that still count, of ordinals that the set should have.
fn remembered(snapshot: &Snapshot) -> impl Iterator<Item = Failures> + '_ {
    snapshot.failures.iter().copied().filter(|failures| counts(snapshot, failures))
}

fn counts(snapshot: &Snapshot, failures: &Failures) -> bool {
    let remembered = failures.remembered(snapshot.now) && snapshot.spec.contains(failures.ordinal);
    remembered && snapshot.switches.back_off_failed_pods
}
