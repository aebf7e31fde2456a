//! What the stores of this crate are held to.
//!
//! `contract` runs the same tests against each of them, `model` random batches against a plain map,
//! `concurrent` many writers, readers and watchers at once, `faults` and `file`
//! the embedded one on disks that fail, `backup` copies of it, and `crash` on a simulated disk that loses and reorders sectors.

mod backup;
mod concurrent;
mod contract;
mod crash;
mod faults;
mod file;
mod model;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::simulated_disk;
use super::{
    Batch, Changes, CommitError, CommitResult, Precondition, Series, StateStore, StoreError, StoreRevision, Watch,
    Write,
};

/// Longer than any test takes that is not stuck.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a test on a runtime of its own.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(TIMEOUT, test).await.expect("the test is not stuck") })
}

fn put(key: &str, value: impl Into<Bytes>) -> Write {
    Write::Put { key: key.to_owned(), value: value.into() }
}

fn delete(key: &str) -> Write {
    Write::Delete { key: key.to_owned() }
}

fn absent(key: &str) -> Precondition {
    Precondition::Absent { key: key.to_owned() }
}

fn modified_at(key: &str, revision: StoreRevision) -> Precondition {
    Precondition::ModifiedAt { key: key.to_owned(), revision }
}

/// That nothing called `stem` and a number below `below` was touched.
fn untouched(stem: &str, below: u32, since: StoreRevision) -> Precondition {
    Precondition::Untouched { series: Series { stem: stem.to_owned(), below, but: None }, since }
}

fn writes(writes: impl Into<Vec<Write>>) -> Batch {
    Batch { preconditions: Vec::new(), writes: writes.into() }
}

async fn must_commit(store: &dyn StateStore, batch: Batch) -> StoreRevision {
    store.commit(batch).await.expect("the batch commits")
}

/// The error of a commit that must fail in the store itself.
fn store_error(result: CommitResult) -> StoreError {
    match result {
        Err(CommitError::Store(error)) => error,
        other => panic!("expected an error of the store, got {other:?}"),
    }
}

async fn next(watch: &mut Watch) -> Changes {
    watch.next().await.expect("the watch goes on").expect("the watch is not compacted")
}
