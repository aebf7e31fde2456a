//! Many writers, readers and watchers at once, so that commits are grouped and publishing races with reading.

use std::collections::BTreeMap;
use std::sync::Arc;

use service_kit::metrics::Registry;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::super::{Change, EmbeddedStore, Entry, Listing, MemoryStore, StateStore};
use super::*;

const WRITERS: u64 = 16;
const COMMITS: u64 = 60;
const WATCHERS: usize = 3;
const READERS: usize = 2;
const COUNTER: &str = "counter";

/// Adds one to the counter, as often as somebody else was faster, and notes it under a key of its own.
async fn increment(store: &dyn StateStore, writer: u64) -> StoreRevision {
    for _ in 0..WRITERS * COMMITS {
        let entry = store.get(COUNTER).await.expect("a read works");
        let (precondition, count) = match &entry {
            Some(entry) => (modified_at(COUNTER, entry.modified), count(entry) + 1),
            None => (absent(COUNTER), 1),
        };
        let own = format!("writer-{writer}");
        let batch = Batch {
            preconditions: vec![precondition],
            writes: vec![put(COUNTER, count.to_string()), put(&own, count.to_string())],
        };
        match store.commit(batch).await {
            Ok(revision) => return revision,
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("every conflict means that another writer got on, so there cannot be so many");
}

fn count(entry: &Entry) -> u64 {
    std::str::from_utf8(&entry.value).expect("a number").parse().expect("a number")
}

/// Sees every commit once, in order, whole; returns the state after each.
async fn follow(mut watch: Watch, commits: u64) -> BTreeMap<StoreRevision, BTreeMap<String, Entry>> {
    let mut states = BTreeMap::from([(StoreRevision(0), BTreeMap::new())]);
    for expected in 1..=commits {
        let commit = next(&mut watch).await;
        assert_eq!((commit.revision, commit.changes.len()), (StoreRevision(expected), 2));
        let mut state = states[&StoreRevision(expected - 1)].clone();
        for change in commit.changes {
            let Change::Put(entry) = change else { panic!("nothing is deleted") };
            assert_eq!(count(&entry), expected, "each increment builds on the one before");
            state.insert(entry.key.clone(), entry);
        }
        states.insert(commit.revision, state);
    }
    states
}

/// Lists again and again, at revisions that never go back.
async fn read(store: Arc<dyn StateStore>, commits: u64) -> Vec<Listing> {
    let mut listings: Vec<Listing> = Vec::new();
    loop {
        let listing = store.list("").await.expect("a read works");
        let last = listings.last().map(|listing| listing.revision).unwrap_or_default();
        assert!(listing.revision >= last);
        let done = listing.revision.0 == commits;
        if listing.revision > last {
            listings.push(listing);
        }
        if done {
            return listings;
        }
        tokio::task::yield_now().await;
    }
}

async fn check(store: Arc<dyn StateStore>) {
    let commits = WRITERS * COMMITS;
    let (mut writers, mut watchers, mut readers) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    for _ in 0..WATCHERS {
        watchers.spawn(follow(store.watch("", StoreRevision(0)).await.expect("a watch"), commits));
    }
    for _ in 0..READERS {
        readers.spawn(read(store.clone(), commits));
    }
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut last = StoreRevision(0);
            for _ in 0..COMMITS {
                let revision = increment(&*store, writer).await;
                assert!(revision > last);
                last = revision;
            }
        });
    }
    writers.join_all().await;
    let histories = watchers.join_all().await;
    assert!(histories.iter().all(|history| *history == histories[0]), "all watchers are told the same");
    for listing in readers.join_all().await.into_iter().flatten() {
        let expected = histories[0][&listing.revision].values();
        assert!(listing.entries.iter().eq(expected), "a listing is the state at its revision");
    }
}

fn run_on_threads(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(TIMEOUT, test).await.expect("the test is not stuck") });
}

#[test]
fn everybody_sees_one_history_in_memory() {
    run_on_threads(check(Arc::new(MemoryStore::new())));
}

#[test]
fn everybody_sees_one_history_on_disk() {
    let directory = TempDir::new().expect("a directory");
    let store = EmbeddedStore::open(&directory.path().join("state")).expect("the store opens");
    run_on_threads(check(Arc::new(store)));
}

#[test]
fn two_that_are_committed_together_wait_for_the_disk_once() {
    let directory = TempDir::new().expect("a directory");
    let store = EmbeddedStore::open(&directory.path().join("state")).expect("the store opens");
    let metrics = Registry::default();
    store.measure(&metrics);
    run_on_threads(async {
        for round in 0..20 {
            let (first, second) =
                store.commit_both(writes([put("a", format!("{round}"))]), writes([put("b", "1")])).await;
            assert_eq!((first.unwrap().0, second.unwrap().0), (2 * round + 1, 2 * round + 2));
        }
    });
    let page = metrics.render();
    let value = |name: &str| page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    assert_eq!(value("setkeeper_coordinator_store_commits_total"), Some(40));
    assert_eq!(value("setkeeper_coordinator_store_group_batches_count"), Some(20));
}
