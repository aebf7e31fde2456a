//! What watchers are told, as a planted bug has it.

use std::collections::BTreeMap;

use coordinator::store::{Change, Changes, Entry, StoreError};
use serde_json::Value;

use crate::mutant::Mutant;

type Told = Result<Changes, StoreError>;

/// The fields of a set that mark it for deletion.
const MARK: [&str; 2] = ["deletionTimestamp", "finalizers"];

/// Tells one watcher.
#[derive(Debug)]
pub(super) struct Teller {
    mutant: Option<Mutant>,
    /// What is told after the next.
    held: Option<Changes>,
    /// Metadata of sets that were told to go, by store key.
    marked: BTreeMap<String, Value>,
}

impl Teller {
    pub(super) fn new(mutant: Option<Mutant>) -> Self {
        Self { mutant, held: None, marked: BTreeMap::new() }
    }

    /// What is told in place of one thing.
    pub(super) fn tell(&mut self, item: Told) -> Vec<Told> {
        match (self.mutant, item) {
            (Some(Mutant::WatchLosesEvents), Ok(changes)) if changes.revision.0 % 9 == 0 => Vec::new(),
            // Stands for what was hidden.
            (Some(Mutant::SilentCompaction), Err(StoreError::Closed)) => Vec::new(),
            (Some(Mutant::WatchReorders), Ok(changes)) if changes.revision.0 % 9 == 0 && self.held.is_none() => {
                self.held = Some(changes);
                Vec::new()
            }
            (Some(Mutant::OrphansGoUnseen), Ok(changes)) => vec![Ok(orphans_stay(changes))],
            (Some(Mutant::MarkOutlivesItsSet), Ok(mut changes)) => {
                changes.changes.iter_mut().for_each(|change| self.mark_again(change));
                vec![Ok(changes)]
            }
            (_, item) => std::iter::once(item).chain(self.held.take().map(Ok)).collect(),
        }
    }

    /// B36: whoever has the name of a set that was to go is to go too.
    fn mark_again(&mut self, change: &mut Change) {
        let Change::Put(entry) = change else { return };
        if !entry.key.starts_with("/objects/statefulsets/") {
            return;
        }
        let mut set: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        let metadata = &mut set["metadata"];
        if !metadata[MARK[0]].is_null() {
            self.marked.insert(entry.key.clone(), metadata.take());
            return;
        }
        if let Some(before) = self.marked.get(&entry.key).filter(|before| before["uid"] != metadata["uid"]) {
            MARK.iter().for_each(|field| metadata[*field] = before[*field].clone());
            entry.value = set.to_string().into_bytes().into();
        }
    }
}

/// B27: that a pod goes which nobody controls concerns no set, so what is told is that it is there.
fn orphans_stay(mut changes: Changes) -> Changes {
    for change in &mut changes.changes {
        let Change::Delete { key, last } = change else { continue };
        let controlled = || {
            let pod: Value = serde_json::from_slice(&last.value).unwrap_or_default();
            pod["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty())
        };
        if key.starts_with("/objects/pods/") && !controlled() {
            *change = Change::Put(Entry { modified: changes.revision, ..last.clone() });
        }
    }
    changes
}
