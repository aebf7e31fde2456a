use api::manifest::Kind;
use futures::FutureExt as _;
use serde_json::json;

use super::*;
use crate::store::MemoryStore;
use crate::store::refusing::Refusing;

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
    let failed = StoreError::Failed { source: Arc::new(std::io::Error::other("disk")) };
    let world = World::load(Arc::new(Refusing::every(failed))).await.unwrap();
    assert!(world.failed().now_or_never().is_none());
    world.commit(creation("lost")).await.unwrap_err();
    assert!(matches!(world.failed().await, StoreError::Failed { .. }));
}
