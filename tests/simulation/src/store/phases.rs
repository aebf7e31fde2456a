//! A planted bug (B43): what the coordinator is about to do to each set, remembered before it is stored.

use std::collections::BTreeSet;
use std::sync::Mutex;

use coordinator::store::{Batch, CommitError, StoreError};

use crate::lab::Lab;
use crate::mutant::Mutant;

/// Sets to which something is being done, by store key. A life of the coordinator has its own.
#[derive(Debug, Default)]
pub(super) struct Phases(Mutex<BTreeSet<String>>);

impl Phases {
    /// Notes what a batch is about to do to which sets. Nothing without the bug.
    ///
    /// # Errors
    /// Something is being done to one of them already, or was begun and never ended.
    pub(super) fn begin(&self, lab: &Lab, batch: &Batch) -> Result<Vec<String>, CommitError> {
        if lab.mutant() != Some(Mutant::PhaseBeforeCommit) {
            return Ok(Vec::new());
        }
        let sets = lab.sets_asked_for(batch);
        let mut under_way = self.0.lock().expect("no holder of this lock panics");
        if sets.iter().any(|set| under_way.contains(set)) {
            let what = "operations of a set that are under way";
            return Err(StoreError::LimitReached { what, actual: 2, limit: 1 }.into());
        }
        under_way.extend(sets.iter().cloned());
        Ok(sets)
    }

    /// It is done. Whatever fails never is: that is the bug.
    pub(super) fn end(&self, sets: &[String]) {
        self.0.lock().expect("no holder of this lock panics").retain(|set| !sets.contains(set));
    }
}
