//! The contract of the seam, against every implementation.

use std::sync::Arc;

use futures::FutureExt;
use tempfile::TempDir;

use super::super::embedded::Limits;
use super::super::medium::Directory;
use super::super::state::{HistoryLimits, STORE_BYTES_MAX};
use super::super::{
    BATCH_ITEMS_MAX, BATCH_PRECONDITIONS_MAX, Change, EmbeddedStore, Entry, KEY_BYTES_MAX, MemoryStore, StateStore,
    VALUE_BYTES_MAX,
};
use super::*;

/// Commits that the stores under test keep for watchers.
const HISTORY: HistoryLimits = HistoryLimits { commits: 8, bytes: 4096 };

/// Runs a test against each implementation.
fn check<F: Future<Output = ()>>(test: impl Fn(Arc<dyn StateStore>) -> F) {
    run(test(Arc::new(MemoryStore::with_history(HISTORY))));
    let directory = TempDir::new().expect("a directory");
    run(test(Arc::new(embedded(&directory))));
}

fn embedded(directory: &TempDir) -> EmbeddedStore {
    let limits = Limits { history: HISTORY, store_bytes: STORE_BYTES_MAX };
    let medium = Directory::lock(directory.path(), "state").expect("nobody else has it");
    EmbeddedStore::open_with(Box::new(medium), "state", limits).expect("the store opens")
}

#[test]
fn entry_remembers_its_first_and_last_commit() {
    check(|store| async move {
        let first = must_commit(&*store, writes([put("a", "1")])).await;
        let second = must_commit(&*store, writes([put("a", "2")])).await;
        let entry = Entry { key: "a".into(), value: "2".into(), created: first, modified: second };
        assert_eq!(store.get("a").await.unwrap(), Some(entry));
        assert_eq!(store.get("b").await.unwrap(), None);
        must_commit(&*store, writes([delete("a")])).await;
        assert_eq!(store.get("a").await.unwrap(), None);
        let again = must_commit(&*store, writes([put("a", "3")])).await;
        assert_eq!(store.get("a").await.unwrap().map(|entry| entry.created), Some(again));
    });
}

#[test]
fn list_is_ordered_by_key_at_one_revision() {
    check(|store| async move {
        let keys = ["pods/b", "pods/a/1", "pods", "pods/a", "podsx", "q", "pods/\u{10ffff}"];
        let revision = must_commit(&*store, writes(keys.map(|key| put(key, "")))).await;
        let listing = store.list("pods/").await.unwrap();
        let listed: Vec<&str> = listing.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(listed, ["pods/a", "pods/a/1", "pods/b", "pods/\u{10ffff}"]);
        assert_eq!(listing.revision, revision);
        assert_eq!(store.list("").await.unwrap().entries.len(), keys.len());
        assert_eq!(store.list("none").await.unwrap().entries, []);
    });
}

#[test]
fn failed_precondition_changes_nothing_and_says_what_is_there() {
    check(|store| async move {
        let before = must_commit(&*store, writes([put("a", "1")])).await;
        let later = StoreRevision(before.0 + 7);
        let cases = [
            (absent("a"), "a", None, Some(before)),
            (modified_at("a", later), "a", Some(later), Some(before)),
            (modified_at("b", before), "b", Some(before), None),
        ];
        for (precondition, key, expected, actual) in cases {
            let preconditions = vec![modified_at("a", before), absent("b"), precondition];
            let batch = Batch { preconditions, writes: vec![put("a", "2"), put("c", "3"), delete("b")] };
            match store.commit(batch).await {
                Err(CommitError::Conflict { key: k, expected: e, actual: a }) => {
                    assert_eq!((k.as_str(), e, a), (key, expected, actual));
                }
                other => panic!("expected a conflict on {key}, got {other:?}"),
            }
        }
        let listing = store.list("").await.unwrap();
        assert_eq!((listing.revision, listing.entries.len()), (before, 1));
        let batch = Batch { preconditions: vec![modified_at("a", before)], writes: vec![delete("a")] };
        assert!(must_commit(&*store, batch).await > before);
    });
}

#[test]
fn batch_that_changes_nothing_makes_no_revision() {
    check(|store| async move {
        let before = must_commit(&*store, writes([put("a", "1")])).await;
        let check = |precondition| Batch { preconditions: vec![precondition], writes: vec![] };
        assert_eq!(must_commit(&*store, check(modified_at("a", before))).await, before);
        assert!(matches!(store.commit(check(absent("a"))).await, Err(CommitError::Conflict { .. })));
        assert_eq!(must_commit(&*store, writes([delete("none")])).await, before);
        assert_eq!(must_commit(&*store, Batch::default()).await, before);
        assert_eq!(store.list("").await.unwrap().revision, before);
    });
}

#[test]
fn a_series_is_untouched_until_one_of_its_keys_is_made_changed_or_removed() {
    check(|store| async move {
        let keys = ["web-0", "web-7", "web-8", "web-07", "web-", "web-x-1", "web-+1", "we-1"];
        let start = must_commit(&*store, writes(keys.map(|key| put(key, "1")))).await;
        let guarded = |since, write| Batch { preconditions: vec![untouched("web-", 8, since)], writes: vec![write] };
        let mut seen = start;
        for other in &keys[2..] {
            seen = must_commit(&*store, guarded(start, put(other, "2"))).await;
        }
        for write in [put("web-5", "new"), put("web-7", "changed"), delete("web-0")] {
            let touched = must_commit(&*store, guarded(seen, write.clone())).await;
            let refused = store.commit(guarded(seen, put("out", ""))).await;
            let Err(CommitError::Conflict { key, expected, actual }) = refused else { panic!("{refused:?}") };
            assert_eq!((key.as_str(), expected, actual), (write.key(), Some(seen), Some(touched)));
            seen = touched;
        }
        must_commit(&*store, guarded(seen, put("out", ""))).await;
    });
}

#[test]
fn a_batch_rests_on_what_the_one_before_it_writes() {
    check(|store| async move {
        let start = must_commit(&*store, writes([put("web-0", "0"), put("web-1", "0")])).await;
        let as_stored =
            |key: &str, value: &'static str| Precondition::StoredAs { key: key.to_owned(), value: value.into() };
        let but = |number| Precondition::Untouched {
            series: Series { stem: "web-".to_owned(), below: 9, but: Some(number) },
            since: start,
        };
        let behind = |preconditions: &[Precondition], key: &str| Batch {
            preconditions: preconditions.to_vec(),
            writes: vec![put(key, "behind")],
        };
        for (key, value, actual) in [("web-0", "1", Some(start)), ("web-0", "", Some(start)), ("web-2", "0", None)] {
            let refused = store.commit(behind(&[as_stored(key, value)], "out")).await;
            let Err(CommitError::Conflict { key: on, expected, actual: found }) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!((on.as_str(), expected, found), (key, Some(StoreRevision(start.0 + 1)), actual));
        }
        // One right behind the other, in one group or in two.
        let first = store.commit(writes([put("web-0", "1")]));
        let second = store.commit(behind(&[as_stored("web-0", "1"), but(0)], "web-2"));
        let (first, second) = futures::future::join(first, second).await;
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!((first.0, second.0), (start.0 + 1, start.0 + 2));
        for number in [0, 1] {
            let refused = store.commit(behind(&[as_stored("web-0", "1"), but(number)], "web-3")).await;
            let Err(CommitError::Conflict { key, .. }) = refused else { panic!("{refused:?}") };
            assert_eq!(key, if number == 0 { "web-2" } else { "web-0" });
        }
    });
}

#[test]
fn two_that_are_committed_together_are_two_commits() {
    check(|store| async move {
        let start = must_commit(&*store, writes([put("web-0", "0")])).await;
        let as_stored = |value: &'static str| Precondition::StoredAs { key: "web-0".to_owned(), value: value.into() };
        let behind =
            |value, key: &str| Batch { preconditions: vec![as_stored(value)], writes: vec![put(key, "behind")] };
        let mut watched = store.watch("", start).await.unwrap();
        let (first, second) = store.commit_both(writes([put("web-0", "1")]), behind("1", "web-1")).await;
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!((first.0, second.0), (start.0 + 1, start.0 + 2));
        // What becomes of one is no matter to the other, but for what it rests on.
        let refused = Batch { preconditions: vec![modified_at("web-0", start)], writes: vec![put("web-0", "2")] };
        let (first, second) = store.commit_both(refused.clone(), behind("2", "web-2")).await;
        assert!(matches!((&first, &second), (Err(CommitError::Conflict { .. }), Err(CommitError::Conflict { .. }))));
        let (first, second) = store.commit_both(refused, behind("1", "web-3")).await;
        assert!(first.is_err());
        let third = second.unwrap();
        let (first, second) = store.commit_both(writes([put("web-0", "3")]), behind("1", "web-4")).await;
        assert!(second.is_err());
        let fourth = first.unwrap();
        let twice = writes([put("out", "1"), put("out", "2")]);
        let (first, second) = store.commit_both(twice.clone(), behind("3", "web-5")).await;
        assert!(matches!(first, Err(CommitError::Store(StoreError::Invalid { .. }))), "{first:?}");
        let fifth = second.unwrap();
        let (first, second) = store.commit_both(writes([put("web-0", "4")]), twice).await;
        assert!(matches!(second, Err(CommitError::Store(StoreError::Invalid { .. }))), "{second:?}");
        let sixth = first.unwrap();
        let revision = |number| StoreRevision(start.0 + number);
        assert_eq!([third, fourth, fifth, sixth], [3, 4, 5, 6].map(revision));
        for number in 1..=6 {
            assert_eq!(watched.next().await.unwrap().unwrap().revision, revision(number));
        }
    });
}

#[test]
fn of_many_who_touch_a_series_that_they_rest_on_one_wins() {
    check(|store| async move {
        let since = must_commit(&*store, writes([put("web-0", "")])).await;
        let attempts = (0..50).map(|number| {
            let preconditions = vec![untouched("web-", 50, since)];
            store.commit(Batch { preconditions, writes: vec![put(&format!("web-{number}"), "mine")] })
        });
        let results = futures::future::join_all(attempts).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    });
}

#[test]
fn a_series_of_which_the_history_is_gone_counts_as_touched() {
    check(|store| async move {
        let start = store.list("").await.unwrap().revision;
        for round in 0..=HISTORY.commits {
            must_commit(&*store, writes([put("a", format!("{round}"))])).await;
        }
        let late = Batch { preconditions: vec![untouched("web-", 1, start)], writes: vec![put("web-0", "")] };
        assert!(matches!(store.commit(late).await, Err(CommitError::Conflict { .. })));
    });
}

#[test]
fn of_many_writers_with_the_same_expectation_one_wins() {
    check(|store| async move {
        let attempts = (0..50).map(|writer| {
            let batch = Batch { preconditions: vec![absent("lock")], writes: vec![put("lock", format!("{writer}"))] };
            let store = store.clone();
            async move { (writer, store.commit(batch).await) }
        });
        let results = futures::future::join_all(attempts).await;
        let winners: Vec<_> = results.iter().filter(|(_, result)| result.is_ok()).collect();
        let [(winner, Ok(revision))] = winners.as_slice() else { panic!("{} winners", winners.len()) };
        let entry = store.get("lock").await.unwrap().expect("someone won");
        assert_eq!((entry.value, entry.modified), (format!("{winner}").into(), *revision));
    });
}

#[test]
fn acknowledged_write_is_read_at_once() {
    check(|store| async move {
        for round in 0..50 {
            let revision = must_commit(&*store, writes([put("a", format!("{round}"))])).await;
            assert_eq!(store.get("a").await.unwrap().map(|entry| entry.modified), Some(revision));
            assert!(store.list("").await.unwrap().revision >= revision);
        }
    });
}

#[test]
fn bounds_are_refused_with_the_limit() {
    check(|store| async move {
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        let large = vec![0; VALUE_BYTES_MAX + 1];
        let too_many: Vec<Write> = (0..=BATCH_ITEMS_MAX).map(|key| put(&key.to_string(), "")).collect();
        let checks = Batch { preconditions: vec![absent("a"); BATCH_PRECONDITIONS_MAX + 1], writes: vec![] };
        let heavy: Vec<Write> = (0..6).map(|key| put(&key.to_string(), vec![0; VALUE_BYTES_MAX])).collect();
        for batch in [writes([put(&long, "")]), writes([put("a", large)]), writes(too_many), checks, writes(heavy)] {
            let error = store_error(store.commit(batch).await);
            assert!(error.is_exhausted() && !error.is_fatal() && !error.is_ambiguous(), "{error}");
        }
        for batch in [writes([put("", "")]), writes([put("a", "1"), delete("a")])] {
            assert!(matches!(store_error(store.commit(batch).await), StoreError::Invalid { .. }));
        }
        assert_eq!(store.list("").await.unwrap().entries, []);
        must_commit(&*store, writes([put(&long[1..], vec![0; VALUE_BYTES_MAX])])).await;
    });
}

#[test]
fn watch_delivers_each_commit_whole_and_only_the_prefix() {
    check(|store| async move {
        let start = store.list("").await.unwrap().revision;
        let mut watch = store.watch("a/", start).await.unwrap();
        let first = must_commit(&*store, writes([put("a/1", "x"), put("b/1", "x"), put("a/2", "x")])).await;
        must_commit(&*store, writes([put("b/2", "x")])).await;
        let third = must_commit(&*store, writes([delete("a/1"), put("a/2", "y"), delete("a/3")])).await;
        let entry = |key: &str, value: &'static str, modified| Entry {
            key: key.to_owned(),
            value: value.into(),
            created: first,
            modified,
        };
        let created = vec![Change::Put(entry("a/1", "x", first)), Change::Put(entry("a/2", "x", first))];
        assert_eq!(next(&mut watch).await, Changes { revision: first, changes: created });
        let deleted = Change::Delete { key: "a/1".to_owned(), last: entry("a/1", "x", first) };
        let changes = vec![deleted, Change::Put(entry("a/2", "y", third))];
        assert_eq!(next(&mut watch).await, Changes { revision: third, changes: changes.clone() });
        let mut resumed = store.watch("a/", first).await.unwrap();
        assert_eq!(next(&mut resumed).await, Changes { revision: third, changes });
        assert!(resumed.next().now_or_never().is_none());
    });
}

#[test]
fn watch_wakes_for_what_is_committed_later() {
    check(|store| async move {
        let mut watch = store.watch("", StoreRevision(0)).await.unwrap();
        let waiting = async { next(&mut watch).await.revision };
        let committing = async { must_commit(&*store, writes([put("a", "1")])).await };
        let (seen, revision) = futures::future::join(waiting, committing).await;
        assert_eq!(seen, revision);
    });
}

#[test]
fn watch_beyond_the_history_is_compacted_never_a_gap() {
    check(|store| async move {
        let start = store.list("").await.unwrap().revision;
        let mut slow = store.watch("", start).await.unwrap();
        let mut quiet = store.watch("none", start).await.unwrap();
        let mut revisions = Vec::new();
        for round in 0..=HISTORY.commits {
            assert!(quiet.next().now_or_never().is_none(), "a watcher that keeps up is not behind");
            revisions.push(must_commit(&*store, writes([put("a", format!("{round}"))])).await);
        }
        let oldest = revisions[0];
        assert!(matches!(slow.next().await, Some(Err(StoreError::Compacted { oldest: o })) if o == oldest));
        assert!(slow.next().await.is_none());
        assert!(quiet.next().now_or_never().is_none());
        assert!(matches!(store.watch("", start).await, Err(StoreError::Compacted { oldest: o }) if o == oldest));
        let mut rest = store.watch("", oldest).await.unwrap();
        for revision in &revisions[1..] {
            assert_eq!(next(&mut rest).await.revision, *revision);
        }
    });
}

#[test]
fn history_is_bounded_in_bytes() {
    check(|store| async move {
        let start = store.list("").await.unwrap().revision;
        for _ in 0..2 {
            must_commit(&*store, writes([put("a", vec![0; HISTORY.bytes * 2 / 3])])).await;
        }
        assert!(matches!(store.watch("", start).await, Err(StoreError::Compacted { .. })));
    });
}

#[test]
fn watch_from_the_future_is_refused() {
    check(|store| async move {
        let result = store.watch("", StoreRevision(1000)).await;
        assert!(matches!(result, Err(StoreError::FutureRevision { .. })), "{result:?}");
    });
}

#[test]
fn watch_ends_with_its_store() {
    check(|store| async move {
        let mut watch = store.watch("", StoreRevision(0)).await.unwrap();
        drop(store);
        assert!(watch.next().await.is_none());
    });
}

#[test]
fn dropped_commit_is_whole_or_not_there() {
    check(|store| async move {
        let start = store.list("").await.unwrap().revision;
        let mut watch = store.watch("", start).await.unwrap();
        drop(store.commit(writes([put("a", "1"), put("b", "1")])));
        let mut started = store.commit(writes([put("a", "2"), put("b", "2")]));
        let _ = futures::poll!(&mut started);
        drop(started);
        must_commit(&*store, writes([put("c", "1")])).await;
        let first = next(&mut watch).await;
        assert_eq!(first.changes.len(), 2, "what was queued before comes first, whole");
        assert_eq!(store.get("a").await.unwrap().map(|entry| entry.value), Some("2".into()));
    });
}
