//! A store that lives as long as its process, for tests of what is built on a store.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::state::{HistoryLimits, STORE_BYTES_MAX, Staging, State, validate};
use super::view::View;
use super::{Batch, CommitResult, Entry, Listing, StateStore, StoreError, StoreRevision, Watch};

/// A [`StateStore`] in memory. It keeps every guarantee but durability.
#[derive(Debug)]
pub struct MemoryStore {
    id: String,
    view: View,
    committing: Mutex<()>,
}

impl MemoryStore {
    /// An empty store with an identity of its own.
    pub fn new() -> Self {
        Self::with_history(HistoryLimits::default())
    }

    pub(super) fn with_history(limits: HistoryLimits) -> Self {
        let view = View::new(State::new(StoreRevision(0), BTreeMap::new(), limits));
        Self { id: service_kit::random::uid(), view, committing: Mutex::new(()) }
    }

    fn commit_now<const BATCHES: usize>(&self, batches: [Batch; BATCHES]) -> [CommitResult; BATCHES] {
        let _one_at_a_time = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.view.read();
        let mut staging = Staging::new(&state, STORE_BYTES_MAX);
        let results = batches.map(|batch| {
            validate(&batch)?;
            staging.stage(batch)
        });
        let commits = staging.into_commits();
        drop(state);
        self.view.publish(commits);
        results
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl StateStore for MemoryStore {
    fn id(&self) -> &str {
        &self.id
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        ready(Ok(self.view.read().get(key))).boxed()
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        ready(Ok(self.view.read().list(prefix))).boxed()
    }

    fn watch(&self, prefix: &str, after: StoreRevision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        ready(self.view.watch(prefix.to_owned(), after)).boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitResult> {
        let [result] = self.commit_now([batch]);
        ready(result).boxed()
    }

    fn commit_both(&self, first: Batch, second: Batch) -> BoxFuture<'_, (CommitResult, CommitResult)> {
        ready(self.commit_now([first, second]).into()).boxed()
    }
}
