use api::manifest::Kind;
use futures::future::{BoxFuture, FutureExt as _, ready};
use serde_json::json;

use super::*;
use crate::store::{Batch, Entry, Listing, MemoryStore, Watch};

/// A store whose disk has failed: it can be read.
struct Broken(MemoryStore);

impl StateStore for Broken {
    fn id(&self) -> &str {
        self.0.id()
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        self.0.get(key)
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        self.0.list(prefix)
    }

    fn watch(&self, prefix: &str, after: StoreRevision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        self.0.watch(prefix, after)
    }

    fn commit(&self, _: Batch) -> BoxFuture<'_, CommitResult> {
        ready(Err(StoreError::Failed { source: Arc::new(std::io::Error::other("disk")) }.into())).boxed()
    }

    fn commit_both(&self, first: Batch, second: Batch) -> BoxFuture<'_, (CommitResult, CommitResult)> {
        futures::future::join(self.commit(first), self.commit(second)).boxed()
    }
}

fn creation(name: &str) -> Transaction {
    let mut transaction = Transaction::default();
    transaction.create(Key::new(Kind::ConfigMap, "default", name), json!({ "metadata": { "name": name } }));
    transaction
}

#[tokio::test]
async fn whoever_commits_reads_its_own_writes_and_finds_them_in_its_subscription() {
    let world = World::load(Arc::new(MemoryStore::new())).await.unwrap();
    tokio::spawn(world.clone().follow(CancellationToken::new()));
    let mut commits = world.subscribe();
    for round in 0..100 {
        let revision = world.commit(creation(&format!("map-{round}"))).await.unwrap();
        assert!(world.revision() >= revision);
        assert_eq!(commits.try_recv().expect("announced before the revision shows").revision, revision);
    }
    let found = world.view(|view| view.named(Kind::ConfigMap, "default", "map-9").len());
    assert_eq!(found, 11);
}

#[tokio::test]
async fn a_commit_does_not_wait_for_a_world_that_has_ended() {
    let world = World::load(Arc::new(MemoryStore::new())).await.unwrap();
    let end = CancellationToken::new();
    end.cancel();
    world.clone().follow(end).await.unwrap();
    let error = world.commit(creation("late")).await.unwrap_err();
    assert!(matches!(error, CommitError::Store(StoreError::Closed)), "{error}");
}

#[tokio::test]
async fn a_store_that_takes_no_more_writes_is_told_to_whoever_runs_the_process() {
    let world = World::load(Arc::new(Broken(MemoryStore::new()))).await.unwrap();
    assert!(world.failed().now_or_never().is_none());
    world.commit(creation("lost")).await.unwrap_err();
    assert!(matches!(world.failed().await, StoreError::Failed { .. }));
}
