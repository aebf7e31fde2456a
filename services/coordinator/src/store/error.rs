//! How a store fails.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use super::StoreRevision;

/// The cause of a failure; shared, because one failure answers every batch of its group.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a store could not be opened, read, watched or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The history does not reach back to the asked revision. List, then watch from the listing's revision.
    #[error("history is compacted: changes are kept only after revision {oldest}")]
    Compacted {
        /// The oldest revision that a watch can start after.
        oldest: StoreRevision,
    },
    /// A watch from a revision that this store has not reached.
    #[error("revision {after} is ahead of this store, which is at {current}")]
    FutureRevision {
        /// What was asked for.
        after: StoreRevision,
        /// Where the store is.
        current: StoreRevision,
    },
    /// The batch can never be accepted.
    #[error("batch is not valid: {why}")]
    Invalid {
        /// What is wrong with it.
        why: String,
    },
    /// A bound was reached: `what` would be `actual` and may be at most `limit`.
    #[error("{what} would be {actual}, the limit is {limit}")]
    LimitReached {
        /// What is bounded, with its unit.
        what: &'static str,
        /// What it would have been.
        actual: usize,
        /// The bound.
        limit: usize,
    },
    /// The disk is full or the quota is used up. Nothing was changed; reads go on; writes resume once there is space.
    #[error("no space left for the state store; reads go on, writes resume once there is space")]
    NoSpace {
        /// What the operating system said.
        source: Cause,
    },
    /// The disk failed, so the store takes no more writes; whether the last ones were kept shows only after a restart.
    #[error("state store stopped after a disk failure, restart to recover from disk")]
    Failed {
        /// What failed first.
        source: Cause,
    },
    /// The store is shutting down.
    #[error("state store is closed")]
    Closed,
    /// Another process has the store open.
    #[error("state store {} is in use by {owner}", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
        /// Who, as far as known.
        owner: String,
    },
    /// A store is to be restored where one is.
    #[error("there is a state store at {} already: back it up, then say --force to put the backup in its place", path.display())]
    Exists {
        /// The store.
        path: PathBuf,
    },
    /// There is no store.
    #[error("there is no state store at {}: say where it is with --data-dir", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The store was written by a version of the program that this one does not understand.
    #[error(
        "state store has format {found}, this program understands only format {supported}: use the version of setkeeper \
         that wrote it, or restore a backup"
    )]
    UnknownFormat {
        /// The format of the store.
        found: String,
        /// The format of this program.
        supported: u32,
    },
    /// What is on disk is damaged; it is not served.
    #[error("state store is damaged: {what}")]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// The store could not be opened.
    #[error("cannot {action} the state store")]
    Open {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: Cause,
    },
}

impl StoreError {
    /// Whether a commit that got this error may be found in the store after a restart.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Closed)
    }

    /// Whether the store will accept no write before it is opened again: the process should stop and be restarted.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Closed | Self::Corrupt { .. })
    }

    /// Whether the store is short of space or a bound is reached (`RESOURCE_EXHAUSTED`).
    pub fn is_exhausted(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::LimitReached { .. })
    }
}

/// Why a batch was not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A precondition does not hold; nothing was changed.
    #[error("conflict on {key}: expected {}, found {}", describe(*expected), describe(*actual))]
    Conflict {
        /// The key whose precondition failed first.
        key: String,
        /// The revision that the key was expected to have been modified at, of a series at the latest; the next one where
        /// another value was expected; `None`: expected to be absent.
        expected: Option<StoreRevision>,
        /// The revision that the key was modified at; `None`: it is absent.
        actual: Option<StoreRevision>,
    },
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn describe(revision: Option<StoreRevision>) -> String {
    match revision {
        Some(revision) => format!("revision {revision}"),
        None => "no such key".to_owned(),
    }
}
