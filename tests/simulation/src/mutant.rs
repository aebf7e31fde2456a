//! Planted bugs, at the seams: each must be caught, or the simulation is not worth its time.

use std::fmt;
use std::str::FromStr;

/// Defines the mutants; where one is a historical bug, with its number in the reliability rules.
macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident $(= $number:literal)?,)+) => {
        /// One bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its number, such as `B10`, if it is a historical one.
            #[must_use]
            pub fn number(self) -> Option<&'static str> {
                let numbers: &[&'static str] = match self {
                    $(Self::$name => &[$($number)?],)+
                };
                numbers.first().copied()
            }
        }
    };
}

mutants! {
    /// Commits rest only on what they write, not on what they were decided from.
    UnguardedWrite,
    /// The store does not look at what a batch rests on.
    NoCompareAndSet,
    /// What follows from a report is committed before it, whether or not that is stored.
    AheadOfItsReport,
    /// A large batch is committed in part.
    TornBatch,
    /// The disk says that it has synced, and has not.
    DiskLies = "B52",
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
    MachineTrustsCache = "B1",
    /// The machine does not come back to a watch that broke.
    WatchOnce,
    /// The machine does not repeat a report that failed.
    ReportOnce,
    /// The machine takes an empty answer for: nothing is assigned to me.
    EmptyIsGone,
    /// kubernetes/kubernetes 91676: a pod that is made again at an older revision gets volumes of the newest template.
    MixedTemplates = "B10",
    /// kubernetes/kubernetes 46901: a pod that nobody controls goes, its name is free, and no set is told.
    OrphansGoUnseen = "B27",
    /// rabbitmq/cluster-operator 648: the deletion mark of a set is read as that of its successor.
    MarkOutlivesItsSet = "B36",
    /// rabbitmq/cluster-operator 782: a claim grows in two steps, and the coordinator dies between them.
    TornResize = "B38",
    /// Orange casskop 370: what is about to be done to a set is remembered before it is stored, and stands in the way of
    /// everything else when it is not.
    PhaseBeforeCommit = "B43",
    /// Anvil 282: a pod is edited where another should take its place.
    EditedInPlace = "B49",
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
            .iter()
            .copied()
            .find(|mutant| mutant.to_string() == text)
            .ok_or_else(|| format!("there is no mutant {text}"))
    }
}
