//! What is stored: each commit written down, each recovery held against it.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::store::simulated_disk::SimulatedDisk;
use coordinator::store::{Batch, Changes, CommitResult, Listing, Precondition, Write};
use oracles::{Expectation, State, Violation, Written};

use super::Lab;
use crate::place::Place;
use crate::store::AtCommit;

impl Lab {
    /// The disk that the coordinator finds at its start.
    pub fn disk(&self) -> SimulatedDisk {
        let inner = &mut *self.inner();
        inner.disk.clone()
    }

    /// What a store holds that was just opened.
    pub fn store_opened(&self, id: &str, listing: &Listing) {
        let inner = &mut *self.inner();
        let same = inner.store_id.get_or_insert_with(|| id.to_owned()) == id;
        if !same {
            let how = format!("the store has become another: {id}");
            inner.judge(Err(Violation { rule: "S14", how }));
        }
        let found: BTreeMap<String, Vec<u8>> =
            listing.entries.iter().map(|entry| (entry.key.clone(), entry.value.to_vec())).collect();
        let pending: Vec<Written> = std::mem::take(&mut inner.underway).into_values().collect();
        let candidates = inner.history.candidates(&pending);
        let states: Vec<State> = candidates.iter().map(|(_, state)| state.clone()).collect();
        let (state, revision) = (inner.history.state().clone(), inner.history.revision());
        let judged = oracles::s14_s15_recovered_is_a_prefix(&found, listing.revision.0, &state, revision, &states);
        match judged {
            Ok(0) => inner.checks += 1,
            Ok(survived) => {
                inner.checks += 1;
                inner.note(&format!("{survived} commits had become durable without an answer"));
                let now = inner.now_ms();
                let mut left = survived;
                for written in pending {
                    let next = inner.history.revision() + 1;
                    if left > 0 && inner.history.candidates(std::slice::from_ref(&written)).len() > 1 {
                        let taken = inner.history.take(next, written, now);
                        inner.take(taken);
                        left -= 1;
                    }
                }
            }
            Err(violation) => inner.judge(Err(violation)),
        }
        inner.note(&format!("the store is open at revision {}", listing.revision));
    }

    /// Number of a commit that begins, and what happens to it.
    pub fn next_commit(&self, batch: &Batch) -> (u64, Option<AtCommit>) {
        let inner = &mut *self.inner();
        if batch.writes.is_empty() {
            return (0, None);
        }
        inner.commits += 1;
        let number = inner.commits;
        let kinds = kinds(batch, inner.history.state());
        inner.commit_kinds.push(kinds);
        let at = inner.plan.remove(&number).or(inner.slow_disk.map(AtCommit::Slow));
        if let Some(at) = at {
            let kind = match at {
                AtCommit::CrashBefore | AtCommit::CrashAfter => None,
                AtCommit::HideEvent => Some("F10 hidden event"),
                AtCommit::PreviousView(_) => Some("F9 stale view"),
                AtCommit::CancelHandlers => Some("F2 handlers dropped at a commit"),
                AtCommit::Slow(_) => Some("F14 slow disk"),
            };
            if let Some(kind) = kind {
                *inner.faults.entry(kind).or_default() += 1;
                inner.note(&format!("{kind} at commit {number}"));
            }
            if matches!(at, AtCommit::HideEvent | AtCommit::PreviousView(_)) {
                // Applies to the next thing that watchers are told: groups keep their order.
                let next = inner.history.revision() + 1 + inner.underway.len() as u64;
                inner.deliveries.insert(next, at);
            }
        }
        (number, at)
    }

    /// A commit is about to be made.
    pub fn committing(&self, number: u64, batch: &Batch) {
        if number > 0 {
            self.inner().underway.insert(number, written(batch));
        }
    }

    /// A commit has an answer.
    pub fn committed(&self, number: u64, result: &CommitResult, place: &Place) {
        let inner = &mut *self.inner();
        let Some(written) = inner.underway.remove(&number) else { return };
        let Ok(revision) = result else { return };
        // A batch that changed nothing has the revision of the one before it.
        let known = inner.history.revision() >= revision.0 || !changes_something(&written);
        if known {
            return;
        }
        let now = place.clock.shows(inner.now()).0;
        let taken = inner.history.take(revision.0, written, now);
        inner.take(taken);
    }

    /// What happens to what watchers are told of a revision.
    pub fn delivery(&self, revision: u64) -> Option<AtCommit> {
        let inner = &mut *self.inner();
        let due = inner.deliveries.keys().next().copied().filter(|at| *at <= revision)?;
        inner.deliveries.remove(&due)
    }

    /// A watcher was told.
    pub fn delivered(&self, last: u64, changes: &Changes) {
        let keys = changes.changes.iter().map(|change| change.key().to_owned()).collect();
        self.inner().to_compare.push((last, changes.revision.0, keys));
    }
}

/// What a batch does to which kinds of objects, but for what is only written for people to read.
fn kinds(batch: &Batch, state: &State) -> String {
    let one = |write: &Write| {
        let (kind, ..) = oracles::kind_and_name(write.key())?;
        let what = match write {
            Write::Delete { .. } => "removes",
            Write::Put { key, .. } if state.contains_key(key) => "changes",
            Write::Put { .. } => "creates",
        };
        (!["events", "decisions"].contains(&kind)).then(|| format!("{what} {kind}"))
    };
    let kinds: BTreeSet<String> = batch.writes.iter().filter_map(one).collect();
    kinds.into_iter().collect::<Vec<_>>().join(", ")
}

fn changes_something(written: &Written) -> bool {
    !written.writes.is_empty()
}

fn written(batch: &Batch) -> Written {
    let writes = batch.writes.iter().map(|write| match write {
        Write::Put { key, value } => (key.clone(), Some(value.to_vec())),
        Write::Delete { key } => (key.clone(), None),
    });
    let expected = batch.preconditions.iter().map(|precondition| match precondition {
        Precondition::Absent { key } => Expectation::Absent(key.clone()),
        Precondition::ModifiedAt { key, revision } => Expectation::ModifiedAt(key.clone(), revision.0),
        Precondition::StoredAs { key, value } => Expectation::StoredAs(key.clone(), value.to_vec()),
        Precondition::Untouched { series, since } => {
            Expectation::Untouched { stem: series.stem.clone(), below: series.below, but: series.but, since: since.0 }
        }
    });
    Written { writes: writes.collect(), expected: expected.collect() }
}
