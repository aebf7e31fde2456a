//! S17, S18: executors.

use std::collections::BTreeMap;

use crate::{Violation, hold};

/// What an executor wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It admitted an operation of this epoch and generation on a subject.
    Seen {
        /// What the operation is about.
        subject: String,
        /// Incarnation of the coordinator.
        epoch: u64,
        /// State generation.
        generation: u64,
    },
    /// It did the operation with this id.
    Done {
        /// Its id.
        id: String,
    },
}

/// S17: no operation is done twice.
///
/// # Errors
/// Where one is.
pub fn s17_effect_once(log: &[Effect]) -> Result<(), Violation> {
    let mut done = BTreeMap::new();
    for effect in log {
        if let Effect::Done { id } = effect {
            let count = done.entry(id).or_insert(0_u32);
            *count += 1;
            hold("S17", *count == 1, || format!("operation {id} is done {count} times"))?;
        }
    }
    Ok(())
}

/// S18: the epoch that an executor follows never falls; within it, no generation of one subject does. `before` is what it
/// had seen earlier, which it may not forget.
///
/// # Errors
/// Where one falls.
pub fn s18_fences_never_fall(log: &[Effect], before: u64) -> Result<u64, Violation> {
    let mut highest = 0;
    let mut subjects: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for effect in log {
        let Effect::Seen { subject, epoch, generation } = effect else { continue };
        hold("S18", *epoch >= highest, || format!("epoch {epoch} is admitted after {highest}"))?;
        highest = *epoch;
        let last = subjects.entry(subject).or_default();
        hold("S18", (*epoch, *generation) >= *last, || {
            format!("{subject}: ({epoch}, {generation}) is admitted after {last:?}")
        })?;
        *last = (*epoch, *generation);
    }
    hold("S18", highest >= before, || format!("epoch {before} was seen, and the log goes up to {highest} only"))?;
    Ok(highest)
}
