//! A store that refuses commits, for tests of what is built on a store.

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};

use super::{Batch, CommitResult, Entry, Listing, MemoryStore, StateStore, StoreError, StoreRevision, Watch};

/// A [`StateStore`] in memory that can be read, and refuses two batches in one go, or every batch.
pub(crate) struct Refusing {
    inner: MemoryStore,
    why: StoreError,
    singly: bool,
}

impl Refusing {
    /// One that takes nothing.
    pub(crate) fn every(why: StoreError) -> Self {
        Self { inner: MemoryStore::new(), why, singly: true }
    }

    /// One that takes one batch at a time.
    pub(crate) fn two(why: StoreError) -> Self {
        Self { inner: MemoryStore::new(), why, singly: false }
    }

    fn refused(&self) -> CommitResult {
        Err(self.why.clone().into())
    }
}

impl StateStore for Refusing {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        self.inner.get(key)
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        self.inner.list(prefix)
    }

    fn watch(&self, prefix: &str, after: StoreRevision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        self.inner.watch(prefix, after)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitResult> {
        if self.singly { ready(self.refused()).boxed() } else { self.inner.commit(batch) }
    }

    fn commit_both(&self, _: Batch, _: Batch) -> BoxFuture<'_, (CommitResult, CommitResult)> {
        ready((self.refused(), self.refused())).boxed()
    }
}
