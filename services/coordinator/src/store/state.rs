//! The state of a store in memory: entries, recent history, and the pure rules by which a batch changes them.
//!
//! Shared by every store of this crate, so that they cannot differ in what a batch means.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::{
    BATCH_BYTES_MAX, BATCH_ITEMS_MAX, BATCH_PRECONDITIONS_MAX, Batch, Change, Changes, CommitError, CommitResult,
    Entry, KEY_BYTES_MAX, Listing, Precondition, Series, StoreError, StoreRevision, VALUE_BYTES_MAX, Write,
};

/// Most bytes of keys and values in a store, all of which are kept in memory: thousands of sets with all their pods.
pub const STORE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Most commits that a watcher may lag behind: a rollout of a thousand pods makes some thousands.
pub const HISTORY_COMMITS_MAX: usize = 16_384;
/// Most bytes of values that history alone may keep in memory: a small part of what a machine has.
pub const HISTORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much history is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistoryLimits {
    pub(super) commits: usize,
    pub(super) bytes: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { commits: HISTORY_COMMITS_MAX, bytes: HISTORY_BYTES_MAX }
    }
}

/// Everything that readers and watchers see: what is durable, at one revision.
#[derive(Debug)]
pub(super) struct State {
    revision: StoreRevision,
    entries: BTreeMap<String, Entry>,
    /// Bytes of all keys and values.
    bytes: usize,
    /// The latest commits, without a gap, up to `revision`.
    history: VecDeque<Arc<Changes>>,
    history_bytes: usize,
    /// The revision before the first of `history`.
    compacted: StoreRevision,
    limits: HistoryLimits,
}

/// What a watcher that is at some revision has to do next.
pub(super) enum Progress {
    /// Deliver this, then go on from its revision.
    Deliver(Changes),
    /// Nothing under the prefix up to this revision.
    UpTo(StoreRevision),
    /// The history no longer reaches back.
    Compacted { oldest: StoreRevision },
}

impl State {
    pub(super) fn new(revision: StoreRevision, entries: BTreeMap<String, Entry>, limits: HistoryLimits) -> Self {
        let bytes = entries.values().map(entry_bytes).sum();
        let history = VecDeque::new();
        Self { revision, entries, bytes, history, history_bytes: 0, compacted: revision, limits }
    }

    pub(super) fn revision(&self) -> StoreRevision {
        self.revision
    }

    /// Bytes of all keys and values, and how many of them there are.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.bytes, self.entries.len())
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).cloned()
    }

    pub(super) fn list(&self, prefix: &str) -> Listing {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let entries = self.entries.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix));
        Listing { revision: self.revision, entries: entries.map(|(_, entry)| entry.clone()).collect() }
    }

    /// Whether a watch can start after this revision.
    pub(super) fn check_watch(&self, after: StoreRevision) -> Result<(), StoreError> {
        if after < self.compacted {
            return Err(StoreError::Compacted { oldest: self.compacted });
        }
        if after > self.revision {
            return Err(StoreError::FutureRevision { after, current: self.revision });
        }
        Ok(())
    }

    /// The commits after this revision; none where the history no longer reaches back.
    fn commits_after(&self, after: StoreRevision) -> Option<impl Iterator<Item = &Arc<Changes>>> {
        // Commits in history are numbered without a gap.
        let seen = after.0.checked_sub(self.compacted.0)?;
        Some(self.history.iter().skip(usize::try_from(seen).unwrap_or(usize::MAX)))
    }

    /// What comes after this revision for a watcher of this prefix.
    pub(super) fn progress(&self, prefix: &str, after: StoreRevision) -> Progress {
        let Some(commits) = self.commits_after(after) else {
            return Progress::Compacted { oldest: self.compacted };
        };
        for commit in commits {
            let matching = |change: &&Change| change.key().starts_with(prefix);
            let changes: Vec<Change> = commit.changes.iter().filter(matching).cloned().collect();
            if !changes.is_empty() {
                return Progress::Deliver(Changes { revision: commit.revision, changes });
            }
        }
        Progress::UpTo(self.revision)
    }

    /// Makes a commit visible. Commits come in order, without a gap.
    pub(super) fn apply(&mut self, commit: Changes) {
        assert_eq!(commit.revision.0, self.revision.0 + 1, "commits become visible in order");
        for change in &commit.changes {
            let before = match change {
                Change::Put(entry) => self.entries.insert(entry.key.clone(), entry.clone()),
                Change::Delete { key, .. } => self.entries.remove(key),
            };
            self.bytes -= before.as_ref().map_or(0, entry_bytes);
            self.bytes += change_bytes_added(change);
        }
        self.revision = commit.revision;
        self.history_bytes += commit_bytes(&commit);
        self.history.push_back(Arc::new(commit));
        while self.history.len() > self.limits.commits || self.history_bytes > self.limits.bytes {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= commit_bytes(&oldest);
            self.compacted = oldest.revision;
        }
    }
}

/// A group of batches on their way to the disk: each sees the ones before it, nobody else sees any.
pub(super) struct Staging<'a> {
    state: &'a State,
    revision: StoreRevision,
    /// What differs from `state`; `None`: deleted.
    overlay: BTreeMap<String, Option<Entry>>,
    bytes: usize,
    bytes_max: usize,
    commits: Vec<Changes>,
}

impl<'a> Staging<'a> {
    pub(super) fn new(state: &'a State, bytes_max: usize) -> Self {
        let (revision, bytes) = (state.revision, state.bytes);
        Self { state, revision, overlay: BTreeMap::new(), bytes, bytes_max, commits: Vec::new() }
    }

    /// Adds a batch, or says why it must not be; then nothing of it is kept.
    pub(super) fn stage(&mut self, batch: Batch) -> CommitResult {
        for precondition in &batch.preconditions {
            self.check(precondition)?;
        }
        let revision = self.revision.next();
        let changes: Vec<Change> = batch.writes.into_iter().filter_map(|write| self.change(write, revision)).collect();
        if changes.is_empty() {
            return Ok(self.revision);
        }
        self.bytes = self.bytes_after(&changes)?;
        for change in &changes {
            let after = match change {
                Change::Put(entry) => Some(entry.clone()),
                Change::Delete { .. } => None,
            };
            self.overlay.insert(change.key().to_owned(), after);
        }
        self.revision = revision;
        self.commits.push(Changes { revision, changes });
        Ok(revision)
    }

    /// The commits to make durable and then visible.
    pub(super) fn into_commits(self) -> Vec<Changes> {
        self.commits
    }

    fn get(&self, key: &str) -> Option<&Entry> {
        match self.overlay.get(key) {
            Some(staged) => staged.as_ref(),
            None => self.state.entries.get(key),
        }
    }

    fn check(&self, precondition: &Precondition) -> Result<(), CommitError> {
        let (key, expected) = match precondition {
            Precondition::Absent { key } => (key, None),
            Precondition::ModifiedAt { key, revision } => (key, Some(*revision)),
            Precondition::StoredAs { key, value } if self.get(key).is_some_and(|entry| entry.value == *value) => {
                return Ok(());
            }
            Precondition::StoredAs { key, .. } => {
                let (later, actual) = (self.revision.next(), self.get(key).map(|entry| entry.modified));
                return Err(CommitError::Conflict { key: key.clone(), expected: Some(later), actual });
            }
            Precondition::Untouched { series, since } => return self.check_untouched(series, *since),
        };
        let actual = self.get(key).map(|entry| entry.modified);
        if actual == expected {
            return Ok(());
        }
        Err(CommitError::Conflict { key: key.clone(), expected, actual })
    }

    fn check_untouched(&self, series: &Series, since: StoreRevision) -> Result<(), CommitError> {
        let conflict =
            |key: &str, at| Err(CommitError::Conflict { key: key.to_owned(), expected: Some(since), actual: Some(at) });
        let Some(visible) = self.state.commits_after(since) else {
            return conflict(&series.stem, self.state.revision);
        };
        let staged = self.commits.iter().filter(|commit| commit.revision > since);
        for commit in visible.map(|commit| &**commit).chain(staged) {
            if let Some(change) = commit.changes.iter().find(|change| series.contains(change.key())) {
                return conflict(change.key(), commit.revision);
            }
        }
        Ok(())
    }

    fn change(&self, write: Write, revision: StoreRevision) -> Option<Change> {
        match write {
            Write::Put { key, value } => {
                let created = self.get(&key).map_or(revision, |entry| entry.created);
                Some(Change::Put(Entry { key, value, created, modified: revision }))
            }
            Write::Delete { key } => self.get(&key).cloned().map(|last| Change::Delete { key, last }),
        }
    }

    /// Only what grows is refused, so that a full store can be emptied.
    fn bytes_after(&self, changes: &[Change]) -> Result<usize, StoreError> {
        let removed: usize = changes.iter().filter_map(|change| self.get(change.key())).map(entry_bytes).sum();
        let added: usize = changes.iter().map(change_bytes_added).sum();
        let bytes = self.bytes - removed + added;
        if added > removed && bytes > self.bytes_max {
            let what = "size of the state store in bytes";
            return Err(StoreError::LimitReached { what, actual: bytes, limit: self.bytes_max });
        }
        Ok(bytes)
    }
}

/// Checks what does not depend on the state, and returns the size of the batch in bytes.
pub(super) fn validate(batch: &Batch) -> Result<usize, StoreError> {
    limit("number of writes in a batch", batch.writes.len(), BATCH_ITEMS_MAX)?;
    limit("number of preconditions in a batch", batch.preconditions.len(), BATCH_PRECONDITIONS_MAX)?;
    let mut bytes = 0;
    for precondition in &batch.preconditions {
        bytes += check_key(match precondition {
            Precondition::Absent { key } | Precondition::ModifiedAt { key, .. } => key,
            Precondition::StoredAs { key, .. } => key,
            Precondition::Untouched { series, .. } => &series.stem,
        })?;
        if let Precondition::StoredAs { value, .. } = precondition {
            bytes += value.len();
        }
    }
    let mut written = std::collections::BTreeSet::new();
    for write in &batch.writes {
        bytes += check_key(write.key())?;
        if let Write::Put { value, .. } = write {
            limit("size of a value in bytes", value.len(), VALUE_BYTES_MAX)?;
            bytes += value.len();
        }
        if !written.insert(write.key()) {
            return Err(StoreError::Invalid { why: format!("key {} is written twice", write.key()) });
        }
    }
    limit("size of a batch in bytes", bytes, BATCH_BYTES_MAX)?;
    Ok(bytes)
}

fn check_key(key: &str) -> Result<usize, StoreError> {
    if key.is_empty() {
        return Err(StoreError::Invalid { why: "a key is empty".to_owned() });
    }
    limit("length of a key in bytes", key.len(), KEY_BYTES_MAX)?;
    Ok(key.len())
}

fn limit(what: &'static str, actual: usize, limit: usize) -> Result<(), StoreError> {
    if actual > limit {
        return Err(StoreError::LimitReached { what, actual, limit });
    }
    Ok(())
}

fn entry_bytes(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len()
}

fn change_bytes_added(change: &Change) -> usize {
    match change {
        Change::Put(entry) => entry_bytes(entry),
        Change::Delete { .. } => 0,
    }
}

pub(super) fn commit_bytes(commit: &Changes) -> usize {
    let bytes = |change: &Change| match change {
        Change::Put(entry) => entry_bytes(entry),
        Change::Delete { last, .. } => entry_bytes(last),
    };
    commit.changes.iter().map(bytes).sum()
}
