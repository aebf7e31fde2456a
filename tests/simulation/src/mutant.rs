//! Planted bugs, at the seams: each must be caught, or the simulation is not worth its time.

use std::fmt;
use std::str::FromStr;

/// A bug that only faults reveal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// Commits rest only on what they write, not on what they were decided from.
    UnguardedWrite,
    /// The store does not look at what a batch rests on.
    NoCompareAndSet,
    /// A large batch is committed in part.
    TornBatch,
    /// The disk says that it has synced, and has not.
    DiskLies,
    /// The coordinator starts from the state that it had a crash earlier.
    StaleStart,
    /// Watchers miss commits and are not told.
    WatchLosesEvents,
    /// A watcher that fell behind goes on as if it had not.
    SilentCompaction,
    /// Watchers are told of two commits in the wrong order.
    WatchReorders,
    /// After a restart identities are given out again.
    UidsRepeat,
    /// A restart does not count.
    EpochStands,
    /// The log of what an executor did is lost at its restart, and with it the fence.
    LostDedupeRecord,
    /// The name server starts from an old journal.
    StaleNames,
    /// Timers follow the wall clock.
    WallClockTimers,
    /// The machine says that a pod has stopped when it was asked to.
    StoppedTooEarly,
    /// The machine knows pods by their names: that one has stopped is taken for true of its successors.
    NamesForUids,
    /// The machine forgets at its restart what it runs.
    MachineForgets,
    /// The machine starts what it was told before its restart, without asking.
    MachineTrustsCache,
    /// The machine does not come back to a watch that broke.
    WatchOnce,
    /// The machine does not repeat a report that failed.
    ReportOnce,
    /// The machine takes an empty answer for: nothing is assigned to me.
    EmptyIsGone,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::UnguardedWrite,
        Self::NoCompareAndSet,
        Self::TornBatch,
        Self::DiskLies,
        Self::StaleStart,
        Self::WatchLosesEvents,
        Self::SilentCompaction,
        Self::WatchReorders,
        Self::UidsRepeat,
        Self::EpochStands,
        Self::LostDedupeRecord,
        Self::StaleNames,
        Self::WallClockTimers,
        Self::StoppedTooEarly,
        Self::NamesForUids,
        Self::MachineForgets,
        Self::MachineTrustsCache,
        Self::WatchOnce,
        Self::ReportOnce,
        Self::EmptyIsGone,
    ];
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Mutant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|mutant| mutant.to_string() == text)
            .ok_or_else(|| format!("there is no mutant {text}"))
    }
}
