//! The state store: a seam, and the stores that need no server.
//!
//! A store is an ordered map from keys to values with one *revision* that rises by every commit and never goes back,
//! also across restarts. It can be read at one consistent revision, watched from any recent revision without a gap, and
//! changed by batches that apply whole or not at all, if all their preconditions hold.
//!
//! What every implementation guarantees (and `tests` checks against each of them):
//! - an acknowledged commit is durable; what is not yet durable is seen by nobody;
//! - readers and watchers see commits in the order of their revisions, each one whole;
//! - after a crash the store holds a prefix of the commit order that contains every acknowledged commit;
//! - a watcher gets every change after its revision, or the explicit error [`StoreError::Compacted`].

pub mod backup;
mod disk;
mod embedded;
mod error;
mod measured;
mod medium;
mod memory;
pub mod offline;
mod record;
#[cfg(test)]
pub(crate) mod refusing;
#[cfg(any(test, feature = "simulation"))]
pub mod simulated_disk;
mod state;
#[cfg(test)]
mod tests;
mod view;
mod watch;

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use disk::FORMAT;
pub use embedded::EmbeddedStore;
pub use error::{Cause, CommitError, StoreError};
pub use medium::Medium;
pub use memory::MemoryStore;
pub use state::{HISTORY_BYTES_MAX, HISTORY_COMMITS_MAX, STORE_BYTES_MAX};
pub use watch::Watch;

/// Longest key, in bytes: kind, namespace and name of at most 253 bytes each fit, with separators and room to spare.
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest value, in bytes: a ConfigMap or Secret holds up to 1 MiB, which grows by a third as base64.
pub const VALUE_BYTES_MAX: usize = 1536 * 1024;
/// Most writes in one batch: a reconcile pass over a set of a thousand pods fits.
pub const BATCH_ITEMS_MAX: usize = 4096;
/// Most preconditions of one batch: a decision may rest on every pod and claim of a set of ten thousand, several times
/// over. They cost a look-up each and are not stored.
pub const BATCH_PRECONDITIONS_MAX: usize = 65_536;
/// Most bytes of keys and values in one batch: twice the largest request of the public API.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A point in the history of a store. Strictly rising, also across restarts; 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreRevision(pub u64);

impl StoreRevision {
    /// The one of the next commit.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for StoreRevision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A key with its value, as of some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// The value, up to [`VALUE_BYTES_MAX`] bytes. The store does not interpret it.
    pub value: Bytes,
    /// The commit that made the key, after it was last absent.
    pub created: StoreRevision,
    /// The commit that last wrote the key.
    pub modified: StoreRevision,
}

/// What must hold at the moment of a commit, or the batch changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The key does not exist.
    Absent {
        /// The key.
        key: String,
    },
    /// The key exists and was last written by the commit of this revision.
    ModifiedAt {
        /// The key.
        key: String,
        /// What [`Entry::modified`] must be.
        revision: StoreRevision,
    },
    /// The key exists and has this very value, whoever wrote it. A batch that is queued behind another can rest on what that
    /// one writes, before anybody knows its revision.
    StoredAs {
        /// The key.
        key: String,
        /// Its value; its bytes count as those of the batch.
        value: Bytes,
    },
    /// No key of a series was created, written or deleted by a commit after this revision. However long the series, this
    /// costs a look at what was committed since. Where the history no longer reaches back, it does not hold.
    Untouched {
        /// The keys.
        series: Series,
        /// The revision that they were read at.
        since: StoreRevision,
    },
}

/// Keys that are the same but for a number at their end, such as those of the pods of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// What comes before the number.
    pub stem: String,
    /// Numbers below this one are meant, in decimal digits without leading zeros.
    pub below: u32,
    /// One of them that is not meant.
    pub but: Option<u32>,
}

impl Series {
    /// Whether a key is one of them.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        let Some(digits) = key.strip_prefix(self.stem.as_str()) else { return false };
        let canonical = digits == "0" || !digits.starts_with(['0', '+']);
        canonical && digits.parse().is_ok_and(|number: u32| number < self.below && self.but != Some(number))
    }
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Creates the key or replaces its value.
    Put {
        /// The key.
        key: String,
        /// The new value.
        value: Bytes,
    },
    /// Removes the key. Removing what is absent changes nothing.
    Delete {
        /// The key.
        key: String,
    },
}

impl Write {
    /// The key that is written.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Writes that apply together or not at all. Each key is written at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// All must hold, at the revision that the writes apply to.
    pub preconditions: Vec<Precondition>,
    /// May be empty: then the batch only checks.
    pub writes: Vec<Write>,
}

/// All entries under a prefix, at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The revision of the store that was read: a watch after it misses nothing.
    pub revision: StoreRevision,
    /// The entries, ordered by key (bytewise).
    pub entries: Vec<Entry>,
}

/// What one commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The commit.
    pub revision: StoreRevision,
    /// Its changes under the watched prefix, never empty, ordered as written.
    pub changes: Vec<Change>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key was created or got a new value (created if [`Entry::created`] equals [`Entry::modified`]).
    Put(Entry),
    /// The key was removed.
    Delete {
        /// The key.
        key: String,
        /// What it last was.
        last: Entry,
    },
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }
}

/// What became of a batch.
pub type CommitResult = Result<StoreRevision, CommitError>;

/// Where the coordinator keeps its state.
pub trait StateStore: Send + Sync + 'static {
    /// Identity of this store, made at its first creation. Revisions of different stores must not be compared.
    fn id(&self) -> &str;

    /// Reads one key.
    ///
    /// # Errors
    /// As [`StateStore::list`].
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Entry>, StoreError>>;

    /// Reads all keys that start with `prefix`, at one revision. The empty prefix reads everything.
    ///
    /// # Errors
    /// Only those of a store that cannot be read at all; the stores of this crate always can.
    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>>;

    /// Follows the keys that start with `prefix`: all commits after the revision `after`, then what is to come.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if the history no longer reaches back to `after`: list again and watch from there.
    /// [`StoreError::FutureRevision`] if the store has not got to `after`: it is another store's revision.
    fn watch(&self, prefix: &str, after: StoreRevision) -> BoxFuture<'_, Result<Watch, StoreError>>;

    /// Applies a batch and returns its revision once it is durable. A batch that changes nothing (no writes, or only
    /// deletes of absent keys) makes no revision: it returns the revision at which its preconditions held.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] if a precondition does not hold: nothing was changed. [`CommitError::Store`] else:
    /// nothing was changed, unless the error says that the outcome is unknown ([`StoreError::is_ambiguous`]).
    ///
    /// # Cancel safety
    /// Dropping the future does not withdraw a batch that was already queued.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitResult>;

    /// Applies two batches, each as [`StateStore::commit`] does, the second right after the first and whatever becomes of
    /// that: it may rest on what the first writes ([`Precondition::StoredAs`]). They become durable in one go.
    ///
    /// # Errors
    /// Those of each.
    ///
    /// # Cancel safety
    /// As that of [`StateStore::commit`].
    fn commit_both(&self, first: Batch, second: Batch) -> BoxFuture<'_, (CommitResult, CommitResult)>;
}
