//! Random batches against a plain map, with a watcher that rebuilds the state from what it is told.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::{Change, EmbeddedStore, Entry, MemoryStore, StateStore};
use super::*;

const KEYS: [&str; 5] = ["a", "a/1", "a/2", "b", "c"];
/// The prefix that the second watcher follows.
const PREFIX: &str = "a/";

type Model = BTreeMap<String, Entry>;

/// A precondition as drawn: on which key, and whether it shall hold, or expect absence, or any revision.
#[derive(Clone, Debug)]
enum Expect {
    True,
    Absent,
    At(u64),
}

type Drawn = (Vec<(usize, Expect)>, BTreeMap<usize, Option<u8>>);

fn batches() -> impl Strategy<Value = Vec<Drawn>> {
    let expect = prop_oneof![6 => Just(Expect::True), 1 => Just(Expect::Absent), 1 => (0..20u64).prop_map(Expect::At)];
    let preconditions = prop::collection::vec((0..KEYS.len(), expect), 0..3);
    let writes = prop::collection::btree_map(0..KEYS.len(), prop::option::weighted(0.7, any::<u8>()), 0..4);
    prop::collection::vec((preconditions, writes), 1..30)
}

fn draw((preconditions, drawn_writes): &Drawn, model: &Model) -> Batch {
    let precondition = |(key, expect): &(usize, Expect)| {
        let key = KEYS[*key];
        match (expect, model.get(key)) {
            (Expect::Absent, _) | (Expect::True, None) => absent(key),
            (Expect::True, Some(entry)) => modified_at(key, entry.modified),
            (Expect::At(revision), _) => modified_at(key, StoreRevision(*revision)),
        }
    };
    let write = |(key, value): (&usize, &Option<u8>)| match value {
        Some(byte) => put(KEYS[*key], vec![*byte; usize::from(*byte)]),
        None => delete(KEYS[*key]),
    };
    Batch {
        preconditions: preconditions.iter().map(precondition).collect(),
        writes: drawn_writes.iter().map(write).collect(),
    }
}

/// What the batch must do, said in the plainest way: the new model, or the key of the conflict.
fn expected(batch: &Batch, model: &Model, revision: &mut u64) -> Result<Model, String> {
    for precondition in &batch.preconditions {
        let (key, expected) = match precondition {
            Precondition::Absent { key } => (key, None),
            Precondition::ModifiedAt { key, revision } => (key, Some(*revision)),
            Precondition::StoredAs { .. } | Precondition::Untouched { .. } => unreachable!("none is drawn"),
        };
        if model.get(key).map(|entry| entry.modified) != expected {
            return Err(key.clone());
        }
    }
    let mut after = model.clone();
    let modified = StoreRevision(*revision + 1);
    for write in &batch.writes {
        match write {
            Write::Put { key, value } => {
                let created = model.get(key).map_or(modified, |entry| entry.created);
                after.insert(key.clone(), Entry { key: key.clone(), value: value.clone(), created, modified });
            }
            Write::Delete { key } => {
                after.remove(key);
            }
        }
    }
    if after != *model {
        *revision += 1;
    }
    Ok(after)
}

/// Follows a watch: each commit has a higher revision than the one before, and says the truth about what was.
async fn follow(watch: &mut Watch, prefix: &str, model: &mut Model, until: &Model) {
    let mut at = model.values().map(|entry| entry.modified).max().unwrap_or_default();
    let under = |(key, _): &(&String, &Entry)| key.starts_with(prefix);
    while !model.iter().filter(under).eq(until.iter().filter(under)) {
        let commit = next(watch).await;
        assert!(commit.revision > at && !commit.changes.is_empty());
        at = commit.revision;
        for change in commit.changes {
            assert!(change.key().starts_with(prefix));
            match change {
                Change::Put(entry) => {
                    assert_eq!(entry.modified, commit.revision);
                    let before = model.insert(entry.key.clone(), entry.clone());
                    assert_eq!(entry.created, before.map_or(commit.revision, |before| before.created));
                }
                Change::Delete { key, last } => assert_eq!(model.remove(&key), Some(last)),
            }
        }
    }
}

async fn compare(store: &dyn StateStore, drawn: &[Drawn]) {
    let (mut model, mut revision) = (Model::new(), 0);
    let (mut everything, mut some) = (Model::new(), Model::new());
    let mut watch_all = store.watch("", StoreRevision(0)).await.unwrap();
    let mut watch_some = store.watch(PREFIX, StoreRevision(0)).await.unwrap();
    for drawn in drawn {
        let batch = draw(drawn, &model);
        match (expected(&batch, &model, &mut revision), store.commit(batch).await) {
            (Ok(after), Ok(committed)) => {
                assert_eq!(committed, StoreRevision(revision));
                model = after;
            }
            (Err(expected), Err(CommitError::Conflict { key, .. })) => assert_eq!(key, expected),
            (expected, actual) => panic!("expected {expected:?}, got {actual:?}"),
        }
        let listing = store.list("").await.unwrap();
        assert_eq!(listing.revision, StoreRevision(revision));
        assert!(listing.entries.iter().eq(model.values()));
        follow(&mut watch_all, "", &mut everything, &model).await;
    }
    follow(&mut watch_some, PREFIX, &mut some, &model).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_store_does_what_a_map_does(drawn in batches()) {
        run(compare(&MemoryStore::new(), &drawn));
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("state");
        let store = EmbeddedStore::open(&path).expect("the store opens");
        run(compare(&store, &drawn));
        let before = run(store.list("")).unwrap();
        drop(store);
        let reopened = EmbeddedStore::open(&path).expect("the store opens again");
        prop_assert_eq!(run(reopened.list("")).unwrap(), before);
    }
}
